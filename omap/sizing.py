"""How large the structures in HBM must be: the placement theorem and the tail bounds around it.

The theorem for ``one_choice``: given all that the host has seen, the pages of all live keys are independent and
uniform. Page p holds min(C, O) tuples, O being the keys of p last accessed before p's last touch, and A the keys
accessed since; max(O - C, 0) + A tuples wait for p. Making a key more recent never lowers this, so a sequential sweep
over all keys is the worst workload. Under it the age of a page (time since its last touch, in units of one touch a
page) is exponential, A is Poisson of the age and O Poisson of the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from omap.params import Params, Rule

TARGET_BITS = 80
"""Probability of ever running out, as a negative power of two ..."""

LIFETIME_BITS = 40
"""... over this many operations, likewise."""

PAGE_LOAD = 0.75
"""Mean tuples a page over the tuples it has room for, where HBM is spent best."""

POSITION_MAP_LOAD = 0.90
"""Live keys over position map entries that four relocation steps an operation sustain."""


@cache
def _poisson(mean: float, top: int) -> tuple[float, ...]:
    """Return P(Poisson(mean) = k) for k up to ``top``."""
    terms = [math.exp(-mean)]
    for k in range(1, top + 1):
        terms.append(terms[-1] * mean / k)
    return tuple(terms)


def waiting_distribution(load: float, slots: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return P(k tuples wait for a page), k = 0.., under the worst workload.

    Parameters
    ----------
    load : float
        Mean tuples a page, c.
    slots : int
        Tuples a page has room for, C.
    """
    top = int(load + 12 * math.sqrt(load) + 40)
    nodes, weights = np.polynomial.legendre.leggauss(96)
    total = np.array(_poisson(load, top)) * math.exp(-load)  # pages not touched during the last N accesses
    for node, weight in zip((nodes + 1) * load / 2, weights * load / 2, strict=True):
        since = np.array(_poisson(float(node), top))
        older = np.array(_poisson(float(load - node), top + slots))
        excess = older[slots:].copy()
        excess[0] = older[: slots + 1].sum()
        total += weight * math.exp(-node) * np.convolve(since, excess)[: top + 1]
    return total


def _mean(load: float, slots: int, cost: Callable[[int], int]) -> float:
    return float(sum(p * cost(k) for k, p in enumerate(waiting_distribution(load, slots))))


def deviation(capacity: int, pages: int, bits: int = TARGET_BITS + LIFETIME_BITS) -> float:
    """Return how far above its mean a sum over pages may rise at one instant, but for a probability of 2^-bits.

    Valid for any count that one key changes by at most one on each page: waiting tuples, further lines. Bounded
    differences over the keys' draws and Bernstein over the pages' ages; see docs/decisions/0003-sizing.md.
    """
    log = bits * math.log(2)
    return math.sqrt(log * capacity / 2) + math.sqrt(log * pages) + 2 * log


def line_indices(descriptor_bytes: int) -> tuple[int, int]:
    """Return how many slot indices fit the first and each further line of a descriptor."""
    return (descriptor_bytes - 16) // 4, (descriptor_bytes - 4) // 4


def further_lines_needed(waiting: int, descriptor_bytes: int) -> int:
    """Return how many further lines a bin with ``waiting`` indices occupies."""
    first, further = line_indices(descriptor_bytes)
    return max(0, -(-(waiting - first) // further))


def table_buckets(capacity: int, bucket_entries: int, load: float = POSITION_MAP_LOAD) -> int:
    """Return buckets in each of the two position map tables."""
    return max(2, math.ceil(capacity / (load * 2 * bucket_entries)))


def one_choice(
    *, capacity: int, key_bytes: int, value_bytes: int, page_bytes: int, descriptor_bytes: int = 64
) -> Params:
    """Size a ``one_choice`` map with pages of ``page_bytes``."""
    slots = (page_bytes - 16) // (key_bytes + value_bytes)
    pages = max(1, math.ceil(capacity / (PAGE_LOAD * slots)))
    load = capacity / pages
    spare = deviation(capacity, pages)
    mean_lines = _mean(load, slots, lambda k: further_lines_needed(k, descriptor_bytes)) * pages
    bucket_bytes = 64 if key_bytes == 4 else 128
    return Params(
        capacity=capacity,
        key_bytes=key_bytes,
        value_bytes=value_bytes,
        rule=Rule.ONE_CHOICE,
        page_bytes=page_bytes,
        pages=pages,
        descriptor_bytes=descriptor_bytes,
        waiting_slots=min(capacity, math.ceil(_mean(load, slots, lambda k: k) * pages + spare)),
        further_lines=min(
            further_lines_needed(capacity, descriptor_bytes)
            + capacity // (line_indices(descriptor_bytes)[0] + 1),  # never more, however the pages fall
            math.ceil(mean_lines + spare),
        ),
        bucket_bytes=bucket_bytes,
        buckets=table_buckets(capacity, bucket_bytes // (4 + key_bytes)),
    )
