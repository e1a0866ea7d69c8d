"""Appends: a tuple joins the list of a bin, or none."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.map.bin_shapes import BinShapes
from rtl.stream.fifo import Fifo
from rtl.stream.pick import one_hot

WRITES = 64
"""Most slot writes in flight."""


class BinAppend(wiring.Component):
    """An append takes two cycles; the next of the same bin waits for four more.

    The tuple goes to HBM when it comes, and to the memory on chip a cycle later, when this is not written otherwise.

    Parameters
    ----------
    shapes : BinShapes
        Widths.

    Members
    -------
    i_turn : In(stream.Signature({"id", "number"}))
        The next append.
    due : In(1)
        All uses of its bin before it had ended, a cycle ago.
    usable : In(1)
        The first line of its bin was here, and the bin might change; 0 in the first cycle of a turn.
    count : In(range(most + 1))
        Its tuples, a cycle ago.
    appending : Out({"valid", "id", "number"})
        The append that waits for its tuple; ``number`` is the number of the use after it.
    appended, joins, tail : Out
        It has come to its end in this cycle; whether a tuple joins; which one, and its slot.
    held, joined : Out(1)
        An append waits for the memory on chip; it has a tuple.
    may_leave : In(1)
        It may leave.
    leaving : Out({"id", "number", "count"})
        Its bin, the number of the next use, and how many tuples the bin has then.
    place, item : Out
        Place to write when it leaves, if it is ``joined``.
    writing : Out(entries)
        Bins with a slot write on its way.
    exhausted : Out(1)
        A bin had no room for one more tuple, which was lost. Stays.
    i_append, o_slot_write, i_slot_written, i_free_slot
        As in :class:`~rtl.map.waiting.WaitingBins`.
    """

    def __init__(self, shapes: BinShapes) -> None:
        self.shapes = shapes
        entry, slot = shapes.entry_bits, shapes.slot_bits
        super().__init__(
            {
                "i_turn": In(stream.Signature(shapes.turn)),
                "due": In(1),
                "usable": In(1),
                "count": In(shapes.count),
                "appending": Out(shapes.some_turn),
                "appended": Out(1),
                "joins": Out(1),
                "tail": Out(shapes.item),
                "held": Out(1),
                "joined": Out(1),
                "may_leave": In(1),
                "leaving": Out(shapes.leaving),
                "place": Out(shapes.place),
                "item": Out(shapes.item),
                "writing": Out(shapes.entries),
                "exhausted": Out(1),
                "i_append": In(stream.Signature(StructLayout({"present": 1, "entry": entry}))),
                "o_slot_write": Out(stream.Signature(StructLayout({"slot": slot, "data": entry}))),
                "i_slot_written": In(stream.Signature(0)),
                "i_free_slot": In(stream.Signature(slot)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        shapes, turn, append = self.shapes, self.i_turn, self.i_append
        appending, count, room = self.appending, Signal(shapes.count), Signal()
        begins, here, writes, at = Signal(), Signal(), Signal(), Signal(shapes.place_bits)
        may_write = self._slot_writes(m, writes)
        m.d.comb += [
            begins.eq(turn.valid & self.due & self.usable & ~appending.valid),
            turn.ready.eq(begins),
            here.eq(appending.valid & append.valid & ~self.held),
            self.joins.eq(append.p.present & room),
            self.o_slot_write.valid.eq(here & self.joins & self.i_free_slot.valid & may_write),
            self.o_slot_write.p.slot.eq(self.i_free_slot.p),
            self.o_slot_write.p.data.eq(append.p.entry),
            writes.eq(self.o_slot_write.valid & self.o_slot_write.ready),
            # whether or not one is on offer: the free lists tell a taker that waits in vain
            self.i_free_slot.ready.eq(here & self.joins & may_write & self.o_slot_write.ready),
            self.appended.eq(writes | (here & ~self.joins)),
            append.ready.eq(self.appended),
            self.tail.entry.eq(append.p.entry),
            self.tail.slot.eq(self.i_free_slot.p),
            self.place.id.eq(self.leaving.id),
            self.place.place.eq(at),
        ]
        with m.If(here & append.p.present & ~room):
            m.d.sync += self.exhausted.eq(1)
        with m.If(begins):
            m.d.sync += [
                appending.valid.eq(1),
                appending.id.eq(turn.p.id),
                appending.number.eq(turn.p.number + 1),
                count.eq(self.count),
                room.eq(self.count != shapes.most),
            ]
        with m.Elif(self.appended):
            m.d.sync += appending.valid.eq(0)
        with m.If(self.appended):
            m.d.sync += [
                self.held.eq(1),
                self.joined.eq(self.joins),
                self.leaving.id.eq(appending.id),
                self.leaving.number.eq(appending.number),
                self.leaving.count.eq(count + 1),
                at.eq(count),
                self.item.eq(self.tail),
            ]
        with m.Elif(self.may_leave):
            m.d.sync += self.held.eq(0)
        return m

    def _slot_writes(self, m: Module, writes: Value) -> Value:
        """Keep account of slot writes on their way; return whether one more may begin.

        They arrive in order and are numbered. The number of a bin's last one tells when the bin has none on its way.
        """
        shapes, n, id_ = self.shapes, self.shapes.entries, self.appending.id
        m.submodules.sent = sent = Fifo(shape=shapes.id_bits, depth=WRITES)
        numbers, style = range(2 * WRITES), {"ram_style": "distributed"}
        m.submodules.last_sents = last_sents = Memory(shape=numbers, depth=n, init=[], attrs=style)
        sent_write, sent_read = last_sents.write_port(), last_sents.read_port(domain="comb")
        sending, arriving, arrived = Signal(numbers), Signal(numbers), Signal()
        m.d.comb += [
            sent.i.valid.eq(writes),
            sent.i.p.eq(id_),
            sent_write.en.eq(writes),
            sent_write.addr.eq(id_),
            sent_write.data.eq(sending),
            sent_read.addr.eq(sent.o.p),
            self.i_slot_written.ready.eq(sent.o.valid),
            sent.o.ready.eq(self.i_slot_written.valid),
            arrived.eq(self.i_slot_written.valid & sent.o.valid & (sent_read.data == arriving)),
        ]
        with m.If(writes):
            m.d.sync += sending.eq(sending + 1)
        with m.If(self.i_slot_written.valid & sent.o.valid):
            m.d.sync += arriving.eq(arriving + 1)
        m.d.sync += self.writing.eq((self.writing & ~one_hot(sent.o.p, n, arrived)) | one_hot(id_, n, writes))
        return sent.i.ready
