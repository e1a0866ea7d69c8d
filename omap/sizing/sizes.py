"""From a shape to exact parameters: how large every structure in HBM must be.

Each function sizes one placement rule so that nothing ever runs out but for a probability of 2^-80 over 2^40
operations: 2^-122 at an instant for each of waiting slots, further lines and position map. No structure is larger
than its worst case, so that small maps can't run out at all. What is proof and what is measurement:
docs/decisions/0003-sizing.md.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from omap.errors import ParamsError
from omap.params import TAG_BYTES, Params, Rule, check_shape, line_indices
from omap.sizing.buckets import RELOCATION_STEPS, TRANSIT_ENTRIES, table_buckets
from omap.sizing.theorem import provision, waiting_law

TARGET_BITS = 80
"""Probability of ever running out, as a negative power of two ..."""

LIFETIME_BITS = 40
"""... over this many operations, likewise."""

INSTANT_BITS = TARGET_BITS + LIFETIME_BITS + 2
"""The same for one structure at one instant: three structures share the target."""

PAGE_LOAD = 0.75
"""Mean tuples a page over the tuples it has room for, where HBM is spent best."""

PUBLISHED_LOAD = 8
"""Mean tuples a bin, c, of the published two_choice rule (Guo et al., CCS 2025)."""

PUBLISHED_SHARE = 0.2
"""Share of bins in HBM, alpha, likewise."""


def one_choice(
    *,
    capacity: int,
    key_bytes: int,
    value_bytes: int,
    page_bytes: int,
    descriptor_bytes: int = 64,
    bucket_bytes: int | None = None,
    page_load: float = PAGE_LOAD,
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
        Mean tuples a page over the tuples it has room for, when ``capacity`` keys are live.

    Raises
    ------
    ParamsError
        The values don't go together; says which bound was broken.
    """
    check_shape(capacity, key_bytes, value_bytes)
    slots = (page_bytes - TAG_BYTES) // (key_bytes + value_bytes)
    pages = math.ceil(capacity / (page_load * max(slots, 1)))
    waiting_slots, further_lines = capacity, most_lines(capacity, descriptor_bytes)
    if slots >= 1 and pages >= 2:  # a single page, or one too small for Params, is not worth a bound
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
    """Size the published ``two_choice`` rule; HBM bins and the eviction buffer share the waiting slots.

    Parameters
    ----------
    capacity : int
        Most live keys, N.
    key_bytes, value_bytes : int
        As in :class:`~omap.params.Params`.
    load : float
        Mean tuples a bin, c.
    share : float
        Share of the bins that live in HBM, alpha, below 1.
    page_bytes : int, optional
        Without it the fewest with room for the published page capacity, ``c + log2 log2 N + 1`` rounded down.
    descriptor_bytes : int
        As in :class:`~omap.params.Params`.
    bucket_bytes : int, optional
        As for :func:`one_choice`.

    Raises
    ------
    ParamsError
        The values don't go together; says which bound was broken.
    """
    check_shape(capacity, key_bytes, value_bytes)
    if not 0 <= share < 1 or not load > 0:
        raise ParamsError(f"load is {load} and share {share}; load must be above 0, share at least 0 and below 1")
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
    """Size a ``resident`` map: every tuple has a slot in HBM, and there are no pages.

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
        The values don't go together; says which bound was broken.
    """
    check_shape(capacity, key_bytes, value_bytes)
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
    """Return the fewest page bytes, a multiple of 64, with room for ``slots`` tuples and the tag."""
    return -(-(slots * tuple_bytes + TAG_BYTES) // 64) * 64


def most_load(capacity: int, load: float) -> float:
    """Return the published bound on the load of a two_choice bin, ``c + log2 log2 N + 1``."""
    return load + math.log2(max(1.0, math.log2(max(2, capacity)))) + 1


def two_choice_bounds(
    capacity: int, load: float, hbm_bins: int, pages: int, log: float | None = None
) -> tuple[float, float]:
    """Return the published bounds on the tuples in HBM bins and on those in the eviction buffer.

    ``K c + l sqrt(K log)`` and ``(1 + alpha) M / 2 + l sqrt(M log)`` with l = :func:`most_load` (Guo et al., CCS 2025).
    ``log`` is ln N as published; by Hoeffding's inequality the bound then fails with probability exp(-2 log), so the
    sizing puts half the logarithm of the probability it wants.
    """
    if log is None:
        log = math.log(capacity)
    spread = most_load(capacity, load) * math.sqrt(log)
    alpha = hbm_bins / (hbm_bins + pages)
    return hbm_bins * load + spread * math.sqrt(hbm_bins), (1 + alpha) * pages / 2 + spread * math.sqrt(pages)


def line_costs(count: int, descriptor_bytes: int) -> npt.NDArray[np.int64]:
    """Return how many further lines a bin with 0, 1, ... ``count`` - 1 waiting tuples occupies."""
    first, further = line_indices(descriptor_bytes)
    return np.maximum(0, -((first - np.arange(count)) // further))


def most_lines(waiting: int, descriptor_bytes: int) -> int:
    """Return what ``waiting`` tuples occupy at worst: a first further line costs the fewest of them."""
    first, further = line_indices(descriptor_bytes)
    return waiting // min(first + 1, further)


def _position_map(capacity: int, entry_bytes: int, bucket_bytes: int | None) -> dict[str, int]:
    if bucket_bytes is None:
        bucket_bytes = 64 if entry_bytes == 8 else 128
    return {
        "bucket_bytes": bucket_bytes,
        "buckets": table_buckets(capacity, bucket_bytes // entry_bytes),
        "relocation_steps": RELOCATION_STEPS,
        "transit_entries": TRANSIT_ENTRIES,
    }
