"""A skid buffer: cuts every path through a stream, forward and backward."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


class SkidBuffer(wiring.Component):
    """Passes a stream on, one cycle later, with valid, payload and ready all out of registers.

    Items leave in order, unchanged, none lost or doubled; one a cycle is sustained. Two items fit inside: the one on
    offer, and the one that was on its way when the consumer stopped.

    Parameters
    ----------
    shape : shape-like
        Shape of the payload.

    Members
    -------
    i : In(stream.Signature(shape))
        Items in.
    o : Out(stream.Signature(shape))
        Items out. Latency 1.
    """

    def __init__(self, *, shape):
        self.shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        skidded = Signal(self.shape)
        full = Signal()  # an item is in `skidded`: nothing more can be taken
        m.d.comb += self.i.ready.eq(~full)
        with m.If(self.o.ready | ~self.o.valid):
            m.d.sync += [self.o.valid.eq(self.i.valid | full), full.eq(0)]
            with m.If(full):
                m.d.sync += self.o.p.eq(skidded)
            with m.Else():
                m.d.sync += self.o.p.eq(self.i.p)
        with m.Elif(self.i.valid & ~full):
            m.d.sync += [full.eq(1), skidded.eq(self.i.p)]
        return m
