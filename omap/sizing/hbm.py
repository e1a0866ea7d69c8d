"""What the accelerator relies on HBM to keep to: its fixed offsets hold for an HBM that is no slower than this."""

from __future__ import annotations

import math
from dataclasses import dataclass

from omap.errors import ParamsError


@dataclass(frozen=True, kw_only=True)
class HbmLimits:
    """The slowest HBM that the offsets of the accelerator cover, and the clock in whose cycles they are counted.

    Figures and their sources are those of the memory model (:class:`sim.models.timing.HbmTiming`); nothing here was
    measured on a card by this project. A test compares the two.

    Parameters
    ----------
    latency_ns : float
        Most nanoseconds from the address of an access to its first data, in a channel that is idle.
    spacing_ns : float
        Least nanoseconds between two accesses of a channel that open a row.
    beat_ns : float
        Nanoseconds that 32 bytes occupy a channel.
    refresh_ns : float
        Most nanoseconds for which a refresh stops a channel.
    refresh_every_ns : float
        Least nanoseconds from one refresh of a channel to the next.
    clock_mhz : float
        Clock of the accelerator.

    Raises
    ------
    ParamsError
        If a figure is not positive.
    """

    latency_ns: float = 138.0
    spacing_ns: float = 13.5
    beat_ns: float = 32 / 14.375
    refresh_ns: float = 350.0
    refresh_every_ns: float = 3900.0
    clock_mhz: float = 250.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 < value < math.inf:
                raise ParamsError(f"{name} is {value!r}; it must be positive and finite")

    @property
    def refresh_share(self) -> float:
        """Share of the time in which a channel refreshes."""
        return self.refresh_ns / self.refresh_every_ns

    def cycles(self, nanoseconds: float) -> float:
        """Return a time in clock cycles."""
        return nanoseconds * self.clock_mhz / 1000

    def access_cycles(self, count: int) -> float:
        """Return the cycles for which a random access of ``count`` bytes occupies its channel."""
        return self.cycles(max(self.spacing_ns, -(-count // 32) * self.beat_ns))
