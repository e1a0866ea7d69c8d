"""Build folders of a small map with a hollow engine: all but what the engine is made of is real."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from boards.folder import build, manifest
from boards.target import Plan
from boards.targets import TARGETS
from tests.support.boards.hollow import hollow_verilog
from tests.support.host.keys import root_file
from tests.support.rtl.engines import TIGHT

KEY = bytes(range(32))


@cache
def verilog(target: str) -> str:
    return hollow_verilog(target)


def plan(target: str, **options: bool) -> Plan:
    return Plan(TARGETS[target], TIGHT.params, **options)


def use_hollow(monkeypatch) -> None:
    """Have builds of the small map use Verilog that is made once."""

    def made(top, name):
        top._MustUse__silence = True
        (target,) = (target.name for target in TARGETS.values() if target.module == name)
        return verilog(target)

    monkeypatch.setattr(build, "to_verilog", made)


def key_file(folder: Path) -> Path:
    return root_file(folder / "root.key", KEY)


def change(folder: Path, name: str, old: str, new: str) -> None:
    """Replace the one place where ``old`` stands in a file, and have the manifest say that it was so from the start."""
    text = (folder / name).read_text()
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
    (folder / name).write_text(text.replace(old, new))
    described = json.loads((folder / manifest.NAME).read_text())
    if name in described["files"]:
        described["files"][name]["sha256"] = manifest.digest((folder / name).read_bytes())
        (folder / manifest.NAME).write_text(json.dumps(described, indent=1) + "\n")
