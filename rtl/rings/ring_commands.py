"""The command ring: the host's counters, the records in order, and the host's requests."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from omap.wire import Counter
from rtl.constants import BLOCK_BITS, LINE_BITS, LINE_BYTES
from rtl.memory.bursts import ADDRESS_BITS
from rtl.stream.fifo import Fifo
from rtl.stream.interfaces import page_beat

COUNTER_BITS = 64
RING_BITS = 17
BEATS = LINE_BITS // BLOCK_BITS

PLENTY = 32
"""Commands known and not asked for, from which on the host's counters are read a quarter as often."""


def clamped(value: Value, most: int) -> Value:
    """Return the lesser of ``value`` and ``most``, in as many bits as that takes."""
    bits = most.bit_length()
    return Mux(value >= most, most, value[:bits])


class CounterPolls(wiring.Component):
    """Reads the host's counters again and again.

    Parameters
    ----------
    request : StructLayout
        Payload of an access, see :func:`rtl.memory.bursts.access`.
    first_id, polls : int
        Ids to use: so many reads may be under way.
    every : int
        Cycles from one read to the next at least.

    Members
    -------
    run : In(1)
        Read them.
    rarer : In(1)
        A quarter as often will do.
    base : In(64)
        Bus address of the shared buffer.
    o_read : Out(stream.Signature(request))
        Reads of both counters.
    i_line : In(stream.Signature({"id", "count", "last"}, always_ready=True))
        The counter in each line that was read, whatever its id.
    responses : In(64)
        Responses ever written: no more can have been taken.
    commands_written, responses_taken : Out(64)
        Both counters, as far as this block knows them. They only grow.
    """

    def __init__(self, *, request: StructLayout, first_id: int, polls: int, every: int) -> None:
        self.first_id, self.polls, self.every = first_id, polls, every
        line = StructLayout({"id": request.members["id"], "count": COUNTER_BITS, "last": 1})
        super().__init__(
            {
                "run": In(1),
                "rarer": In(1),
                "base": In(ADDRESS_BITS),
                "o_read": Out(stream.Signature(request)),
                "i_line": In(stream.Signature(line, always_ready=True)),
                "responses": In(COUNTER_BITS),
                "commands_written": Out(COUNTER_BITS),
                "responses_taken": Out(COUNTER_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        under_way = Signal(self.polls)
        turn = Signal(self.polls, init=1)  # one-hot: the id to use next
        since = Signal(range(4 * self.every))  # cycles since the last read
        due, taken = Signal(), Signal()
        number = Signal.like(self.o_read.p.id)
        for k in range(self.polls):
            with m.If(turn[k]):
                m.d.comb += number.eq(self.first_id + k)
        often, rare = Signal(init=1), Signal(init=1)
        m.d.comb += [
            taken.eq(self.o_read.valid & self.o_read.ready),
            due.eq(self.run & often & (rare | ~self.rarer) & ~(turn & under_way).any() & ~self.o_read.valid),
        ]
        with m.If(due):
            m.d.sync += [
                self.o_read.valid.eq(1),
                self.o_read.p.address.eq(self.base + Counter.COMMANDS_WRITTEN),
                self.o_read.p.lines.eq((Counter.RESPONSES_TAKEN - Counter.COMMANDS_WRITTEN) // LINE_BYTES + 1),
                self.o_read.p.id.eq(number),
                turn.eq(turn.rotate_left(1)),
                since.eq(0),
                often.eq(self.every == 1),
                rare.eq(0),
            ]
        with m.Else():
            with m.If(taken):
                m.d.sync += self.o_read.valid.eq(0)
            m.d.sync += [often.eq(often | (since == self.every - 2)), rare.eq(rare | (since == 4 * self.every - 2))]
            with m.If(~rare):
                m.d.sync += since.eq(since + 1)

        line = self.i_line.p
        for k in range(self.polls):
            with m.If(due & turn[k]):
                m.d.sync += under_way[k].eq(1)
            with m.Elif(self.i_line.valid & line.last & (line.id == self.first_id + k)):
                m.d.sync += under_way[k].eq(0)

        # Any read's answer may bring the latest values. The order of its lines tells the two counters apart.
        mine = self.i_line.valid & (line.id >= self.first_id) & (line.id < self.first_id + self.polls)
        with m.If(mine & ~line.last & (line.count > self.commands_written)):
            m.d.sync += self.commands_written.eq(line.count)
        # SEC_CM: RING.COUNTERS.BOUND -- room that the host claims for responses it can't have taken is not believed
        with m.If(mine & line.last & (line.count > self.responses_taken) & (line.count <= self.responses)):
            m.d.sync += self.responses_taken.eq(line.count)
        return m


class CommandFetch(wiring.Component):
    """Fetches records of the command ring, several at a time and in order, and hands them on.

    Parameters
    ----------
    request : StructLayout
        Payload of an access, see :func:`rtl.memory.bursts.access`. Records are read under id 0.
    record_lines : int
        Lines of a record.
    batch : int
        Most records of one read.
    records : int
        Records that are here or on their way at most.

    Members
    -------
    serve : In(1)
        Ask for records.
    base : In(64)
        Bus address of the command ring; still while ``serve`` is high.
    ring_entries : In(17)
        Records of the ring, a power of two; still while ``serve`` is high.
    commands_written, responses_taken : In(64)
        As :class:`CounterPolls` knows them.
    o_read : Out(stream.Signature(request))
        Reads of records.
    i_data : In(stream.Signature({"id", "data", "last"}, always_ready=True))
        What was read, of any id.
    o_record : Out(stream.Signature(page_beat(1)))
        The records.
    fetched : Out(64)
        Records ever here.
    plenty : Out(1)
        Many commands are known and not asked for.
    idle : Out(1)
        No record is here or on its way.
    """

    def __init__(self, *, request: StructLayout, record_lines: int, batch: int, records: int) -> None:
        self.record_lines, self.batch, self.records = record_lines, batch, records
        data = StructLayout({"id": request.members["id"], "data": LINE_BITS, "last": 1})
        super().__init__(
            {
                "serve": In(1),
                "base": In(ADDRESS_BITS),
                "ring_entries": In(RING_BITS),
                "commands_written": In(COUNTER_BITS),
                "responses_taken": In(COUNTER_BITS),
                "o_read": Out(stream.Signature(request)),
                "i_data": In(stream.Signature(data, always_ready=True)),
                "o_record": Out(stream.Signature(page_beat(1))),
                "fetched": Out(COUNTER_BITS),
                "plenty": Out(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        free = Signal(range(self.records + 1), init=self.records)
        asked = Signal(COUNTER_BITS)
        place, offset = Signal(RING_BITS), Signal(ADDRESS_BITS - 6)  # of the next record, in records and in lines

        # What there is to ask for, in three steps. The result is a few cycles old, so each read is followed by a wait.
        known, limit, room = Signal(COUNTER_BITS), Signal(COUNTER_BITS), Signal(COUNTER_BITS)
        bits = self.batch.bit_length()
        parts = [Signal(bits, name=f"part_{name}") for name in ("known", "room", "ring", "free")]
        some = Signal(bits)
        wait = Signal(range(4))
        ask, taken = Signal(), Signal()
        m.d.sync += [
            known.eq(self.commands_written - asked),
            limit.eq(self.responses_taken + self.ring_entries),
            room.eq(limit - asked),
            self.plenty.eq(known >= PLENTY),
            *(
                part.eq(clamped(value, self.batch))
                for part, value in zip(parts, (known, room, self.ring_entries - place, free), strict=True)
            ),
        ]
        fewer = [Mux(parts[k] < parts[k + 1], parts[k], parts[k + 1]) for k in (0, 2)]
        m.d.sync += some.eq(Mux(fewer[0] < fewer[1], *fewer))
        m.d.comb += [
            taken.eq(self.o_read.valid & self.o_read.ready),
            ask.eq(self.serve & (wait == 0) & (some != 0) & ~self.o_read.valid),
        ]
        lines = Signal(range(self.batch * self.record_lines + 1))
        m.d.comb += lines.eq(some * self.record_lines)
        with m.If(ask):
            m.d.sync += [
                wait.eq(3),
                self.o_read.valid.eq(1),
                self.o_read.p.address.eq(self.base + (offset << 6)),
                self.o_read.p.lines.eq(lines),
                asked.eq(asked + some),
            ]
            with m.If(place + some == self.ring_entries):
                m.d.sync += [place.eq(0), offset.eq(0)]
            with m.Else():
                m.d.sync += [place.eq(place + some), offset.eq(offset + lines)]
        with m.Else():
            with m.If(taken):
                m.d.sync += self.o_read.valid.eq(0)
            with m.If(wait != 0):
                m.d.sync += wait.eq(wait - 1)

        depth = self.records * self.record_lines
        style = "distributed" if depth <= 64 else "block"
        m.submodules.lines = kept = Fifo(shape=LINE_BITS, depth=depth, ram_style=style)
        here = Signal()
        m.d.comb += [
            here.eq(self.i_data.valid & (self.i_data.p.id == 0)),
            kept.i.valid.eq(here),
            kept.i.p.eq(self.i_data.p.data),
        ]
        arriving = Signal(range(self.record_lines))
        with m.If(here):
            with m.If(arriving == self.record_lines - 1):
                m.d.sync += [arriving.eq(0), self.fetched.eq(self.fetched + 1)]
            with m.Else():
                m.d.sync += arriving.eq(arriving + 1)

        # Beats: the line on offer moves down by one beat after the other.
        line, beat, leaving = Signal(LINE_BITS), Signal(range(BEATS)), Signal(range(self.record_lines))
        moved, through, over = Signal(), Signal(), Signal()
        m.d.comb += [
            self.o_record.p.data.eq(line[:BLOCK_BITS]),
            self.o_record.p.last.eq((beat == BEATS - 1) & (leaving == self.record_lines - 1)),
            moved.eq(self.o_record.valid & self.o_record.ready),
            through.eq(moved & (beat == BEATS - 1)),
            over.eq(moved & self.o_record.p.last),
            kept.o.ready.eq(~self.o_record.valid | through),
        ]
        with m.If(kept.o.ready):
            m.d.sync += [self.o_record.valid.eq(kept.o.valid), line.eq(kept.o.p)]
        with m.Elif(moved):
            m.d.sync += line.eq(line >> BLOCK_BITS)
        with m.If(moved):
            m.d.sync += beat.eq(beat + 1)
        with m.If(through):
            m.d.sync += leaving.eq(Mux(over, 0, leaving + 1))
        m.d.sync += free.eq(free - Mux(ask, some, 0) + over)
        m.d.comb += self.idle.eq(free == self.records)
        return m


class RequestPolls(wiring.Component):
    """Reads REQUESTS of the control block and hands requests on, one at a time.

    Parameters
    ----------
    request : StructLayout
        Payload of an access, see :func:`rtl.memory.bursts.access`.
    read_id : int
        Id to use.
    every : int
        Cycles from one read to the next.

    Members
    -------
    run : In(1)
        Read it.
    base : In(64)
        Bus address of the shared buffer.
    o_read, i_line
        As :class:`CounterPolls` has them.
    o_request : Out(stream.Signature(8))
        A request: the lowest bits of a number that is new.
    i_request_done : In(stream.Signature(0))
        The request was served.
    o_done : Out(stream.Signature(64))
        Its number, for REQUESTS_DONE; nothing is read until it is taken.
    """

    def __init__(self, *, request: StructLayout, read_id: int, every: int) -> None:
        self.read_id, self.every = read_id, every
        line = StructLayout({"id": request.members["id"], "count": COUNTER_BITS, "last": 1})
        super().__init__(
            {
                "run": In(1),
                "base": In(ADDRESS_BITS),
                "o_read": Out(stream.Signature(request)),
                "i_line": In(stream.Signature(line, always_ready=True)),
                "o_request": Out(stream.Signature(8)),
                "i_request_done": In(stream.Signature(0)),
                "o_done": Out(stream.Signature(COUNTER_BITS)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        wait = Signal(range(self.every))
        number = Signal(COUNTER_BITS)
        read = self.o_read.p
        m.d.comb += [
            read.address.eq(self.base + Counter.REQUESTS),
            read.lines.eq(1),
            read.id.eq(self.read_id),
            self.o_request.p.eq(number),
            self.o_done.p.eq(number),
        ]
        with m.If(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        with m.FSM():
            with m.State("WAIT"):
                with m.If(self.run & (wait == 0)):
                    m.d.sync += wait.eq(self.every - 1)
                    m.next = "ASK"
            with m.State("ASK"):
                m.d.comb += self.o_read.valid.eq(1)
                with m.If(self.o_read.ready):
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                with m.If(self.i_line.valid & (self.i_line.p.id == self.read_id)):
                    with m.If(self.i_line.p.count == number):
                        m.next = "WAIT"
                    with m.Else():
                        m.d.sync += number.eq(self.i_line.p.count)
                        m.next = "REQUEST"
            with m.State("REQUEST"):
                m.d.comb += self.o_request.valid.eq(1)
                with m.If(self.o_request.ready):
                    m.next = "SERVED"
            with m.State("SERVED"):
                m.d.comb += self.i_request_done.ready.eq(1)
                with m.If(self.i_request_done.valid):
                    m.next = "DONE"
            with m.State("DONE"):
                m.d.comb += self.o_done.valid.eq(1)
                with m.If(self.o_done.ready):
                    m.next = "WAIT"
        return m
