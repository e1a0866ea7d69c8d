"""The host's counters: read again and again, more rarely the more there is to do."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from omap.wire import Counter
from rtl.constants import LINE_BYTES
from rtl.memory.bursts import ADDRESS_BITS
from rtl.rings.ring_commands import COUNTER_BITS, counter_in, line_read

BUSY = 32
"""Lines without a response from which on the counters are read more rarely."""

FEW_TIMES, BUSY_TIMES, PLENTY_TIMES = 2, 4, 16
"""So many times the least time from one read to the next: while records are under way, while ``BUSY`` lines are, and
while the lines that wait here are plenty."""

MOST_UNDER_WAY = 12
"""Reads of the counters, and early reads behind them, that can be under way: so many hide a round trip at the shortest
time between them."""

assert len({Counter.COMMANDS_WRITTEN // LINE_BYTES, Counter.RESPONSES_TAKEN // LINE_BYTES}) == 1, "one read has both"
assert Counter.COMMANDS_WRITTEN // LINE_BYTES == Counter.JOURNAL_TAKEN // LINE_BYTES


class CounterPolls(wiring.Component):
    """Reads the host's counters again and again.

    How often depends on how many lines are without a response, which the host knows: it wrote the commands and has got
    the responses. A record that comes alone finds short times between reads; while many records are under way, a read
    brings news of many.

    Parameters
    ----------
    request : StructLayout
        Payload of an access, see :func:`rtl.memory.bursts.access`.
    first_id, ids : int
        Ids to use, in turns. Several reads may be under way under one of them.
    every : int
        Cycles from one read to the next at least, two or more.
    journal : bool
        There is a journal.

    Members
    -------
    run : In(1)
        Read them.
    few, busy, plenty : In(1)
        Records are without a response; many lines are; many lines wait here. Each makes reads rarer.
    base : In(64)
        Bus address of the shared buffer.
    o_read : Out(stream.Signature(request))
        Reads of the line with both counters.
    i_data : In(stream.Signature({"id", "data", "last"}, always_ready=True))
        What was read, of any id.
    responses : In(64)
        Lines of responses ever written: no more can have been taken.
    journal : In(64)
        Lines of the journal ever written, if there is one.
    commands_written, responses_taken, journal_taken : Out(64)
        The counters, as far as this block knows them. They only grow. The last one is there if there is a journal.
    """

    def __init__(self, *, request: StructLayout, first_id: int, ids: int, every: int, journal: bool = False) -> None:
        self.first_id, self.ids, self.every, self.journalled = first_id, ids, every, journal
        super().__init__(
            ({"journal": In(COUNTER_BITS), "journal_taken": Out(COUNTER_BITS)} if journal else {})
            | {
                "run": In(1),
                "few": In(1),
                "busy": In(1),
                "plenty": In(1),
                "base": In(ADDRESS_BITS),
                "o_read": Out(stream.Signature(request)),
                "i_data": In(stream.Signature(line_read(request), always_ready=True)),
                "responses": In(COUNTER_BITS),
                "commands_written": Out(COUNTER_BITS),
                "responses_taken": Out(COUNTER_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        line = self.i_data.p
        mine = Signal()
        m.d.comb += mine.eq(self.i_data.valid & (line.id >= self.first_id) & (line.id < self.first_id + self.ids))
        self._ask(m, mine)

        # Any read's answer may bring the latest values.
        written, read = counter_in(line.data, Counter.COMMANDS_WRITTEN), counter_in(line.data, Counter.RESPONSES_TAKEN)
        with m.If(mine & (written > self.commands_written)):
            m.d.sync += self.commands_written.eq(written)
        # SEC_CM: RING.COUNTERS.BOUND -- room that the host claims for responses it can't have taken is not believed
        with m.If(mine & (read > self.responses_taken) & (read <= self.responses)):
            m.d.sync += self.responses_taken.eq(read)
        if self.journalled:
            taken_lines = counter_in(line.data, Counter.JOURNAL_TAKEN)
            # SEC_CM: RING.COUNTERS.BOUND -- nor is room for a journal that it can't have taken
            with m.If(mine & (taken_lines > self.journal_taken) & (taken_lines <= self.journal)):
                m.d.sync += self.journal_taken.eq(taken_lines)
        return m

    def _ask(self, m: Module, answered: Value) -> None:
        """Ask for the line when it is time."""
        under_way, number = Signal(range(MOST_UNDER_WAY + 1)), Signal(range(self.ids))
        since = Signal(range(PLENTY_TIMES * self.every))  # cycles since the last read
        most = Signal.like(since)  # of which there are to be so many
        due, taken, late = Signal(), Signal(), Signal(init=1)
        times = (FEW_TIMES, BUSY_TIMES, PLENTY_TIMES)
        wanted = self.every - 2
        for more, factor in zip((self.few, self.busy, self.plenty), times, strict=True):
            wanted = Mux(more, factor * self.every - 2, wanted)
        m.d.sync += most.eq(wanted)
        m.d.comb += [
            taken.eq(self.o_read.valid & self.o_read.ready),
            due.eq(self.run & late & (under_way != MOST_UNDER_WAY) & ~self.o_read.valid),
        ]
        m.d.sync += under_way.eq(under_way + due - answered)
        with m.If(due):
            m.d.sync += [
                self.o_read.valid.eq(1),
                self.o_read.p.address.eq(self.base + Counter.COMMANDS_WRITTEN // LINE_BYTES * LINE_BYTES),
                self.o_read.p.lines.eq(1),
                self.o_read.p.id.eq(self.first_id + number),
                number.eq(Mux(number == self.ids - 1, 0, number + 1)),
                since.eq(0),
                late.eq(0),
            ]
        with m.Else():
            with m.If(taken):
                m.d.sync += self.o_read.valid.eq(0)
            m.d.sync += late.eq(late | (since >= most))
            with m.If(~late):
                m.d.sync += since.eq(since + 1)
