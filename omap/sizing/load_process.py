"""The compiled load processes: what operations do to the counts of a map, without crypto.

They need numba. Import this module through :func:`omap.sizing.bounds.kernels`, which says so if numba is missing. Every
function takes explicit operations and draws, so that tests can compare it with the reference map. The counts do not
depend on which tuple lies in which page slot: a page holds min(C, tuples of its bin at the last touch), and the other
tuples of the bin wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

from omap.operations import Kind

Ints = npt.NDArray[np.int32]
Counters = npt.NDArray[np.int64]

_F = TypeVar("_F", bound=Callable[..., Any])

PUT: Final = int(Kind.PUT)
DELETE: Final = int(Kind.DELETE)
NOP: Final = int(Kind.NOP)

LIVE, WAITING, RESIDENT, LINES, MOST_WAITING, MOST_RESIDENT, MOST_TOGETHER, MOST_LINES, MOST_LOAD = range(9)
"""Indices of the counters. The first four count live keys, tuples that wait for a page, tuples of bins in HBM, and
further lines. The others are the largest values at the end of any operation: of waiting tuples, of tuples of bins in
HBM, of both together, of further lines, and of the tuples of one bin."""

COUNTERS: Final = 9


def _compiled(function: _F) -> _F:
    try:
        return cast(_F, numba.njit(cache=True)(function))
    except RuntimeError:  # no folder can keep compiled code, so every process compiles it again
        return cast(_F, numba.njit()(function))


# Compiled functions take arrays and numbers, not objects, so that the signatures of the loops are long: numba compiles
# a class only as a jitclass, which it can't keep in its cache.


@_compiled
def _lines(waiting: int, first: int, further: int) -> int:
    return 0 if waiting <= first else (waiting - first + further - 1) // further


@_compiled
def _note(counters: Counters) -> None:
    counters[MOST_WAITING] = max(counters[MOST_WAITING], counters[WAITING])
    counters[MOST_RESIDENT] = max(counters[MOST_RESIDENT], counters[RESIDENT])
    counters[MOST_TOGETHER] = max(counters[MOST_TOGETHER], counters[WAITING] + counters[RESIDENT])
    counters[MOST_LINES] = max(counters[MOST_LINES], counters[LINES])


# Many: numba compiles plain arrays and numbers, and an object that gathers them would be slower and less clear.
@_compiled
def _touch(
    number: int, leaves: int, hbm_bins: int, slots: int, indices: Ints, load: Ints, inside: Ints, counters: Counters
) -> None:
    """Touch a bin: ``leaves`` tuples depart from it, and waiting tuples move to its page."""
    first, further = indices[0], indices[1]
    waited = load[number] - inside[number]
    load[number] -= leaves
    if number >= hbm_bins:
        inside[number] = min(slots, load[number])
        counters[WAITING] += load[number] - inside[number] - waited
    else:
        counters[RESIDENT] -= leaves
    now = load[number] - inside[number]
    counters[LINES] += _lines(now, first, further) - _lines(waited, first, further)


@_compiled
def _append(number: int, hbm_bins: int, indices: Ints, load: Ints, inside: Ints, counters: Counters) -> None:
    """Add one tuple to a bin: it waits for the page of the bin, or stays in HBM if the bin has no page."""
    first, further = indices[0], indices[1]
    waited = load[number] - inside[number]
    load[number] += 1
    counters[WAITING if number >= hbm_bins else RESIDENT] += 1
    counters[LINES] += _lines(waited + 1, first, further) - _lines(waited, first, further)
    counters[MOST_LOAD] = max(counters[MOST_LOAD], load[number])


# Many: numba compiles plain arrays and numbers, and an object that gathers them would be slower and less clear.
@_compiled
def run(
    kinds: npt.NDArray[np.int8],
    keys: Ints,
    draws: Ints,
    capacity: int,
    hbm_bins: int,
    slots: int,
    indices: Ints,
    placed: Ints,
    home: Ints,
    load: Ints,
    inside: Ints,
    counters: Counters,
    series: Ints,
) -> float:
    """Run operations and return the sum, over all of them, of the waiting tuples at the end of the operation.

    ``draws`` is (operations, 2 * w): the bins to touch on a miss, then the fresh bins; w is 1 for one_choice and 2 for
    two_choice. ``placed`` is (keys, w), the bins of every key. ``home`` is (keys,), the bin that holds the tuple of a
    key, or -1 if the key is not live. ``load`` and ``inside`` are (bins,): the tuples of a bin, and those in its page.
    If ``series`` is not empty, its row i gets the waiting tuples, the tuples of bins in HBM and the further lines after
    operation i.
    """
    width = placed.shape[1]
    total = 0.0
    for i in range(len(kinds)):
        kind, key = kinds[i], keys[i]
        hit = kind != NOP and home[key] >= 0
        for j in range(width):
            number = placed[key, j] if hit else draws[i, j]
            _touch(number, int(hit and number == home[key]), hbm_bins, slots, indices, load, inside, counters)
        keep = (hit and kind != DELETE) or (kind == PUT and counters[LIVE] < capacity)
        if keep:
            chosen = draws[i, width]
            placed[key, 0] = chosen
            if width == 2:
                other = draws[i, width + 1]
                placed[key, 1] = other
                if load[other] < load[chosen]:
                    chosen = other
            home[key] = chosen
            _append(chosen, hbm_bins, indices, load, inside, counters)
        elif hit:
            home[key] = -1
        counters[LIVE] += int(keep) - int(hit)
        _note(counters)
        total += counters[WAITING]
        if len(series):
            series[i, 0], series[i, 1], series[i, 2] = counters[WAITING], counters[RESIDENT], counters[LINES]
    return total


# Many: numba compiles plain arrays and numbers, and an object that gathers them would be slower and less clear.
@_compiled
def place(
    kinds: npt.NDArray[np.int8],
    keys: Ints,
    fresh: Ints,
    steps: int,
    idle_steps: int,
    candidates: Ints,
    held: Ints,
    used: Ints,
    queue: Ints,
    state: Ints,
    peaks: Counters,
    series: Ints,
) -> int:
    """Run operations on a position map and return how many insertions found no room.

    ``fresh`` is (operations, 2): the candidate buckets, one in each table, that a key inserted by operation i gets in
    ``candidates``, (keys, 2). ``held`` is (2 * buckets, entries) of keys, -1 if free, and ``used`` counts them.
    ``queue`` is (transit entries + 1, 2) of key and target table, a ring whose start and length are ``state[0]`` and
    ``state[1]``; ``state[2]`` is the next victim. ``peaks[n]`` counts insertions that left n entries in transit before
    the relocation steps, of which an insertion performs ``steps`` and any other operation ``idle_steps``. If
    ``series`` is not empty, entry i gets the length of the queue after operation i.
    """
    buckets, entries, ring = used.shape[0] // 2, held.shape[1], queue.shape[0]
    refused = 0
    for i in range(len(kinds)):
        kind, key = kinds[i], keys[i]
        table, spot = -1, -1
        queued = -1
        for t in range(2):
            number = candidates[key, t] + t * buckets
            for e in range(entries):
                if held[number, e] == key:
                    table, spot = t, e
        if table < 0:
            for q in range(state[1]):
                if queue[(state[0] + q) % ring, 0] == key:
                    queued = q
        found = kind != NOP and (table >= 0 or queued >= 0)
        budget = idle_steps
        if kind == DELETE and found:
            if table >= 0:
                number = candidates[key, table] + table * buckets
                held[number, spot] = -1
                used[number] -= 1
            else:
                for q in range(queued, state[1] - 1):
                    queue[(state[0] + q) % ring] = queue[(state[0] + q + 1) % ring]
                state[1] -= 1
        elif kind == PUT and not found:
            budget = steps
            candidates[key] = fresh[i]
            one, other = fresh[i, 0], fresh[i, 1] + buckets
            number = other if used[other] < used[one] else one
            if used[number] < entries:
                _store(number, key, held, used)
            elif state[1] < ring - 1:
                _push(key, 0, queue, state)
            else:
                refused += 1
            peaks[state[1]] += 1
        for _ in range(budget):
            if state[1] == 0:
                break
            moved, target = queue[state[0], 0], queue[state[0], 1]
            state[0] = (state[0] + 1) % ring
            state[1] -= 1
            number = candidates[moved, target] + target * buckets
            if used[number] < entries:
                _store(number, moved, held, used)
            else:
                evicted = held[number, state[2]]
                held[number, state[2]] = moved
                state[2] = (state[2] + 1) % entries
                _push(evicted, 1 - target, queue, state)
        if len(series):
            series[i] = state[1]
    return refused


@_compiled
def _store(number: int, key: int, held: Ints, used: Ints) -> None:
    spot = 0
    while held[number, spot] >= 0:
        spot += 1
    held[number, spot] = key
    used[number] += 1


@_compiled
def _push(key: int, target: int, queue: Ints, state: Ints) -> None:
    end = (state[0] + state[1]) % queue.shape[0]
    queue[end, 0], queue[end, 1] = key, target
    state[1] += 1
