"""The touches of a batch, compiled: what :mod:`omap.map` does to descriptors, waiting tuples and opened pages."""

from __future__ import annotations

from typing import Final

import numpy as np

from omap.fast.compiled import compiled
from omap.fast.entries import PUT
from omap.fast.numbers import (
    BINS,
    BINS_OF_KEY,
    DONE,
    FAILURE,
    FIRST_INDICES,
    FREE_LINES,
    FREE_READS,
    FREE_SLOTS,
    FREE_WRITES,
    FURTHER_INDICES,
    KEY_BYTES,
    LINE_READS,
    LINE_WORDS,
    LINE_WRITES,
    LOST,
    NO_LINE,
    NO_SLOT,
    PAGE_SLOTS,
    PLAINTEXT_BYTES,
    SLOT_BYTES,
    SLOT_READS,
    SLOT_WRITES,
    TUPLE_BYTES,
    VALUE_BYTES,
    WAITING_SLOTS,
    Bytes,
    Int,
    Numbers,
    Words32,
)

_COUNT_SHIFT: Final = 16  # of the number of waiting tuples, in the second word of a line; below are bits of the version
_VERSION_HIGH: Final = 0xFFFF
_WORD: Final = 0xFFFF_FFFF


@compiled
def _same(one: Bytes, at: int, other: Bytes, there: int, count: int) -> bool:
    for place in range(count):  # noqa: SIM110 -- numba compiles no generator expressions
        if one[at + place] != other[there + place]:
            return False
    return True


@compiled
def _copy(source: Bytes, at: int, target: Bytes, to: int, count: int) -> None:
    for place in range(count):
        target[to + place] = source[at + place]


@compiled
def _lines(sizes: Numbers, count: Int) -> Int:
    """Return how many further lines a list needs."""
    beyond = count - sizes[FIRST_INDICES]
    return 0 if beyond <= 0 else (beyond + sizes[FURTHER_INDICES] - 1) // sizes[FURTHER_INDICES]


@compiled
def _load(sizes: Numbers, state: Numbers, lines: Words32, number: int, waiting: Numbers, further: Numbers) -> Int:
    """Read the list of a bin and the numbers of its further lines; return how many tuples wait."""
    at = number * sizes[LINE_WORDS]
    count = np.int64(lines[at + 1]) >> _COUNT_SHIFT
    link = np.int64(lines[at + 3])
    have = min(count, sizes[FIRST_INDICES])
    for place in range(have):
        waiting[place] = lines[at + 4 + place]
    needed = _lines(sizes, count)
    for line in range(needed):
        further[line] = link
        at = (sizes[BINS] + link) * sizes[LINE_WORDS]
        link = np.int64(lines[at])
        more = min(count - have, sizes[FURTHER_INDICES])
        for place in range(more):
            waiting[have + place] = lines[at + 1 + place]
        have += more
    state[LINE_READS] += 1 + needed
    return count


# Many: compiled code takes arrays and numbers; an object that gathers them could not be kept compiled.
@compiled
def _store(
    sizes: Numbers,
    state: Numbers,
    lines: Words32,
    free: Words32,
    number: int,
    waiting: Numbers,
    start: int,
    end: Int,
    further: Numbers,
    had: Int,
) -> bool:
    """Write the list of a bin, ``waiting[start:end]``; return False if the further lines run out."""
    count, all_ = end - start, sizes[WAITING_SLOTS]
    needed = _lines(sizes, count)
    while had < needed:
        if not state[FREE_LINES]:
            state[FAILURE] = NO_LINE
            return False
        state[FREE_LINES] -= 1
        state[FREE_READS] += 1
        further[had] = free[all_ + state[FREE_LINES]]
        had += 1
    while had > needed:
        had -= 1
        free[all_ + state[FREE_LINES]] = further[had]
        state[FREE_LINES] += 1
        state[FREE_WRITES] += 1
    at = number * sizes[LINE_WORDS]
    lines[at + 1] = lines[at + 1] & _VERSION_HIGH | count << _COUNT_SHIFT
    lines[at + 3] = further[0] if needed else 0
    for place in range(sizes[FIRST_INDICES]):
        lines[at + 4 + place] = waiting[start + place] if place < count else 0
    have = sizes[FIRST_INDICES]
    for line in range(needed):
        at = (sizes[BINS] + further[line]) * sizes[LINE_WORDS]
        lines[at] = further[line + 1] if line + 1 < needed else 0
        for place in range(sizes[FURTHER_INDICES]):
            lines[at + 1 + place] = waiting[start + have + place] if have + place < count else 0
        have += sizes[FURTHER_INDICES]
    state[LINE_WRITES] += 1 + needed
    return True


