"""Hosts that answer when it suits them: at once, late, with jitter, in bursts, out of order, or one page very late."""

from __future__ import annotations

from sim.models.faults import Fault, FaultKind
from sim.models.timing import HostTiming

HELD_NS = 20_000
"""For which one page is held; then all that came behind it may start."""


def steady(nanoseconds: float, **others: object) -> HostTiming:
    """Return a host that always takes the same time."""
    return between(nanoseconds, nanoseconds, **others)


def between(least: float, most: float, **others: object) -> HostTiming:
    """Return a host that takes a drawn time."""
    return HostTiming(quantiles=((0.0, least), (1.0, most)), write_ns=min(300.0, least), **others)  # type: ignore[arg-type]


HOSTS = {
    "0 ns": steady(0),
    "100 ns": steady(100),
    "250 ns": steady(250),
    "400 ns": steady(400),
    "usual": HostTiming(),
    "2 us": steady(2000),
    "20 us": steady(20_000),
    "jitter, out of order": between(0, 1500),
    "jitter, in order": between(0, 1500, reorder=False),
    "bursts": between(0, 100, gather_ns=3000.0),
    "one page held": steady(0),
}
"""Hosts by name. The last one holds a page now and then, see :func:`held_pages`."""


def held_pages(base: int, end: int, *, first: int, every: int, count: int) -> list[Fault]:
    """Return faults that hold single pages of host memory for :data:`HELD_NS`, one of ``every``."""
    return [
        Fault(kind=FaultKind.STALL, low=base, high=end, skip=first + every * k, count=1, argument=HELD_NS)
        for k in range(count)
    ]
