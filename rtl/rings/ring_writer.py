"""All that a device writes to the shared buffer besides pages: responses, its counters, its registers' mirror."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Signal, Value, ValueLike
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from omap.params import Params
from omap.regmap import BY_NAME, MIRROR, REGISTER_BYTES
from omap.wire import Counter
from rtl.constants import LINE_BITS, LINE_BYTES
from rtl.memory.bursts import ADDRESS_BITS
from rtl.rings.ring_commands import COUNTER_BITS, RING_BITS
from rtl.rings.ring_lines import RingLines
from rtl.stream.interfaces import page_beat

WORD_BITS = 32

MOST_UNTOLD = 64
"""Lines of responses written before the counters are told under load."""

SETTLED = 64
"""So many times ``counter_cycles`` after the last write, COMMANDS_FETCHED is told although there is no response."""


def counter_line(values: dict[Counter, Value]) -> Value:
    """Return the line with some counters, all of one line."""
    (line,) = {counter // LINE_BYTES for counter in values}
    words: list[Value] = [Const(0, COUNTER_BITS)] * (LINE_BITS // COUNTER_BITS)
    for counter, value in values.items():
        words[(counter - line * LINE_BYTES) * 8 // COUNTER_BITS] = value
    return Cat(words)


def register_lines(values: dict[str, ValueLike]) -> list[Value]:
    """Return the register window as lines: registers not named are zero.

    Raises
    ------
    KeyError
        If there is no register of a name.
    """
    words: list[Value] = [Const(0, WORD_BITS)] * (REGISTER_BYTES * 8 // WORD_BITS)
    for name, value in values.items():
        words[BY_NAME[name].offset * 8 // WORD_BITS] = Cat(Value.cast(value), Const(0, WORD_BITS))[:WORD_BITS]
    per_line = LINE_BITS // WORD_BITS
    return [Cat(words[at : at + per_line]) for at in range(0, len(words), per_line)]


class RingWriter(wiring.Component):
    """Writes responses to their places when they are whole, then the counters. It writes the mirror when asked to.

    All writes have one id, so that they arrive in this order. A write of responses takes as many lines as are there, up
    to the end of the ring: a part of a long record, or several short ones.

    Parameters
    ----------
    params : Params
        The map.
    request : StructLayout
        Payload of an access, see :func:`rtl.memory.bursts.access`.
    most : int
        Most lines of one access.
    gather_cycles : int
        Cycles from one write of responses to the next at least, unless they fill a packet.
    counter_cycles : int
        Cycles from one write of the counters to the next at least, unless 64 lines wait to be told.
    identity : dict of str to int
        Registers that never change, by name.
    journal : bool
        Write a journal as well.

    Members
    -------
    serve : In(1)
        Commands are fetched, and responses to them are expected.
    base, responses_base : In(64)
        Bus addresses of the shared buffer and of the response ring.
    journal_base : In(64)
        Bus address of the journal ring, if there is a journal.
    ring_lines : In(17)
        Lines of each ring, a power of two.
    fetched : In(64)
        The value of COMMANDS_FETCHED that the host is to see.
    i_record : In(stream.Signature(page_beat(1)))
        Responses of whole lines.
    i_journal : In(stream.Signature(page_beat(1)))
        Records of the journal, if there is one.
    i_mirror : In(stream.Signature({"state": 4, "fault": 4}))
        A request to write the mirror with this STATUS and FAULT.
    i_done : In(stream.Signature(64))
        A value for REQUESTS_DONE.
    o_write, o_lines : streams
        As :class:`rtl.memory.host_port.HostPort` has them.
    whole : Out(1)
        A response has become whole.
    whole_lines : Out(range(most_lines + 1))
        Its lines.
    responses : Out(64)
        Lines of whole responses ever handed on.
    journal_whole, journal_lines, journal_written : Out
        As ``whole``, ``whole_lines`` and ``responses``, for the journal if there is one.
    journal_told : Out(1)
        If there is a journal: all of it that came here was handed on, and so was the counter that says so.
    idle : Out(1)
        Nothing waits to be written, and no part of a record is here.

    Countermeasures
    ---------------
    JOURNALS.BEFORE.RESPONSE
        What the journal has is written before the responses that are whole.
    """

    # Many: each is a time, a size or a fact that the ring port's configuration has on its own.
    def __init__(
        self,
        params: Params,
        *,
        request: StructLayout,
        most: int,
        gather_cycles: int,
        counter_cycles: int,
        identity: dict[str, int],
        journal: bool = False,
    ) -> None:
        self.most, self.counter_cycles, self.identity, self.journal = most, counter_cycles, identity, journal
        self._responses = RingLines(params, most=most, gather_cycles=gather_cycles)
        ports = {}
        if journal:
            self._journal = RingLines(params, most=most, gather_cycles=gather_cycles)
            ports = {
                "journal_base": In(ADDRESS_BITS),
                "i_journal": In(stream.Signature(page_beat(1))),
                "journal_whole": Out(1),
                "journal_lines": Out(range(self._journal.most_lines + 1)),
                "journal_written": Out(COUNTER_BITS),
                "journal_told": Out(1),
            }
        super().__init__(
            ports
            | {
                "serve": In(1),
                "base": In(ADDRESS_BITS),
                "responses_base": In(ADDRESS_BITS),
                "ring_lines": In(RING_BITS),
                "fetched": In(COUNTER_BITS),
                "i_record": In(stream.Signature(page_beat(1))),
                "i_mirror": In(stream.Signature(StructLayout({"state": 4, "fault": 4}))),
                "i_done": In(stream.Signature(COUNTER_BITS)),
                "o_write": Out(stream.Signature(request)),
                "o_lines": Out(stream.Signature(LINE_BITS)),
                "whole": Out(1),
                "whole_lines": Out(range(self._responses.most_lines + 1)),
                "responses": Out(COUNTER_BITS),
                "idle": Out(1),
            }
        )

    # Long: one state machine writes all that is written, and what it chooses from stands before it.
    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.responses = responses = self._responses
        m.d.comb += [
            responses.base.eq(self.responses_base),
            responses.ring_lines.eq(self.ring_lines),
            self.whole.eq(responses.whole),
            self.whole_lines.eq(responses.whole_lines),
            self.responses.eq(responses.written),
        ]
        wiring.connect(m, wiring.flipped(self.i_record), responses.i_record)
        rings = [responses]
        if self.journal:
            m.submodules.journal = journal = self._journal
            m.d.comb += [
                journal.base.eq(self.journal_base),
                journal.ring_lines.eq(self.ring_lines),
                self.journal_whole.eq(journal.whole),
                self.journal_lines.eq(journal.whole_lines),
                self.journal_written.eq(journal.written),
            ]
            wiring.connect(m, wiring.flipped(self.i_journal), journal.i_record)
            rings.append(journal)

        told, handed = Signal(), Signal()
        tell, telling, news, unseen = self._counters(m, told, handed, responses.waiting == 0)

        # The mirror and REQUESTS_DONE.
        mirror, mirrored = Signal(), Signal(self.i_mirror.p.shape())
        m.d.comb += self.i_mirror.ready.eq(~mirror)
        with m.If(self.i_mirror.valid & self.i_mirror.ready):
            m.d.sync += [mirror.eq(1), mirrored.eq(self.i_mirror.p)]
        registers = register_lines(
            self.identity
            | {
                "BUFFER_LOW": self.base[:32],
                "BUFFER_HIGH": self.base[32:],
                "RING_LINES": self.ring_lines,
                "STATUS": mirrored.state,
                "FAULT": mirrored.fault,
            }
        )

        # One access after the other: its address is offered while its lines move to a register.
        remaining = Signal(range(max(self.most, len(registers)) + 1))
        final, free, load = Signal(), Signal(), Signal()
        line = Signal(LINE_BITS)
        write = self.o_write
        m.d.comb += [free.eq(~self.o_lines.valid | self.o_lines.ready), final.eq(remaining == 1)]
        with m.If(free):
            m.d.sync += [self.o_lines.valid.eq(load), self.o_lines.p.eq(line)]
        with m.If(write.ready):
            m.d.sync += write.valid.eq(0)
        with m.If(load):
            m.d.sync += remaining.eq(remaining - 1)

        def offer(address: ValueLike, lines: ValueLike) -> None:
            m.d.sync += [write.valid.eq(1), write.p.address.eq(address), write.p.lines.eq(lines), remaining.eq(lines)]

        # The FIFO has its first line on offer two cycles after the record became whole: when it is wanted.
        with m.FSM() as machine:
            with m.State("CHOOSE"):
                with m.If(~write.valid):
                    with m.If(mirror):
                        offer(self.base + MIRROR, len(registers))
                        m.next = "MIRROR"
                    with m.Elif(self.i_done.valid):
                        offer(self.base + Counter.REQUESTS_DONE, 1)
                        m.next = "DONE"
                    with m.Elif(tell):
                        offer(self.base + Counter.COMMANDS_FETCHED // LINE_BYTES * LINE_BYTES, 1)
                        m.d.comb += told.eq(1)
                        m.next = "COUNTERS"
                    if self.journal:
                        # SEC_CM: JOURNALS.BEFORE.RESPONSE -- what is whole goes first, so it arrives first
                        with m.Elif(journal.due | (responses.due & (journal.waiting != 0))):
                            offer(journal.address, journal.taking)
                            m.d.comb += journal.take.eq(1)
                            m.next = "JOURNAL"
                    with m.Elif(responses.due):
                        offer(responses.address, responses.taking)
                        m.d.comb += responses.take.eq(1)
                        m.next = "RECORDS"
            with m.State("MIRROR"):
                m.d.comb += [line.eq(Array(registers)[len(registers) - remaining]), load.eq(free)]
                with m.If(load & final):
                    m.d.sync += mirror.eq(0)
                    m.next = "CHOOSE"
            with m.State("DONE"):
                m.d.comb += [line.eq(counter_line({Counter.REQUESTS_DONE: self.i_done.p})), load.eq(free)]
                m.d.comb += self.i_done.ready.eq(free)
                with m.If(load):
                    m.next = "CHOOSE"
            with m.State("COUNTERS"):
                m.d.comb += [line.eq(telling), load.eq(free)]
                with m.If(load):
                    m.next = "CHOOSE"
            for ring, state in zip(rings, ("RECORDS", "JOURNAL"), strict=False):
                with m.State(state):
                    m.d.comb += [
                        line.eq(ring.o_line.p.data),
                        load.eq(free & ring.o_line.valid),
                        ring.o_line.ready.eq(load),
                    ]
                    with m.If(load & final):
                        m.next = "CHOOSE"

        m.d.comb += handed.eq(responses.o_line.valid & responses.o_line.ready & responses.o_line.p.last)
        moving = ~machine.ongoing("CHOOSE") | self.o_lines.valid | write.valid
        if self.journal:
            m.d.comb += self.journal_told.eq(~(moving | journal.begun | (journal.waiting != 0) | unseen))
        busy = moving | mirror
        for ring in rings:
            busy |= ring.begun | (ring.waiting != 0)
        m.d.comb += self.idle.eq(~(busy | news | self.i_done.valid))
        return m

    def _counters(self, m: Module, told: Value, handed: Value, quiet: Value) -> tuple[Value, Value, Value, Value]:
        """Return whether the counters are to be told now, the line that tells them, and whether there is news.

        The last value is whether the host has not been told of all that the journal has. It rises a cycle late, while
        the last line of a record is on its way out, so that the block is not idle then.

        That commands were fetched is no news in itself for a while, because the next response tells that as well.
        """
        told_fetched, told_responses = Signal(COUNTER_BITS), Signal(COUNTER_BITS)
        unseen, untold = Signal(COUNTER_BITS), Signal(COUNTER_BITS)
        told_journal, unseen_journal = Signal(COUNTER_BITS), Signal()
        fresh, many = Signal(), Signal()  # a response was handed on; many lines of responses are untold
        since = Signal(range(SETTLED * self.counter_cycles), init=SETTLED * self.counter_cycles - 1)
        cooled, settled = Signal(init=1), Signal(init=1)
        tell = Signal()
        m.d.sync += [
            unseen.eq(self.fetched - told_fetched),
            untold.eq(self.responses - told_responses),
            many.eq(untold >= MOST_UNTOLD),
        ]
        counters = {Counter.COMMANDS_FETCHED: told_fetched, Counter.RESPONSES_WRITTEN: told_responses}
        waits = unseen != 0
        if self.journal:
            counters |= {Counter.JOURNAL_WRITTEN: told_journal}
            m.d.sync += unseen_journal.eq(self.journal_written != told_journal)
            waits |= unseen_journal  # a response will follow, as a rule
            with m.If(told):
                m.d.sync += told_journal.eq(self.journal_written)
        m.d.comb += tell.eq((fresh & cooled & quiet) | many | (waits & (settled | (cooled & ~self.serve))))
        with m.If(told):
            m.d.sync += [
                told_fetched.eq(self.fetched),
                told_responses.eq(self.responses),
                fresh.eq(0),
                many.eq(0),
                unseen.eq(0),
                untold.eq(0),
                since.eq(0),
                cooled.eq(self.counter_cycles == 1),
                settled.eq(0),
            ]
        with m.Else():
            with m.If(handed):
                m.d.sync += fresh.eq(1)
            with m.If(~settled):
                m.d.sync += since.eq(since + 1)
            m.d.sync += [
                cooled.eq(cooled | (since == self.counter_cycles - 2)),
                settled.eq(settled | (since == SETTLED * self.counter_cycles - 2)),
            ]
        news = fresh | waits | (told_fetched != self.fetched)
        return tell, counter_line(counters), news, unseen_journal
