# amaranth: UnusedElaboratable=no
"""Where records wait until it is decided about them: their headers on one side, their beats on the other."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl.rings.record import LINE_BEATS, RECORD_BEAT
from rtl.stream.fifo import Fifo

BEATS_KEPT = 32
"""Beats that wait for their keystream, which comes about 20 cycles after the header."""

HEADERS_KEPT = BEATS_KEPT // LINE_BEATS
"""Headers of the records that wait; a record has at least a line."""

MOST_DUE = 14
"""Records that may go on before their first beat has."""


class RecordIntake(wiring.Component):
    """Keeps the beats of records, and their headers once more, so that whoever decides sees them beforehand.

    Members
    -------
    open_ : In(1)
        Records are taken, whole ones.
    i_record : In(stream.Signature(RECORD_BEAT))
        Records of whole lines.
    o_header : Out(stream.Signature(RECORD_BEAT))
        First beat of each record. It is to be taken when it is decided about the record.
    goes : In(1)
        The record whose header is on offer goes on.
    room : Out(1)
        There is room for a record to go on, even if one went on in the cycle before.
    o_going : Out(stream.Signature(RECORD_BEAT))
        Beats of records that go on, the header among them.
    o_staying : Out(stream.Signature(RECORD_BEAT))
        Beats of a record that does not; on offer when all before it have left. Whoever takes one takes the record.
    empty : Out(1)
        No record is here.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "open_": In(1),
                "i_record": In(stream.Signature(RECORD_BEAT)),
                "o_header": Out(stream.Signature(RECORD_BEAT)),
                "goes": In(1),
                "room": Out(1),
                "o_going": Out(stream.Signature(RECORD_BEAT)),
                "o_staying": Out(stream.Signature(RECORD_BEAT)),
                "empty": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.beats = beats = Fifo(shape=RECORD_BEAT, depth=BEATS_KEPT)
        m.submodules.headers = headers = Fifo(shape=RECORD_BEAT, depth=HEADERS_KEPT)
        connect(m, headers.o, flipped(self.o_header))
        first = Signal(init=1)  # the coming beat is a header
        begin = ~first | (self.open_ & headers.i.ready)
        m.d.comb += [
            self.i_record.ready.eq(beats.i.ready & begin),
            beats.i.valid.eq(self.i_record.valid & begin),
            beats.i.p.eq(self.i_record.p),
            headers.i.valid.eq(self.i_record.valid & beats.i.ready & first & self.open_),
            headers.i.p.eq(self.i_record.p),
            self.empty.eq(~headers.o.valid & ~beats.o.valid),
        ]
        with m.If(self.i_record.valid & self.i_record.ready):
            m.d.sync += first.eq(self.i_record.p.last)

        due = Signal(range(MOST_DUE + 2))  # records that went on and have beats here
        some, leave = Signal(), Signal()
        m.d.comb += [
            some.eq(due != 0),
            leave.eq(self.o_going.valid & self.o_going.ready & beats.o.p.last),
            self.o_going.valid.eq(beats.o.valid & some),
            self.o_staying.valid.eq(beats.o.valid & ~some),
            self.o_going.p.eq(beats.o.p),
            self.o_staying.p.eq(beats.o.p),
            beats.o.ready.eq(Mux(some, self.o_going.ready, self.o_staying.ready)),
        ]
        m.d.sync += [due.eq(due + self.goes - leave), self.room.eq(due < MOST_DUE)]
        return m
