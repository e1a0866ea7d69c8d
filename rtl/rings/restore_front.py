# amaranth: UnusedElaboratable=no
"""Where the records of a restore come in: their order, the ones to open, and what is wrong with all others."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout, View
from amaranth.lib.wiring import In, Out, connect, flipped

from omap.journal import ERA_BITS
from omap.params import Params
from omap.restore import EXPECTED, Phase
from omap.wire import RecordCodec, RecordType, Refusal
from rtl.constants import BLOCK_BITS
from rtl.rings.durable_keys import DURABLE, ERA_FIELD_BITS
from rtl.rings.handshake import KEY_BITS, REFUSAL_BITS
from rtl.rings.record import (
    HEADER_FIELDS,
    LINE_BEATS,
    NUMBER_BITS,
    RECORD_BEAT,
    SOURCE_FIELD_BEATS,
    digest_of,
    journal_nonce,
    read_header,
    record_request,
)
from rtl.rings.record_front import OPEN_KEY
from rtl.rings.record_intake import RecordIntake
from rtl.rings.source_start import SOURCE_FIELDS
from rtl.stream.fifo import Fifo
from rtl.stream.interfaces import swap_bytes

RESTORED = StructLayout({"header": HEADER_FIELDS, "refusal": REFUSAL_BITS, "runs": 1})
"""A record that awaits its answer: its header, why it is refused, or 0, and whether commands of it run before that."""

CLIENTS = (RecordType.HELLO, RecordType.CONFIRM, RecordType.DATA)


class RestoreFront(wiring.Component):
    """Demands the order of the records of a restore, as :meth:`omap.restore.Restore.take` does before it opens.

    JOURNAL and SNAPSHOT records go on at once, several after each other, if it is their turn. SOURCE, START and END
    wait until all records before them are answered, and so does what needs another key. Every record is told to where
    it is answered, in order. The first one that is refused here, but for commands of clients, ends the restore.

    Parameters
    ----------
    params : Params
        The map.

    Members
    -------
    open_ : In(1)
        Records are taken, whole ones, until END was.
    i_record : In(stream.Signature(RECORD_BEAT))
        Records of whole lines.
    o_request : Out(stream.Signature(record_request(params, more=True)))
        A record to be opened.
    o_sealed : Out(stream.Signature(128))
        Its beats. The fields of a SOURCE follow the header of what belongs to a snapshot.
    o_derive : Out(stream.Signature(DURABLE))
        A key to be derived.
    i_derived : In(stream.Signature(256))
        That key.
    o_key : Out(stream.Signature(OPEN_KEY))
        The same for the opener, which may use it when it is ready again.
    forget : Out(1)
        The key is not needed any more.
    start : Out(1)
        A START is opened, and nothing else is under way.
    of_snapshot : Out(1)
        It ends a snapshot.
    source_id, source_operation : Out(128), Out(64)
        What the last SOURCE says.
    started, altered, fits : In(1)
        What becomes of the START, see :class:`rtl.rings.restore_texts.RestoreTexts`.
    o_taken : Out(stream.Signature(RESTORED))
        Records in their order, each when it goes on, or when it is known that nothing of it runs.
    drained : In(1)
        All records that were told are answered.
    failed : In(1)
        One of them was refused for good.
    end : Out(1)
        END is taken, for a cycle.
    restored : Out(1)
        END was told.
    idle : Out(1)
        No record is here.

    Countermeasures
    ---------------
    RESTORES.ORDER.STRICT
        Each record is taken once, in order, with none missing before it.
    RESTORES.CLIENT.WAITS
        Commands of clients are refused.
    """

    def __init__(self, params: Params) -> None:
        self.params = params
        super().__init__(
            {
                "open_": In(1),
                "i_record": In(stream.Signature(RECORD_BEAT)),
                "o_request": Out(stream.Signature(record_request(params, more=True))),
                "o_sealed": Out(stream.Signature(BLOCK_BITS)),
                "o_derive": Out(stream.Signature(DURABLE)),
                "i_derived": In(stream.Signature(KEY_BITS)),
                "o_key": Out(stream.Signature(OPEN_KEY)),
                "forget": Out(1),
                "start": Out(1),
                "of_snapshot": Out(1),
                "source_id": Out(BLOCK_BITS),
                "source_operation": Out(NUMBER_BITS),
                "started": In(1),
                "altered": In(1),
                "fits": In(1),
                "o_taken": Out(stream.Signature(RESTORED)),
                "drained": In(1),
                "failed": In(1),
                "end": Out(1),
                "restored": Out(1),
                "idle": Out(1),
            }
        )

    # Long: one state machine decides about a record, and its states share the signals that stand before them.
    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.intake = intake = RecordIntake()
        m.submodules.requests = requests = Fifo(
            shape=StructLayout({"type": 8, "number": NUMBER_BITS, "lines": 8}), depth=4
        )
        connect(m, flipped(self.i_record), intake.i_record)
        phase = Signal(Phase, init=Phase.BEGIN)
        fields = Signal(SOURCE_FIELDS)
        number = Signal(NUMBER_BITS)  # of the record that comes next
        of_snapshot, goes, room = Signal(), Signal(), Signal()
        failed, over, alone = Signal(), Signal(), Signal()
        header, staying = read_header(intake.o_header.p.data), intake.o_staying
        sound, of_client, right_type, in_turn, clear, is_source, is_start, is_end, has_key = (
            Signal(name=name)
            for name in (
                *("sound", "of_client", "right_type", "in_turn", "clear"),
                *("is_source", "is_start", "is_end", "has_key"),
            )
        )
        refused, why, deciding, telling = Signal(), Signal(Refusal), Signal(), Signal()
        key = Signal(StructLayout({"here": 1, "snapshot": 1, "era": ERA_FIELD_BITS}))
        era = number[ERA_BITS:][:ERA_FIELD_BITS]
        blank, no_chunks, matches = Signal(), Signal(), Signal()
        codec = RecordCodec(self.params)
        m.d.comb += [
            intake.open_.eq(self.open_ & (phase != Phase.COMPLETE)),
            intake.goes.eq(goes),
            intake.o_header.ready.eq((goes & ~is_start) | (telling & self.o_taken.ready)),
            over.eq(failed | self.failed),
            of_snapshot.eq((phase == Phase.CHUNKS) | (phase == Phase.LAST_OF_SNAPSHOT)),
            self.of_snapshot.eq(of_snapshot),
            self.source_id.eq(fields.map_id),
            self.source_operation.eq(swap_bytes(fields.operation)),
            requests.i.valid.eq(goes),
            requests.i.p.type.eq(header.type),
            requests.i.p.number.eq(number),
            requests.i.p.lines.eq(header.lines),
            self.o_taken.valid.eq(telling | (deciding & room & intake.room)),
            self.o_taken.p.header.eq(header),
            self.o_taken.p.refusal.eq(Mux(telling & refused, why, 0)),
            self.o_taken.p.runs.eq(~telling),
            self.o_derive.p.snapshot.eq(of_snapshot),
            self.o_derive.p.map_id.eq(fields.map_id),
            self.o_derive.p.context.eq(Mux(of_snapshot, fields.export_id, era)),
            self.o_key.p.key.eq(self.i_derived.p),
        ]
        m.d.sync += room.eq(requests.level < 3)
        self._request(m, requests)
        self._seal(m, intake.o_going, fields)
        self._forget(m, over | (phase == Phase.COMPLETE))

        with m.FSM():
            with m.State("LOOK"):
                m.d.comb += self.idle.eq(intake.empty)
                with m.If(intake.o_header.valid):
                    m.next = "COMPARE"
            with m.State("COMPARE"):
                is_ = {type: header.type == type for type in RecordType}
                m.d.sync += [
                    sound.eq(~intake.o_header.p.malformed),
                    of_client.eq(Cat(is_[type] for type in CLIENTS).any()),
                    right_type.eq(
                        Cat(is_[type] & (phase == one) for type, phases in EXPECTED.items() for one in phases).any()
                    ),
                    in_turn.eq(header.sequence == number),
                    clear.eq(Cat(header.session_index, header.session, header.sequence) == 0),
                    is_source.eq(is_[RecordType.SOURCE]),
                    is_start.eq(is_[RecordType.START]),
                    is_end.eq(is_[RecordType.END]),
                    has_key.eq(key.here & (key.snapshot == of_snapshot) & (of_snapshot | (key.era == era))),
                ]
                m.next = "DECIDE"
            with m.State("DECIDE"):
                m.d.sync += refused.eq(1)
                m.next = "STAY"
                with m.If(over):
                    m.d.sync += why.eq(Refusal.RESTORE_FAILED)
                with m.Elif(~sound):
                    m.d.sync += why.eq(Refusal.MALFORMED)
                with m.Elif(of_client):
                    # SEC_CM: RESTORES.CLIENT.WAITS -- nobody takes half a map for a whole one
                    m.d.sync += why.eq(Refusal.RESTORING)
                # SEC_CM: RESTORES.ORDER.STRICT -- nothing is left out, repeated or exchanged
                with m.Elif(~right_type | ~(in_turn | is_source | is_end)):
                    m.d.sync += why.eq(Refusal.OUT_OF_TURN)
                with m.Elif((is_source | is_end) & ~clear):
                    m.d.sync += why.eq(Refusal.MALFORMED)
                with m.Elif(~alone & (is_source | is_start | is_end | ~has_key)):
                    m.next = "DRAIN"
                with m.Elif(is_source):
                    m.next = "SOURCE"
                with m.Elif(is_end):
                    m.d.comb += self.end.eq(1)
                    m.d.sync += [refused.eq(0), phase.eq(Phase.COMPLETE)]
                with m.Elif(~has_key):
                    m.next = "DERIVE"
                with m.Else():
                    m.d.comb += [
                        deciding.eq(~is_start),
                        goes.eq(room & intake.room & (is_start | self.o_taken.ready)),
                    ]
                    m.next = "DECIDE"
                    with m.If(goes):
                        m.d.sync += [number.eq(number + 1), alone.eq(0)]
                        m.next = "LOOK"
                        with m.If(is_start):
                            m.next = "START"
                        with m.Elif(of_snapshot & (number == codec.chunks - 1)):
                            m.d.sync += phase.eq(Phase.LAST_OF_SNAPSHOT)
            with m.State("DRAIN"):
                # what is still under way may turn out to be altered, or not to do what it should
                with m.If(self.drained):
                    m.d.sync += alone.eq(1)
                    m.next = "COMPARE"
            with m.State("DERIVE"):
                m.d.comb += self.o_derive.valid.eq(1)
                with m.If(self.o_derive.ready):
                    m.next = "KEY"
            with m.State("KEY"):
                m.d.comb += [self.o_key.valid.eq(self.i_derived.valid), self.i_derived.ready.eq(self.o_key.ready)]
                with m.If(self.i_derived.valid & self.o_key.ready):
                    m.next = "LOAD"
            with m.State("LOAD"):
                m.d.sync += [key.here.eq(1), key.snapshot.eq(of_snapshot), key.era.eq(era)]
                with m.If(self.o_key.ready):
                    m.next = "COMPARE"
            with m.State("SOURCE"):
                m.d.comb += staying.ready.eq(1)
                with m.If(staying.valid):  # its header moves out again
                    m.d.sync += fields.eq(Cat(fields, staying.p.data)[BLOCK_BITS:])
                    with m.If(staying.p.last):
                        m.next = "NAMED"
            with m.State("NAMED"):
                m.d.sync += [
                    key.here.eq(0),
                    blank.eq(Value.cast(fields)[BLOCK_BITS:] == 0),
                    no_chunks.eq(fields.chunks == 0),
                    matches.eq((fields.digest == digest_of(self.params)) & (swap_bytes(fields.chunks) == codec.chunks)),
                ]
                m.next = "JUDGE"
            with m.State("JUDGE"):
                m.d.sync += number.eq(0)
                with m.If(no_chunks & ~blank):
                    m.d.sync += why.eq(Refusal.MALFORMED)
                with m.Elif(no_chunks):
                    m.d.sync += [refused.eq(0), phase.eq(Phase.FIRST_OF_JOURNAL)]
                with m.Elif(phase != Phase.BEGIN):
                    m.d.sync += why.eq(Refusal.OUT_OF_TURN)
                with m.Elif(~matches):
                    m.d.sync += why.eq(Refusal.RESTORE_FAILED)
                with m.Else():
                    m.d.sync += [refused.eq(0), phase.eq(Phase.CHUNKS)]
                m.next = "TELL"
            with m.State("START"):
                m.d.comb += self.start.eq(1)
                m.d.sync += why.eq(Mux(self.altered, Refusal.ALTERED, Refusal.RESTORE_FAILED))
                with m.If(self.started):
                    m.d.sync += refused.eq(~self.fits)
                    with m.If(self.fits):
                        m.d.sync += phase.eq(Phase.JOURNAL)
                        with m.If(of_snapshot):
                            m.d.sync += number.eq(swap_bytes(fields.journal))
                    m.next = "TELL"
            with m.State("STAY"):
                m.d.comb += staying.ready.eq(1)
                with m.If(staying.valid & staying.p.last):
                    m.next = "TELL"
            with m.State("TELL"):
                m.d.comb += telling.eq(1)
                with m.If(self.o_taken.ready):
                    m.d.sync += [
                        alone.eq(0),
                        failed.eq(failed | (refused & (why != Refusal.RESTORING))),
                        self.restored.eq((phase == Phase.COMPLETE) & ~refused),
                    ]
                    m.next = "LOOK"
        return m

    def _request(self, m: Module, requests: Fifo) -> None:
        """Announce the records that go on to the opener."""
        asked, request = requests.o.p, self.o_request
        beats = asked.lines * LINE_BEATS
        m.d.comb += [
            request.valid.eq(requests.o.valid),
            request.p.nonce.eq(journal_nonce(asked.type, asked.number)),
            request.p.beats.eq(Mux(self.of_snapshot, beats + SOURCE_FIELD_BEATS, beats)),
            request.p.more.eq(self.of_snapshot),
            requests.o.ready.eq(request.ready),
        ]

    def _seal(self, m: Module, going: stream.Interface, fields: View) -> None:
        """Give the opener the records that go on, and behind the headers of a snapshot's what it was sealed for."""
        first, left, leaves = Signal(init=1), Signal(range(SOURCE_FIELD_BEATS + 1)), Signal()
        inserts = left != 0
        m.d.comb += [
            self.o_sealed.valid.eq(inserts | going.valid),
            self.o_sealed.p.eq(Mux(inserts, Value.cast(fields)[:BLOCK_BITS], going.p.data)),
            going.ready.eq(self.o_sealed.ready & ~inserts),
            leaves.eq(going.valid & going.ready),
        ]
        with m.If(leaves):
            m.d.sync += first.eq(going.p.last)
            with m.If(first & self.of_snapshot):
                m.d.sync += left.eq(SOURCE_FIELD_BEATS)
        with m.If(inserts & self.o_sealed.ready):  # after all of them, all are in their places again
            m.d.sync += [left.eq(left - 1), fields.eq(Value.cast(fields).rotate_right(BLOCK_BITS))]

    def _forget(self, m: Module, over: Value) -> None:
        """Have the key forgotten when the restore is over."""
        was = Signal()
        m.d.comb += self.forget.eq(over & ~was)
        m.d.sync += was.eq(over)
