"""Several streams become one."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.stream.interfaces import require_whole

MOST_WAYS = 32
"""Most streams that are merged: as many as HBM has pseudo-channels."""


class Merge(wiring.Component):
    """Passes on the items of several streams, each in its turn, out of a register.

    Parameters
    ----------
    shape : shape-like
        Shape of the payload.
    ways : int
        Streams, at least 1.

    Members
    -------
    i : In(stream.Signature(shape)).array(ways)
        Items in.
    o : Out(stream.Signature(shape))
        Items out. Latency 1.
    """

    def __init__(self, *, shape: object, ways: int) -> None:
        require_whole("ways", ways, 1, MOST_WAYS)
        self.shape, self.ways = shape, ways
        super().__init__(
            {"i": In(stream.Signature(shape)).array(ways), "o": Out(stream.Signature(shape))},
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        wanted, later, granted, free = Signal(self.ways), Signal(self.ways), Signal(self.ways), Signal()
        m.d.comb += [
            wanted.eq(Cat(way.valid for way in self.i)),
            free.eq(~self.o.valid | self.o.ready),
        ]
        for mask in (wanted, wanted & later):  # those after the last one granted go first
            with m.If(mask.any()):
                m.d.comb += granted.eq(Cat(mask[k] & ~mask[:k].any() for k in range(self.ways)))
        with m.If(free):
            m.d.sync += self.o.valid.eq(wanted.any())
            with m.If(wanted.any()):
                m.d.sync += later.eq(Cat(granted[:k].any() for k in range(self.ways)))
        for k, way in enumerate(self.i):
            m.d.comb += way.ready.eq(free & granted[k])
            with m.If(free & granted[k]):
                m.d.sync += self.o.p.eq(way.p)
        return m
