"""The next record of the command ring, read together with the counters that may say that it is there."""

from __future__ import annotations

from functools import reduce
from operator import or_

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from omap.params import Params
from omap.wire import RecordCodec, RecordType
from rtl.constants import BLOCK_BITS, LINE_BITS
from rtl.memory.bursts import ADDRESS_BITS
from rtl.rings.counter_polls import MOST_UNDER_WAY
from rtl.rings.record import read_header
from rtl.rings.ring_commands import line_read

MOST_EARLY_LINES = 8
"""Lines of the longest record that is read early: a longer one would cost the link more than a round trip is worth."""

STAGES = 3
"""Cycles that a line waits, so that the counters that came right before it have been looked at."""


def early_lines(params: Params) -> int:
    """Return the lines of a record of one operation, or 0 if it is too long to be read early."""
    lines = RecordCodec(params).lines(1)
    return lines if lines <= MOST_EARLY_LINES else 0


class EarlyReads(wiring.Component):
    """Reads the place of the next record behind each read of the counters, while nothing is under way.

    A record of one operation is then here when the counters say that it is there, and a round trip to the host is
    saved. Such a record is *early*. PCIe gives two reads no order, so that the bytes may be older than the counters.
    Whoever opens the record must find its tag right, or have it read again (decision 15).

    The place is read while no record is under way, whatever the place holds, so that these reads tell nothing.

    Parameters
    ----------
    params : Params
        The map.
    request : StructLayout
        Payload of an access, see :func:`rtl.memory.bursts.access`.
    first_id, ids : int
        Ids to use, in turns. Several reads may be under way under one of them.
    patience : int
        Cycles that counters wait for an early record.

    Members
    -------
    open_ : In(1)
        No record is under way, and the next place does not reach over the ring's end.
    asked : In(1)
        The counters are being read.
    address : In(64)
        Bus address of the next place.
    some : In(1)
        The counters count lines that were not asked for.
    counted : In(1)
        They count a record of one operation, and there is room for its response. A cycle after ``some``.
    moved : In(1)
        The next place is another one from now on.
    again : In(1)
        The early record was not right.
    o_read : Out(stream.Signature(request))
        Reads of the place.
    i_data : In(stream.Signature({"id", "data", "last"}, always_ready=True))
        What was read, of any id.
    o_line : Out(stream.Signature(512, always_ready=True))
        Lines of an early record.
    begins : Out(1)
        The first one is on offer.
    hold : Out(1)
        Nothing is to be asked for in the usual way, because an early read may be in time.

    Countermeasures
    ---------------
    RING.EARLY.ONCE
        A record that was read early and was not right is read in the usual way next.
    """

    # Many: each is one fact of a map, of the bus or of the polls.
    def __init__(self, params: Params, *, request: StructLayout, first_id: int, ids: int, patience: int) -> None:
        self.codec, self.lines = RecordCodec(params), early_lines(params)
        self.first_id, self.ids, self.patience = first_id, ids, patience
        super().__init__(
            {
                "open_": In(1),
                "asked": In(1),
                "address": In(ADDRESS_BITS),
                "some": In(1),
                "counted": In(1),
                "moved": In(1),
                "again": In(1),
                "o_read": Out(stream.Signature(request)),
                "i_data": In(stream.Signature(line_read(request), always_ready=True)),
                "o_line": Out(stream.Signature(LINE_BITS, always_ready=True)),
                "begins": Out(1),
                "hold": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        ask, first = self._ask(m)
        line = self.i_data.p

        # Lines wait for the counters. Each stage knows whether its line begins a read, and if anything was counted.
        stages = [Signal(StructLayout({"here": 1, "first": 1, "some": 1, "fits": 1})) for _ in range(STAGES)]
        carried = [Signal(line.shape(), reset_less=True) for _ in range(STAGES)]
        m.d.sync += [
            stages[0].eq(0),
            stages[0].here.eq(self.i_data.valid),
            stages[0].first.eq(first & ~self.moved),
            carried[0].eq(line),
        ]
        for before, after, old, new in zip(stages, stages[1:], carried, carried[1:], strict=False):
            m.d.sync += [after.eq(before), after.first.eq(before.first & ~self.moved), new.eq(old)]
        m.d.sync += [stages[1].some.eq(self.some), stages[1].fits.eq(self._fits(carried[0].data))]
        now, at = stages[-1], carried[-1]

        armed, certain, waits = Signal(), Signal(), Signal(range(self.patience + 1), init=self.patience)
        taken, taking = Signal.like(at.id), Signal()
        late = Signal()
        m.d.comb += [
            # SEC_CM: RING.EARLY.ONCE -- a host that gives wrong bytes early gets one more try at a tag, and not many
            self.hold.eq(armed & self.open_ & ~certain),
            self.begins.eq(now.first & now.fits & self.counted & self.hold),
            # the counters were there before this line, and it is no record of one operation; or none comes
            late.eq(self.hold & ~self.begins & ((now.first & now.some) | (waits == 0))),
            self.o_line.valid.eq(self.begins | (taking & now.here & (at.id == taken))),
            self.o_line.p.eq(at.data),
        ]
        m.d.sync += waits.eq(Mux(self.some & self.hold, waits - 1, self.patience))
        with m.If(self.moved):
            m.d.sync += armed.eq(0)
        with m.Elif(ask):
            m.d.sync += armed.eq(1)
        with m.If(late | self.again):
            m.d.sync += certain.eq(1)
        with m.Elif(self.moved):
            m.d.sync += certain.eq(0)
        with m.If(self.begins):
            m.d.sync += [taken.eq(at.id), taking.eq(~at.last)]
        with m.Elif(self.o_line.valid & at.last):
            m.d.sync += taking.eq(0)
        return m

    def _ask(self, m: Module) -> tuple[Signal, Value]:
        """Ask for the place behind the counters.

        Return whether it is asked for now, and whether the line that is here is the first of a read of this place.
        """
        read, line = self.o_read, self.i_data.p
        ask, number, under_way = Signal(), Signal(range(self.ids)), Signal(range(MOST_UNDER_WAY + 1))
        m.d.comb += ask.eq(self.asked & self.open_ & ~read.valid & (under_way != MOST_UNDER_WAY))
        with m.If(ask):
            m.d.sync += [
                read.valid.eq(1),
                read.p.address.eq(self.address),
                read.p.lines.eq(self.lines),
                read.p.id.eq(self.first_id + number),
                number.eq(Mux(number == self.ids - 1, 0, number + 1)),
            ]
        with m.Elif(read.ready):
            m.d.sync += read.valid.eq(0)
        firsts, lasts = [], []
        for k in range(self.ids):
            # those under way, and how many of them, the oldest ones, are of a place that is no longer the next
            waiting, old = Signal(range(MOST_UNDER_WAY + 1)), Signal(range(MOST_UNDER_WAY + 1))
            mine, inside, left = Signal(), Signal(), Signal(range(MOST_UNDER_WAY + 1))
            m.d.comb += [
                mine.eq(self.i_data.valid & (line.id == self.first_id + k)),
                left.eq(waiting - (mine & line.last)),
            ]
            m.d.sync += waiting.eq(left + (ask & (number == k)))
            with m.If(self.moved):
                m.d.sync += old.eq(left + (ask & (number == k)))
            with m.Elif(mine & line.last & (old != 0)):
                m.d.sync += old.eq(old - 1)
            with m.If(mine):
                m.d.sync += inside.eq(~line.last)
            firsts.append(mine & ~inside & (old == 0))
            lasts.append(mine & line.last)
        m.d.sync += under_way.eq(under_way + ask - reduce(or_, lasts))
        return ask, reduce(or_, firsts)

    def _fits(self, line: Value) -> Value:
        """Return whether a line begins a record of as many lines as one of a single operation has."""
        header = read_header(line[:BLOCK_BITS])
        counts = [count for count, lines in enumerate(self.codec.sizes) if lines == self.lines]
        known = reduce(or_, (header.count == count for count in counts), Const(0, 1))
        return (header.type == RecordType.DATA) & (header.lines == self.lines) & known
