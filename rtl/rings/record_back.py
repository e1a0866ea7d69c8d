"""Where records go out: replies sealed in the order of their commands, and answers in the clear."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out, connect, flipped

from omap.params import Params
from omap.wire import SESSIONS, Direction, RecordCodec, RecordType, Refusal
from rtl.constants import BLOCK_BITS, BLOCK_BYTES
from rtl.rings.record import SESSION_INDEX, TURN_BITS, header_beat, record_nonce, reply_layout, reply_text
from rtl.rings.record_front import ANSWER
from rtl.rings.session_table import SESSION_BITS
from rtl.stream.fifo import Fifo
from rtl.stream.interfaces import NONCE_BITS, page_beat

REPLIES_KEPT = 4

CONTEXT = StructLayout(
    {"session_index": SESSION_INDEX, "session": SESSION_BITS, "turn": TURN_BITS, "refused": 1, "altered": 1}
)
"""A command that awaits its answer: fields of its header, whether it is refused because its session was closed when it
was opened, and whether it is refused because its tag was wrong, which ends its session."""


class RecordBack(wiring.Component):
    """Makes the response records, in the order of the commands, as :meth:`omap.session.DeviceSessions.seal` does.

    Parameters
    ----------
    params : Params
        The map.
    in_flight : int
        Commands that can be without a reply.

    Members
    -------
    i_context : In(stream.Signature(CONTEXT))
        Commands in their order. Nothing is taken while ``in_flight`` of them are without a reply.
    i_reply : In(stream.Signature(reply_layout(params)))
        Replies to the commands that are not refused.
    o_request : Out(stream.Signature(StructLayout({"key_index": range(SESSIONS), "nonce": 96})))
        A record that will have to be sealed.
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
                "i_reply": In(stream.Signature(reply_layout(params))),
                "o_request": Out(stream.Signature(StructLayout({"key_index": SESSION_INDEX, "nonce": NONCE_BITS}))),
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
        turn = StructLayout({"session_index": SESSION_INDEX, "turn": TURN_BITS})
        m.submodules.contexts = contexts = Fifo(shape=CONTEXT, depth=self.in_flight)
        m.submodules.requests = requests = Fifo(shape=turn, depth=self.in_flight)
        m.submodules.replies = replies = Fifo(shape=reply_layout(self.params), depth=REPLIES_KEPT)
        connect(m, flipped(self.i_reply), replies.i)
        # Keystream is made while the command runs, so that it is ready when the reply comes.
        put = self.i_context.valid & self.i_context.ready
        m.d.comb += [
            self.i_context.ready.eq(contexts.i.ready & requests.i.ready),
            contexts.i.valid.eq(put),
            contexts.i.p.eq(self.i_context.p),
            requests.i.valid.eq(put & ~self.i_context.p.refused),
            requests.i.p.session_index.eq(self.i_context.p.session_index),
            requests.i.p.turn.eq(self.i_context.p.turn),
            self.o_request.valid.eq(requests.o.valid),
            self.o_request.p.key_index.eq(requests.o.p.session_index),
            self.o_request.p.nonce.eq(record_nonce(Direction.RESPONSE, requests.o.p.turn)),
            requests.o.ready.eq(self.o_request.ready),
        ]

        beats = RecordCodec(self.params).record_bytes // BLOCK_BYTES
        context = contexts.o.p
        head = Mux(context.refused, RecordType.REFUSED, RecordType.DATA)
        code = Mux(context.refused, Mux(context.altered, Refusal.ALTERED, Refusal.UNKNOWN_SESSION), 0)
        header = header_beat(
            type=head, session_index=context.session_index, code=code, session=context.session, sequence=context.turn
        )
        text = Signal((beats - 1) * BLOCK_BITS)
        remaining = Signal(range(beats))  # beats of the text
        sealing = Signal(4)  # records under way from here to their last beat
        plain = Signal()
        load, sealed = Signal(), Signal()
        m.d.comb += [
            # SEC_CM: SESSIONS.TIME.CONST -- a reply leaves when it comes, whatever it says
            load.eq((remaining == 0) & contexts.o.valid & ~context.refused & replies.o.valid),
            replies.o.ready.eq(load),
            self.o_text.valid.eq(remaining != 0),
            self.o_text.p.eq(text[:BLOCK_BITS]),
            sealed.eq(self.i_sealed.valid & self.i_sealed.ready & self.i_sealed.p.last),
        ]
        m.d.sync += sealing.eq(sealing + load - sealed)
        with m.If(load):
            m.d.sync += [text.eq(Cat(header, reply_text(self.params, replies.o.p))), remaining.eq(beats - 1)]
        with m.Elif(self.o_text.valid & self.o_text.ready):
            m.d.sync += [text.eq(text >> BLOCK_BITS), remaining.eq(remaining - 1)]

        # An answer in the clear waits for the sealed ones before it.
        beat = Signal(range(beats))
        last = beat == beats - 1
        quiet = Signal()
        gone = Signal()
        answer = self.i_answer
        refused = contexts.o.valid & context.refused
        body = [answer.p.body.word_select(index, BLOCK_BITS) for index in range(3)]
        data = Signal(BLOCK_BITS)
        m.d.comb += [quiet.eq((sealing == 0) & ~plain), gone.eq(plain & self.o_record.ready & last)]
        with m.Switch(beat):
            with m.Case(0):
                m.d.comb += data.eq(Mux(refused, header, answer.p.header))
            for index in range(3):
                with m.Case(1 + index):
                    m.d.comb += data.eq(Mux(refused, 0, body[index]))
        m.d.comb += [
            self.o_record.valid.eq(plain | self.i_sealed.valid),
            self.o_record.p.data.eq(Mux(plain, data, self.i_sealed.p.data)),
            self.o_record.p.last.eq(Mux(plain, last, self.i_sealed.p.last)),
            self.i_sealed.ready.eq(self.o_record.ready & ~plain),
            answer.ready.eq(gone & ~refused),
            contexts.o.ready.eq(load | (gone & refused)),
            self.answered.eq(sealed | (gone & refused)),
        ]
        with m.If(gone & refused & context.altered):
            # SEC_CM: SESSIONS.TAMPER.ENDS -- the sealed answers before it have departed
            m.d.comb += self.forget.bit_select(context.session_index, 1).eq(1)
        with m.If(plain & self.o_record.ready):
            m.d.sync += beat.eq(Mux(last, 0, beat + 1))
        with m.If(gone):
            m.d.sync += plain.eq(0)
        with m.Elif(quiet & (refused | answer.valid)):
            m.d.sync += plain.eq(1)
        return m
