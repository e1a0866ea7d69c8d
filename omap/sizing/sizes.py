"""From the sizes of keys, values and pages to exact parameters: how large every structure in HBM must be.

Each function sizes the maps of one placement rule. The probability that anything ever runs out is at most 2^-80 over
2^40 operations: at one instant 2^-122 for each of waiting slots, further lines and position map. No structure is larger
than its worst case, so that a small map can't run out at all. docs/decisions/0003-sizing.md says what is proof and what
is measurement.

The functions take many arguments, because each is a public size of its own. All are given by name.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from omap.errors import ParamsError
from omap.params import (
    DESCRIPTOR_BYTES,
    MOST_CAPACITY,
    TAG_BYTES,
    Params,
    Rule,
    check_lines,
    check_page,
    check_pages,
    check_shape,
    line_indices,
)
from omap.sizing.buckets import RELOCATION_STEPS, TRANSIT_ENTRIES, table_buckets
from omap.sizing.theorem import provision, waiting_law

TARGET_BITS = 80
"""-log2 of the largest probability that anything runs out during the life of a map."""

LIFETIME_BITS = 40
"""log2 of the operations in the life of a map."""

INSTANT_BITS = TARGET_BITS + LIFETIME_BITS + 2
"""-log2 of the largest probability that one structure runs out at one instant. Three structures share the target."""

PAGE_LOAD = 0.75
"""Mean tuples of a page over the tuples that it has room for; with this share a map needs the least HBM."""

DESCRIPTOR_LINE = max(DESCRIPTOR_BYTES)
"""Bytes of a descriptor line where HBM has room: a list in few lines is read in a short time."""

BUCKET_BYTES = 128
"""Bytes of a bucket for all entries but the shortest."""

MOST_TUPLES = 1000
"""Mean tuples of a page above which every key gets a waiting slot: the law of so long lists takes long, and gives no
less."""

LEAST_LOAD = 2.0**-40
"""Loads below this one are no numbers that somebody meant."""

PUBLISHED_LOAD = 8
"""Mean tuples of a bin, c, of the published two_choice rule (Guo et al., CCS 2025)."""

PUBLISHED_SHARE = 0.2
"""Share of the bins that lie in HBM, alpha, of the published two_choice rule (Guo et al., CCS 2025)."""


# Many: each is one public size, and all but three have defaults.
def one_choice(
    *,
    capacity: int,
    key_bytes: int,
    value_bytes: int,
    page_bytes: int,
    descriptor_bytes: int = DESCRIPTOR_LINE,
    bucket_bytes: int | None = None,
    page_load: float = PAGE_LOAD,
    pages: int | None = None,
) -> Params:
    """Size a ``one_choice`` map with pages of ``page_bytes``.

    Parameters
    ----------
    capacity : int
        Most live keys, N.
    key_bytes, value_bytes, page_bytes, descriptor_bytes : int
        As in :class:`~omap.params.Params`.
    bucket_bytes : int, optional
        64 or 128; without it 64 for entries of 8 bytes and 128 for longer ones.
    page_load : float
        Mean tuples of a page over the tuples that it has room for, when ``capacity`` keys are live.
    pages : int, optional
        Pages; without it ``page_load`` says how many.

    Raises
    ------
    ParamsError
        If the values contradict each other; says which bound was broken.
    """
    check_shape(capacity, key_bytes, value_bytes)
    slots = page_slots_of(page_bytes, key_bytes + value_bytes)
    check_lines(descriptor_bytes, BUCKET_BYTES if bucket_bytes is None else bucket_bytes)
    if pages is None:
        pages = pages_for(capacity, slots, page_load)
    check_pages(pages)
    waiting_slots, further_lines = capacity, most_lines(capacity, descriptor_bytes)
    if pages >= 2 and capacity <= MOST_TUPLES * pages:  # there is no bound for a single page
        law = waiting_law(capacity, pages, slots)
        waiting_slots = min(waiting_slots, provision(law, np.arange(len(law)), pages, INSTANT_BITS))
        lines = provision(law, line_costs(len(law), descriptor_bytes), pages, INSTANT_BITS)
        further_lines = min(most_lines(waiting_slots, descriptor_bytes), lines)
    return Params(
        capacity=capacity,
        key_bytes=key_bytes,
        value_bytes=value_bytes,
        rule=Rule.ONE_CHOICE,
        page_bytes=page_bytes,
        pages=pages,
        descriptor_bytes=descriptor_bytes,
        waiting_slots=waiting_slots,
        further_lines=further_lines,
        **_position_map(capacity, key_bytes + 4, bucket_bytes),
    )


# Many: each is one public size, and all but three have defaults.
def two_choice(
    *,
    capacity: int,
    key_bytes: int,
    value_bytes: int,
    load: float = PUBLISHED_LOAD,
    share: float = PUBLISHED_SHARE,
    page_bytes: int | None = None,
    descriptor_bytes: int = 64,
    bucket_bytes: int | None = None,
) -> Params:
    """Size a map of the published ``two_choice`` rule. Bins in HBM and the eviction buffer share the waiting slots.

    Parameters
    ----------
    capacity : int
        Most live keys, N.
    key_bytes, value_bytes : int
        As in :class:`~omap.params.Params`.
    load : float
        Mean tuples of a bin, c.
    share : float
        Share of the bins that lie in HBM, alpha, at least 0 and below 1.
    page_bytes : int, optional
        Without it the fewest with room for the published number of tuples, ``c + log2 log2 N + 1`` rounded down.
    descriptor_bytes : int
        As in :class:`~omap.params.Params`.
    bucket_bytes : int, optional
        As for :func:`one_choice`.

    Raises
    ------
    ParamsError
        If the values contradict each other; says which bound was broken.
    """
    check_shape(capacity, key_bytes, value_bytes)
    check_lines(descriptor_bytes, BUCKET_BYTES if bucket_bytes is None else bucket_bytes)
    if not _between(LEAST_LOAD, load, MOST_TUPLES) or not _between(0, share, 1) or share == 1:
        raise ParamsError(
            f"load is {load!r} and share {share!r}; load must be above 0, share at least 0 and below 1, and no load is "
            f"above {MOST_TUPLES}"
        )
    bins = max(2, math.ceil(capacity / load))
    hbm_bins = int(share * bins)
    if page_bytes is None:
        page_bytes = page_bytes_for(math.floor(most_load(capacity, load)), key_bytes + value_bytes)
    hbm, queue = two_choice_bounds(capacity, load, hbm_bins, bins - hbm_bins, INSTANT_BITS * math.log(2) / 2)
    waiting_slots = min(capacity, math.ceil(hbm + queue))
    return Params(
        capacity=capacity,
        key_bytes=key_bytes,
        value_bytes=value_bytes,
        rule=Rule.TWO_CHOICE,
        page_bytes=page_bytes,
        pages=bins - hbm_bins,
        hbm_bins=hbm_bins,
        descriptor_bytes=descriptor_bytes,
        waiting_slots=waiting_slots,
        further_lines=most_lines(waiting_slots, descriptor_bytes),
        **_position_map(capacity, key_bytes + 8, bucket_bytes),
    )


def resident(*, capacity: int, key_bytes: int, value_bytes: int, bucket_bytes: int | None = None) -> Params:
    """Size a ``resident`` map: every tuple has a waiting slot in HBM, and there are no pages.

    Parameters
    ----------
    capacity : int
        Most live keys.
    key_bytes, value_bytes : int
        As in :class:`~omap.params.Params`.
    bucket_bytes : int, optional
        As for :func:`one_choice`.

    Raises
    ------
    ParamsError
        If the values contradict each other; says which bound was broken.
    """
    check_shape(capacity, key_bytes, value_bytes)
    check_lines(64, BUCKET_BYTES if bucket_bytes is None else bucket_bytes)
    return Params(
        capacity=capacity,
        key_bytes=key_bytes,
        value_bytes=value_bytes,
        rule=Rule.RESIDENT,
        page_bytes=0,
        pages=0,
        waiting_slots=capacity,
        further_lines=0,
        **_position_map(capacity, key_bytes + 4, bucket_bytes),
    )


def page_bytes_for(slots: int, tuple_bytes: int) -> int:
    """Return the fewest bytes of a page, a multiple of 64, with room for ``slots`` tuples and the tag."""
    return -(-(slots * tuple_bytes + TAG_BYTES) // 64) * 64


def page_slots_of(page_bytes: int, tuple_bytes: int) -> int:
    """Return for how many tuples a page of ``page_bytes`` has room.

    Raises
    ------
    ParamsError
        If no map can have such a page: see :func:`omap.params.check_page`.
    """
    check_page(page_bytes, tuple_bytes)
    return (page_bytes - TAG_BYTES) // tuple_bytes


def pages_for(capacity: int, slots: int, page_load: float) -> int:
    """Return the fewest pages with room for ``slots`` tuples on which ``capacity`` keys are no more than this load.

    Raises
    ------
    ParamsError
        If the load is no positive number.
    """
    if not _between(LEAST_LOAD, page_load, MOST_CAPACITY):
        raise ParamsError(f"page_load is {page_load!r}; it must be a number above 0, such as {PAGE_LOAD}")
    return math.ceil(capacity / (page_load * slots))


def _between(least: float, value: object, most: float) -> bool:
    """Return whether something is a number, and from ``least`` to ``most``. NaN is not."""
    return isinstance(value, int | float) and least <= value <= most


def most_load(capacity: int, load: float) -> float:
    """Return the published bound on the load of a two_choice bin, ``c + log2 log2 N + 1``."""
    return load + math.log2(max(1.0, math.log2(max(2, capacity)))) + 1


def two_choice_bounds(
    capacity: int, load: float, hbm_bins: int, pages: int, log: float | None = None
) -> tuple[float, float]:
    """Return the published bounds on the tuples of bins in HBM, and on the tuples in the eviction buffer.

    They are ``K c + l sqrt(K log)`` and ``(1 + alpha) M / 2 + l sqrt(M log)`` with l = :func:`most_load` (Guo et al.,
    CCS 2025). As published, ``log`` is ln N. By Hoeffding's inequality a bound fails with probability exp(-2 log), so
    the sizing gives half the logarithm of the reciprocal of its own probability.
    """
    if log is None:
        log = math.log(capacity)
    spread = most_load(capacity, load) * math.sqrt(log)
    alpha = hbm_bins / (hbm_bins + pages)
    return hbm_bins * load + spread * math.sqrt(hbm_bins), (1 + alpha) * pages / 2 + spread * math.sqrt(pages)


def line_costs(count: int, descriptor_bytes: int) -> npt.NDArray[np.int64]:
    """Return a (count,) array: how many further lines a bin with 0, 1, ... ``count`` - 1 waiting tuples needs."""
    first, further = line_indices(descriptor_bytes)
    return np.maximum(0, -((first - np.arange(count)) // further))


def most_lines(waiting: int, descriptor_bytes: int) -> int:
    """Return the most further lines that ``waiting`` tuples can need, however they are spread over the bins."""
    first, further = line_indices(descriptor_bytes)
    return waiting // min(first + 1, further)


def _position_map(capacity: int, entry_bytes: int, bucket_bytes: int | None) -> dict[str, int]:
    if bucket_bytes is None:
        bucket_bytes = 64 if entry_bytes == 8 else BUCKET_BYTES
    return {
        "bucket_bytes": bucket_bytes,
        "buckets": table_buckets(capacity, bucket_bytes // entry_bytes),
        "relocation_steps": RELOCATION_STEPS,
        "transit_entries": TRANSIT_ENTRIES,
    }
