# amaranth: UnusedElaboratable=no
"""What the tops cost around the engine: the table of boards/README.md.

To synthesise the whole engine takes half an hour, and its row stands in docs/hardware/synthesis.md. So the tops are
synthesised with the engine as a black box, and the engine's row is added to theirs. The vendor's cores, the noise
sources and the root key are black boxes too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from amaranth.hdl import ClockSignal, Const, Instance, Module, ResetSignal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from boards.gateware import entropy, root_key
from boards.gateware.ports import stub
from boards.target import Target
from boards.targets import TARGETS
from omap.params import Params
from rtl.synth.netlist import U55C, Area, synthesise

ENGINE = "engine"
"""Name of the engine's row, here and in docs/hardware/synthesis.md."""

RESOURCES = {"lut": "LUT", "ff": "FF", "bram": "BRAM", "uram": "URAM", "dsp": "DSP"}


class Box(wiring.Component):
    """Takes the place of a component that is left out. It has the component's ports and nothing else.

    Parameters
    ----------
    name : str
        Of the module.
    component : Component
        What is left out.
    """

    def __init__(self, name: str, component: wiring.Component) -> None:
        component._MustUse__silence = True  # only looked at
        self.name = name
        super().__init__(component.signature)

    def elaborate(self, platform: object) -> Module:
        wires = {f"{way[0]}_{port}": bits for port, way, bits in self._wires()}
        m = Module()
        m.submodules.box = Instance(self.name, i_clk=ClockSignal(), i_rst=ResetSignal(), **wires)
        return m

    @property
    def stub(self) -> str:
        """The module, empty."""
        ports = {"clk": ("input", 1), "rst": ("input", 1)}
        return stub(self.name, ports | {port: (way, len(bits)) for port, way, bits in self._wires()})

    def _wires(self) -> Iterable[tuple[str, str, Value]]:
        for path, member, value in self.signature.flatten(self):
            bits = Value.cast(value)
            if len(bits) and not isinstance(bits, Const):
                yield "__".join(map(str, path)), "input" if member.flow is In else "output", bits


def parts(params: Params) -> dict[str, Callable[[], Area]]:
    """Return what the report synthesises: name, and what does it.

    Parameters
    ----------
    params : Params
        The map.
    """
    makers = {name: make for target in TARGETS.values() for name, make in target.blocks(params).items()}
    makers |= {"entropy": entropy.Entropy, "root_key": root_key.RootKey}
    found: dict[str, Callable[[], Area]] = {name: partial(_block, make) for name, make in makers.items()}
    return found | {around(name): partial(_around, target, params) for name, target in TARGETS.items()}


def around(target: str) -> str:
    """Return the row's name of a top without its engine."""
    return f"{target} around the engine"


def names(params: Params) -> list[str]:
    """Return the names of all rows, in their order."""
    return [*parts(params), ENGINE, *TARGETS]


def with_tops(areas: Mapping[str, Area], engine: Area) -> dict[str, Area]:
    """Return areas with the engine's, and with those of the tops whose surroundings are known."""
    found = {**areas, ENGINE: engine}
    return found | {name: engine + found[around(name)] for name in TARGETS if around(name) in found}


def shares(name: str, area: Area) -> str:
    """Return which share of the card something takes."""
    each = ", ".join(f"{100 * getattr(area, key) / getattr(U55C, key):.2f} % {text}" for key, text in RESOURCES.items())
    return f"`{name}` takes {each} of the card."


NOISE = f"module {entropy.MODULE} #(parameter INDEX = 0) (i_clk, o_bit); input i_clk; output o_bit; endmodule\n"

BOXES = {
    entropy.MODULE: NOISE,
    root_key.MODULE: stub(root_key.MODULE, {root_key.PORT: ("output", root_key.BITS)}),
}
"""Modules that are left out of every block: the noise sources, which are LUTs by hand, and the root key, a constant."""


def _block(make: Callable[[], wiring.Component]) -> Area:
    return synthesise(make(), BOXES)


def _around(target: Target, params: Params) -> Area:
    """Synthesise a top without engine and vendor's cores."""
    top = target.top(params)
    top.core.engine = box = Box("omap_engine", top.core.engine)
    return synthesise(top, BOXES | {box.name: box.stub} | target.boxes(params))
