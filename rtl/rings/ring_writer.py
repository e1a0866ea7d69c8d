"""All that a device writes to the shared buffer besides pages: responses, its counters, its registers' mirror."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, ValueLike
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from omap.regmap import BY_NAME, MIRROR, REGISTER_BYTES
from omap.wire import Counter
from rtl.constants import BLOCK_BITS, LINE_BITS, LINE_BYTES
from rtl.memory.bursts import ADDRESS_BITS
from rtl.rings.ring_commands import BEATS, COUNTER_BITS, RING_BITS
from rtl.stream.fifo import Fifo
from rtl.stream.interfaces import page_beat

WORD_BITS = 32
MOST_UNTOLD = 8
"""Responses written at most before RESPONSES_WRITTEN says so."""


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
    """Writes each response to its place as soon as it is whole, then the counters. It writes the mirror when asked to.

    All writes have one id, so that they arrive in this order.

    Parameters
    ----------
    request : StructLayout
        Payload of an access, see :func:`rtl.memory.bursts.access`.
    record_lines : int
        Lines of a record.
    counter_cycles : int
        Cycles from one write of the counters to the next at least, unless 8 responses wait to be told.
    identity : dict of str to int
        Registers that never change, by name.

    Members
    -------
    base, responses_base : In(64)
        Bus addresses of the shared buffer and of the response ring.
    ring_entries : In(17)
        Records of the ring, a power of two.
    fetched : In(64)
        The value of COMMANDS_FETCHED that the host is to see.
    i_record : In(stream.Signature(page_beat(1)))
        Responses.
    i_mirror : In(stream.Signature({"state": 4, "fault": 4}))
        A request to write the mirror with this STATUS and FAULT.
    i_done : In(stream.Signature(64))
        A value for REQUESTS_DONE.
    o_write, o_lines : streams
        As :class:`rtl.memory.host_port.HostPort` has them.
    responses : Out(64)
        Responses ever handed on.
    idle : Out(1)
        Nothing waits to be written, and no part of a response is here.
    """

    def __init__(
        self, *, request: StructLayout, record_lines: int, counter_cycles: int, identity: dict[str, int]
    ) -> None:
        self.record_lines, self.counter_cycles, self.identity = record_lines, counter_cycles, identity
        super().__init__(
            {
                "base": In(ADDRESS_BITS),
                "responses_base": In(ADDRESS_BITS),
                "ring_entries": In(RING_BITS),
                "fetched": In(COUNTER_BITS),
                "i_record": In(stream.Signature(page_beat(1))),
                "i_mirror": In(stream.Signature(StructLayout({"state": 4, "fault": 4}))),
                "i_done": In(stream.Signature(COUNTER_BITS)),
                "o_write": Out(stream.Signature(request)),
                "o_lines": Out(stream.Signature(LINE_BITS)),
                "responses": Out(COUNTER_BITS),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        depth = max(16, 2 * self.record_lines)
        style = "distributed" if depth <= 64 else "block"
        m.submodules.lines = kept = Fifo(shape=LINE_BITS, depth=depth, ram_style=style)
        whole = Signal(range(depth + 1))  # records all of whose lines are kept
        sent = Signal()

        begun, completed = self._gather(m, kept)
        m.d.sync += whole.eq(whole + completed - sent)

        # The counters: what the host was told last, and when.
        told_fetched, told_responses = Signal(COUNTER_BITS), Signal(COUNTER_BITS)
        untold, news = Signal(range(2 * MOST_UNTOLD)), Signal()
        cooling = Signal(range(self.counter_cycles))
        tell, told = Signal(), Signal()
        m.d.sync += news.eq((told_fetched != self.fetched) | (untold != 0))
        m.d.comb += tell.eq((news & (cooling == 0) & (whole == 0)) | untold[-1])
        with m.If(told):
            m.d.sync += [
                told_fetched.eq(self.fetched),
                told_responses.eq(self.responses),
                untold.eq(0),
                news.eq(0),
                cooling.eq(self.counter_cycles - 1),
            ]
        with m.Else():
            m.d.sync += untold.eq(untold + sent)
            with m.If(cooling != 0):
                m.d.sync += cooling.eq(cooling - 1)

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
                "RING_ENTRIES": self.ring_entries,
                "STATUS": mirrored.state,
                "FAULT": mirrored.fault,
            }
        )

        # One access after the other: its address is offered while its lines move to a register.
        place, offset = Signal(RING_BITS), Signal(ADDRESS_BITS - 6)
        step = Signal(range(max(self.record_lines, len(registers))))
        final, free, load = Signal(), Signal(), Signal()
        line = Signal(LINE_BITS)
        write = self.o_write
        m.d.comb += free.eq(~self.o_lines.valid | self.o_lines.ready)
        with m.If(free):
            m.d.sync += [self.o_lines.valid.eq(load), self.o_lines.p.eq(line)]
        with m.If(write.ready):
            m.d.sync += write.valid.eq(0)
        with m.If(load):
            m.d.sync += step.eq(Mux(final, 0, step + 1))

        def offer(address: ValueLike, lines: int) -> None:
            m.d.sync += [write.valid.eq(1), write.p.address.eq(address), write.p.lines.eq(lines)]

        with m.FSM():
            with m.State("CHOOSE"):
                with m.If(~write.valid):
                    with m.If(mirror):
                        offer(self.base + MIRROR, len(registers))
                        m.next = "MIRROR"
                    with m.Elif(self.i_done.valid):
                        offer(self.base + Counter.REQUESTS_DONE, 1)
                        m.next = "DONE"
                    with m.Elif(tell):
                        offer(
                            self.base + Counter.COMMANDS_FETCHED,
                            (Counter.RESPONSES_WRITTEN - Counter.COMMANDS_FETCHED) // LINE_BYTES + 1,
                        )
                        m.d.comb += told.eq(1)
                        m.next = "COUNTERS"
                    with m.Elif(whole != 0):
                        offer(self.responses_base + (offset << 6), self.record_lines)
                        m.next = "RECORD"
            with m.State("MIRROR"):
                m.d.comb += [line.eq(Array(registers)[step]), load.eq(free), final.eq(step == len(registers) - 1)]
                with m.If(load & final):
                    m.d.sync += mirror.eq(0)
                    m.next = "CHOOSE"
            with m.State("DONE"):
                m.d.comb += [line.eq(self.i_done.p), load.eq(free), final.eq(1), self.i_done.ready.eq(free)]
                with m.If(load):
                    m.next = "CHOOSE"
            with m.State("COUNTERS"):
                m.d.comb += [line.eq(Mux(step == 0, told_fetched, told_responses)), load.eq(free), final.eq(step == 1)]
                with m.If(load & final):
                    m.next = "CHOOSE"
            with m.State("RECORD"):
                m.d.comb += [
                    line.eq(kept.o.p),
                    load.eq(free & kept.o.valid),
                    kept.o.ready.eq(load),
                    final.eq(step == self.record_lines - 1),
                    sent.eq(load & final),
                ]
                with m.If(sent):
                    m.d.sync += self.responses.eq(self.responses + 1)
                    with m.If(place + 1 == self.ring_entries):
                        m.d.sync += [place.eq(0), offset.eq(0)]
                    with m.Else():
                        m.d.sync += [place.eq(place + 1), offset.eq(offset + self.record_lines)]
                    m.next = "CHOOSE"

        busy = begun | (whole != 0) | news | (untold != 0) | mirror | self.o_lines.valid | write.valid
        m.d.comb += self.idle.eq(~busy & (told_fetched == self.fetched) & ~self.i_done.valid)
        return m

    def _gather(self, m: Module, kept: Fifo) -> tuple[Signal, Signal]:
        """Turn beats into lines; return whether part of a record is here, and whether one is completed now."""
        gathered, beat = Signal(LINE_BITS - BLOCK_BITS), Signal(range(BEATS))
        begun, completed, moved = Signal(), Signal(), Signal()
        m.d.comb += [
            self.i_record.ready.eq(kept.i.ready),
            moved.eq(self.i_record.valid & self.i_record.ready),
            kept.i.valid.eq(moved & (beat == BEATS - 1)),
            kept.i.p.eq(Cat(gathered, self.i_record.p.data)),
            completed.eq(moved & self.i_record.p.last),
        ]
        with m.If(moved):
            m.d.sync += [
                beat.eq(beat + 1),
                gathered.eq(Cat(gathered, self.i_record.p.data)[BLOCK_BITS:]),
                begun.eq(~self.i_record.p.last),
            ]
        return begun, completed
