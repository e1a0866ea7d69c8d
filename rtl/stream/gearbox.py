"""Between wide and narrow beats: lines of host memory, and what the cryptographic blocks take a cycle."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.stream.interfaces import require


class Narrow(wiring.Component):
    """Cuts wide items into beats, lowest bits first, one beat a cycle without gaps.

    Parameters
    ----------
    wide, narrow : int
        Bits of an item and of a beat; the one a multiple of the other.

    Members
    -------
    i : In(stream.Signature(wide))
        Items.
    o : Out(stream.Signature(narrow))
        Beats, a cycle later.
    """

    def __init__(self, *, wide: int, narrow: int) -> None:
        require(wide % narrow == 0, f"wide is {wide}; it must be a multiple of narrow, {narrow}")
        self.wide, self.narrow = wide, narrow
        super().__init__({"i": In(stream.Signature(wide)), "o": Out(stream.Signature(narrow))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        beats = self.wide // self.narrow
        kept, remaining = Signal(self.wide), Signal(range(beats + 1))
        last = Signal()
        m.d.comb += [
            last.eq((remaining == 1) & self.o.ready),
            self.i.ready.eq((remaining == 0) | last),
            self.o.valid.eq(remaining != 0),
            self.o.p.eq(kept[: self.narrow]),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [kept.eq(self.i.p), remaining.eq(beats)]
        with m.Elif(self.o.valid & self.o.ready):
            m.d.sync += [kept.eq(kept[self.narrow :]), remaining.eq(remaining - 1)]
        return m


class Widen(wiring.Component):
    """Gathers beats into wide items, lowest bits first, one beat a cycle without gaps.

    Parameters
    ----------
    narrow, wide : int
        Bits of a beat and of an item; the one a multiple of the other.

    Members
    -------
    i : In(stream.Signature(narrow))
        Beats.
    o : Out(stream.Signature(wide))
        Items, a cycle after their last beat.
    """

    def __init__(self, *, narrow: int, wide: int) -> None:
        require(wide % narrow == 0, f"wide is {wide}; it must be a multiple of narrow, {narrow}")
        self.wide, self.narrow = wide, narrow
        super().__init__({"i": In(stream.Signature(narrow)), "o": Out(stream.Signature(wide))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        beats = self.wide // self.narrow
        kept, held = Signal(self.wide), Signal(range(beats + 1))
        full, take = Signal(), Signal()
        m.d.comb += [
            full.eq(held == beats),
            self.o.valid.eq(full),
            self.o.p.eq(kept),
            self.i.ready.eq(~full | self.o.ready),
            take.eq(self.i.valid & self.i.ready),
        ]
        with m.If(take):
            m.d.sync += kept.eq(Cat(kept, self.i.p)[self.narrow :])
        with m.If(full & self.o.ready):
            m.d.sync += held.eq(take)
        with m.Elif(take):
            m.d.sync += held.eq(held + 1)
        return m
