"""The least time from the read of a page to its start, so that an early answer of the host starts nothing early."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.config import MOST_TURNAROUND
from rtl.offsets import LEAST_TURNAROUND
from rtl.stream.interfaces import require_whole


class Turnaround(wiring.Component):
    """Counts pages that may start because their turnaround has passed. Pages are read and started in the same order.

    Parameters
    ----------
    cycles : int
        Least time from ``taken`` to ``started``, 3 to 16384.
    depth : int
        Most pages that were read and have not started.

    Members
    -------
    taken : In(1)
        The host port has taken the read of a page.
    started : In(1)
        A page starts; only in the cycle after ``ripe``, and not twice in a row.
    ripe : Out(1)
        A page may start in the next cycle.

    Countermeasures
    ---------------
    PAGE.START.PACED
        No page starts before its turnaround has passed, however early the host answers.
    """

    def __init__(self, *, cycles: int, depth: int) -> None:
        require_whole("cycles", cycles, LEAST_TURNAROUND, MOST_TURNAROUND)
        require_whole("depth", depth, 1, 256)
        self.cycles, self.depth = cycles, depth
        super().__init__({"taken": In(1), "started": In(1), "ripe": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        path = Signal(self.cycles - 2)  # a read travels down for as long as its page has to wait
        count, following = Signal(range(self.depth + 1)), Signal(range(self.depth + 2))
        m.d.sync += path.eq((path << 1) | self.taken)
        # SEC_CM: PAGE.START.PACED -- by the time of its read alone, however early its answer came
        m.d.comb += following.eq(count + path[-1] - self.started)
        m.d.sync += [count.eq(following), self.ripe.eq(following != 0)]
        return m
