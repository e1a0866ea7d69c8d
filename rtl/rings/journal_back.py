# amaranth: UnusedElaboratable=no
"""The journal of the map: what each record changed, sealed for the host's disk."""

from __future__ import annotations

from amaranth.hdl import Array, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import View
from amaranth.lib.wiring import In, Out, connect, flipped

from omap.crypto import MAP_ID_BYTES
from omap.journal import ERA_BITS
from omap.kdf import JOURNAL
from omap.lineage import NO_ANCESTORS, start_text
from omap.operations import Kind, Status
from omap.params import Params
from omap.source import SOURCE_HEADER
from omap.wire import HEADER, LINE_BYTES, SOURCE_LINES, Header, RecordCodec, RecordType
from rtl.constants import BLOCK_BITS, BLOCK_BYTES
from rtl.crypto.gcm import GcmSeal
from rtl.crypto.kdf import KEY_BITS, Kdf, fixed_input
from rtl.rings.record import (
    LINE_BEATS,
    START_LINES,
    command_layout,
    effect_item,
    header_beat,
    journal_nonce,
    reply_layout,
)
from rtl.rings.record_commands import CONTEXT
from rtl.rings.record_replies import RecordReplies, lay_out
from rtl.stream.fifo import Fifo
from rtl.stream.interfaces import page_beat, require_whole, swap_bytes

NUMBER_BITS = 64
"""Bits of the number of a record."""


class JournalItems(RecordReplies):
    """Gathers what the commands of one record after the other changed, as :func:`omap.journal.effects` says.

    Parameters
    ----------
    params : Params
        The map.

    Members
    -------
    i_given : In(stream.Signature(command_layout(params)))
        Each command, as it ran.
    i_expected, i_reply, complete, o_preamble, o_items
        As :class:`rtl.rings.record_replies.RecordReplies` has them.

    Countermeasures
    ---------------
    JOURNALS.EFFECTS.UNIFORM
        Each operation has its item.
    """

    def __init__(self, params: Params) -> None:
        self.given = command_layout(params)
        super().__init__(params)

    def _tell(self, reply: View) -> tuple[Value, dict[str, Value]]:
        given = self.i_given.p
        puts = given.kind == Kind.PUT
        # SEC_CM: JOURNALS.EFFECTS.UNIFORM -- an item for each operation, whatever it is and whatever it found
        changed = (puts | (given.kind == Kind.DELETE)) & (reply.status == Status.OK)
        item = effect_item(
            self.params,
            kind=Mux(changed, given.kind, Kind.NOP),
            key=Mux(changed, given.key, 0),
            value=Mux(changed & puts, given.value, 0),
        )
        return item, {"overruns": Const(0), "live": Const(0)}


