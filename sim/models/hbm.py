"""When an access to HBM is done: pseudo-channels, banks with open rows, refresh. Compiled form: ``native/hbm.h``."""

from __future__ import annotations

from sim.models.draws import Purpose, draw
from sim.models.scheduler import Burst, Scheduler
from sim.models.timing import HbmTiming


class HbmScheduler(Scheduler):
    """Gives each access its time by the rules of :class:`~sim.models.timing.HbmTiming`.

    Parameters
    ----------
    timing : HbmTiming
        The figures.
    seed : int
        Seed of the port; it places the refresh.
    """

    def __init__(self, timing: HbmTiming, seed: int) -> None:
        self.f = timing.figures()
        self._free: dict[int, int] = {}  # channel -> when it can start the next access
        self._opened: dict[int, int] = {}  # channel -> when it last opened a row
        self._refreshed: dict[int, int] = {}  # channel -> number of the last refresh taken into account
        self._rows: dict[tuple[int, int], int] = {}  # (channel, bank) -> open row
        self._last_read: dict[int, tuple[int, int]] = {}  # ID -> (channel, answer time) of its last read
        every = self.f["refresh_every"]
        self._phase = draw(seed, Purpose.REFRESH, 0) % every if every else 0

    def arrive(self, burst: Burst, now: int) -> None:
        """Set when the access takes effect; it is answered then."""
        f = self.f
        channel, offset = divmod(burst.address, f["channel_bytes"])
        row_number = offset // f["row_bytes"]
        bank, row = (channel, row_number % f["banks"]), row_number // f["banks"]
        start = max(now, self._free.get(channel, 0))
        if not burst.write:
            before, answered = self._last_read.get(burst.id, (channel, 0))
            if before != channel:
                start = max(start, answered)
        start = self._after_refresh(channel, start)
        if self._rows.get(bank) != row:
            start = self._after_refresh(channel, max(start, self._opened.get(channel, -f["spacing"]) + f["spacing"]))
            latency = f["conflict"] if bank in self._rows else f["closed"]
            self._opened[channel] = start
            self._rows[bank] = row
        else:
            latency = f["hit"]
        self._free[channel] = start + -(-burst.length // 32) * f["beat"]
        burst.time = start + latency
        if not burst.write:
            self._last_read[burst.id] = (channel, burst.time)

    def answer(self, burst: Burst) -> None:
        """Leave the time as it is: an access is answered when it takes effect."""

    def _after_refresh(self, channel: int, start: int) -> int:
        every = self.f["refresh_every"]
        if not every or start < self._phase:
            return start
        number, within = divmod(start - self._phase, every)
        if number + 1 > self._refreshed.get(channel, 0):  # refreshes are numbered from 1
            self._refreshed[channel] = number + 1
            for bank in [bank for bank in self._rows if bank[0] == channel]:
                del self._rows[bank]
        return start - within + self.f["refresh"] if within < self.f["refresh"] else start
