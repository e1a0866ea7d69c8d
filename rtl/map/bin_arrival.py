"""Compares announced bins with those on chip, and gives entries to those that are not."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from rtl.map.bin_shapes import BinShapes, Use
from rtl.stream.pick import encoded, first, one_hot


class BinArrival(wiring.Component):
    """Takes an announcement a cycle, compares it with all bins in the next cycle, and acts on it in the one after that.

    A bin that comes on chip and is announced again by the very next announcement is compared once more.

    Parameters
    ----------
    shapes : BinShapes
        Widths.

    Members
    -------
    i_touch : In(stream.Signature({"bin", "use"}))
        Announcements.
    open : In(1)
        They are taken.
    used, leaving : In(entries)
        Entries that hold a bin; those that hold none from the next cycle on.
    o_use : Out(stream.Signature({"id", "use", "fresh"}))
        What is announced: the entry of the bin, and whether the bin comes on chip for it.
    may_allocate : In(1)
        A bin may come on chip.
    hot : Out(entries)
        Entries of announcements that are acted on in this cycle, a bit for each.
    allocated : Out(entries)
        Those that get a bin.
    allocates, spare, bin : Out
        One gets a bin, and which one gets which.
    kept : Out(entries)
        Entries that must go on holding their bin, because an announcement of it waits.
    busy : Out(1)
        An announcement is being compared.
    """

    def __init__(self, shapes: BinShapes) -> None:
        self.shapes = shapes
        n = shapes.entries
        super().__init__(
            {
                "i_touch": In(stream.Signature(StructLayout({"bin": shapes.bin_bits, "use": Use}))),
                "open": In(1),
                "used": In(n),
                "leaving": In(n),
                "o_use": Out(stream.Signature(shapes.announced)),
                "may_allocate": In(1),
                "hot": Out(n),
                "allocated": Out(n),
                "allocates": Out(1),
                "spare": Out(shapes.id_bits),
                "bin": Out(shapes.bin_bits),
                "kept": Out(n),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        shapes, n = self.shapes, self.shapes.entries
        numbers = [Signal(shapes.bin_bits, name=f"number_{k}") for k in range(n)]
        asked, held = (Signal(self.i_touch.p.shape(), name=name) for name in ("asked", "held"))
        asks, holds, hit, again = Signal(), Signal(), Signal(), Signal()
        match, equal = Signal(n), Signal(n)
        fire, moves = Signal(), Signal()
        spare_hot, spare_found = self._spare(m)
        m.d.comb += [
            # A bin that leaves now is no longer here when this is acted on.
            equal.eq(Cat(self.used[k] & ~self.leaving[k] & (numbers[k] == asked.bin) for k in range(n))),
            self.o_use.valid.eq(holds & (hit | (spare_found & self.may_allocate))),
            self.o_use.p.id.eq(Mux(hit, encoded(match), self.spare)),
            self.o_use.p.use.eq(held.use),
            self.o_use.p.fresh.eq(~hit),
            fire.eq(self.o_use.valid & self.o_use.ready),
            self.allocates.eq(fire & ~hit),
            self.bin.eq(held.bin),
            again.eq(self.allocates & (asked.bin == held.bin)),
            moves.eq((~holds | fire) & ~again),
            self.i_touch.ready.eq(self.open & (~asks | moves)),
            self.allocated.eq(spare_hot & self.allocates.replicate(n)),
            self.hot.eq(Mux(hit, match, spare_hot) & fire.replicate(n)),
            self.kept.eq(match & holds.replicate(n)),
            self.busy.eq(asks | holds),
        ]
        with m.If(~asks | moves):
            m.d.sync += asks.eq(self.i_touch.valid & self.open)
            with m.If(self.i_touch.valid):
                m.d.sync += asked.eq(self.i_touch.p)
        with m.If(~holds | fire):
            m.d.sync += [holds.eq(asks & ~again), held.eq(asked), match.eq(equal), hit.eq(equal.any())]
        for k in range(n):
            with m.If(self.allocated[k]):
                m.d.sync += numbers[k].eq(held.bin)
        return m

    def _spare(self, m: Module) -> tuple[Value, Value]:
        """Keep an entry at hand that holds nothing; return it, a bit for each, and whether there is one.

        It is found in one of two halves, each of which takes two cycles. What was found is not found again until a bin
        has come and gone.
        """
        n = self.shapes.entries
        hot, found, reserved = Signal(n), Signal(), Signal(n)
        fills = ~found | self.allocates
        moved: Value = Signal(n)
        others: Value = Signal()  # a half before this one has an entry
        with m.If(fills):
            m.d.sync += [found.eq(0), hot.eq(0)]
        for name, low, high in (("low", 0, n // 2), ("high", n // 2, n)):
            there, which, gives = (
                Signal(name=f"{name}_found"),
                Signal(range(n), name=name),
                Signal(name=f"{name}_gives"),
            )
            free = (~self.used & ~reserved)[low:high]
            any_, index = first(m, free, name)
            m.d.comb += gives.eq(there & fills & ~others)
            with m.If(gives):
                m.d.sync += there.eq(0)
            with m.Elif(~there):
                m.d.sync += [there.eq(any_), which.eq(low + index)]
            given = one_hot(which, n, gives)
            with m.If(gives):
                m.d.sync += [found.eq(1), self.spare.eq(which), hot.eq(given)]
            moved, others = moved | given, others | there
        m.d.sync += reserved.eq((reserved | moved) & ~self.allocated)
        return hot, found
