"""The command ring: its lines fetched, and handed on as records in order."""

from __future__ import annotations

from functools import reduce

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from omap.params import Params
from omap.wire import MAX_RING_LINES, Counter, RecordCodec
from rtl.constants import LINE_BITS, LINE_BYTES
from rtl.memory.bursts import ADDRESS_BITS
from rtl.rings.framing import Framing
from rtl.rings.record import RECORD_BEAT

COUNTER_BITS = 64
RING_BITS = MAX_RING_LINES.bit_length()
LINE_SHIFT = (LINE_BYTES - 1).bit_length()

PLENTY = 128
"""Lines that are here or on their way, from which on the host's counters are read more rarely."""


def clamped(value: Value, most: int) -> Value:
    """Return the lesser of ``value`` and ``most``, in as many bits as that takes."""
    bits = most.bit_length()
    return Mux(value >= most, most, value[:bits])


def lesser(a: Value, b: Value) -> Value:
    """Return the lesser of two values."""
    return Mux(a < b, a, b)


def counter_in(line: Value, counter: Counter) -> Value:
    """Return a counter of the line in which it lies."""
    return line[8 * (counter % LINE_BYTES) :][:COUNTER_BITS]


def line_read(request: StructLayout) -> StructLayout:
    """Return the payload of a stream of lines that were read."""
    return StructLayout({"id": request.members["id"], "data": LINE_BITS, "last": 1})


