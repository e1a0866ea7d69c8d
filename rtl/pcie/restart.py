"""A function-level reset: what is under way is ended, all else is reset, and the block is told."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.stream.interfaces import require_whole

RESET_CYCLES = 1024
"""Least length of the reset: 4 us at 250 MHz. A memory answers in this time what the card asked before. Its port is in
reset, so that nobody gets the answers. HBM has at most 64 reads of a pseudo-channel under way (AMD PG276). Each takes
14 ns if it opens a row, 36 ns if it has 16 beats (:class:`sim.models.timing.HbmTiming`). With a refresh that is 3 us at
most."""


class Restart(wiring.Component):
    """Carries a function-level reset through.

    1. No request begins any more, and the registers are closed; what has begun is ended.
    2. The rest of the card is in reset. Completions of reads under way are awaited, so that none of them can be taken
       for that of a later read. The host may never send them: after ``patience`` cycles nobody waits any more. The hard
       block has then ended them itself, by its own time-out.
    3. Our end of the link is reset, too, and the block is told that the function is as new.

    Parameters
    ----------
    patience : int
        Cycles. PCI Express 4.0, section 6.6.2, gives a function 100 ms in all.

    Members
    -------
    asked : In(1)
        The host asks for a reset of the function, until ``done``.
    ended : In(1)
        Nothing is begun on the streams toward the block, and no register is being accessed.
    idle : In(1)
        Nothing is under way that the host has to end.
    open_ : Out(1)
        Requests may begin, and registers may be accessed.
    card : Out(1)
        The rest of the card is in reset.
    link : Out(1)
        Our end of the link is in reset.
    done : Out(1)
        The function has been reset: one cycle.
    """

    def __init__(self, *, patience: int = 1 << 24) -> None:
        require_whole("patience", patience, 1, 1 << 32)
        self.patience = patience
        super().__init__(
            {
                "asked": In(1),
                "ended": In(1),
                "idle": In(1),
                "open_": Out(1),
                "card": Out(1),
                "link": Out(1),
                "done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        waited, cycles = Signal(range(self.patience)), Signal(range(RESET_CYCLES))
        with m.FSM(name="restart"):
            with m.State("RUN"):
                m.d.comb += self.open_.eq(~self.asked)
                m.d.sync += [waited.eq(0), cycles.eq(0)]
                with m.If(self.asked & self.ended):
                    m.next = "WAIT"
            with m.State("WAIT"):
                m.d.comb += self.card.eq(1)
                m.d.sync += waited.eq(waited + 1)
                with m.If(self.idle | (waited == self.patience - 1)):
                    m.next = "RESET"
            with m.State("RESET"):
                m.d.comb += [self.card.eq(1), self.link.eq(1)]
                m.d.sync += cycles.eq(cycles + 1)
                with m.If(cycles == RESET_CYCLES - 1):
                    m.next = "TELL"
            with m.State("TELL"):
                m.d.comb += [self.card.eq(1), self.done.eq(1)]
                m.next = "LEAVE"
            with m.State("LEAVE"):
                m.d.comb += self.card.eq(1)
                with m.If(~self.asked):
                    m.next = "RUN"
        return m
