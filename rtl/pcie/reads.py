"""Reads of host memory: bursts become requests, completions in any order become answers in the order of the bursts."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.constants import LINE_BITS
from rtl.memory.bursts import ADDRESS_BITS, WINDOW_LINES
from rtl.pcie.completion_reader import PART, CompletionReader
from rtl.pcie.cutter import BurstCutter, take_bursts
from rtl.pcie.layouts import BEAT, DWORD_BITS, REQUEST, Type
from rtl.pcie.request import begin_request
from rtl.pcie.tag_table import MOST_TAGS, TagTable, entry
from rtl.stream.axi import RESP_OKAY, RESP_SLVERR, AxiReadSignature
from rtl.stream.interfaces import require, require_one_of, require_whole

MOST_WAITED = 384
"""Most lines that may be waited for. The hard block advertises room without limit and has it for 128 completions
(AMD PG213, "Completion Space"). A host may answer each line on its own. Such a completion takes 84 bytes of a link that
moves 63 a cycle, and two beats to leave the block. So of 384 in a row at most 128 are in the block at once."""


class ReadSide(wiring.Component):
    """Reads lines for AXI bursts, with many requests under way.

    Answers come in the order of the bursts, whatever their ids. Nothing of a request is answered before all of it has
    come. A request fails if the host refuses it, if a completion is poisoned, malformed or not what was asked for, or
    if the block has waited too long; its lines are then answered SLVERR. After a time-out no request leaves any more,
    and whatever is read fails: a tag that timed out must not be used again, because its completion may still come.
    Completions that nobody waits for are dropped.

    Parameters
    ----------
    id_bits : int
        Width of an AXI id.
    tags : int
        Most requests under way: 32, 64, 128 or 256.
    buffer_lines : int
        Lines of the buffer, a power of two. A request has room for its answer before it leaves.
    waited_lines : int
        Most lines that are waited for at once, 64 to :data:`MOST_WAITED`.

    Members
    -------
    s_axi : In(AxiReadSignature(addr_width=64, data_width=512, id_width=id_bits))
        Bursts of whole lines, as :class:`rtl.pcie.cutter.BurstCutter` takes them.
    limit : In(range(65))
        Most lines of a request, a power of two: what the host allows.
    extended : In(1)
        The host allows tags above 31.
    o : Out(stream.Signature(BEAT["rq"]))
        Requests, a beat each.
    i : In(stream.Signature(BEAT["rc"], always_ready=True))
        Completions.
    idle : Out(1)
        No request is under way.
    """

    def __init__(
        self, *, id_bits: int, tags: int = MOST_TAGS, buffer_lines: int = 512, waited_lines: int = MOST_WAITED
    ) -> None:
        require_whole("waited_lines", waited_lines, WINDOW_LINES, MOST_WAITED)
        require_one_of("buffer_lines", buffer_lines, (64, 128, 256, 512, 1024, 2048, 4096))
        require(waited_lines <= buffer_lines, f"waited_lines is {waited_lines}; the buffer has {buffer_lines} lines")
        self.tags, self.buffer_lines, self.waited_lines = tags, buffer_lines, waited_lines
        self.shape = entry(id_bits, buffer_lines)
        self.table = TagTable(shape=self.shape, tags=tags)
        self.cutter = BurstCutter(id_bits=id_bits)
        super().__init__(
            {
                "s_axi": In(AxiReadSignature(addr_width=ADDRESS_BITS, data_width=LINE_BITS, id_width=id_bits)),
                "limit": In(range(WINDOW_LINES + 1)),
                "extended": In(1),
                "o": Out(stream.Signature(BEAT["rq"])),
                "i": In(stream.Signature(BEAT["rc"], always_ready=True)),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.table, m.submodules.cutter = self.table, self.cutter
        m.submodules.buffer = self._buffer = Memory(
            shape=LINE_BITS, depth=self.buffer_lines, init=[], attrs={"ram_style": "block"}
        )
        take_bursts(m, self.s_axi, "ar", self.cutter)
        m.d.comb += [
            self.cutter.limit.eq(self.limit),
            self.table.extended.eq(self.extended),
            self.idle.eq(self.table.idle),
        ]
        self._late = Signal()  # a request has timed out
        self._done = Signal(range(WINDOW_LINES + 1))  # lines of a request that is done, in one cycle
        self._taken = Signal()  # a line leaves the buffer
        self._ask(m)
        self._hear(m)
        self._answer(m)
        return m

    def _ask(self, m: Module) -> None:
        """Send a request for each piece once it has a tag and room."""
        piece, table = self.cutter.o, self.table
        room = Signal(range(self.buffer_lines + 1), init=self.buffer_lines)
        waited = Signal(range(self.waited_lines + 1))
        base = Signal(range(self.buffer_lines))
        able, refuses, asks = Signal(), Signal(), Signal()
        m.d.comb += [
            able.eq(piece.valid & table.free & (piece.p.lines <= room) & (waited + piece.p.lines <= self.waited_lines)),
            asks.eq(self.o.valid & self.o.ready),
            self.o.valid.eq(able & ~refuses),
            table.shown.eq(self.o.valid),
            table.unasked.eq(refuses),
            table.give.eq(asks | (able & refuses)),
            piece.ready.eq(table.give),
            table.given.id.eq(piece.p.id),
            table.given.last.eq(piece.p.last),
            table.given.line.eq(piece.p.line),
            table.given.lines.eq(piece.p.lines),
            table.given.base.eq(base),
        ]
        with m.If(self._late & (~self.o.valid | self.o.ready)):  # what was offered stays
            m.d.sync += refuses.eq(1)
        given = Mux(table.give, piece.p.lines, 0)
        m.d.sync += [
            base.eq(base + given),
            room.eq(room - given + self._taken),
            waited.eq(waited + Mux(asks, piece.p.lines, 0) - self._done),
        ]
        begin_request(m, self.o.p, kind=Type.READ, line=piece.p.line, lines=piece.p.lines, tag=table.tag)
        m.d.comb += [
            self.o.p.keep.eq((1 << REQUEST.size // DWORD_BITS) - 1),
            self.o.p.last.eq(1),
            self.o.p.user.ends[0].eq(1),
            self.o.p.user.end_at.eq(REQUEST.size // DWORD_BITS - 1),
        ]

    def _hear(self, m: Module) -> None:
        """Put lines that come into the buffer, and keep account of them."""
        table = self.table
        m.submodules.reader = reader = CompletionReader()
        wiring.connect(m, wiring.flipped(self.i), reader.i)
        # the tag of a completion is looked up in one cycle, what was found is used in the next
        valid, part = Signal(), Signal(PART)
        m.d.sync += valid.eq(reader.o.valid)
        with m.If(reader.o.valid):
            m.d.sync += part.eq(reader.o.p)
        m.d.comb += [
            table.look.eq(reader.o.valid & reader.o.p.begins),
            table.look_tag.eq(reader.o.p.tag),
        ]

        write = self._buffer.write_port()
        place = Signal.like(write.addr)
        fits, sound, was_sound = Signal(), Signal(), Signal()
        arrived = Signal(range(2 * WINDOW_LINES + 1))
        m.d.comb += [
            arrived.eq(table.arrived + part.lines),
            fits.eq(
                (arrived <= table.found.lines) & (part.line == (table.found.line + table.arrived)[: len(part.line)])
            ),
            sound.eq(part.good & Mux(part.begins, fits, was_sound)),
            write.en.eq(valid & table.known & sound & part.here),
            write.addr.eq(place),
            write.data.eq(part.data),
            table.note.eq(valid & table.known & part.ends),
            table.note_arrived.eq(Mux(sound, arrived, table.arrived)),
            table.note_failed.eq(table.failed | ~sound | (part.completed & (arrived != table.found.lines))),
            table.note_done.eq(part.completed),
            self._done.eq(Mux(table.note & table.note_done, table.found.lines, 0)),
        ]
        with m.If(valid):
            m.d.sync += was_sound.eq(sound)
            with m.If(part.begins):
                m.d.sync += place.eq(table.found.base + table.arrived)
            with m.Elif(part.here):
                m.d.sync += place.eq(place + 1)
            with m.If(table.known & part.begins & part.timed_out):
                m.d.sync += self._late.eq(1)

    def _answer(self, m: Module) -> None:
        """Answer with the lines of reads that are done."""
        done, axi = self.table.o, self.s_axi
        read = self._buffer.read_port(domain="sync")
        count, final, moves = Signal(range(WINDOW_LINES)), Signal(), Signal()
        m.d.comb += [
            moves.eq(~axi.rvalid | axi.rready),
            final.eq(count == done.p.read.lines - 1),
            self._taken.eq(done.valid & moves),
            done.ready.eq(moves & final),
            read.en.eq(self._taken),
            axi.rdata.eq(read.data),
        ]
        with m.If(moves):
            m.d.sync += [
                axi.rvalid.eq(done.valid),
                axi.rid.eq(done.p.read.id),
                axi.rresp.eq(Mux(done.p.failed, RESP_SLVERR, RESP_OKAY)),
                axi.rlast.eq(final & done.p.read.last),
            ]
        with m.If(self._taken):
            m.d.sync += [read.addr.eq(read.addr + 1), count.eq(Mux(final, 0, count + 1))]
