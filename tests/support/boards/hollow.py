"""Tops with the large parts of the engine left out: their ports are there, so that all that is around them is real."""

import pytest
from amaranth.hdl import ClockSignal, Const, Instance, Module, ResetSignal, Value
from amaranth.lib.wiring import In

from boards.gateware.ports import stub
from boards.targets import TARGETS
from rtl.map.core import Core
from rtl.memory.host_port import HostPort
from rtl.rings.ring_port import RingPort
from rtl.rings.sessions import Sessions
from rtl.synth.verilog import to_verilog
from tests.support.rtl.engines import TIGHT

PARTS = (Core, HostPort, RingPort, Sessions)


BOXES = {}
"""Ports of the modules left out, by name."""


def black_box(self, platform):
    kind, wires = f"box_{type(self).__name__}", {"i_clk": ClockSignal(), "i_rst": ResetSignal()}
    BOXES[kind] = {"clk": ("input", 1), "rst": ("input", 1)}
    for path, member, value in self.signature.flatten(self):
        value = Value.cast(value)
        if len(value) and not isinstance(value, Const):
            name, way = "__".join(map(str, path)), "input" if member.flow is In else "output"
            BOXES[kind][name] = (way, len(value))
            wires[f"{way[0]}_{name}"] = value
    m = Module()
    m.submodules.box = Instance(kind, **wires)
    return m


def hollow_verilog(target):
    """Return the Verilog of a target's top for a small map, without the large parts of its engine."""
    with pytest.MonkeyPatch.context() as patch:
        for part in PARTS:
            patch.setattr(part, "elaborate", black_box)
        return to_verilog(TARGETS[target].top(TIGHT.params), TARGETS[target].module)


def box_stubs():
    """Return empty modules for what was left out of the tops made so far."""
    return "".join(stub(name, ports) for name, ports in BOXES.items())