@compiled
def _bin_load(sizes: Numbers, lines: Words32, number: Int) -> tuple[Int, Int]:
    """Return how many tuples a bin has, in its page and waiting, and how many of these wait."""
    at = number * sizes[LINE_WORDS]
    waiting = np.int64(lines[at + 1]) >> _COUNT_SHIFT
    load, occupancy = waiting, np.int64(lines[at + 2])
    while occupancy:
        occupancy &= occupancy - 1
        load += 1
    return load, waiting


# Many: compiled code takes arrays and numbers; an object that gathers them could not be kept compiled.
@compiled
def _place(
    sizes: Numbers,
    state: Numbers,
    lines: Words32,
    slots: Bytes,
    free: Words32,
    draws: Numbers,
    operation: int,
    keys: Bytes,
    value: Bytes,
    waiting: Numbers,
    further: Numbers,
) -> bool:
    """Let the tuple of an operation wait at the emptiest of its new bins; return False if there is no room."""
    bins = sizes[BINS_OF_KEY]
    number = draws[(2 * operation + 1) * bins]
    if bins == 2:
        other = draws[(2 * operation + 1) * bins + 1]
        load, count = _bin_load(sizes, lines, number)
        theirs, more = _bin_load(sizes, lines, other)
        if theirs < load:
            number, more = other, count
        state[LINE_READS] += 1 + _lines(sizes, more)  # the descriptor that is not chosen was read as well
    count = _load(sizes, state, lines, number, waiting, further)
    if not state[FREE_SLOTS]:
        state[FAILURE] = NO_SLOT
        return False
    state[FREE_SLOTS] -= 1
    state[FREE_READS] += 1
    index = np.int64(free[state[FREE_SLOTS]])
    at = index * sizes[SLOT_BYTES]
    _copy(keys, operation * sizes[KEY_BYTES], slots, at, sizes[KEY_BYTES])
    _copy(value, operation * sizes[VALUE_BYTES], slots, at + sizes[KEY_BYTES], sizes[VALUE_BYTES])
    state[SLOT_WRITES] += 1
    waiting[count] = index
    return _store(sizes, state, lines, free, number, waiting, 0, count + 1, further, _lines(sizes, count))


@compiled
def _give(state: Numbers, free: Words32, index: int) -> None:
    """Free a waiting slot."""
    free[state[FREE_SLOTS]] = index
    state[FREE_SLOTS] += 1
    state[FREE_WRITES] += 1