class JournalBack(wiring.Component):
    """Writes the journal of a map without ancestors. Must equal :class:`omap.journal.Journal`.

    The journal begins with SOURCE and START. Then there is a record for each one whose commands run, of its lines and
    its count. It leaves when the last reply has come, in the time in which :class:`rtl.rings.record_back.RecordBack`
    answers. Its key follows from the root key, and is derived anew when it has sealed as many records as it may; the
    record that comes then waits for that.

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
    root_key : In(256)
        Root key.
    map_id : In(128)
        Id of the map, still from ``begin`` on.
    begin : In(1)
        The map is formatted, and there is room in the ring: the journal begins. A cycle of it is enough.
    begun : Out(1)
        SOURCE and START have left.
    i_context : In(stream.Signature(CONTEXT))
        Records in their order.
    i_command : In(stream.Signature(command_layout(params)))
        The commands of those that are not refused, as they run. They come before their replies.
    i_reply : In(stream.Signature(reply_layout(params)))
        A reply to each.
    o_record : Out(stream.Signature(page_beat(1)))
        Records of the journal.
    journalled : Out(1)
        The last beat of a record for commands is taken.

    Countermeasures
    ---------------
    JOURNALS.NONCE.UNIQUE
        Type and number of a record make its nonce, and the era of the number makes its key.
    """

    def __init__(self, params: Params, *, in_flight: int, era_bits: int = ERA_BITS) -> None:
        require_whole("era_bits", era_bits, 1, ERA_BITS)
        self.params, self.in_flight, self.era_bits = params, in_flight, era_bits
        super().__init__(
            {
                "root_key": In(KEY_BITS),
                "map_id": In(BLOCK_BITS),
                "begin": In(1),
                "begun": Out(1),
                "i_context": In(stream.Signature(CONTEXT)),
                "i_command": In(stream.Signature(command_layout(params))),
                "i_reply": In(stream.Signature(reply_layout(params))),
                "o_record": Out(stream.Signature(page_beat(1))),
                "journalled": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        sealed_bytes = RecordCodec(self.params).most_lines * LINE_BYTES
        m.submodules.kdf = kdf = Kdf(fixed_bytes=JOURNAL.fixed_bytes, output_bytes=JOURNAL.length)
        m.submodules.sealer = sealer = GcmSeal(
            sealed_bytes=sealed_bytes, header_bytes=HEADER.size, keys=1, lengths=True
        )
        m.submodules.items = items = JournalItems(self.params)
        m.submodules.given = given = Fifo(shape=items.given, depth=self.in_flight, ram_style="block")
        m.submodules.contexts = contexts = Fifo(shape=self.i_context.p.shape(), depth=self.in_flight)
        m.submodules.expected = expected = Fifo(shape=items.i_expected.p.shape(), depth=self.in_flight)
        m.submodules.requests = requests = Fifo(shape=8, depth=self.in_flight)
        connect(m, flipped(self.i_reply), items.i_reply)
        connect(m, flipped(self.i_command), given.i)
        connect(m, given.o, items.i_given)
        connect(m, expected.o, items.i_expected)

        put = Signal()
        m.d.comb += [
            self.i_context.ready.eq(contexts.i.ready & expected.i.ready & requests.i.ready),
            put.eq(self.i_context.valid & self.i_context.ready & ~self.i_context.p.refused),
            contexts.i.valid.eq(put),
            contexts.i.p.lines.eq(self.i_context.p.lines),
            contexts.i.p.count.eq(self.i_context.p.count),
            expected.i.valid.eq(put),
            expected.i.p.count.eq(self.i_context.p.count),
            requests.i.valid.eq(put),
            requests.i.p.eq(self.i_context.p.lines),
        ]

        # Numbers of the next record to be requested, and of the next one whose text is laid out.
        number, laid_number = Signal(NUMBER_BITS), Signal(NUMBER_BITS, init=1)
        text, load = stream.Signature(BLOCK_BITS).create(), Signal()
        context = contexts.o.p
        header = self._header(RecordType.JOURNAL, lines=context.lines, count=context.count, number=laid_number)
        m.d.comb += [
            load.eq(lay_out(m, items, text, awaits=contexts.o.valid, header=header, lines=context.lines)),
            contexts.o.ready.eq(load),
        ]
        with m.If(load):
            m.d.sync += laid_number.eq(laid_number + 1)

        starting, start_text_on, source_on = Signal(), Signal(), Signal()
        beat, fresh = Signal(range(LINE_BEATS * max(SOURCE_LINES, START_LINES))), Signal()
        under_way = Signal(range(self.in_flight + 17))  # records from their request to their last beat
        ask, asked, sealed = Signal(), Signal(), Signal()
        request, era = sealer.i_request, number[self.era_bits :][:32]
        m.d.comb += [
            kdf.i.p.key.eq(self.root_key),
            # SEC_CM: JOURNALS.NONCE.UNIQUE -- type and number are in every nonce, so none repeats under one key
            kdf.i.p.fixed.eq(fixed_input(JOURNAL, self.map_id, swap_bytes(era))),
            sealer.i_key.p.key.eq(kdf.o.p),
            request.p.nonce.eq(journal_nonce(Mux(starting, Const(RecordType.START, 8), RecordType.JOURNAL), number)),
            request.p.beats.eq(Mux(starting, LINE_BEATS * START_LINES, requests.o.p * LINE_BEATS)),
            request.valid.eq(starting | (ask & requests.o.valid)),
            requests.o.ready.eq(ask & request.ready),
            asked.eq(request.valid & request.ready),
            sealer.i_text.valid.eq(start_text_on | text.valid),
            sealer.i_text.p.eq(Mux(start_text_on, self._start(beat), text.p)),
            text.ready.eq(sealer.i_text.ready & ~start_text_on),
            self.o_record.valid.eq(source_on | sealer.o_sealed.valid),
            self.o_record.p.data.eq(Mux(source_on, self._source(beat), sealer.o_sealed.p.data)),
            self.o_record.p.last.eq(Mux(source_on, beat == LINE_BEATS * SOURCE_LINES - 1, sealer.o_sealed.p.last)),
            sealer.o_sealed.ready.eq(self.o_record.ready & ~source_on),
            sealed.eq(sealer.o_sealed.valid & sealer.o_sealed.ready & sealer.o_sealed.p.last),
            self.journalled.eq(sealed & self.begun),
        ]
        m.d.sync += [number.eq(number + asked), under_way.eq(under_way + asked - sealed)]

        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.begin):
                    m.next = "DERIVE"
            with m.State("DERIVE"):
                m.d.comb += kdf.i.valid.eq(1)
                with m.If(kdf.i.ready):
                    m.next = "KEY"
            with m.State("KEY"):
                m.d.comb += [sealer.i_key.valid.eq(kdf.o.valid), kdf.o.ready.eq(sealer.i_key.ready)]
                with m.If(kdf.o.valid & sealer.i_key.ready):
                    m.next = "LOAD"
            with m.State("LOAD"):
                m.d.sync += [beat.eq(0), fresh.eq(1)]
                with m.If(sealer.i_key.ready):
                    m.next = "SOURCE"
                    with m.If(self.begun):
                        m.next = "RUN"
            with m.State("SOURCE"):
                m.d.comb += source_on.eq(1)
                with m.If(self.o_record.ready):
                    m.d.sync += beat.eq(beat + 1)
                    with m.If(self.o_record.p.last):
                        m.d.sync += beat.eq(0)
                        m.next = "REQUEST"
            with m.State("REQUEST"):
                m.d.comb += starting.eq(1)
                with m.If(request.ready):
                    m.next = "START"
            with m.State("START"):
                m.d.comb += start_text_on.eq(1)
                with m.If(sealer.i_text.ready):
                    m.d.sync += beat.eq(beat + 1)
                    with m.If(beat == LINE_BEATS * START_LINES - 2):  # the tag is no part of the text
                        m.next = "LEAVE"
            with m.State("LEAVE"):
                with m.If(under_way == 0):
                    m.d.sync += self.begun.eq(1)
                    m.next = "RUN"
            with m.State("RUN"):
                m.d.comb += ask.eq(fresh | (number[: self.era_bits] != 0))
                with m.If(asked):
                    m.d.sync += fresh.eq(0)
                with m.If(~ask & requests.o.valid):
                    m.next = "DRAIN"
            with m.State("DRAIN"):
                with m.If(under_way == 0):
                    m.next = "DERIVE"
        return m

    def _header(self, type_: RecordType, *, lines: Value, count: Value, number: Value) -> Value:
        return header_beat(type=type_, session_index=0, lines=lines, count=count, session=0, sequence=number)

    def _source(self, beat: Value) -> Value:
        """Return a beat of the SOURCE."""
        beats = [Const(int.from_bytes(SOURCE_HEADER.pack(), "little"), BLOCK_BITS), self.map_id]
        return Array([*beats, *[Const(0, BLOCK_BITS)] * (LINE_BEATS * SOURCE_LINES - len(beats))])[beat]

    def _start(self, beat: Value) -> Value:
        """Return a beat of what the START seals, its header first."""
        header = Header(RecordType.START, 0, START_LINES, len(NO_ANCESTORS.ancestors), 0, 0).pack()
        digest = self.params.digest
        data = header + start_text(digest, bytes(MAP_ID_BYTES), NO_ANCESTORS)
        beats: list[Value] = [
            Const(int.from_bytes(data[at : at + BLOCK_BYTES], "little"), BLOCK_BITS)
            for at in range(0, len(data), BLOCK_BYTES)
        ]
        beats[(len(header) + len(digest)) // BLOCK_BYTES] = self.map_id
        return Array(beats)[beat]
