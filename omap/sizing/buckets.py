"""How full the buckets of the position map may be.

A new key can find no place for two reasons. Perhaps no placement of all keys exists; a proof bounds the probability of
that (:func:`obstruction_bits`). Or the fixed number of relocation steps is too small for a while, and the transit queue
gets full. The probability of that is measured (:data:`LOADS`, checked by ``omap bounds``) and extrapolated, because
2^-120 can't be observed. See docs/decisions/0003-sizing.md.
"""

from __future__ import annotations

import math

from omap.errors import ParamsError

TRANSIT_ENTRIES = 32
"""Most entries in transit at once, in maps that the sizing made."""

RELOCATION_STEPS = 4
"""Relocation steps of an operation; :data:`LOADS` was measured with as many."""

SPARE_BUCKETS = 2
"""Buckets added to each table, so that a full transit queue is as rare in small maps as in large ones."""

LOADS = {2: 0.62, 3: 0.73, 4: 0.79, 5: 0.83, 6: 0.85, 8: 0.89, 10: 0.91, 16: 0.945}
"""Live keys over entries, by the number of entries in a bucket.

They were measured in the worst workloads found: a burst of deletes of random keys, from one to a fifth of all keys, and
then as many insertions of new keys. Only *insertions* performed :data:`RELOCATION_STEPS` steps, although every
operation of a map performs them. The queue was looked at when the map was full.
"""

TRANSIT_BITS_AN_ENTRY = 4.2
"""Each further entry in transit is rarer by so many powers of two; 4.5 to 5 were measured at these loads."""


def table_buckets(capacity: int, bucket_entries: int) -> int:
    """Return how many buckets each of the two tables needs for ``capacity`` keys.

    Raises
    ------
    ParamsError
        If no load was measured for buckets of this size.
    """
    if bucket_entries not in LOADS:
        raise ParamsError(
            f"no load is known for buckets of {bucket_entries} entries; "
            f"it was measured for {', '.join(map(str, LOADS))}: choose another bucket_bytes"
        )
    needed = math.ceil(capacity / (LOADS[bucket_entries] * 2 * bucket_entries))
    if capacity <= TRANSIT_ENTRIES:  # all of them fit in transit
        return max(2, needed)
    return needed + SPARE_BUCKETS


def transit_bits(capacity: int, transit_entries: int = TRANSIT_ENTRIES) -> float:
    """Return -log2 of the probability that the transit queue is full when an entry must join it.

    The probability is extrapolated. It applies to one instant of the worst workload found, in tables of
    :func:`table_buckets`. The result is infinite if all keys fit in transit.
    """
    return math.inf if capacity <= transit_entries else TRANSIT_BITS_AN_ENTRY * transit_entries


def obstruction_bits(capacity: int, buckets: int, bucket_entries: int, transit_entries: int = TRANSIT_ENTRIES) -> float:
    """Return a lower bound on -log2 of the probability that not all keys that are live at one instant can be placed.

    By Hall's theorem no placement leaves at most ``transit_entries`` keys over exactly if some s buckets, a and s - a
    of either table, are the only candidates of more than ``s * bucket_entries + transit_entries`` keys. The sum of
    the expected numbers of such sets is at most

        sum over s of (s + 1) C(B, s/2)^2 P[Binomial(N, (s / 2B)^2) > s * bucket_entries + transit_entries],

    because both the number of sets and the probability are largest for a = s/2 (binomials of real arguments, through
    the gamma function). The tail is at most exp(-N KL). Ranges of s are summed at once, each factor at its largest.

    Parameters
    ----------
    capacity : int
        Live keys, N. Their candidate buckets are independent and uniform, because the hash key is secret.
    buckets : int
        Buckets in each table, B.
    bucket_entries : int
        Entries in each bucket.
    transit_entries : int
        Entries that can be in transit at once.
    """
    log_total = -math.inf
    first = 2
    while first <= 2 * buckets:
        last = min(2 * buckets, first + first // 256)
        held = first * bucket_entries + transit_entries + 1
        if held > capacity:
            break
        inside = min(1.0, (last / (2 * buckets)) ** 2)
        half = min(max(first / 2, buckets / 2), last / 2)  # where the number of sets is largest
        log_sets = 2 * (math.lgamma(buckets + 1) - math.lgamma(half + 1) - math.lgamma(buckets - half + 1))
        log_count = math.log((last - first + 1) * (last + 1))
        exponent = log_sets + log_count - capacity * _divergence(held / capacity, inside)
        high, low = max(log_total, exponent), min(log_total, exponent)
        log_total = high + math.log1p(math.exp(low - high))
        first = last + 1
    return max(0.0, -log_total / math.log(2))


def _divergence(share: float, probability: float) -> float:
    """Return the Kullback-Leibler divergence of two coins; 0 unless ``share`` is above ``probability``."""
    if share <= probability:
        return 0.0
    rest = (1 - share) * math.log((1 - share) / (1 - probability)) if share < 1 else 0.0
    return share * math.log(share / probability) + rest
