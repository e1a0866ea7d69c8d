"""An AXI master with its signals in the open, to break rules with."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.stream.axi import AxiSignature


class Tap(wiring.Component):
    """Passes its input ports on to an AXI master port.

    Members
    -------
    awvalid, awaddr, ... : In
        Each signal that a master drives, under its AXI name.
    m_axi : Out(AxiSignature)
        The memory.
    """

    def __init__(self, *, version=4):
        self.axi = AxiSignature(addr_width=34, data_width=256, id_width=6, version=version)
        self.driven = {name: member.shape for name, member in self.axi.members.items() if member.flow is Out}
        super().__init__({name: In(shape) for name, shape in self.driven.items()} | {"m_axi": Out(self.axi)})

    def elaborate(self, platform):
        """Return the circuit."""
        m = Module()
        m.d.comb += [getattr(self.m_axi, name).eq(getattr(self, name)) for name in self.driven]
        return m
