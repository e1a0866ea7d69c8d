# amaranth: UnusedElaboratable=no
"""The journal of the map, and its snapshots: what the host keeps of it on its disk, sealed."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import enum, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from omap.journal import ERA_BITS
from omap.params import Params
from omap.wire import MOST_ANCESTORS, RecordCodec, RecordType
from rtl.constants import BLOCK_BITS
from rtl.crypto.kdf import KEY_BITS
from rtl.rings.durable_keys import DURABLE, ERA_FIELD_BITS
from rtl.rings.journal_sealer import JournalSealer
from rtl.rings.journal_texts import JournalTexts
from rtl.rings.lineage import ANCESTOR, ANCESTORS
from rtl.rings.record import NUMBER_BITS, command_layout, reply_layout
from rtl.rings.record_commands import CONTEXT
from rtl.rings.source_start import SOURCE_BEATS, StartText, source_beats
from rtl.stream.interfaces import page_beat, require_whole

ROOM_CYCLES = 8
"""Cycles from the last beat of a record until ``room`` and ``fits`` know of it."""


class Coming(enum.Enum, shape=2):
    """What is written next, where nothing else is under way."""

    SOURCE = 0
    CHUNK = 1
    START = 2
    NOTHING = 3


class JournalBack(wiring.Component):
    """Writes the journal of a map, as :class:`omap.journal.Journal`, and snapshots, as :func:`omap.snapshot.snapshot`.

    The journal begins with SOURCE and START. Then there is a record for each one whose commands run, of its lines and
    its count. It leaves when the last reply has come, in the time in which :class:`rtl.rings.record_back.RecordBack`
    answers. Its key follows from the root key, and is derived anew when it has sealed as many records as it may; the
    record that comes then waits for that.

    A snapshot is written between two records of commands, one record after the other. Each waits until the ring has
    room, and so do SOURCE and START of the journal.

    Parameters
    ----------
    params : Params
        The map.
    in_flight : int
        Commands that can be without a reply.
    era_bits : int
        log2 of the records that one key seals. Anything but the default is for tests.

    Members
    -------
    map_id : In(128)
        Id of the map, still from ``begin`` on.
    count, index, ancestor : In(range(17)), Out(range(16)), In(ANCESTOR)
        The map's ancestors, still from ``begin`` on: see :class:`rtl.rings.lineage.Lineage`.
    o_derive : Out(stream.Signature(DURABLE))
        A key that is to be derived.
    i_key : In(stream.Signature(256))
        That key.
    begin : In(1)
        The map is there: its journal begins. Stays until ``begun``.
    begun : Out(1)
        SOURCE and START have left, and all records of commands that are here have room in the ring.
    room : In(1)
        The ring has room for the longest record, besides all that was written.
    fits : In(1)
        The ring has room for what the commands that are here will write. Both know of a record 8 cycles after it left.
    export : In(1)
        For a cycle, after ``begun``: a snapshot begins. No record, command or reply is under way before ``exported``.
    i_export_id : In(stream.Signature(128))
        The snapshot's id, after ``export``.
    operation : In(64)
        Number of the next operation, as clients see it, still from ``export`` to ``exported``.
    i_slot : In(stream.Signature(command_layout(params)))
        All slots of the map, and NOPs with zeros that fill the last chunk.
    exported : Out(1)
        For a cycle: the snapshot has left, and all records of commands that are here have room in the ring.
    i_context : In(stream.Signature(CONTEXT))
        Records in their order.
    i_command : In(stream.Signature(command_layout(params)))
        The commands of those that are not refused, as they run. They come before their replies.
    i_reply : In(stream.Signature(reply_layout(params)))
        A reply to each.
    o_record : Out(stream.Signature(page_beat(1)))
        Records of the journal and of snapshots.
    journalled : Out(1)
        The last beat of a record for commands is taken.

    Countermeasures
    ---------------
    JOURNALS.NONCE.UNIQUE
        Each era has a key of its own.
    JOURNALS.ROOM.RESERVED
        No command runs before there is room for its record behind a snapshot, or behind the journal's beginning.
    """

    def __init__(self, params: Params, *, in_flight: int, era_bits: int = ERA_BITS) -> None:
        require_whole("era_bits", era_bits, 1, ERA_BITS)
        self.params, self.in_flight, self.era_bits = params, in_flight, era_bits
        super().__init__(
            {
                "map_id": In(BLOCK_BITS),
                "count": In(ANCESTORS),
                "index": Out(range(MOST_ANCESTORS)),
                "ancestor": In(ANCESTOR),
                "o_derive": Out(stream.Signature(DURABLE)),
                "i_key": In(stream.Signature(KEY_BITS)),
                "begin": In(1),
                "begun": Out(1),
                "room": In(1),
                "fits": In(1),
                "export": In(1),
                "i_export_id": In(stream.Signature(BLOCK_BITS)),
                "operation": In(NUMBER_BITS),
                "i_slot": In(stream.Signature(command_layout(params))),
                "exported": Out(1),
                "i_context": In(stream.Signature(CONTEXT)),
                "i_command": In(stream.Signature(command_layout(params))),
                "i_reply": In(stream.Signature(reply_layout(params))),
                "o_record": Out(stream.Signature(page_beat(1))),
                "journalled": Out(1),
            }
        )

    # Long: one state machine writes all there is, and its states share the signals that stand before them.
    def elaborate(self, platform: object) -> Module:
        m, codec = Module(), RecordCodec(self.params)
        m.submodules.sealer = sealer = JournalSealer(self.params)
        m.submodules.texts = texts = JournalTexts(self.params, in_flight=self.in_flight)
        m.submodules.start = start = StartText(self.params)
        for name in ("i_context", "i_command", "i_reply", "i_slot"):
            connect(m, flipped(getattr(self, name)), getattr(texts, name))

        number, chunk = Signal(NUMBER_BITS), Signal(NUMBER_BITS)  # of the next record of the journal, of the next chunk
        exporting, export_id = Signal(), Signal(BLOCK_BITS)
        coming, starting = Signal(Coming), Signal()
        alone, fresh = Signal(), Signal()  # the record that comes now is asked for; the key has sealed nothing yet
        ask, asked, left = Signal(), Signal(), Signal()
        under_way = Signal(range(self.in_flight + 17))  # records from their request to their last beat
        beat, source_on = Signal(range(SOURCE_BEATS)), Signal()
        source = source_beats(
            self.params,
            map_id=self.map_id,
            export_id=export_id,
            operation=self.operation,
            number=number,
            snapshot=exporting,
        )
        request, era = sealer.i_request, number[self.era_bits :][:ERA_FIELD_BITS]
        m.d.comb += [
            self.o_derive.p.snapshot.eq(exporting),
            self.o_derive.p.map_id.eq(self.map_id),
            # SEC_CM: JOURNALS.NONCE.UNIQUE -- each era has a key of its own, in which numbers may come again
            self.o_derive.p.context.eq(Mux(exporting, export_id, era)),
            sealer.i_key.p.snapshot.eq(exporting),
            sealer.i_key.p.key.eq(self.i_key.p),
            sealer.fields.eq(Cat(source[1:])),
            texts.exporting.eq(exporting),
            texts.chunk.eq(chunk),
            start.map_id.eq(self.map_id),
            start.sequence.eq(Mux(exporting, chunk, 0)),
            start.count.eq(self.count),
            start.ancestor.eq(self.ancestor),
            self.index.eq(start.index),
            starting.eq(coming == Coming.START),
            request.valid.eq(alone | (ask & texts.o_lines.valid)),
            request.p.snapshot.eq(exporting),
            request.p.type.eq(
                Mux(alone & starting, RecordType.START, Mux(exporting, RecordType.SNAPSHOT, RecordType.JOURNAL))
            ),
            request.p.number.eq(Mux(exporting, chunk, number)),
            request.p.lines.eq(Mux(alone, Mux(starting, start.lines, codec.chunk_lines), texts.o_lines.p)),
            texts.o_lines.ready.eq(ask & request.ready),
            asked.eq(request.valid & request.ready),
            sealer.i_text.valid.eq(Mux(starting, start.o.valid, texts.o_text.valid)),
            sealer.i_text.p.eq(Mux(starting, start.o.p, texts.o_text.p)),
            start.o.ready.eq(sealer.i_text.ready & starting),
            texts.o_text.ready.eq(sealer.i_text.ready & ~starting),
            self.o_record.valid.eq(source_on | sealer.o_record.valid),
            self.o_record.p.data.eq(Mux(source_on, Array(source)[beat], sealer.o_record.p.data)),
            self.o_record.p.last.eq(Mux(source_on, beat == SOURCE_BEATS - 1, sealer.o_record.p.last)),
            sealer.o_record.ready.eq(self.o_record.ready & ~source_on),
            left.eq(sealer.o_record.valid & sealer.o_record.ready & sealer.o_record.p.last),
            self.journalled.eq(left & self.begun & ~exporting),
        ]
        m.d.sync += under_way.eq(under_way + asked - left)
        with m.If(asked & ~exporting):
            m.d.sync += number.eq(number + 1)
        with m.If(asked & ~starting & exporting):
            m.d.sync += chunk.eq(chunk + 1)

        wait = Signal(range(ROOM_CYCLES))
        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.begin):
                    m.next = "DERIVE"
            with m.State("DERIVE"):
                m.d.comb += self.o_derive.valid.eq(1)
                with m.If(self.o_derive.ready):
                    m.next = "KEY"
            with m.State("KEY"):
                m.d.comb += [sealer.i_key.valid.eq(self.i_key.valid), self.i_key.ready.eq(sealer.i_key.ready)]
                with m.If(self.i_key.valid & sealer.i_key.ready):
                    m.next = "LOAD"
            with m.State("LOAD"):
                with m.If(~exporting):
                    m.d.sync += fresh.eq(1)
                with m.If(sealer.i_key.ready):
                    m.next = "WAIT"
                    with m.If(self.begun & ~exporting):
                        m.next = "RUN"

            # One record after the other, each when there is room.
            with m.State("WAIT"):
                m.d.sync += wait.eq(wait + 1)
                with m.If(wait == ROOM_CYCLES - 1):
                    m.next = "ROOM"
            with m.State("ROOM"):
                with m.If(coming == Coming.NOTHING):
                    # SEC_CM: JOURNALS.ROOM.RESERVED -- what commands will write had given way to what was written here
                    with m.If(self.fits):
                        m.d.comb += self.exported.eq(exporting)
                        m.d.sync += [self.begun.eq(1), exporting.eq(0)]
                        m.next = "RUN"
                with m.Elif(self.room):
                    with m.Switch(coming):
                        for kind in (Coming.SOURCE, Coming.CHUNK, Coming.START):
                            with m.Case(kind):
                                m.next = kind.name
            with m.State("SOURCE"):
                m.d.comb += source_on.eq(1)
                with m.If(self.o_record.ready):
                    m.d.sync += beat.eq(beat + 1)
                    with m.If(self.o_record.p.last):
                        m.d.sync += coming.eq(Mux(exporting, Coming.CHUNK, Coming.START))
                        m.next = "WAIT"
            with m.State("CHUNK"):
                m.d.comb += texts.give.eq(1)
                with m.If(texts.given):
                    m.next = "REQUEST"
            with m.State("START"):
                m.d.comb += start.begin.eq(1)
                m.next = "REQUEST"
            with m.State("REQUEST"):
                m.d.comb += alone.eq(1)
                with m.If(request.ready):
                    m.next = "LEAVE"
            with m.State("LEAVE"):
                with m.If(under_way == 0):
                    m.next = "WAIT"
                    with m.If(starting):
                        m.d.sync += coming.eq(Coming.NOTHING)
                    with m.Elif(chunk == codec.chunks):
                        m.d.sync += coming.eq(Coming.START)

            with m.State("RUN"):
                m.d.comb += ask.eq(fresh | (number[: self.era_bits] != 0))
                with m.If(asked):
                    m.d.sync += fresh.eq(0)
                with m.If(self.export):
                    m.d.sync += [exporting.eq(1), chunk.eq(0), coming.eq(Coming.SOURCE)]
                    m.next = "EXPORT"
                with m.Elif(~ask & texts.o_lines.valid):
                    m.next = "DRAIN"
            with m.State("DRAIN"):
                with m.If(under_way == 0):
                    m.next = "DERIVE"
            with m.State("EXPORT"):
                m.d.comb += self.i_export_id.ready.eq(1)
                m.d.sync += export_id.eq(self.i_export_id.p)
                with m.If(self.i_export_id.valid):
                    m.next = "DERIVE"
        return m
