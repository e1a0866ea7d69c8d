# amaranth: UnusedElaboratable=no
"""What the tops cost around the engine: the table of boards/README.md.

The whole engine takes the synthesiser half an hour and has its row in docs/hardware/synthesis.md. So the tops are
synthesised with the engine as a black box, and what it takes is added. The vendor's cores, the noise sources and the
root key are black boxes too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from amaranth.hdl import ClockSignal, Const, Instance, Module, ResetSignal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from boards.gateware import entropy, root_key
from boards.gateware.bar import BarAdapter
from boards.gateware.clear import Clear
from boards.gateware.gate import Gate
from boards.targets import TARGETS, Target
from boards.u55c_direct import vendor
from boards.u55c_direct.top import DirectTop
from omap.params import Params
from rtl.stream.interfaces import require
from rtl.synth.netlist import U55C, Area, synthesise

ENGINE = "engine"
"""Name of the engine's row, here and in docs/hardware/synthesis.md."""

RESOURCES = {"lut": "LUT", "ff": "FF", "bram": "BRAM", "uram": "URAM", "dsp": "DSP"}


class Box(wiring.Component):
    """Stands in the place of a component that is left out: its ports and nothing else.

    Parameters
    ----------
    name : str
        Of the module.
    component : Component
        What is left out.
    """

    def __init__(self, name: str, component: wiring.Component) -> None:
        component._MustUse__silence = True  # type: ignore[attr-defined]  # only looked at
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
        return vendor.stub(self.name, ports | {port: (way, len(bits)) for port, way, bits in self._wires()})

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
    direct = TARGETS["u55c_direct"]
    channels, channel_bytes = _channels(direct, params), 1 << direct.config(params).channel_bits
    registers = BarAdapter().m_axi.signature
    found: dict[str, Callable[[], Area]] = {
        "bar": lambda: synthesise(BarAdapter(id_width=vendor.BAR_AXI.id_width)),
        "gate": lambda: synthesise(Gate(registers)),
        "clear": lambda: synthesise(Clear(channels, channel_bytes)),
        "entropy": lambda: synthesise(entropy.Entropy(), BOXES),
        "root_key": lambda: synthesise(root_key.RootKey(), BOXES),
    }
    return found | {around(name): partial(_around, target, params) for name, target in TARGETS.items()}


def around(target: str) -> str:
    """Return the row's name of a top without its engine."""
    return f"{target} around the engine"


def names(params: Params) -> list[str]:
    """Return the names of all rows, in their order."""
    return [*parts(params), ENGINE, *TARGETS]


def choose(params: Params, wanted: Iterable[str]) -> dict[str, Callable[[], Area]]:
    """Return the named parts, or all of them if no name is given.

    Raises
    ------
    ParamsError
        If there is no such part; the message lists those there are.
    """
    found = parts(params)
    wanted = list(wanted) or list(found)
    for name in wanted:
        require(name in found, f"no part is called {name!r}; there are {', '.join(found)}")
    return {name: found[name] for name in wanted}


def with_tops(areas: Mapping[str, Area], engine: Area) -> dict[str, Area]:
    """Return areas with the engine's, and with those of the tops whose surroundings are known."""
    found = {**areas, ENGINE: engine}
    return found | {name: added(engine, found[around(name)]) for name in TARGETS if around(name) in found}


def added(engine: Area, rest: Area) -> Area:
    """Return the area of a top; a path through the engine's ports may be longer than what either shows."""
    counts = {name: getattr(engine, name) + getattr(rest, name) for name in RESOURCES}
    return Area(**counts, levels=max(engine.levels, rest.levels))


def shares(name: str, area: Area) -> str:
    """Return which share of the card something takes."""
    each = ", ".join(f"{100 * getattr(area, key) / getattr(U55C, key):.2f} % {text}" for key, text in RESOURCES.items())
    return f"`{name}` takes {each} of the card."


NOISE = f"module {entropy.MODULE} #(parameter INDEX = 0) (i_clk, o_bit); input i_clk; output o_bit; endmodule\n"

BOXES = {
    entropy.MODULE: NOISE,
    root_key.MODULE: vendor.stub(root_key.MODULE, {root_key.PORT: ("output", root_key.BITS)}),
}
"""Modules that are left out of every block: the noise sources, which are LUTs by hand, and the root key, a constant."""


def _channels(target: Target, params: Params) -> int:
    return sum(target.config(params).channels.values())


def _around(target: Target, params: Params) -> Area:
    """Synthesise a top without engine and vendor's cores."""
    top = target.top(params)
    core = top.card.core if isinstance(top, DirectTop) else top.core
    core.engine = box = Box("omap_engine", core.engine)
    boxes = BOXES | {box.name: box.stub}
    for name, ports in vendor.blocks(_channels(target, params)).items():
        boxes[name] = "" if name in vendor.PRIMITIVES else vendor.stub(name, ports)
    return synthesise(top, boxes)
