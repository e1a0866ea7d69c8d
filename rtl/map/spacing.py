"""Least distances between events, whose mean may be a fraction of cycles."""

from __future__ import annotations

from fractions import Fraction
from math import floor

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.config import MOST_PARTS
from rtl.stream.interfaces import require

LEAST_GAP = 2
"""Least whole cycles of an interval: the cycle after an event has none."""


class Spacing(wiring.Component):
    """Says when the next event may be, so that events are ``interval`` cycles apart at least, on average.

    After event k the least distance to the next one is ceil((k + 1) interval) - ceil(k interval), counted from reset:
    for 19/4 the distances are 5, 5, 5 and 4, over and over. So it follows from the number of events alone, no distance
    is shorter than the whole cycles of the interval, and n + 1 events span more than n intervals less one cycle. No
    time is saved up while no event comes.

    Parameters
    ----------
    interval : int or Fraction
        Cycles, at least 2; the denominator is at most 8.

    Members
    -------
    event : In(1)
        An event; only while it is ``free``.
    free : Out(1)
        An event may be in this cycle.
    soon : Out(1)
        An event may be in the next cycle. It depends on ``event``.

    Raises
    ------
    ParamsError
        If the interval is too short, or its denominator too large.
    """

    def __init__(self, interval: int | Fraction) -> None:
        require(
            interval >= LEAST_GAP and interval.denominator <= MOST_PARTS,
            f"interval is {interval}; it must be at least {LEAST_GAP}, in parts of 1/{MOST_PARTS} or larger ones",
        )
        self.interval = Fraction(interval)
        super().__init__({"event": In(1), "free": Out(1), "soon": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        whole, parts = floor(self.interval), self.interval.denominator
        part = self.interval.numerator % parts
        wait = Signal(range(whole + (part != 0)))  # cycles until the next event may be
        longer = Signal()
        m.d.comb += [self.free.eq(wait == 0), self.soon.eq(~self.event & (wait <= 1))]
        if part:
            ahead = Signal(range(parts))  # parts of a cycle by which the last event was later than its exact time
            m.d.comb += longer.eq(ahead < part)
            with m.If(self.event):
                m.d.sync += ahead.eq(ahead + Mux(longer, parts - part, -part))
        with m.If(self.event):
            m.d.sync += wait.eq(whole - 1 + longer)
        with m.Elif(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        return m
