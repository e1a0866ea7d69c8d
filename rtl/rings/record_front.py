# amaranth: UnusedElaboratable=no
"""Where records come in: the check of their turn, the ones to open, and the answers to all others."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out, connect, flipped

from omap.params import Params
from omap.wire import HELLO_LINES, SESSIONS, Direction, RecordType, Refusal
from rtl.constants import BLOCK_BITS
from rtl.rings.handshake import HANDSHAKE_BODY, KEPT_BITS, KEY_BITS, Handshake
from rtl.rings.record import (
    HEADER_FIELDS,
    LINE_BEATS,
    RECORD_BEAT,
    RIGHTS,
    SESSION_BITS,
    SESSION_INDEX,
    SESSION_INDEX_BITS,
    TURN_BITS,
    header_beat,
    read_header,
    record_nonce,
    record_request,
)
from rtl.rings.record_intake import RecordIntake
from rtl.rings.session_table import SessionTable
from rtl.stream.fifo import Fifo
from rtl.stream.interfaces import swap_bytes

ANSWER = StructLayout({"header": BLOCK_BITS, "body": 3 * BLOCK_BITS, "lines": range(HELLO_LINES + 1)})
"""An answer in the clear: its first four beats, and its lines, 1 or 2; the other beats are zeros."""

OPEN_KEY = StructLayout({"key_index": SESSION_INDEX, "key": KEY_BITS, "aad": BLOCK_BITS})


class RecordFront(wiring.Component):
    """Looks at every record's header, and does what :meth:`omap.sessions.DeviceSessions.open` does before it opens.

    A DATA record of an open session goes on at once if it is its turn: a request for keystream, then its beats. Any
    other record waits until every record before it is answered. Then it is looked at again, and is answered here. If it
    is out of the turn of its session, the session ends. A malformed record is answered likewise, and nothing in it
    counts but what its refusal repeats.

    An early record (:class:`rtl.rings.early_reads.EarlyReads`) comes while no other is under way. It takes its turn
    when its tag was found right. If the tag is wrong, or the record is none that would go on, it changes no turn, key
    or session. After a wrong tag no early record of this session is opened until the session has had its next turn.

    Parameters
    ----------
    params : Params
        The map.
    most : int
        Records that can be on their way between here and their answers.

    Members
    -------
    root_key, present, map_id, known, kept, i_nonce
        See :class:`rtl.rings.handshake.Handshake`.
    open_ : In(1)
        Records are taken, whole ones.
    i_record : In(stream.Signature(RECORD_BEAT))
        Records of whole lines.
    o_request : Out(stream.Signature(record_request(params)))
        A record to be opened.
    o_sealed : Out(stream.Signature(128))
        Its beats.
    o_command_key, o_response_key : Out(stream.Signature(StructLayout({"key_index": ..., "key": 256, "aad": 128})))
        Keys of a session that opens. It does when both are ready again.
    o_answer : Out(stream.Signature(ANSWER))
        An answer in the clear. All records before it are answered.
    answered : In(1)
        The answer to a record that went on has departed.
    close : In(1)
        The session at ``close_index`` is closed.
    close_index : In(range(SESSIONS))
        See ``close``.
    open_sessions : Out(SESSIONS)
        Session indices at which a session is open.
    rights_index : In(range(SESSIONS))
        Session index whose rights are looked up.
    rights : Out(RIGHTS)
        What the session at the ``rights_index`` of the cycle before may do, as long as one of its records is without
        an answer: see :class:`rtl.rings.session_table.SessionTable`.
    early : In(1)
        The record that comes was read early. High until ``sure`` or ``again``.
    judged, right : In(1)
        The tag of an early record that went on is known now; it is right.
    sure, again : Out(1)
        An early record is right and has its turn; it is to be read again. One of them for a cycle for each.
    forget : Out(SESSIONS)
        Session indices whose keys are to be erased, because a record came out of its turn.
    idle : Out(1)
        There is no record here, and all are answered.

    Countermeasures
    ---------------
    SESSIONS.RECORD.TURN
        A record is opened in its turn alone.
    SESSIONS.TAMPER.ENDS
        A record out of its turn closes its session, and its keys go.
    SESSIONS.EARLY.FORGOTTEN
        An early record that is not in its turn, or whose tag is wrong, changes nothing.
    SESSIONS.EARLY.DOUBTED
        After an early record with a wrong tag, the next record of its session that is opened is not an early one.
    """

    def __init__(self, params: Params, *, most: int) -> None:
        self.params = params
        self.most = most
        super().__init__(
            {
                "root_key": In(KEY_BITS),
                "present": In(1),
                "map_id": In(BLOCK_BITS),
                "known": Out(BLOCK_BITS),
                "kept": In(KEPT_BITS),
                "i_nonce": In(stream.Signature(BLOCK_BITS)),
                "open_": In(1),
                "i_record": In(stream.Signature(RECORD_BEAT)),
                "o_request": Out(stream.Signature(record_request(params))),
                "o_sealed": Out(stream.Signature(BLOCK_BITS)),
                "o_command_key": Out(stream.Signature(OPEN_KEY)),
                "o_response_key": Out(stream.Signature(OPEN_KEY)),
                "o_answer": Out(stream.Signature(ANSWER)),
                "answered": In(1),
                "close": In(1),
                "close_index": In(SESSION_INDEX),
                "open_sessions": Out(SESSIONS),
                "rights_index": In(SESSION_INDEX),
                "rights": Out(RIGHTS),
                "early": In(1),
                "judged": In(1),
                "right": In(1),
                "sure": Out(1),
                "again": Out(1),
                "forget": Out(SESSIONS),
                "idle": Out(1),
            }
        )

    # Long: one state machine decides about a record: its states share the signals that
    # stand before them, so methods would do no more than hand twenty signals to each other.
    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.intake = intake = RecordIntake()
        m.submodules.requests = requests = Fifo(
            shape=StructLayout({"session_index": SESSION_INDEX, "turn": TURN_BITS, "lines": 8}), depth=4
        )
        m.submodules.table = table = SessionTable()
        m.submodules.handshake = handshake = Handshake(self.params)
        connect(m, flipped(self.i_nonce), handshake.i_nonce)
        connect(m, flipped(self.i_record), intake.i_record)
        m.d.comb += [
            handshake.root_key.eq(self.root_key),
            handshake.present.eq(self.present),
            handshake.map_id.eq(self.map_id),
            self.known.eq(handshake.known),
            handshake.kept.eq(self.kept),
            self.open_sessions.eq(table.open),
            table.rights_index.eq(self.rights_index),
            self.rights.eq(table.rights),
            self.o_request.valid.eq(requests.o.valid),
            self.o_request.p.key_index.eq(requests.o.p.session_index),
            self.o_request.p.nonce.eq(record_nonce(Direction.COMMAND, requests.o.p.turn)),
            self.o_request.p.beats.eq(requests.o.p.lines * LINE_BEATS),
            requests.o.ready.eq(self.o_request.ready),
        ]

        going = Signal()  # a record goes on
        unanswered = Signal(range(self.most + 1))
        headers, beats = intake.o_header, intake.o_staying
        m.d.comb += [
            intake.open_.eq(self.open_),
            intake.goes.eq(going),
            self.o_sealed.valid.eq(intake.o_going.valid),
            self.o_sealed.p.eq(intake.o_going.p.data),
            intake.o_going.ready.eq(self.o_sealed.ready),
        ]
        dropped = Signal()  # a record that went on will not be answered
        m.d.sync += unanswered.eq(unanswered + going - self.answered - dropped)

        # One record after another: look its session up, compare, decide.
        header = read_header(headers.p.data)
        index = header.session_index[:SESSION_INDEX_BITS]
        data, hello, confirm, known, over, turn = (
            Signal(name=name) for name in ("data", "hello", "confirm", "known", "over", "turn")
        )
        alone = Signal()  # all records before this one are answered
        room, roomy = Signal(), Signal()
        place = Signal(SESSION_INDEX)
        beat = Signal(range(LINE_BEATS + 1))
        body = Signal(HANDSHAKE_BODY)
        answer = Signal(HEADER_FIELDS)
        opening = Signal()
        ending = Signal()  # the record is out of the turn of its session
        doubted, doubt = Signal(SESSIONS), Signal()  # whose early record was wrong; this one is early and of those
        done = Signal()
        m.d.comb += [
            table.close.eq(self.close | ending),
            table.close_index.eq(Mux(ending, index, self.close_index)),
            headers.ready.eq((going & ~self.early) | done),
            table.index.eq(index),
            table.use.eq((going & ~self.early) | self.sure | opening),
            table.opens.eq(opening),
            table.use_index.eq(Mux(opening, place, index)),
            table.use_session.eq(header.session),
            table.use_next.eq(Mux(opening, 0, table.row.next + 1)),
            requests.i.valid.eq(going),
            requests.i.p.session_index.eq(index),
            requests.i.p.turn.eq(header.sequence[:TURN_BITS]),
            requests.i.p.lines.eq(header.lines),
            handshake.i.p.confirm.eq(confirm),
            handshake.i.p.session.eq(header.session),
            handshake.i.p.body.eq(body),
            table.credential.eq(handshake.credential),
            table.i_replaced.p.eq(swap_bytes(Value.cast(body.second)[:SESSION_BITS])),
            self.o_command_key.p.key_index.eq(place),
            self.o_command_key.p.key.eq(handshake.o_keys.p.command),
            self.o_response_key.p.key_index.eq(place),
            self.o_response_key.p.key.eq(handshake.o_keys.p.response),
            self.o_answer.p.header.eq(header_beat(**{name: answer[name] for name, _ in HEADER_FIELDS})),
            self.o_answer.p.lines.eq(answer.lines),
        ]
        with m.If(table.use):
            m.d.sync += doubted.bit_select(table.use_index, 1).eq(0)
        m.d.sync += roomy.eq((unanswered < self.most - 1) & (requests.level < 3))
        m.d.comb += room.eq(roomy & intake.room)

        with m.FSM():
            with m.State("LOOK"):
                m.d.comb += self.idle.eq(intake.empty & (unanswered == 0))
                with m.If(headers.valid):
                    m.next = "COMPARE"
            with m.State("COMPARE"):
                sound = ~headers.p.malformed
                m.d.sync += [
                    data.eq(sound & (header.type == RecordType.DATA)),
                    hello.eq(sound & (header.type == RecordType.HELLO)),
                    confirm.eq(sound & (header.type == RecordType.CONFIRM)),
                    known.eq(
                        table.row.open & (table.row.session == header.session) & (header.session_index < SESSIONS)
                    ),
                    over.eq(header.sequence[TURN_BITS:] != 0),
                    turn.eq(table.row.next == header.sequence[: TURN_BITS + 1]),
                    doubt.eq(self.early & doubted.bit_select(index, 1)),
                ]
                m.next = "DECIDE"
            with m.State("DECIDE"):
                # SEC_CM: SESSIONS.RECORD.TURN -- each record once, none missing, in order
                with m.If(data & known & ~over & turn & ~doubt):
                    m.d.comb += going.eq(room)
                    with m.If(room):
                        m.d.sync += alone.eq(0)
                        m.next = "LOOK"
                        with m.If(self.early):
                            m.next = "JUDGE"
                # SEC_CM: SESSIONS.EARLY.FORGOTTEN -- bytes older than the counters would end an honest session
                with m.Elif(self.early):
                    m.next = "FORGET"
                with m.Elif(~alone):
                    m.next = "DRAIN"
                with m.Else():
                    # SEC_CM: SESSIONS.TAMPER.ENDS -- all records before are answered: the session and both keys go
                    m.d.comb += ending.eq(data & known & ~over)
                    with m.If(ending):
                        m.d.comb += self.forget.bit_select(index, 1).eq(1)
                    m.next = "BODY"
            with m.State("JUDGE"):
                with m.If(self.judged):
                    m.d.comb += [done.eq(1), self.sure.eq(self.right), dropped.eq(~self.right), self.again.eq(dropped)]
                    # SEC_CM: SESSIONS.EARLY.DOUBTED -- else a host could try tags for ever, each before another record
                    m.d.sync += doubted.bit_select(index, 1).eq(dropped)
                    m.next = "LOOK"
            with m.State("FORGET"):
                m.d.comb += beats.ready.eq(1)
                with m.If(beats.valid & beats.p.last):
                    m.d.comb += [done.eq(1), self.again.eq(1)]
                    m.next = "LOOK"
            with m.State("DRAIN"):
                # a record that is still under way may close the session
                with m.If(unanswered == 0):
                    m.d.sync += alone.eq(1)
                    m.next = "LOOK"
            with m.State("BODY"):
                m.d.comb += beats.ready.eq(1)
                m.d.sync += [
                    answer.eq(header),
                    answer.type.eq(RecordType.REFUSED),
                    answer.lines.eq(1),
                    answer.count.eq(Refusal.MALFORMED),
                ]
                with m.If(data):
                    m.d.sync += answer.count.eq(
                        Mux(known, Mux(over, Refusal.REKEY, Refusal.OUT_OF_TURN), Refusal.UNKNOWN_SESSION)
                    )
                with m.If(beats.valid):
                    with m.If(beat != LINE_BEATS):  # the first beat, the header, is moved out again by the fourth
                        m.d.sync += [body.eq(Cat(body, beats.p.data)[BLOCK_BITS:]), beat.eq(beat + 1)]
                    with m.If(beats.p.last):
                        m.d.sync += beat.eq(0)
                        m.next = "ANSWER"
                        with m.If(hello | confirm):
                            m.next = "SHAKE"
            with m.State("SHAKE"):
                m.d.comb += handshake.i.valid.eq(1)
                with m.If(handshake.o.valid):
                    m.d.sync += answer.count.eq(handshake.o.p.refusal)
                    with m.If(handshake.o.p.refusal == 0):
                        m.d.sync += [
                            answer.type.eq(header.type),
                            answer.lines.eq(Mux(hello, HELLO_LINES, 1)),
                            answer.session_index.eq(Mux(hello, 0, place)),
                            answer.session.eq(handshake.o.p.session),
                            answer.sequence.eq(0),
                        ]
                    m.next = "SHOOK"
                with m.Elif(handshake.o_keys.valid):
                    m.d.comb += table.i_replaced.valid.eq(1)
                    with m.If(table.i_replaced.ready):
                        m.next = "PLACE"
            with m.State("PLACE"):
                m.d.comb += [handshake.i.valid.eq(1), table.o_place.ready.eq(1)]
                with m.If(table.o_place.valid):
                    m.d.sync += place.eq(table.o_place.p)
                    m.next = "COMMAND_KEY"
            with m.State("COMMAND_KEY"):
                m.d.comb += [handshake.i.valid.eq(1), self.o_command_key.valid.eq(1)]
                with m.If(self.o_command_key.ready):
                    m.next = "RESPONSE_KEY"
            with m.State("RESPONSE_KEY"):
                m.d.comb += [handshake.i.valid.eq(1), self.o_response_key.valid.eq(1)]
                with m.If(self.o_response_key.ready):
                    m.next = "LOAD"
            with m.State("LOAD"):
                m.d.comb += handshake.i.valid.eq(1)
                with m.If(self.o_command_key.ready & self.o_response_key.ready):
                    m.d.comb += [opening.eq(1), handshake.o_keys.ready.eq(1)]
                    m.next = "SHAKE"
            with m.State("SHOOK"):
                m.d.comb += [
                    handshake.i.valid.eq(1),
                    self.o_answer.valid.eq(1),
                    self.o_answer.p.body.eq(handshake.o.p.body),
                    handshake.o.ready.eq(self.o_answer.ready),
                ]
                with m.If(self.o_answer.ready):
                    m.next = "DONE"
            with m.State("ANSWER"):
                m.d.comb += self.o_answer.valid.eq(1)
                with m.If(self.o_answer.ready):
                    m.next = "DONE"
            with m.State("DONE"):
                m.d.comb += done.eq(1)
                m.d.sync += alone.eq(0)
                m.next = "LOOK"
        return m
