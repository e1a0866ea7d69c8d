"""Ticks of the constant-rate mode: a clock alone says how many operations are due."""

from __future__ import annotations

from collections.abc import Callable


class Ticks:
    """Counts ticks since a start.

    Parameters
    ----------
    rate : float
        Ticks a second.
    now : callable
        The clock, in seconds.
    """

    def __init__(self, rate: float, now: Callable[[], float]) -> None:
        self._rate = rate
        self._now = now
        self.start()

    def start(self) -> None:
        """Start again. The first tick is due after one interval."""
        self._from = self._now()
        self._given = 0

    def due(self) -> int:
        """Return how many ticks have come since the last call. A late call loses none."""
        ticks = int((self._now() - self._from) * self._rate + 1e-6)  # rounding loses no tick
        came, self._given = ticks - self._given, max(ticks, self._given)
        return max(came, 0)

    def wait(self) -> float:
        """Return the seconds until the next tick."""
        return max(0.0, self._from + (self._given + 1) / self._rate - self._now())
