"""Simulated moves of the position map, to see how long its transit queue gets.

The relocation steps are those of :class:`omap.position_map.PositionMap`. Keys are numbers, and their candidate buckets
are drawn instead of hashed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from omap.errors import InputError
from omap.operations import Kind
from omap.sizing.bounds import Ints, Operations, chunks, churn, growth, kernels
from omap.sizing.buckets import RELOCATION_STEPS, TRANSIT_ENTRIES, table_buckets


class TransitProcess:
    """The moves of a position map, which is empty at first. Its entries are numbers of keys.

    Parameters
    ----------
    buckets, bucket_entries : int
        Buckets of each of the two tables, and entries of each bucket.
    keys : int
        How many different keys operations may name.
    transit_entries, steps : int
        Most entries in the queue, and relocation steps of an insertion.
    idle_steps : int, optional
        Relocation steps of any other operation; without it as many as of an insertion, as in the map.
    """

    def __init__(
        self,
        buckets: int,
        bucket_entries: int,
        keys: int,
        *,
        transit_entries: int = TRANSIT_ENTRIES,
        steps: int = RELOCATION_STEPS,
        idle_steps: int | None = None,
    ) -> None:
        self._place = kernels().place
        self._steps = steps
        self._idle_steps = steps if idle_steps is None else idle_steps
        self.buckets = buckets
        self.candidates = np.zeros((keys, 2), np.int32)
        self.held = np.full((2 * buckets, bucket_entries), -1, np.int32)
        self.refused = 0
        self.peaks = np.zeros(transit_entries + 1, np.int64)
        """Element n counts the insertions after which n entries were in transit, before the relocation steps."""
        self.used = np.zeros(2 * buckets, np.int32)
        self._queue = np.zeros((transit_entries + 1, 2), np.int32)
        self._state = np.zeros(3, np.int32)

    def run(self, operations: Operations, candidates: Ints, *, every: bool = False) -> Ints:
        """Run operations and return the length of the queue after each of them if ``every``, else an empty array.

        Row i of ``candidates``, an (operations, 2) array, has the candidate buckets, one in each table, of a key that
        operation i inserts.
        """
        kinds, keys = operations
        series = np.empty(len(kinds) if every else 0, np.int32)
        self.refused += self._place(
            kinds,
            keys,
            np.ascontiguousarray(candidates, np.int32),
            self._steps,
            self._idle_steps,
            self.candidates,
            self.held,
            self.used,
            self._queue,
            self._state,
            self.peaks,
            series,
        )
        return series

    @property
    def transit(self) -> list[tuple[int, int]]:
        """Keys in transit and the tables that they go to, oldest first."""
        start, length, _ = self._state.tolist()
        return [(key, table) for key, table in np.roll(self._queue, -start, axis=0)[:length].tolist()]


@dataclass(frozen=True, kw_only=True)
class TransitOutcome:
    """What deletes and insertions in a full position map did to its transit queue.

    Parameters
    ----------
    bucket_entries, keys, buckets : int
        Entries of a bucket, live keys, buckets of each table.
    pairs : int
        Deletes, and as many insertions, that ran.
    longest : int
        Most entries in transit.
    refused : int
        Insertions that found no room.
    tail : tuple of float
        -log2 of the share of insertions after which at least 1, 2, ... entries were in transit, up to ``longest``.
    bits : float
        By how many powers of two a further entry in transit is rarer, at least: the smallest difference between
        neighbours in ``tail`` that were seen 1,000 times or more. NaN if there are no two of them.
    """

    bucket_entries: int
    keys: int
    buckets: int
    pairs: int
    longest: int
    refused: int
    tail: tuple[float, ...]
    bits: float


def simulate_transit(
    bucket_entries: int, keys: int, pairs: int, *, load: float | None = None, burst: int = 1, seed: int = 1
) -> TransitOutcome:
    """Fill a position map, then delete random keys and insert new ones, with relocation steps at insertions only.

    In a map every operation performs relocation steps. But during a burst of deletes the queue is empty, so that their
    steps help nobody: a burst of insertions after a burst of deletes is the worst workload for the queue. Only the last
    tenth of a burst of insertions counts, because the map is full then.

    Parameters
    ----------
    bucket_entries : int
        Entries in one bucket.
    keys : int
        Live keys.
    pairs : int
        Deletes, and as many insertions, to run.
    load : float, optional
        Live keys over entries; without it the load that the sizing chooses.
    burst : int
        Deletes in a row, and as many insertions after them.
    seed : int
        Seed of keys and candidate buckets.

    Raises
    ------
    InputError
        If a number is below 1, or a burst has more deletes than there are keys.
    OmapError
        If numba is not installed.
    """
    if min(keys, pairs, burst) < 1 or burst > keys:
        raise InputError(
            f"{keys} keys, {pairs} pairs and bursts of {burst} were asked for; "
            "all must be at least 1, and a burst at most all keys"
        )
    if load is not None and not 0 < load <= 1:
        raise InputError(f"load is {load}; it must be above 0 and at most 1, live keys over entries")
    buckets = table_buckets(keys, bucket_entries) if load is None else math.ceil(keys / (2 * bucket_entries * load))
    process = TransitProcess(buckets, bucket_entries, keys, transit_entries=4 * TRANSIT_ENTRIES, idle_steps=0)
    random = np.random.default_rng([seed, bucket_entries])

    def run(operations: Operations) -> None:
        process.run(operations, random.integers(buckets, size=(len(operations[0]), 2), dtype=np.int32))

    for start, count in chunks(0, keys, keys):
        run(growth(random, start, count, keys))
    counted = np.zeros_like(process.peaks)
    if burst == 1:
        process.peaks[:] = 0
        for start, count in chunks(0, 2 * pairs, 2 * pairs):
            run(churn(random, start, count, keys))
        counted += process.peaks
    for _ in range(-(-pairs // burst) if burst > 1 else 0):
        gone = random.permutation(keys)[:burst].astype(np.int32)
        last = max(1, burst // 10)
        run((np.full(burst, Kind.DELETE, np.int8), gone))
        run((np.full(burst - last, Kind.PUT, np.int8), gone[last:]))
        process.peaks[:] = 0
        run((np.full(last, Kind.PUT, np.int8), gone[:last]))
        counted += process.peaks
    least = counted[::-1].cumsum()[::-1]
    tail = -np.log2(least[least > 0] / least[0])
    often = tail[: int((least >= 1000).sum())]
    return TransitOutcome(
        bucket_entries=bucket_entries,
        keys=keys,
        buckets=buckets,
        pairs=pairs,
        longest=len(tail) - 1,
        refused=process.refused,
        tail=tuple(tail[1:].tolist()),
        bits=float(np.diff(often[1:]).min()) if len(often) > 2 else float("nan"),
    )
