"""Touches: the waiting tuples of one bin after the other are offered and judged, and the occupancy changes."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from rtl.map.bin_shapes import BinShapes
from rtl.map.page import Verdict
from rtl.stream.fifo import Fifo

FREED = 8
"""Most freed slots that wait for the free list; when there are as many, judging waits."""

LEAVING = 4
"""Most touches whose tuples are all judged, and whose occupancy has not come."""


class BinTouch(wiring.Component):
    """A touch takes one cycle for each tuple and one for the end; its occupancy may come while others are offered.

    An operation on the key of the operation before it finds its tuple among those that wait: the append before it has
    brought it there. So a touch begins when that append alone is missing, and offers its tuple last, as soon as it is
    here. Otherwise such operations would take longer than others.

    Parameters
    ----------
    shapes : BinShapes
        Widths.

    Members
    -------
    i_turn : In(stream.Signature({"id", "number"}))
        The next touch.
    due : In(1)
        All uses of its bin before it had ended, a cycle ago.
    usable : In(1)
        All tuples of its bin were here, and its occupancy had been told; 0 in the first cycle of a turn.
    count : In(range(most + 1))
        Its tuples, a cycle ago.
    appending : In({"valid", "id", "number"})
        The append that waits for its tuple; ``number`` is the number of the use after it.
    appended, joins, tail : In
        The append ends in this cycle; whether a tuple joins; which one, and its slot.
    held, held_joins : In
        The last append that ended, if its tuple is not in memory yet; whether there is one.
    read : Out({"place", "id"})
        Place that is read.
    item : In({"entry", "slot"})
        What was there, a cycle later.
    keep, write_place, write_item : Out
        Place to write.
    claims_item : Out(1)
        A place may be written in this cycle; earlier than ``keep``.
    may_end : In(1)
        A touch may end.
    touched : Out(1)
        A touch ends ...
    leaving : Out({"id", "number", "count"})
        ... and this is its bin, the number of the next use, and how many tuples it has.
    o_waiting, i_verdict, i_occupancy, o_freed_slot
        As in :class:`~rtl.map.waiting.WaitingBins`.
    """

    def __init__(self, shapes: BinShapes) -> None:
        self.shapes = shapes
        super().__init__(
            {
                "i_turn": In(stream.Signature(shapes.turn)),
                "due": In(1),
                "usable": In(1),
                "count": In(shapes.count),
                "appending": In(shapes.some_turn),
                "appended": In(1),
                "joins": In(1),
                "tail": In(shapes.item),
                "held": In(shapes.some_turn),
                "held_joins": In(1),
                "read": Out(shapes.place),
                "item": In(shapes.item),
                "keep": Out(1),
                "write_place": Out(shapes.place),
                "write_item": Out(shapes.item),
                "claims_item": Out(1),
                "may_end": In(1),
                "touched": Out(1),
                "leaving": Out(shapes.leaving),
                "o_waiting": Out(stream.Signature(StructLayout({"end": 1, "entry": shapes.entry_bits}))),
                "i_verdict": In(stream.Signature(Verdict)),
                "i_occupancy": In(stream.Signature(shapes.params.page_slots)),
                "o_freed_slot": Out(stream.Signature(shapes.slot_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        shapes, turn, appending, held = self.shapes, self.i_turn, self.appending, self.held
        m.submodules.freed = freed = Fifo(shape=shapes.slot_bits, depth=FREED)
        wiring.connect(m, freed.o, wiring.flipped(self.o_freed_slot))
        m.submodules.leaving = leaving = Fifo(shape=shapes.leaving, depth=LEAVING)

        # `reading` is the tuple on offer or awaited, `keeping` the place for the next that stays. `drained`: what
        # follows is no tuple from memory. `more`: an append before this touch is awaited. `tail`: what it brought.
        present, id_, number = Signal(), Signal(shapes.id_bits), Signal(shapes.number_bits)
        reading, keeping, remaining = (Signal(shapes.count, name=name) for name in ("reading", "keeping", "remaining"))
        drained, more, has_tail, awaited = Signal(), Signal(), Signal(), Signal()
        tail, current = Signal(shapes.item), Signal(shapes.item)
        # The append before the next touch waits for its tuple, or was the last one, and its tuple is at hand.
        early, behind, at_hand = Signal(), Signal(), Signal()
        at_end, offers, judged, ends, begins = Signal(), Signal(), Signal(), Signal(), Signal()
        stays = self.i_verdict.p == Verdict.KEPT
        m.d.comb += [
            early.eq(appending.valid & (appending.id == turn.p.id) & (appending.number == turn.p.number)),
            behind.eq(at_hand & held.valid & (held.id == turn.p.id) & (held.number == turn.p.number)),
            begins.eq(turn.valid & (self.due | early | behind) & self.usable & (~present | ends)),
            turn.ready.eq(begins),
            at_end.eq(drained & ~has_tail & ~more),
            offers.eq(present & ~awaited & (~drained | has_tail | (~more & leaving.i.ready))),
            self.o_waiting.valid.eq(offers),
            self.o_waiting.p.end.eq(offers & at_end),
            # SEC_CM: WAITING.TUPLE.UNREADABLE -- what the memory showed before stays inside
            self.o_waiting.p.entry.eq(Mux(offers & ~at_end, current.entry, 0)),
            current.eq(Mux(drained, tail.as_value(), self.item.as_value())),
            self.i_verdict.ready.eq(present & ~at_end & freed.i.ready),
            judged.eq(self.i_verdict.valid & self.i_verdict.ready),
            ends.eq(offers & at_end & self.o_waiting.ready),
            self.claims_item.eq(present & ~at_end & self.i_verdict.valid),
            self.keep.eq(judged & stays),
            self.write_place.id.eq(id_),
            self.write_place.place.eq(keeping),
            self.write_item.eq(current),
            freed.i.valid.eq(judged & ~stays),
            freed.i.p.eq(current.slot),
        ]
        # The memory is read a cycle ahead: the first tuple of the next touch, when none of this one is left.
        with m.If(~present | drained):
            m.d.comb += [self.read.id.eq(turn.p.id), self.read.place.eq(0)]
        with m.Else():
            m.d.comb += [self.read.id.eq(id_), self.read.place.eq(Mux(judged, reading + 1, reading))]
        with m.If(begins):
            m.d.sync += [
                id_.eq(turn.p.id),
                number.eq(turn.p.number),
                reading.eq(0),
                keeping.eq(0),
                remaining.eq(self.count),
                drained.eq(self.count == 0),
                awaited.eq(0),
                present.eq(1),
                more.eq(early & ~self.appended),
                has_tail.eq((early & self.appended & self.joins) | (behind & self.held_joins)),
            ]
        with m.Else():
            with m.If(judged):
                m.d.sync += [awaited.eq(0), keeping.eq(keeping + stays)]
                with m.If(drained):
                    m.d.sync += has_tail.eq(0)
                with m.Else():
                    m.d.sync += [reading.eq(reading + 1), remaining.eq(remaining - 1), drained.eq(remaining == 1)]
            with m.Elif(offers & self.o_waiting.ready):
                # After a tuple was taken, its verdict is awaited.
                m.d.sync += awaited.eq(~at_end)
            with m.If(more & self.appended):
                m.d.sync += [more.eq(0), has_tail.eq(self.joins)]
            with m.If(ends):
                m.d.sync += present.eq(0)
        # What joins is kept, unless the one before is still to be offered.
        with m.If(self.appended):
            m.d.sync += at_hand.eq(~has_tail)
            with m.If(~has_tail):
                m.d.sync += tail.eq(self.tail)

        m.d.comb += [
            leaving.i.valid.eq(ends),
            leaving.i.p.id.eq(id_),
            leaving.i.p.number.eq(number + 1),
            leaving.i.p.count.eq(keeping),
            self.leaving.eq(leaving.o.p),
            # An append before this touch has left by now: nothing kept it from that in the cycle of the end.
            self.i_occupancy.ready.eq(leaving.o.valid & self.may_end),
            self.touched.eq(self.i_occupancy.valid & self.i_occupancy.ready),
            leaving.o.ready.eq(self.touched),
        ]
        return m
