"""What there is to estimate: the blocks of the synthesis report, how pages travel, and engines."""

from __future__ import annotations

from dataclasses import dataclass

from omap.params import Params
from rtl.config import EngineConfig
from rtl.constants import LANES
from rtl.engine import Engine
from rtl.map.pages import Pages
from rtl.synth.blocks import CIPHERS, Block
from rtl.synth.netlist import mapped
from rtl.synth.report import reported
from rtl.timing.netlist import Netlist, read


@dataclass(frozen=True)
class Subject:
    """One netlist to make.

    Attributes
    ----------
    block : Block
        What to synthesise.
    whole : bool
        Whether it is an engine: it takes an hour, so it has to be asked for, and is placed once.
    """

    block: Block
    whole: bool = False

    def netlist(self) -> Netlist:
        """Synthesise and return the netlist. Paths end at parts that are synthesised apart."""
        apart = self.block.apart
        return read(mapped(self.block.make(), emptied=apart), apart)


def subjects(params: Params) -> dict[str, Subject]:
    """Return all that can be estimated, by name."""
    found = {name: Subject(block, whole=name == "engine") for name, block in reported(params).items()}
    found["pages"] = Subject(Block(Pages, {"config": EngineConfig(params=params)}))
    for lanes in LANES[1:]:
        config = EngineConfig(params=params, lanes=lanes)
        found[f"engine, {lanes} lanes"] = Subject(Block(Engine, {"config": config}, CIPHERS), whole=True)
    return found
