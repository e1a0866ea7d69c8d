# amaranth: UnusedElaboratable=no
"""Where records go out: replies sealed in the order of their commands, and answers in the clear."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out, connect, flipped

from omap.params import Params
from omap.wire import HELLO_LINES, SESSIONS, Direction, RecordType, Refusal
from rtl.constants import BLOCK_BITS
from rtl.rings.record import (
    LINE_BEATS,
    SESSION_INDEX,
    TURN_BITS,
    header_beat,
    record_nonce,
    record_request,
    reply_layout,
)
from rtl.rings.record_commands import CONTEXT
from rtl.rings.record_front import ANSWER
from rtl.rings.record_replies import RecordReplies, lay_out
from rtl.stream.fifo import Fifo
from rtl.stream.interfaces import page_beat


class RecordBack(wiring.Component):
    """Makes the response records, in the order of the commands, as :class:`omap.sessions.DeviceSessions` seals them.

    A response leaves when the last reply to its record has come. It has as many lines as its command, or one if that
    is refused.

    Parameters
    ----------
    params : Params
        The map.
    in_flight : int
        Commands that can be without a reply.

    Members
    -------
    i_context : In(stream.Signature(CONTEXT))
        Records in their order. Nothing is taken while ``in_flight`` of them are without an answer.
    i_denied : In(stream.Signature(1))
        For each command of a record that is not refused, whether it was not allowed.
    i_reply : In(stream.Signature(reply_layout(params)))
        Replies to these commands.
    o_request : Out(stream.Signature(StructLayout({"key_index": range(SESSIONS), "nonce": 96, "beats": ...})))
        A record that will have to be sealed, and how many beats it has, header and tag among them.
    o_text : Out(stream.Signature(128))
        Header and text of that record.
    i_sealed : In(stream.Signature(page_beat(1)))
        The sealed record.
    i_answer : In(stream.Signature(ANSWER))
        Answer of the front. It comes when no command awaits an answer. Taken when it has departed.
    o_record : Out(stream.Signature(page_beat(1)))
        Response records.
    answered : Out(1)
        The answer to a command has departed.
    forget : Out(SESSIONS)
        Session indices whose response key is to be erased: all records before the one that ended it are answered.

    Countermeasures
    ---------------
    SESSIONS.TAMPER.ENDS
        The response key of a session goes with the refusal of the record that ended it.
    """

    def __init__(self, params: Params, *, in_flight: int) -> None:
        self.params = params
        self.in_flight = in_flight
        super().__init__(
            {
                "i_context": In(stream.Signature(CONTEXT)),
                "i_denied": In(stream.Signature(1)),
                "i_reply": In(stream.Signature(reply_layout(params))),
                "o_request": Out(stream.Signature(record_request(params))),
                "o_text": Out(stream.Signature(BLOCK_BITS)),
                "i_sealed": In(stream.Signature(page_beat(1))),
                "i_answer": In(stream.Signature(ANSWER)),
                "o_record": Out(stream.Signature(page_beat(1))),
                "answered": Out(1),
                "forget": Out(SESSIONS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.contexts = contexts = Fifo(shape=CONTEXT, depth=self.in_flight)
        m.submodules.replies = replies = RecordReplies(self.params)
        self._expect(m, contexts, replies)
        context = contexts.o.p
        refusal = Mux(context.altered, Refusal.ALTERED, Refusal.UNKNOWN_SESSION)
        header = header_beat(
            type=Mux(context.refused, RecordType.REFUSED, RecordType.DATA),
            session_index=context.session_index,
            lines=Mux(context.refused, 1, context.lines),
            count=Mux(context.refused, refusal, context.count),
            session=context.session,
            sequence=context.turn,
        )
        refused, load, sealed = Signal(), Signal(), Signal()
        sealing = Signal(4)  # records under way from here to their last beat
        m.d.comb += [
            refused.eq(contexts.o.valid & context.refused),
            sealed.eq(self.i_sealed.valid & self.i_sealed.ready & self.i_sealed.p.last),
        ]
        m.d.sync += sealing.eq(sealing + load - sealed)
        awaits = contexts.o.valid & ~refused
        m.d.comb += load.eq(lay_out(m, replies, self.o_text, awaits=awaits, header=header, lines=context.lines))
        gone = self._pass(m, refused, header, sealing == 0)
        m.d.comb += [
            contexts.o.ready.eq(load | (gone & refused)),
            self.answered.eq(sealed | (gone & refused)),
        ]
        with m.If(gone & refused & context.altered):
            # SEC_CM: SESSIONS.TAMPER.ENDS -- the sealed answers before it have departed
            m.d.comb += self.forget.bit_select(context.session_index, 1).eq(1)
        return m

    def _expect(self, m: Module, contexts: Fifo, replies: RecordReplies) -> None:
        """Tell all who have to do with a record that it is there."""
        expected, context = replies.i_expected, self.i_context.p
        turn = StructLayout({"session_index": SESSION_INDEX, "turn": TURN_BITS, "lines": 8})
        m.submodules.expected = awaited = Fifo(shape=expected.p.shape(), depth=self.in_flight)
        m.submodules.requests = requests = Fifo(shape=turn, depth=self.in_flight)
        connect(m, flipped(self.i_denied), replies.i_given)
        connect(m, flipped(self.i_reply), replies.i_reply)
        connect(m, awaited.o, expected)
        put = self.i_context.valid & self.i_context.ready
        m.d.comb += [
            # As many records are expected and requested at most as there are contexts, so there is room for them.
            self.i_context.ready.eq(contexts.i.ready & awaited.i.ready & requests.i.ready),
            contexts.i.valid.eq(put),
            contexts.i.p.eq(context),
            awaited.i.valid.eq(put & ~context.refused),
            *(awaited.i.p[name].eq(context[name]) for name, _ in expected.p.shape()),
            # Keystream is made while the commands run, so that it is ready when the last reply comes.
            requests.i.valid.eq(put & ~context.refused),
            *(requests.i.p[name].eq(context[name]) for name, _ in turn),
            self.o_request.valid.eq(requests.o.valid),
            self.o_request.p.key_index.eq(requests.o.p.session_index),
            self.o_request.p.nonce.eq(record_nonce(Direction.RESPONSE, requests.o.p.turn)),
            self.o_request.p.beats.eq(requests.o.p.lines * LINE_BEATS),
            requests.o.ready.eq(self.o_request.ready),
        ]

    def _pass(self, m: Module, refused: Value, header: Value, drained: Value) -> Value:
        """Pass on sealed records, and refusals and answers in the clear behind them; return whether one is out."""
        plain, gone, last = Signal(), Signal(), Signal()
        beat = Signal(range(LINE_BEATS * HELLO_LINES))
        data, answer = Signal(BLOCK_BITS), self.i_answer
        lines = Mux(refused, 1, answer.p.lines)
        m.d.comb += [
            last.eq(beat == Cat(Const(LINE_BEATS - 1, 2), (lines - 1)[:1])),
            gone.eq(plain & self.o_record.ready & last),
            answer.ready.eq(gone & ~refused),
            self.o_record.valid.eq(plain | self.i_sealed.valid),
            self.o_record.p.data.eq(Mux(plain, data, self.i_sealed.p.data)),
            self.o_record.p.last.eq(Mux(plain, last, self.i_sealed.p.last)),
            self.i_sealed.ready.eq(self.o_record.ready & ~plain),
        ]
        with m.Switch(beat):
            with m.Case(0):
                m.d.comb += data.eq(Mux(refused, header, answer.p.header))
            for index in range(3):
                with m.Case(1 + index):
                    m.d.comb += data.eq(Mux(refused, 0, answer.p.body.word_select(index, BLOCK_BITS)))
        with m.If(plain & self.o_record.ready):
            m.d.sync += beat.eq(Mux(last, 0, beat + 1))
        with m.If(gone):
            m.d.sync += plain.eq(0)
        # An answer in the clear waits for the sealed ones before it.
        with m.Elif(drained & ~plain & (refused | answer.valid)):
            m.d.sync += plain.eq(1)
        return gone
