"""Uses bins in the order in which they were announced: waiting tuples are offered and judged, and others join."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from omap.versions import KEPT_BITS
from rtl.map.bin_shapes import BinShapes, Use
from rtl.map.page import Verdict
from rtl.stream.fifo import Fifo
from rtl.stream.pick import one_hot

WRITES = 64
"""Most slot writes in flight."""

STYLE = {"ram_style": "distributed"}

FREED = 8
"""Most freed slots that wait for the free list; when there are as many, judging waits."""


class BinUse(wiring.Component):
    """The point at which lists change. A touch takes three cycles and one for each tuple; an append takes one.

    The n-th touch, from 1, gives its bin version n, because every operation touches one bin.

    Parameters
    ----------
    shapes : BinShapes
        Widths.

    Members
    -------
    i_order : In(stream.Signature({"id", "use"}))
        Which bin is used, and for what, in order.
    complete, opened : In(entries)
        Bins of which all tuples are here; bins of which version and occupancy have been told for the next touch.
    filled, opens : In({"valid", "id"})
        A bin that gets its last tuple in this cycle, and one of which version and occupancy are told; this shows in
        ``complete`` and ``opened`` a cycle later.
    head : In({"valid", "id", "row"})
        A bin whose row is written in this cycle; if its count is 0, it is complete a cycle later.
    flushed : In({"valid", "id"})
        A bin that must not change in the next cycle either; this begins for no bin that waits for its turn.
    id : Out(id)
        The bin whose turn it is.
    next_id : Out(id)
        The bin whose turn comes next, if there is one.
    next_row : In(row)
        Its row.
    touched, joined, done, last : Out(1)
        In this cycle: its touch ends; a tuple joins it; its use ends; no other use waits for it.
    new_row : Out(row)
        Its row from now on, with ``touched`` and ``joined``.
    read : Out({"place", "id"})
        Place that is read.
    item : In({"entry", "slot"})
        What was there, a cycle later.
    write, write_place, write_item : Out
        Place to write.
    claims_row, claims_item : Out(1)
        A row, an item may be written in this cycle; earlier than ``new_row`` and ``write``.
    writing : Out(entries)
        Bins with a slot write on its way.
    exhausted : Out(1)
        A bin had no room for one more tuple, which was lost. Stays.
    o_waiting, i_verdict, i_occupancy, i_append, o_slot_write, i_slot_written, i_free_slot, o_freed_slot
        As in :class:`~rtl.map.waiting.WaitingBins`.
    """

    def __init__(self, shapes: BinShapes) -> None:
        self.shapes = shapes
        entry, slot = shapes.entry_bits, shapes.slot_bits
        event = StructLayout({"valid": 1, "id": shapes.id_bits})
        super().__init__(
            {
                "i_order": In(stream.Signature(StructLayout({"id": shapes.id_bits, "use": Use}))),
                "complete": In(shapes.entries),
                "opened": In(shapes.entries),
                "filled": In(event),
                "head": In(StructLayout({**dict(event.members), "row": shapes.row})),
                "opens": In(event),
                "flushed": In(event),
                "id": Out(shapes.id_bits),
                "next_id": Out(shapes.id_bits),
                "next_row": In(shapes.row),
                "touched": Out(1),
                "joined": Out(1),
                "done": Out(1),
                "last": Out(1),
                "new_row": Out(shapes.row),
                "read": Out(shapes.place),
                "item": In(shapes.item),
                "write": Out(1),
                "write_place": Out(shapes.place),
                "write_item": Out(shapes.item),
                "claims_row": Out(1),
                "claims_item": Out(1),
                "writing": Out(shapes.entries),
                "exhausted": Out(1),
                "o_waiting": Out(stream.Signature(StructLayout({"end": 1, "entry": entry}))),
                "i_verdict": In(stream.Signature(Verdict)),
                "i_occupancy": In(stream.Signature(shapes.params.page_slots)),
                "i_append": In(stream.Signature(StructLayout({"present": 1, "entry": entry}))),
                "o_slot_write": Out(stream.Signature(StructLayout({"slot": slot, "data": entry}))),
                "i_slot_written": In(stream.Signature(0)),
                "i_free_slot": In(stream.Signature(slot)),
                "o_freed_slot": Out(stream.Signature(slot)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        shapes = self.shapes
        present, use, row, complete, opened, blocked = self._order(m)
        may_write = self._slot_writes(m)

        m.submodules.freed = freed = Fifo(shape=shapes.slot_bits, depth=FREED)
        wiring.connect(m, freed.o, wiring.flipped(self.o_freed_slot))

        # `reading` is the tuple on offer or awaited, `keeping` the place for the next that stays.
        reading, keeping = Signal(range(shapes.most + 1)), Signal(range(shapes.most + 1))
        remaining, at_end, awaited = Signal(range(shapes.most + 1)), Signal(), Signal()
        judged, keep, place = Signal(), Signal(), Signal(shapes.place_bits)
        version = Signal(KEPT_BITS, init=1)  # of the next touch: uses come in the order of operations
        turn = present & ~blocked
        stays = self.i_verdict.p == Verdict.KEPT
        m.d.comb += [
            self.read.id.eq(self.id),
            self.read.place.eq(place),
            self.o_waiting.p.end.eq(at_end & self.o_waiting.valid),
            # SEC_CM: WAITING.TUPLE.UNREADABLE -- what the memory showed before stays inside
            self.o_waiting.p.entry.eq(Mux(self.o_waiting.valid & ~at_end, self.item.entry, 0)),
            freed.i.valid.eq(judged & ~stays),
            freed.i.p.eq(self.item.slot),
            self.o_slot_write.p.slot.eq(self.i_free_slot.p),
            self.o_slot_write.p.data.eq(self.i_append.p.entry),
            self.new_row.eq(row),
            self.write.eq(keep | self.joined),
            self.write_place.id.eq(self.id),
            self.write_place.place.eq(Mux(use == Use.APPEND, row.count, keeping)),
            self.write_item.eq(self.item),
        ]
        with m.If(use == Use.APPEND):
            m.d.comb += [
                self.write_item.entry.eq(self.i_append.p.entry),
                self.write_item.slot.eq(self.i_free_slot.p),
                self.new_row.count.eq(row.count + 1),
            ]
        with m.Else():
            m.d.comb += [
                self.new_row.version.eq(version),
                self.new_row.occupancy.eq(self.i_occupancy.p),
                self.new_row.count.eq(keeping),
            ]
        with m.FSM():
            with m.State("BIN"):
                m.d.sync += [
                    reading.eq(0),
                    keeping.eq(0),
                    remaining.eq(row.count),
                    at_end.eq(row.count == 0),
                ]
                with m.If(use == Use.APPEND):
                    here, room = Signal(), Signal()
                    joins = self.i_append.p.present & room
                    m.d.comb += [
                        here.eq(turn & complete & self.i_append.valid),
                        room.eq(row.count != shapes.most),
                        self.claims_row.eq(here),
                        self.claims_item.eq(here),
                        self.o_slot_write.valid.eq(here & joins & self.i_free_slot.valid & may_write),
                        self.joined.eq(self.o_slot_write.valid & self.o_slot_write.ready),
                        # whether or not one is on offer: the free lists tell a taker that waits in vain
                        self.i_free_slot.ready.eq(here & joins & may_write & self.o_slot_write.ready),
                        self.done.eq(self.joined | (here & ~joins)),
                        self.i_append.ready.eq(self.done),
                    ]
                    with m.If(here & self.i_append.p.present & ~room):
                        m.d.sync += self.exhausted.eq(1)
                with m.Elif(turn & complete & opened):
                    m.next = "TUPLES"
            with m.State("TUPLES"):
                # The memory is read a cycle ahead; after a tuple was taken, its verdict is awaited.
                m.d.comb += [
                    self.o_waiting.valid.eq(~awaited),
                    self.i_verdict.ready.eq(~at_end & freed.i.ready),
                    self.claims_item.eq(~at_end & self.i_verdict.valid),
                    judged.eq(self.i_verdict.valid & self.i_verdict.ready),
                    keep.eq(judged & stays),
                    place.eq(Mux(judged, reading + 1, reading)),
                ]
                with m.If(judged):
                    m.d.sync += [
                        awaited.eq(0),
                        reading.eq(reading + 1),
                        keeping.eq(keeping + stays),
                        remaining.eq(remaining - 1),
                        at_end.eq(remaining == 1),
                    ]
                with m.Elif(self.o_waiting.valid & self.o_waiting.ready):
                    m.d.sync += awaited.eq(~at_end)
                    with m.If(at_end):
                        m.next = "OCCUPANCY"
            with m.State("OCCUPANCY"):
                m.d.comb += [
                    self.i_occupancy.ready.eq(1),
                    self.claims_row.eq(self.i_occupancy.valid),
                    self.touched.eq(self.i_occupancy.valid),
                    self.done.eq(self.touched),
                ]
                with m.If(self.touched):
                    m.d.sync += version.eq(version + 1)
                    m.next = "BIN"
        return m

    def _order(self, m: Module) -> tuple[Signal, Signal, Any, Signal, Signal, Signal]:
        """Give bins their turn; return whether it is the turn of one, for which use, its row, and how the bin stands.

        Uses are numbered. The number of a bin's last announcement tells when nobody waits for the bin any longer.
        """
        n = self.shapes.entries
        # The next use waits in registers, so that its bin can be looked up before its turn comes.
        m.submodules.order = order = Fifo(shape=self.i_order.p.shape(), depth=4 * n - 1)
        following, next_ = Signal(), Signal(self.i_order.p.shape())
        shifts, passes = Signal(), Signal()
        numbers = range(4 * n + 2)
        m.submodules.lasts = lasts = Memory(shape=numbers, depth=n, init=[], attrs=STYLE)
        last_write, last_read = lasts.write_port(), lasts.read_port(domain="comb")
        present, use, number, announced = Signal(), Signal(Use), Signal(numbers), Signal(numbers)
        turns = ~present | self.done
        with m.If(turns):
            m.d.sync += [present.eq(following), self.id.eq(next_.id), use.eq(next_.use)]
        with m.If(shifts):
            m.d.sync += [following.eq(order.o.valid | passes), next_.eq(Mux(order.o.valid, order.o.p, self.i_order.p))]
        m.d.comb += [
            self.next_id.eq(next_.id),
            shifts.eq(~following | turns),
            passes.eq(self.i_order.valid & shifts & ~order.o.valid),
            order.o.ready.eq(shifts),
            order.i.valid.eq(self.i_order.valid & ~passes),
            order.i.p.eq(self.i_order.p),
            self.i_order.ready.eq(order.i.ready),
            last_write.en.eq(self.i_order.valid & self.i_order.ready),
            last_write.addr.eq(self.i_order.p.id),
            last_write.data.eq(announced),
            last_read.addr.eq(self.id),
            self.last.eq(last_read.data == number),
        ]
        with m.If(last_write.en):
            m.d.sync += announced.eq(announced + 1)
        with m.If(self.done):
            m.d.sync += number.eq(number + 1)

        return present, use, *self._standing(m, turns, following)

    def _standing(self, m: Module, turns: Value, following: Value) -> tuple[Any, Signal, Signal, Signal]:
        """Return the row of the bin ``id``, and whether it is complete, opened, and must not change.

        All are looked up before its turn, and kept up to date. A bin stays complete while a use of it waits, and
        opened until its touch ends; then, or with a tuple that joins it, the next turn comes.
        """
        row = Signal(self.shapes.row)
        complete, opened, blocked = Signal(), Signal(), Signal()
        again = self.next_id == self.id

        def now(id_: Value) -> tuple[Value, Value, Value]:
            filled, head, opens = ((event.valid & (event.id == id_)) for event in (self.filled, self.head, self.opens))
            return head, filled | (head & (self.head.row.count == 0)), opens

        begins, completes, opens = now(self.id)
        next_begins, next_completes, next_opens = now(self.next_id)
        with m.If(turns):
            m.d.sync += [
                complete.eq(self.complete.bit_select(self.next_id, 1) | next_completes),
                opened.eq((self.opened.bit_select(self.next_id, 1) & ~(self.touched & again)) | next_opens),
                blocked.eq(self.flushed.valid & (self.flushed.id == self.next_id)),
            ]
            with m.If(following):  # else it would show after `erase` what the memory still holds
                own = (self.touched | self.joined) & again
                m.d.sync += row.eq(Mux(own, self.new_row, Mux(next_begins, self.head.row, self.next_row)))
        with m.Else():
            m.d.sync += [
                complete.eq(complete | completes),
                opened.eq(opened | opens),
                blocked.eq(blocked & self.flushed.valid),
            ]
            with m.If(begins):
                m.d.sync += row.eq(self.head.row)
        return row, complete, opened, blocked

    def _slot_writes(self, m: Module) -> Value:
        """Keep account of slot writes on their way; return whether one more may begin.

        They arrive in order and are numbered. The number of a bin's last one tells when the bin has none on its way.
        """
        shapes, n = self.shapes, self.shapes.entries
        m.submodules.sent = sent = Fifo(shape=shapes.id_bits, depth=WRITES)
        write_numbers = range(2 * WRITES)
        m.submodules.last_sents = last_sents = Memory(shape=write_numbers, depth=n, init=[], attrs=STYLE)
        sent_write, sent_read = last_sents.write_port(), last_sents.read_port(domain="comb")
        sending, arriving, arrived = Signal(write_numbers), Signal(write_numbers), Signal()
        m.d.comb += [
            sent.i.valid.eq(self.joined),
            sent.i.p.eq(self.id),
            sent_write.en.eq(self.joined),
            sent_write.addr.eq(self.id),
            sent_write.data.eq(sending),
            sent_read.addr.eq(sent.o.p),
            self.i_slot_written.ready.eq(sent.o.valid),
            sent.o.ready.eq(self.i_slot_written.valid),
            arrived.eq(self.i_slot_written.valid & sent.o.valid & (sent_read.data == arriving)),
        ]
        with m.If(self.joined):
            m.d.sync += sending.eq(sending + 1)
        with m.If(self.i_slot_written.valid & sent.o.valid):
            m.d.sync += arriving.eq(arriving + 1)
        m.d.sync += self.writing.eq((self.writing & ~one_hot(sent.o.p, n, arrived)) | one_hot(self.id, n, self.joined))
        return sent.i.ready
