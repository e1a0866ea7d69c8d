"""The position map: a hash table in HBM from a key to its bins.

It has two tables of buckets. A key has one candidate bucket in each table, from the upper and the lower half of a keyed
SipHash. An entry holds the full key, so that no answer is wrong by collision. A new key goes to the emptier candidate.
If both candidates are full, its entry waits on chip, in transit. Every operation performs the same number of relocation
steps, whether an entry is in transit or not. The scheme is cuckoo hashing (Pagh and Rodler 2004) with buckets
(Dietzfelbinger and Weidling 2007) and a queue that gets a fixed number of steps (Arbitman, Naor and Segev 2009).

An entry is ``words || key``. The words have 32 bits and are little-endian; bit 31 of the first says that the entry is
in use.
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

USED = 1 << 31
_BULK_BLOCKS = 64
_BULK_ROUNDS = 1000  # a bulk load that has not settled after so many rounds never will


class Transit(NamedTuple):
    """An entry on its way to ``table``."""

    entry: bytes
    table: int


class PositionMap:
    """Maps each live key to ``entry_words`` words; the first is below 2^31, the second below 2^32.

    An operation calls :meth:`begin`, which looks the key up, and then :meth:`finish` with the words of the key from now
    on.

    Parameters
    ----------
    params : Params
        Number and sizes of buckets and entries.
    hash_key : bytes
        16 secret bytes of SipHash.
    memory : DeviceMemory
        Where the region ``position map`` is allocated.

    Attributes
    ----------
    region : Region
        Both tables, one after the other.
    transit : deque
        Entries in transit, oldest first; at most ``transit_entries``.
    """

    def __init__(self, params: Params, hash_key: bytes, memory: DeviceMemory) -> None:
        self.hash_key = hash_key
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
        self.transit: deque[Transit] = deque()
        self.victim = 0
        self._key: bytes | None = None

    # -- candidate buckets --------------------------------------------------------------------------------------

    def candidates(self, key: bytes) -> tuple[int, int]:
        """Return the candidate buckets of a key, numbered through both tables."""
        value = siphash24(self.hash_key, key)
        return (value >> 32) * self._buckets >> 32, self._buckets + ((value & 0xFFFF_FFFF) * self._buckets >> 32)

    def candidates_rows(self, keys: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """Return the candidate buckets of every row of an (n, key_bytes) array, as an (n, 2) array."""
        value = siphash24_rows(self.hash_key, keys)
        half, count = np.uint64(32), np.uint64(self._buckets)
        first = (value >> half) * count >> half
        second = count + ((value & np.uint64(0xFFFF_FFFF)) * count >> half)
        return np.stack([first, second], axis=1).astype(np.int64)

    # -- one operation ------------------------------------------------------------------------------------------

    def begin(self, key: bytes | None, candidates: tuple[int, int]) -> Words | None:
        """Read both candidate buckets and return the words of ``key``, or None. A key of None is never found."""
        self._key = key
        self._candidates = candidates
        self._pair = [self._read(bucket) for bucket in candidates]
        self._place = -1
        self._queued = -1
        if key is None:
            return None
        for side, bucket in enumerate(self._pair):
            place = self._find(bucket, key)
            if place >= 0:
                self._side, self._place = side, place
                return self._unpack(bucket, place * self._entry_bytes)
        for place, (entry, _) in enumerate(self.transit):
            if entry[self._key_at :] == key:
                self._queued = place
                return self._unpack(entry, 0)
        return None

    def has_room(self) -> bool:
        """Return whether the key of this operation, which was not found, can be inserted."""
        return len(self.transit) < self._transit_limit or any(self._free(bucket) >= 0 for bucket in self._pair)

    def finish(self, words: Words | None) -> None:
        """Give the key of this operation new words, or remove it for None; then run the relocation steps.

        Both candidate buckets are written back, changed or not, and the number of steps is fixed. So the work of an
        operation does not depend on what it does.
        """
        found = self._place >= 0 or self._queued >= 0
        if words is not None:
            assert self._key is not None
            entry = self._words.pack(words[0] | USED, *words[1:]) + self._key
            if self._queued >= 0:
                self.transit[self._queued] = Transit(entry, self.transit[self._queued].table)
            elif found:
                self._put(self._pair[self._side], self._place, entry)
            else:
                self._insert(entry)
        elif self._queued >= 0:
            del self.transit[self._queued]
        elif found:
            self._put(self._pair[self._side], self._place, bytes(self._entry_bytes))
        for bucket, data in zip(self._candidates, self._pair, strict=True):
            self._write(bucket, data)
        self._relocate()

    def _insert(self, entry: bytes) -> None:
        used = [sum(flag >> 7 for flag in bucket[self._used_bytes]) for bucket in self._pair]
        side = int(used[1] < used[0])
        if used[side] < self._entries:
            self._put(self._pair[side], self._free(self._pair[side]), entry)
        else:
            self.transit.append(Transit(entry, 0))

    def _relocate(self) -> None:
        # SEC_CM: POSMAP.WORK.FIXED -- the same number of steps always, on bucket 0 while nothing is in transit
        for _ in range(self._steps):
            if not self.transit:
                self._write(0, self._read(0))
                continue
            entry, table = self.transit.popleft()
            number = self.candidates(entry[self._key_at :])[table]
            bucket = self._read(number)
            place = self._free(bucket)
            if place < 0:
                place = self.victim
                self.victim = (self.victim + 1) % self._entries
                at = place * self._entry_bytes
                self.transit.append(Transit(bytes(bucket[at : at + self._entry_bytes]), 1 - table))
            self._put(bucket, place, entry)
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
        while at >= 0:  # a match may also lie across two entries, or in a free one
            place, offset = divmod(at, self._entry_bytes)
            if offset == self._key_at and place < self._entries and bucket[at - offset + 3] & 0x80:
                return place
            at = bucket.find(key, at + 1)
        return -1

    def _free(self, bucket: bytearray) -> int:
        for place, flag in enumerate(bucket[self._used_bytes]):
            if not flag & 0x80:
                return place
        return -1

    def _put(self, bucket: bytearray, place: int, entry: bytes) -> None:
        bucket[place * self._entry_bytes : (place + 1) * self._entry_bytes] = entry

    def _unpack(self, data: bytes | bytearray, at: int) -> Words:
        first, *rest = self._words.unpack_from(data, at)
        return (first & ~USED, *rest)

    def count(self) -> int:
        """Return the number of entries, in buckets and in transit."""
        return int((self._table()[:, :, 3] >> 7).sum()) + len(self.transit)

    # -- many keys at once --------------------------------------------------------------------------------------

    def _table(self) -> npt.NDArray[np.uint8]:
        """Return the buckets of both tables as a (2 * buckets, entries, entry_bytes) view."""
        lines = np.frombuffer(self.region.data, np.uint8).reshape(2 * self._buckets, self._bucket_bytes)
        return lines[:, : self._entries * self._entry_bytes].reshape(-1, self._entries, self._entry_bytes)

    def contains_rows(self, keys: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        """Return an (n,) array: whether each row of an (n, key_bytes) array is a live key."""
        table = self._table()
        present = np.zeros(len(keys), bool)
        for at in range(0, len(keys), 1 << 14):  # in blocks, so that a bounded number of buckets is gathered at once
            block = keys[at : at + (1 << 14)]
            entries = table[self.candidates_rows(block)].reshape(len(block), -1, self._entry_bytes)
            same = (entries[:, :, self._key_at :] == block[:, None]).all(axis=2) & (entries[:, :, 3] >> 7 == 1)
            present[at : at + len(block)] = same.any(axis=1)
        queued = {entry[self._key_at :] for entry, _ in self.transit}
        if queued:
            present |= np.array([row.tobytes() in queued for row in keys], bool)
        return present

    def _fill(
        self, table: npt.NDArray[np.uint8], entries: npt.NDArray[np.uint8], bucket: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Put entries in free places, each in the one bucket that is given for it.

        Returns the entries that found no place, their buckets, and which of them is the first for its bucket.
        """
        order = np.argsort(bucket, kind="stable")
        entries, bucket = entries[order], bucket[order]
        rank = np.arange(len(bucket)) - np.searchsorted(bucket, bucket)  # of an entry among those for its bucket
        used = table[bucket, :, 3] >> 7
        free = self._entries - used.sum(axis=1)
        fits = rank < free
        place = np.argsort(used, axis=1, kind="stable")[np.arange(len(bucket)), np.minimum(rank, self._entries - 1)]
        table[bucket[fits], place[fits]] = entries[fits]
        return entries[~fits], bucket[~fits], (rank == free)[~fits]

    def insert_rows(self, keys: npt.NDArray[np.uint8], words: npt.NDArray[np.int64]) -> None:
        """Insert distinct, absent keys with their (n, entry_words) words.

        The keys go to their emptier candidates block by block, much as single keys do. If they went to any candidate
        and were then moved until all fit, too many buckets would be full, and the transit queue of later insertions
        would grow far beyond its sizing (docs/decisions/0003-sizing.md).

        Raises
        ------
        FullError
            If the keys do not fit. The position map is unchanged.
        """
        table = np.array(self._table())
        entries = np.concatenate([words.astype("<u4").view(np.uint8), keys], axis=1)
        entries[:, 3] |= 0x80
        unplaced = []
        for block in np.array_split(entries, _BULK_BLOCKS):
            pair = self.candidates_rows(block[:, self._key_at :])
            used = (table[pair, :, 3] >> 7).sum(axis=2)
            unplaced.append(
                self._fill(table, block, pair[np.arange(len(pair)), (used[:, 1] < used[:, 0]).astype(np.int64)])
            )
        entries, bucket = (np.concatenate([rest[column] for rest in unplaced]) for column in (0, 1))
        random = np.random.default_rng(0)  # fixed, because the choice of victims shows nowhere
        for _ in range(_BULK_ROUNDS):
            entries, bucket, leads = self._fill(table, entries, bucket)
            if not len(entries):
                break
            victim = random.integers(self._entries, size=int(leads.sum()))
            evicted = table[bucket[leads], victim]
            table[bucket[leads], victim] = entries[leads]
            entries[leads] = evicted
            bucket = self.candidates_rows(entries[:, self._key_at :]).sum(axis=1) - bucket  # the other one
        if len(entries) > self._transit_limit - len(self.transit):
            raise FullError(
                f"the position map could not place {len(entries)} of {len(keys)} keys, and is as it was: load fewer"
            )
        lines = np.frombuffer(self.region.data, np.uint8).reshape(2 * self._buckets, self._bucket_bytes)
        lines[:, : self._entries * self._entry_bytes] = table.reshape(2 * self._buckets, -1)
        self.transit.extend(
            Transit(entry.tobytes(), int(number >= self._buckets))
            for entry, number in zip(entries, bucket, strict=True)
        )
