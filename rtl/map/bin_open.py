# amaranth: UnusedElaboratable=no
"""Tells version and occupancy of touched bins before their uses."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out, connect, flipped

from omap.versions import KEPT_BITS
from rtl.map.bin_shapes import BinShapes
from rtl.stream.fifo import Fifo
from rtl.stream.pick import one_hot


class BinOpen(wiring.Component):
    """Tells a version and an occupancy every other cycle, each in the order of the touches.

    The n-th touch, from 1, gives its bin version n, because every operation touches one bin. So the version that a
    touch finds is known as soon as the first line of its bin is here, whether or not the touch before it has ended. Its
    occupancy is known when that one has ended.

    Parameters
    ----------
    shapes : BinShapes
        Widths.

    Members
    -------
    touched : In({"valid", "id"})
        A touch is announced.
    parsed : In(entries)
        Bins of which the first line is here.
    opened : In(entries)
        Bins whose occupancy has been told for a touch that has not ended.
    versioning, former : Out(id), In(48)
        The bin whose version is told next, and the version that it has before the touch.
    told : Out({"valid", "id", "version"})
        A version was told, a cycle ago: of which bin, and the version that the bin has after the touch.
    opening, occupancy : Out(id), In(page_slots)
        The bin whose occupancy is told next, and the occupancy.
    opens : Out(entries)
        It is told; a bit for each bin.
    o_version, o_bin
        As in :class:`~rtl.map.waiting.WaitingBins`.
    """

    def __init__(self, shapes: BinShapes) -> None:
        self.shapes = shapes
        entries, id_, page_slots = shapes.entries, shapes.id_bits, shapes.params.page_slots
        super().__init__(
            {
                "touched": In(shapes.some_id),
                "parsed": In(entries),
                "opened": In(entries),
                "versioning": Out(id_),
                "former": In(KEPT_BITS),
                "told": Out(shapes.told),
                "opening": Out(id_),
                "occupancy": In(page_slots),
                "opens": Out(entries),
                "o_version": Out(stream.Signature(KEPT_BITS)),
                "o_bin": Out(stream.Signature(StructLayout({"occupancy": page_slots}))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        depth = self.shapes.most_uses + 1
        m.submodules.touches = touches = Fifo(shape=self.shapes.id_bits, depth=depth)  # never full
        m.submodules.versioned = versioned = Fifo(shape=self.shapes.id_bits, depth=depth)  # never full
        m.d.comb += [
            touches.i.valid.eq(self.touched.valid),
            touches.i.p.eq(self.touched.id),
            versioned.i.valid.eq(self.told.valid),
            versioned.i.p.eq(self.told.id),
        ]
        self._tell_version(m, touches)
        self._tell_occupancy(m, versioned)
        return m

    def _turn(self, m: Module, queue: Fifo, id_: Signal, done: Signal) -> Signal:
        """Have a bin's turn come, which takes a cycle for its id to reach the state of all bins; return whether."""
        turn = Signal(name=f"turn_{id_.name}")
        m.d.comb += queue.o.ready.eq(~turn)
        with m.If(~turn):
            m.d.sync += [turn.eq(queue.o.valid), id_.eq(queue.o.p)]
        with m.Elif(done):
            m.d.sync += turn.eq(0)
        return turn

    def _tell_version(self, m: Module, touches: Fifo) -> None:
        """Tell versions; that one was told is noted a cycle later, before the next turn."""
        out, tells = self.o_version, Signal()
        version = Signal(KEPT_BITS, init=1)  # touches are announced in the order of operations
        turn = self._turn(m, touches, self.versioning, tells)
        m.d.comb += tells.eq(turn & self.parsed.bit_select(self.versioning, 1) & (~out.valid | out.ready))
        m.d.sync += [
            self.told.valid.eq(tells),
            self.told.id.eq(self.versioning),
            self.told.version.eq(version),
            version.eq(version + tells),
        ]
        with m.If(tells):
            m.d.sync += [out.valid.eq(1), out.p.eq(self.former)]
        with m.Elif(out.ready):
            m.d.sync += out.valid.eq(0)

    def _tell_occupancy(self, m: Module, versioned: Fifo) -> None:
        n = self.shapes.entries
        m.submodules.occupancies = occupancies = Fifo(shape=self.o_bin.p.shape(), depth=n + 2)
        connect(m, occupancies.o, flipped(self.o_bin))
        opens, pushed = Signal(), Signal()
        turn = self._turn(m, versioned, self.opening, opens)
        # The level is known two cycles late here, but an item comes in every second cycle at most: two places suffice.
        roomy = Signal(init=1)
        m.d.comb += [
            opens.eq(turn & ~self.opened.bit_select(self.opening, 1) & roomy),
            occupancies.i.valid.eq(pushed),
            self.opens.eq(one_hot(self.opening, n, opens)),
        ]
        m.d.sync += [
            roomy.eq(occupancies.level < n),
            pushed.eq(opens),
            occupancies.i.p.occupancy.eq(self.occupancy),
        ]
