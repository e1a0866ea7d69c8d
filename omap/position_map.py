"""The position map: a hash table in HBM from keys to the bins they are placed in.

Two tables of buckets; a key has one candidate bucket in each, from the upper and lower half of a keyed SipHash. An
entry holds the full key, so no answer is ever wrong by collision. A new key goes to the emptier candidate; if both are
full its entry waits on chip, in transit, and every operation performs the same number of cuckoo relocation steps,
whether an entry is in transit or not (Pagh and Rodler 2004; Dietzfelbinger and Weidling 2007 for buckets; Arbitman,
Naor and Segev 2009 for a fixed number of steps with a queue).

An entry is ``words || key``: 32-bit little-endian words, bit 31 of the first saying that the entry is in use.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from omap.errors import FullError
from omap.memory import DeviceMemory
from omap.params import Params
from omap.siphash import siphash24, siphash24_rows

Words = tuple[int, ...]

_USED = 1 << 31
_BULK_BLOCKS = 64
_BULK_ROUNDS = 1000  # a bulk load that has not settled by then never will


class _Transit(NamedTuple):
    """An entry on its way to ``table``."""

    entry: bytes
    table: int


class PositionMap:
    """Maps each live key to ``entry_words`` words below 2^31 (the first) and 2^32.

    An access is :meth:`begin`, which looks the key up, then :meth:`finish`, which says what it maps to from now on.

    Parameters
    ----------
    params : Params
        Gives the geometry.
    hash_key : bytes
        16 secret bytes of SipHash.
    memory : DeviceMemory
        Where the region ``position map`` is allocated.

    Attributes
    ----------
    region : Region
        Both tables, one after the other.
    transit : deque
        Entries between buckets, oldest first; at most ``transit_entries``.
    """

    def __init__(self, params: Params, hash_key: bytes, memory: DeviceMemory) -> None:
        self._hash_key = hash_key
        self._buckets = params.buckets
        self._bucket_bytes = params.bucket_bytes
        self._entry_bytes = params.entry_bytes
        self._entries = params.bucket_entries
        self._key_at = 4 * params.entry_words
        self._used_bytes = slice(3, params.bucket_entries * params.entry_bytes, params.entry_bytes)
        self._words = struct.Struct(f"<{params.entry_words}I")
        self._steps = params.relocation_steps
        self._transit_limit = params.transit_entries
        self.region = memory.allocate("position map", 2 * params.buckets * params.bucket_bytes)
        self.transit: deque[_Transit] = deque()
        self._victim = 0
        self._key: bytes | None = None

    # -- candidate buckets --------------------------------------------------------------------------------------

    def candidates(self, key: bytes) -> tuple[int, int]:
        """Return the candidate buckets of a key, numbered through both tables."""
        value = siphash24(self._hash_key, key)
        return (value >> 32) * self._buckets >> 32, self._buckets + ((value & 0xFFFF_FFFF) * self._buckets >> 32)

    def candidates_rows(self, keys: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """Return the candidate buckets of every row of an (n, key_bytes) array, as an (n, 2) array."""
        value = siphash24_rows(self._hash_key, keys)
        half, count = np.uint64(32), np.uint64(self._buckets)
        first = (value >> half) * count >> half
        second = count + ((value & np.uint64(0xFFFF_FFFF)) * count >> half)
        return np.stack([first, second], axis=1).astype(np.int64)

    # -- one access ---------------------------------------------------------------------------------------------

    def begin(self, key: bytes | None, candidates: tuple[int, int]) -> Words | None:
        """Read both candidate buckets and return what ``key`` maps to, or None. A key of None is never found."""
        self._key = key
        self._candidates = candidates
        self._pair = [self._read(bucket) for bucket in candidates]
        self._slot = -1
        self._queued = -1
        if key is None:
            return None
        for side, bucket in enumerate(self._pair):
            slot = self._find(bucket, key)
            if slot >= 0:
                self._side, self._slot = side, slot
                return self._unpack(bucket, slot * self._entry_bytes)
        for place, (entry, _) in enumerate(self.transit):
            if entry[self._key_at :] == key:
                self._queued = place
                return self._unpack(entry, 0)
        return None

    def has_room(self) -> bool:
        """Return whether the key of this access, which was not found, can be inserted."""
        return len(self.transit) < self._transit_limit or any(self._free(bucket) >= 0 for bucket in self._pair)

    def finish(self, words: Words | None) -> None:
        """Map the key of this access to ``words``, or to nothing; then run the relocation steps.

        Both candidate buckets are written back, changed or not, and the number of steps is fixed: the work of an
        access is the same whatever it does.
        """
        found = self._slot >= 0 or self._queued >= 0
        if words is not None:
            assert self._key is not None
            entry = self._words.pack(words[0] | _USED, *words[1:]) + self._key
            if self._queued >= 0:
                self.transit[self._queued] = _Transit(entry, self.transit[self._queued].table)
            elif found:
                self._put(self._pair[self._side], self._slot, entry)
            else:
                self._insert(entry)
        elif self._queued >= 0:
            del self.transit[self._queued]
        elif found:
            self._put(self._pair[self._side], self._slot, bytes(self._entry_bytes))
        for bucket, data in zip(self._candidates, self._pair, strict=True):
            self._write(bucket, data)
        self._relocate()

    def _insert(self, entry: bytes) -> None:
        used = [sum(flag >> 7 for flag in bucket[self._used_bytes]) for bucket in self._pair]
        side = int(used[1] < used[0])
        if used[side] < self._entries:
            self._put(self._pair[side], self._free(self._pair[side]), entry)
        else:
            self.transit.append(_Transit(entry, 0))

    def _relocate(self) -> None:
        # SEC_CM: POSMAP.WORK.FIXED -- as many steps as ever, on bucket 0 when nothing is in transit
        for _ in range(self._steps):
            if not self.transit:
                self._write(0, self._read(0))
                continue
            entry, table = self.transit.popleft()
            number = self.candidates(entry[self._key_at :])[table]
            bucket = self._read(number)
            slot = self._free(bucket)
            if slot < 0:
                slot = self._victim
                self._victim = (self._victim + 1) % self._entries
                at = slot * self._entry_bytes
                self.transit.append(_Transit(bytes(bucket[at : at + self._entry_bytes]), 1 - table))
            self._put(bucket, slot, entry)
            self._write(number, bucket)

    # -- buckets ------------------------------------------------------------------------------------------------

    def _read(self, bucket: int) -> bytearray:
        self.region.reads += 1
        return self.region.data[bucket * self._bucket_bytes : (bucket + 1) * self._bucket_bytes]

    def _write(self, bucket: int, data: bytearray) -> None:
        self.region.writes += 1
        self.region.data[bucket * self._bucket_bytes : (bucket + 1) * self._bucket_bytes] = data

    def _find(self, bucket: bytearray, key: bytes) -> int:
        at = bucket.find(key)
        while at >= 0:  # a match may also straddle entries, or lie in a free one
            slot, offset = divmod(at, self._entry_bytes)
            if offset == self._key_at and slot < self._entries and bucket[at - offset + 3] & 0x80:
                return slot
            at = bucket.find(key, at + 1)
        return -1

    def _free(self, bucket: bytearray) -> int:
        for slot, flag in enumerate(bucket[self._used_bytes]):
            if not flag & 0x80:
                return slot
        return -1

    def _put(self, bucket: bytearray, slot: int, entry: bytes) -> None:
        bucket[slot * self._entry_bytes : (slot + 1) * self._entry_bytes] = entry

    def _unpack(self, data: bytes | bytearray, at: int) -> Words:
        first, *rest = self._words.unpack_from(data, at)
        return (first & ~_USED, *rest)

    def count(self) -> int:
        """Return the number of entries, in buckets and in transit."""
        return int((self._table()[:, :, 3] >> 7).sum()) + len(self.transit)

    # -- many keys at once --------------------------------------------------------------------------------------

    def _table(self) -> npt.NDArray[np.uint8]:
        """Return the buckets of both tables as a (2 * buckets, entries, entry_bytes) view."""
        lines = np.frombuffer(self.region.data, np.uint8).reshape(2 * self._buckets, self._bucket_bytes)
        return lines[:, : self._entries * self._entry_bytes].reshape(-1, self._entries, self._entry_bytes)

    def contains_rows(self, keys: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        """Return which rows of an (n, key_bytes) array are live keys."""
        table = self._table()
        present = np.zeros(len(keys), bool)
        for at in range(0, len(keys), 1 << 14):  # bounded memory: a block gathers all candidate buckets
            block = keys[at : at + (1 << 14)]
            entries = table[self.candidates_rows(block)].reshape(len(block), -1, self._entry_bytes)
            same = (entries[:, :, self._key_at :] == block[:, None]).all(axis=2) & (entries[:, :, 3] >> 7 == 1)
            present[at : at + len(block)] = same.any(axis=1)
        queued = {entry[self._key_at :] for entry, _ in self.transit}
        if queued:
            present |= np.array([row.tobytes() in queued for row in keys])
        return present

    def _fill(
        self, table: npt.NDArray[np.uint8], entries: npt.NDArray[np.uint8], bucket: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Put entries in free slots of one bucket each.

        Returns those that found none, their buckets, and which of them comes first for its bucket.
        """
        order = np.argsort(bucket, kind="stable")
        entries, bucket = entries[order], bucket[order]
        rank = np.arange(len(bucket)) - np.searchsorted(bucket, bucket)  # among the entries that want the same bucket
        used = table[bucket, :, 3] >> 7
        free = self._entries - used.sum(axis=1)
        fits = rank < free
        slot = np.argsort(used, axis=1, kind="stable")[np.arange(len(bucket)), np.minimum(rank, self._entries - 1)]
        table[bucket[fits], slot[fits]] = entries[fits]
        return entries[~fits], bucket[~fits], (rank == free)[~fits]

    def insert_rows(self, keys: npt.NDArray[np.uint8], words: npt.NDArray[np.int64]) -> None:
        """Insert distinct, absent keys with their (n, entry_words) words.

        Blocks of them go to their emptier candidates first, as single keys do. Placed anyhow, and then moved until all
        fit, they would leave so many full buckets that the transit queue of the next insertions grew far beyond its
        sizing (docs/decisions/0003-sizing.md).

        Raises
        ------
        FullError
            If they do not fit; the map is as it was.
        """
        table = np.array(self._table())
        entries = np.concatenate([words.astype("<u4").view(np.uint8), keys], axis=1)
        entries[:, 3] |= 0x80
        left = []
        for block in np.array_split(entries, _BULK_BLOCKS):
            pair = self.candidates_rows(block[:, self._key_at :])
            used = (table[pair, :, 3] >> 7).sum(axis=2)
            left.append(
                self._fill(table, block, pair[np.arange(len(pair)), (used[:, 1] < used[:, 0]).astype(np.int64)])
            )
        entries, bucket = np.concatenate([rest[0] for rest in left]), np.concatenate([rest[1] for rest in left])
        random = np.random.default_rng(0)  # which victims move is nobody's business and never shows
        for _ in range(_BULK_ROUNDS):
            entries, bucket, leads = self._fill(table, entries, bucket)
            if not len(entries):
                break
            victim = random.integers(self._entries, size=int(leads.sum()))
            evicted = table[bucket[leads], victim]
            table[bucket[leads], victim] = entries[leads]
            entries[leads] = evicted
            bucket = self.candidates_rows(entries[:, self._key_at :]).sum(axis=1) - bucket  # now try the other one
        if len(entries) > self._transit_limit - len(self.transit):
            raise FullError(
                f"the position map could not place {len(entries)} of {len(keys)} keys, and is as it was: load fewer"
            )
        lines = np.frombuffer(self.region.data, np.uint8).reshape(2 * self._buckets, self._bucket_bytes)
        lines[:, : self._entries * self._entry_bytes] = table.reshape(2 * self._buckets, -1)
        self.transit.extend(
            _Transit(entry.tobytes(), int(number >= self._buckets))
            for entry, number in zip(entries, bucket, strict=True)
        )
