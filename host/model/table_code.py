"""The compiled loop of :mod:`host.model.table`: a hash table with open addressing.

The table is a row of places of ``width`` bytes: ``in use (8 bits) || key || value || unused``. The places are a power
of two, at least twice as many as there may be keys. A key is at the first free place from its own on, or before it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from omap.fast.compiled import compiled
from omap.operations import Kind, Status

Bytes = npt.NDArray[np.uint8]
Int = int | np.int64

PUT: Final = int(Kind.PUT)
DELETE: Final = int(Kind.DELETE)
NOP: Final = int(Kind.NOP)
NOT_FOUND: Final = np.uint8(Status.NOT_FOUND)
FULL: Final = np.uint8(Status.FULL)

_PRIME: Final = np.uint64(0x100_0000_01B3)
_BASIS: Final = np.uint64(0xCBF2_9CE4_8422_2325)
_SPREAD: Final = np.uint64(0x9E37_79B9_7F4A_7C15)
_HALF: Final = np.uint64(32)


@compiled
def _home(rows: Bytes, at: Int, size: int, mask: int) -> Int:
    """Return the place of a key: FNV-1a, spread by a multiplication."""
    value = _BASIS
    for place in range(at, at + size):
        value = (value ^ np.uint64(rows[place])) * _PRIME
    return np.int64((value ^ value >> _HALF) * _SPREAD >> _HALF) & mask


@compiled
def _remove(table: Bytes, width: int, key_bytes: int, place: Int, mask: int) -> None:
    """Free a place, and move up what would not be found any more."""
    free, here = place, place
    while True:
        here = here + 1 & mask
        if not table[here * width]:
            break
        home = _home(table, here * width + 1, key_bytes, mask)
        if (here - home & mask) >= (here - free & mask):
            for byte in range(width):
                table[free * width + byte] = table[here * width + byte]
            free = here
    table[free * width] = 0


# Many: compiled code takes arrays and numbers; an object that gathers them could not be kept compiled.
@compiled
def run(
    table: Bytes,
    width: int,
    key_bytes: int,
    value_bytes: int,
    capacity: int,
    live: int,
    kinds: Bytes,
    keys: Bytes,
    values: Bytes,
    statuses: Bytes,
    found: Bytes,
    previous: Bytes,
    homes: npt.NDArray[np.int64],
) -> int:
    """Run operations in order and return how many keys are live then.

    Parameters
    ----------
    table : uint8 array
        As the module describes.
    width, key_bytes, value_bytes, capacity : int
        Sizes of a place and of the map.
    live : int
        Live keys.
    kinds, keys, values : uint8 array
        Of the operations, one after the other.
    statuses, found, previous : uint8 array
        Written here; zeros at first.
    homes : int64 array
        Room for a number for each operation.
    """
    mask = len(table) // width - 1
    for operation in range(len(kinds)):  # the table is far larger than the caches: here loads wait side by side
        homes[operation] = _home(keys, operation * key_bytes, key_bytes, mask)
        found[operation] = table[homes[operation] * width]
    for operation in range(len(kinds)):
        kind, key, value = kinds[operation], operation * key_bytes, operation * value_bytes
        found[operation] = 0
        if kind == NOP:
            continue
        place = homes[operation]
        hit = False
        while table[place * width]:
            hit = True
            for byte in range(key_bytes):
                if table[place * width + 1 + byte] != keys[key + byte]:
                    hit = False
                    break
            if hit:
                break
            place = place + 1 & mask
        at = place * width + 1 + key_bytes
        if hit:
            found[operation] = 1
            for byte in range(value_bytes):
                previous[value + byte] = table[at + byte]
        elif kind != PUT:
            statuses[operation] = NOT_FOUND
        elif live >= capacity:
            statuses[operation] = FULL
        else:
            table[place * width] = 1
            for byte in range(key_bytes):
                table[place * width + 1 + byte] = keys[key + byte]
            live += 1
            hit = True
        if kind == PUT and hit:
            for byte in range(value_bytes):
                table[at + byte] = values[value + byte]
        elif kind == DELETE and hit:
            _remove(table, width, key_bytes, place, mask)
            live -= 1
    return live