class CommandFetch(wiring.Component):
    """Fetches lines of the command ring, in reads of many and several at a time, and hands records on in order.

    A line is asked for when there is room for a response to everything asked for, however long the records turn out to
    be: a response is never longer than its command.

    An early record (:class:`rtl.rings.early_reads.EarlyReads`) counts as asked for when it was found right. Until then
    no line is asked for.

    Parameters
    ----------
    params : Params
        The map.
    request : StructLayout
        Payload of an access, see :func:`rtl.memory.bursts.access`. Lines are read under id 0.
    most : int
        Most lines of one read, a power of two.
    depth : int
        Lines that are here or on their way at most.
    journal : bool
        Records are journalled: they need room in the journal ring, too.
    early : int
        Lines of an early record, 0 if there are none.

    Members
    -------
    serve : In(1)
        Ask for lines.
    base : In(64)
        Bus address of the command ring; still while ``serve`` is high.
    ring_lines : In(17)
        Lines of the ring, a power of two; still while ``serve`` is high.
    commands_written, responses_taken, journal_taken : In(64)
        As :class:`rtl.rings.counter_polls.CounterPolls` knows them. The last one is there if there is a journal.
    saved : In(range(most_lines + 1))
        Lines by which a response has turned out shorter than its command; 0 in all other cycles.
    answered, journal_lines : In(range(most_lines + 1))
        If there is a journal: lines of a command whose response is whole, and of a record of the journal that is, which
        comes before; 0 in all other cycles.
    journal_room : Out(1)
        If there is a journal: the longest record has room in its ring, besides all that it has.
    journal_fits : Out(1)
        If there is a journal: the records of all commands that are here or on their way have room in its ring, besides
        all that it has. So it is unless a journal's beginning or a snapshot was written there.
    restore, failed : In(1)
        If there is a journal: see :class:`rtl.rings.framing.Framing`.
    o_read : Out(stream.Signature(request))
        Reads of lines.
    i_data : In(stream.Signature({"id", "data", "last"}, always_ready=True))
        What was read, of any id.
    o_record : Out(stream.Signature(RECORD_BEAT))
        The records.
    o_lines : Out(stream.Signature(range(most_lines + 1)))
        The length of each record, before its first beat.
    new : Out(range(most + 1))
        Lines that are asked for in this cycle.
    fetched : Out(64)
        Lines ever here.
    plenty : Out(1)
        Many lines are here or on their way.
    hold, begins, i_early : In(1), In(1), In(stream.Signature(512, always_ready=True))
        If there are early records: see :class:`rtl.rings.early_reads.EarlyReads`.
    some, counted, moved, fits : Out(1)
        If there are early records: see there; ``fits`` says that one has its place before the end of the ring.
    sure, again : In(1)
        If there are early records: the one that is under way is right; it is not, and every trace of it has gone.
    early : Out(1)
        If there are early records: one is here, or has left and is not known to be right.
    idle : Out(1)
        No line is here or on its way.
    """

    # Many: each is one size of the rings, or a fact of the engine.
    def __init__(
        self, params: Params, *, request: StructLayout, most: int, depth: int, journal: bool = False, early: int = 0
    ) -> None:
        self.most, self.depth, self.journal, self.early_lines = most, depth, journal, early
        self.framing = Framing(params, depth=depth, restores=journal)
        self.most_lines = most_lines = RecordCodec(params).most_lines
        ports = {
            "journal_taken": In(COUNTER_BITS),
            "answered": In(range(most_lines + 1)),
            "journal_lines": In(range(most_lines + 1)),
            "journal_room": Out(1),
            "journal_fits": Out(1),
            "restore": In(1),
            "failed": In(1),
        }
        early_ports = {
            "hold": In(1),
            "begins": In(1),
            "i_early": In(stream.Signature(LINE_BITS, always_ready=True)),
            "some": Out(1),
            "counted": Out(1),
            "moved": Out(1),
            "fits": Out(1),
            "sure": In(1),
            "again": In(1),
            "early": Out(1),
        }
        super().__init__(
            (ports if journal else {})
            | (early_ports if early else {})
            | {
                "serve": In(1),
                "base": In(ADDRESS_BITS),
                "ring_lines": In(RING_BITS),
                "commands_written": In(COUNTER_BITS),
                "responses_taken": In(COUNTER_BITS),
                "saved": In(range(most_lines + 1)),
                "o_read": Out(stream.Signature(request)),
                "i_data": In(stream.Signature(line_read(request), always_ready=True)),
                "o_record": Out(stream.Signature(RECORD_BEAT)),
                "o_lines": Out(stream.Signature(range(most_lines + 1))),
                "new": Out(range(most + 1)),
                "fetched": Out(COUNTER_BITS),
                "plenty": Out(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.framing = framing = self.framing
        wiring.connect(m, framing.o_record, wiring.flipped(self.o_record))
        wiring.connect(m, framing.o_lines, wiring.flipped(self.o_lines))
        free = Signal(range(self.depth + 1), init=self.depth)
        asked = Signal(COUNTER_BITS)
        promised = Signal(COUNTER_BITS)  # lines that the responses to all that was asked for take at most
        place = Signal(RING_BITS)  # of the next line

        # What there is to ask for, step by step. A result is a few cycles old, so each read is followed by a wait. What
        # the host has written comes in last, because a record that comes alone waits for that.
        known, room, limit = Signal(COUNTER_BITS), Signal(COUNTER_BITS), Signal(COUNTER_BITS)
        ahead = Signal(RING_BITS)
        bits = self.most.bit_length()
        limits = {"room": room, "ahead": ahead}
        if self.journal:
            journal_room = Signal(COUNTER_BITS)
            limits["journal"] = Mux(journal_room[-1], 0, journal_room)
        parts = [Signal(bits, name=f"part_{name}") for name in limits]
        allowed, some, most = Signal(bits), Signal(bits), Signal(bits)
        wait = Signal(range(5))
        taken, held, comes = Signal(), Signal(), Signal()  # an early record holds others back; it begins to come
        step = Signal(bits)  # lines that are new, as those of a read or as an early record
        m.d.sync += [
            limit.eq(self.responses_taken + self.ring_lines),
            room.eq(limit - promised),
            ahead.eq(self.ring_lines - place),
            *(part.eq(clamped(value, self.most)) for part, value in zip(parts, limits.values(), strict=True)),
            allowed.eq(Mux(free >= self.most, reduce(lesser, parts), 0)),  # a full buffer is not refilled line by line
            known.eq(self.commands_written - asked),
            self.plenty.eq(free <= self.depth - PLENTY),
            self.o_read.p.address.eq(self.base + (place << LINE_SHIFT)),
        ]
        m.d.comb += [
            self.o_read.p.lines.eq(some),
            self.o_read.valid.eq((wait == 0) & (some != 0)),
            taken.eq(self.o_read.valid & self.o_read.ready),
            most.eq(lesser(clamped(known, self.most), allowed)),
            step.eq(Mux(taken, some, 0)),
        ]
        with m.If(~self.o_read.valid):  # what is on offer stays as it is
            m.d.sync += some.eq(Mux(self.serve & ~held, most, 0))
        if self.early_lines:
            self._early(m, known, most, ahead)
            m.d.comb += [held.eq(self.hold | self.early), comes.eq(self.begins), self.moved.eq(step != 0)]
            with m.If(self.sure):
                m.d.comb += step.eq(self.early_lines)
        with m.If(step != 0):
            m.d.sync += [
                wait.eq(4),
                some.eq(0),
                asked.eq(asked + step),
                # a mask and no comparison with the end: that would be the longest path of an engine
                place.eq((place + step) & (self.ring_lines - 1)),
            ]
        with m.Elif(wait != 0):
            m.d.sync += wait.eq(wait - 1)

        mine = Signal()
        early = self.early if self.early_lines else Const(0)
        m.d.comb += [
            mine.eq(self.i_data.valid & (self.i_data.p.id == 0)),
            framing.i_line.valid.eq(mine),
            framing.i_line.p.eq(self.i_data.p.data),
            self.idle.eq((free == self.depth) & ~framing.o_record.valid & ~early),
            self.new.eq(step),
        ]
        if self.early_lines:
            with m.If(self.i_early.valid):  # there is no other line under way
                m.d.comb += [framing.i_line.valid.eq(1), framing.i_line.p.eq(self.i_early.p)]
        told = Mux(self.sure, self.early_lines, mine) if self.early_lines else mine
        m.d.sync += [
            self.fetched.eq(self.fetched + told),
            promised.eq(promised + step - self.saved),
            free.eq(free - Mux(taken, some, 0) - Mux(comes, self.early_lines, 0) + framing.freed),
        ]
        if self.journal:
            m.d.comb += [framing.restore.eq(self.restore), framing.failed.eq(self.failed)]
            # Lines that the journal has, and with those that it may come to have of all that is here or on its way. For
            # a while a record counts twice, so that there may seem to be less room than none.
            has, reserved, journal_limit = Signal(COUNTER_BITS), Signal(COUNTER_BITS), Signal(COUNTER_BITS)
            unused = Signal(COUNTER_BITS)
            m.d.sync += [
                has.eq(has + self.journal_lines),
                # SEC_CM: JOURNALS.ROOM.RESERVED -- nothing runs whose record could wait for the host
                reserved.eq(reserved + step - self.answered + self.journal_lines),
                journal_limit.eq(self.journal_taken + self.ring_lines),
                journal_room.eq(journal_limit - reserved),
                unused.eq(journal_limit - has),
                # what is here waits for the end of a snapshot: its room serves until then
                self.journal_room.eq(unused >= self.most_lines),
                self.journal_fits.eq(~journal_room[-1]),
            ]
        return m

    def _early(self, m: Module, known: Value, most: Value, ahead: Value) -> None:
        """Keep account of an early record."""
        m.d.comb += [self.some.eq(known != 0), self.fits.eq(ahead >= self.early_lines)]
        m.d.sync += self.counted.eq(most >= self.early_lines)
        with m.If(self.begins):
            m.d.sync += self.early.eq(1)
        with m.Elif(self.sure | self.again):
            m.d.sync += self.early.eq(0)
