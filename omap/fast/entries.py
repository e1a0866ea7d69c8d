"""The position map, compiled: :class:`omap.position_map.PositionMap` for a batch at once."""

from __future__ import annotations

from typing import Final

import numpy as np

from omap.fast.compiled import compiled
from omap.fast.numbers import (
    BINS_OF_KEY,
    BUCKET_ENTRIES,
    BUCKET_WORDS,
    BUCKETS,
    CAPACITY,
    KEY_WORDS,
    LIVE,
    MAP_READS,
    MAP_WRITES,
    STEPS,
    TRANSIT,
    TRANSIT_LIMIT,
    VICTIM,
    Bytes,
    Int,
    Numbers,
    Words32,
    Words64,
)
from omap.operations import Kind
from omap.position_map import USED
from omap.siphash import FINAL, INITIAL

GET: Final = int(Kind.GET)
PUT: Final = int(Kind.PUT)
NOP: Final = int(Kind.NOP)

_IN_USE: Final = np.uint32(USED)
_OTHERS: Final = np.int64(USED - 1)
_V0, _V1, _V2, _V3 = (np.uint64(word) for word in INITIAL)
_LAST: Final = np.uint64(FINAL)
_LOW: Final = np.uint64(0xFFFF_FFFF)
_HALF: Final = np.uint64(32)

_State = tuple[np.uint64, np.uint64, np.uint64, np.uint64]


@compiled
def _rotated(word: np.uint64, by: int) -> np.uint64:
    return word << np.uint64(by) | word >> np.uint64(64 - by)


@compiled
def _mixed(v0: np.uint64, v1: np.uint64, v2: np.uint64, v3: np.uint64) -> _State:
    v0 = v0 + v1
    v1 = _rotated(v1, 13) ^ v0
    v0 = _rotated(v0, 32)
    v2 = v2 + v3
    v3 = _rotated(v3, 16) ^ v2
    v0 = v0 + v3
    v3 = _rotated(v3, 21) ^ v0
    v2 = v2 + v1
    v1 = _rotated(v1, 17) ^ v2
    v2 = _rotated(v2, 32)
    return v0, v1, v2, v3


