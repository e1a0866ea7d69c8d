"""What there is to estimate: the blocks of the synthesis report, how pages travel, and engines."""

from __future__ import annotations

from dataclasses import dataclass

from omap.params import Params
from rtl.config import EngineConfig
from rtl.constants import LANES
from rtl.engine import Engine
from rtl.map.pages import Pages
from rtl.synth.blocks import Block
from rtl.synth.netlist import mapped
from rtl.synth.report import reported
from rtl.timing.netlist import Netlist, read

CIPHERS = ("*.core.aes", "*.core.ghash")
"""Parts of each lane of AES-GCM that are left out of engines with many lanes; their own blocks are estimated."""


@dataclass(frozen=True)
class Subject:
    """One netlist to make.

    Attributes
    ----------
    block : Block
        What to synthesise.
    whole : bool
        Whether it is an engine: it takes an hour, so it has to be asked for, and is placed once.
    boxes : tuple of str
        Patterns of parts to leave out; paths end there.
    """

    block: Block
    whole: bool = False
    boxes: tuple[str, ...] = ()

    def netlist(self) -> Netlist:
        """Synthesise and return the netlist."""
        return read(mapped(self.block.make(), emptied=self.boxes), self.boxes)


def subjects(params: Params) -> dict[str, Subject]:
    """Return all that can be estimated, by name."""
    found = {name: Subject(block, whole=name == "engine") for name, block in reported(params).items()}
    found["pages"] = Subject(Block(Pages, {"config": EngineConfig(params=params)}))
    for lanes in LANES[1:]:
        config = EngineConfig(params=params, lanes=lanes)
        block = Block(Engine, {"config": config})
        found[f"engine, {lanes} lanes"] = Subject(block, whole=True, boxes=CIPHERS if lanes > 2 else ())
    return found