# Many: compiled code takes arrays and numbers; an object that gathers them could not be kept compiled.
@compiled
def _touch(
    sizes: Numbers,
    state: Numbers,
    lines: Words32,
    slots: Bytes,
    free: Words32,
    plaintexts: Bytes,
    row: int,
    number: int,
    version: int,
    operation: int,
    wanted: bool,
    keys: Bytes,
    previous: Bytes,
    waiting: Numbers,
    further: Numbers,
) -> tuple[bool, bool]:
    """Touch a bin: take the key if it is wanted and there, and move waiting tuples to the page.

    Returns whether the key was taken, and whether the descriptor could be stored.
    """
    key_bytes, value_bytes = sizes[KEY_BYTES], sizes[VALUE_BYTES]
    key, value = operation * key_bytes, operation * value_bytes
    count, start, taken = _load(sizes, state, lines, number, waiting, further), 0, False
    had = _lines(sizes, count)
    if wanted:
        found = -1
        for place in range(count):
            if _same(slots, waiting[place] * sizes[SLOT_BYTES], keys, key, key_bytes):
                found = place
        state[SLOT_READS] += count
        if found >= 0:
            _give(state, free, waiting[found])
            _copy(slots, waiting[found] * sizes[SLOT_BYTES] + key_bytes, previous, value, value_bytes)
            count, taken = count - 1, True
            for place in range(found, count):
                waiting[place] = waiting[place + 1]
    if row >= 0:
        line = number * sizes[LINE_WORDS]
        page, occupancy = row * sizes[PLAINTEXT_BYTES], np.int64(lines[line + 2])
        if wanted and not taken:
            for slot in range(sizes[PAGE_SLOTS]):
                at = page + slot * sizes[TUPLE_BYTES]
                if occupancy >> slot & 1 and _same(plaintexts, at, keys, key, key_bytes):
                    _copy(plaintexts, at + key_bytes, previous, value, value_bytes)
                    for place in range(sizes[TUPLE_BYTES]):
                        plaintexts[at + place] = 0
                    occupancy ^= np.int64(1) << slot
                    taken = True
                    break
        for slot in range(sizes[PAGE_SLOTS]):
            if start == count:
                break
            if not occupancy >> slot & 1:
                at = page + slot * sizes[TUPLE_BYTES]
                _give(state, free, waiting[start])
                _copy(slots, waiting[start] * sizes[SLOT_BYTES], plaintexts, at, sizes[TUPLE_BYTES])
                state[SLOT_READS] += 1
                occupancy |= np.int64(1) << slot
                start += 1
        lines[line] = version & _WORD
        lines[line + 1] = version >> 32 & _VERSION_HIGH  # the store adds the count
        lines[line + 2] = occupancy
    return taken, _store(sizes, state, lines, free, number, waiting, start, count, further, had)


# Many: compiled code takes arrays and numbers; an object that gathers them could not be kept compiled.
@compiled
def run(
    sizes: Numbers,
    state: Numbers,
    lines: Words32,
    slots: Bytes,
    free: Words32,
    plaintexts: Bytes,
    rows: Numbers,
    sealed: Numbers,
    touched: Numbers,
    draws: Numbers,
    kinds: Bytes,
    keys: Bytes,
    values: Bytes,
    hits: Bytes,
    keeps: Bytes,
    previous: Bytes,
    waiting: Numbers,
    further: Numbers,
    first: int,
    limit: int,
) -> None:
    """Run the first ``limit`` touches of a batch, as far as there is room (state: DONE, FAILURE).

    Parameters
    ----------
    sizes, state
        See :mod:`omap.fast.numbers`.
    lines, slots, free
        Regions ``page descriptors``, ``waiting slots`` and ``free lists``.
    plaintexts : uint8 array
        The opened pages.
    rows : int64 array
        As of ``omap.fast.pages.list_pages``.
    sealed : int64 array
        Written here, for each row of the list of pages: the version under which it is to be sealed.
    touched, draws
        As of ``omap.fast.entries.look_up``.
    kinds, keys, values, hits, keeps
        Of the operations.
    previous : uint8 array
        Written here: the value that each operation found.
    waiting, further : int64 array
        Room for the longest list, and for the numbers of all further lines.
    first : int
        Version of the first operation.
    limit : int
        Touches to run.
    """
    bins, taken = sizes[BINS_OF_KEY], False
    for touch in range(limit):
        operation, side = touch // bins, touch % bins
        version, row = first + operation, rows[touch]
        if side == 0:
            taken = False
        here, stored = _touch(
            sizes, state, lines, slots, free, plaintexts, row, touched[touch], version, operation,
            hits[operation] != 0, keys, previous, waiting, further,
        )  # fmt: skip
        taken = taken or here
        if row >= 0:
            sealed[row] = version
        state[DONE] = touch + 1
        if not stored:
            return
        if side < bins - 1:
            continue
        if hits[operation] and not taken:
            state[FAILURE] = LOST
            return
        if keeps[operation]:
            value = values if kinds[operation] == PUT else previous
            if not _place(
                sizes, state, lines, slots, free, draws, operation, keys, value, waiting, further
            ):  # fmt: skip
                return