@compiled
def candidates(words: Words32, at: int, count: int, hash_key: Words64, buckets: Int) -> tuple[Int, Int]:
    """Return the candidate buckets of the key of ``count`` words that starts at ``words[at]``."""
    v0, v1, v2, v3 = _V0 ^ hash_key[0], _V1 ^ hash_key[1], _V2 ^ hash_key[0], _V3 ^ hash_key[1]
    for place in range(count // 2 + 1):
        if place < count // 2:
            word = np.uint64(words[at + 2 * place]) | np.uint64(words[at + 2 * place + 1]) << _HALF
        else:
            word = np.uint64(4 * count) << np.uint64(56)
            if count % 2:
                word = word | np.uint64(words[at + count - 1])
        v3 = v3 ^ word
        v0, v1, v2, v3 = _mixed(v0, v1, v2, v3)
        v0, v1, v2, v3 = _mixed(v0, v1, v2, v3)
        v0 = v0 ^ word
    v2 = v2 ^ _LAST
    for _ in range(4):
        v0, v1, v2, v3 = _mixed(v0, v1, v2, v3)
    value = v0 ^ v1 ^ v2 ^ v3
    all_ = np.uint64(buckets)
    return np.int64((value >> _HALF) * all_ >> _HALF), np.int64(all_ + ((value & _LOW) * all_ >> _HALF))


@compiled
def _same(one: Words32, at: int, other: Words32, there: int, count: int) -> bool:
    for place in range(count):  # noqa: SIM110 -- numba compiles no generator expressions
        if one[at + place] != other[there + place]:
            return False
    return True


@compiled
def _copy(source: Words32, at: int, target: Words32, to: int, count: int) -> None:
    for place in range(count):
        target[to + place] = source[at + place]


# Many: compiled code takes arrays and numbers; an object that gathers them could not be kept compiled.
@compiled
def _find(table: Words32, at: int, entries: int, words: int, keys: Words32, key: int, bins: int) -> int:
    """Return where in the table the entry of a key starts, if it is in the bucket that starts at ``at``; or -1."""
    for place in range(at, at + entries * words, words):
        if table[place] & _IN_USE and _same(table, place + bins, keys, key, words - bins):
            return place
    return -1


@compiled
def _free(table: Words32, at: int, entries: int, words: int) -> tuple[int, int]:
    """Return where the first free entry of a bucket starts, or -1, and how many entries are in use."""
    first, used = -1, 0
    for place in range(at, at + entries * words, words):
        if table[place] & _IN_USE:
            used += 1
        elif first < 0:
            first = place
    return first, used


@compiled
def _remove(transit: Words32, tables: Numbers, state: Numbers, place: int, words: int) -> None:
    """Close the gap that an entry in transit leaves."""
    state[TRANSIT] -= 1
    for row in range(place, state[TRANSIT]):
        _copy(transit, (row + 1) * words, transit, row * words, words)
        tables[row] = tables[row + 1]


@compiled
def _relocate(
    sizes: Numbers, state: Numbers, table: Words32, hash_key: Words64, transit: Words32, tables: Numbers
) -> None:
    bins, words = sizes[BINS_OF_KEY], sizes[BINS_OF_KEY] + sizes[KEY_WORDS]
    moving = (sizes[TRANSIT_LIMIT] + 1) * words  # a row for the entry that is on its way
    for _ in range(sizes[STEPS]):
        if not state[TRANSIT]:
            return
        _copy(transit, 0, transit, moving, words)
        side = tables[0]
        _remove(transit, tables, state, 0, words)
        first, second = candidates(transit, moving + bins, sizes[KEY_WORDS], hash_key, sizes[BUCKETS])
        at = (second if side else first) * sizes[BUCKET_WORDS]
        place, _ = _free(table, at, sizes[BUCKET_ENTRIES], words)
        if place < 0:
            place = at + state[VICTIM] * words
            state[VICTIM] = (state[VICTIM] + 1) % sizes[BUCKET_ENTRIES]
            _copy(table, place, transit, state[TRANSIT] * words, words)
            tables[state[TRANSIT]] = 1 - side
            state[TRANSIT] += 1
        _copy(transit, moving, table, place, words)


# Many: compiled code takes arrays and numbers; an object that gathers them could not be kept compiled.
@compiled
def look_up(
    sizes: Numbers,
    state: Numbers,
    table: Words32,
    hash_key: Words64,
    transit: Words32,
    tables: Numbers,
    kinds: Bytes,
    keys: Words32,
    draws: Numbers,
    touched: Numbers,
    hits: Bytes,
    keeps: Bytes,
) -> None:
    """Run the position map's part of a batch.

    Parameters
    ----------
    sizes, state
        See :mod:`omap.fast.numbers`.
    table : uint32 array
        Region ``position map``.
    hash_key : (2,) uint64 array
        Key of SipHash.
    transit, tables
        Entries in transit, oldest first, and the tables that they are on their way to; with two rows more than the
        limit.
    kinds, keys
        Of the operations, the keys as words.
    draws : int64 array
        For each operation the bins to touch on a miss, then the bins of its key from now on.
    touched, hits, keeps
        Written here: the bins that each operation touches, whether it found its key, and whether its key is live after
        it.
    """
    bins, key_words, entries = sizes[BINS_OF_KEY], sizes[KEY_WORDS], sizes[BUCKET_ENTRIES]
    words = bins + key_words
    for operation in range(len(kinds)):
        kind, key = kinds[operation], operation * key_words
        first, second = candidates(keys, key, key_words, hash_key, sizes[BUCKETS])
        first, second = first * sizes[BUCKET_WORDS], second * sizes[BUCKET_WORDS]
        place = queued = -1
        if kind != NOP:
            place = _find(table, first, entries, words, keys, key, bins)
            if place < 0:
                place = _find(table, second, entries, words, keys, key, bins)
            if place < 0:
                for row in range(state[TRANSIT]):
                    if _same(transit, row * words + bins, keys, key, key_words):
                        queued = row
                        break
        hit = place >= 0 or queued >= 0
        for side in range(bins):
            if place >= 0:
                bin_ = np.int64(table[place + side])
            elif queued >= 0:
                bin_ = np.int64(transit[queued * words + side])
            else:
                bin_ = draws[2 * bins * operation + side]
            touched[bins * operation + side] = bin_ & _OTHERS if hit and not side else bin_
        keep = hit and kind == GET
        if kind == PUT:
            keep = hit
            if not hit and state[LIVE] < sizes[CAPACITY]:
                one, used = _free(table, first, entries, words)
                other, more = _free(table, second, entries, words)
                if more < used:
                    one = other
                if one >= 0:
                    place, keep = one, True
                elif state[TRANSIT] < sizes[TRANSIT_LIMIT]:
                    queued, keep = state[TRANSIT], True
                    tables[queued] = 0
                    state[TRANSIT] += 1
        if keep:  # an entry in transit stays on its way to the same table
            target, at = (transit, queued * words) if queued >= 0 else (table, place)
            for side in range(bins):
                target[at + side] = np.uint32(draws[2 * bins * operation + bins + side])
            target[at] |= _IN_USE
            _copy(keys, key, target, at + bins, key_words)
        elif queued >= 0:
            _remove(transit, tables, state, queued, words)
        elif place >= 0:
            for word in range(words):
                table[place + word] = 0
        _relocate(sizes, state, table, hash_key, transit, tables)
        state[LIVE] += np.int64(keep) - np.int64(hit)
        hits[operation], keeps[operation] = hit, keep
    state[MAP_READS] += len(kinds) * (2 + sizes[STEPS])
    state[MAP_WRITES] += len(kinds) * (2 + sizes[STEPS])
