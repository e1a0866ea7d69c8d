"""Waiting tuples: page descriptors, waiting slots and their free lists, all in HBM.

A descriptor is a little-endian line of ``version (48 bits) || count (16) || occupancy (32) || link (32) || indices``,
with the low 48 bits of the version (:mod:`omap.versions`).
If a bin has more waiting slots than its line has indices, ``link`` names a further line, ``link (32) || indices``, and
that line may name another. Further lines follow the first lines of all bins, in the same region. Waiting slots and
further lines have a free list each, a stack whose top is kept on chip.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from omap.errors import ExhaustedError
from omap.memory import DeviceMemory, Region
from omap.params import Params
from omap.versions import KEPT_BITS, KEPT_MASK

SLOTS_AT_ONCE = 1 << 14
"""Waiting slots that are read at once, when all are."""


class Descriptor:
    """The decoded descriptor of one bin.

    Attributes
    ----------
    number : int
        Number of the bin.
    version : int
        Low 48 bits of the version under which the page of the bin was sealed last.
    occupancy : int
        Bitmap of the used page slots.
    waiting : list of int
        Indices of the waiting slots, oldest first.
    further : list of int
        Numbers of the further lines that hold the end of ``waiting``.
    """

    __slots__ = ("further", "number", "occupancy", "version", "waiting")

    def __init__(self, number: int, version: int, occupancy: int, waiting: list[int], further: list[int]) -> None:
        self.number = number
        self.version = version
        self.occupancy = occupancy
        self.waiting = waiting
        self.further = further

    def load(self) -> int:
        """Return how many tuples the bin has, in its page and waiting."""
        return self.occupancy.bit_count() + len(self.waiting)


class FreeList:
    """A stack of free indices in HBM. At first all indices are free, with 0 on top."""

    def __init__(self, what: str, size: int, region: Region, at: int) -> None:
        self._what = what
        self._region = region
        self._stack = memoryview(region.data)[at : at + 4 * size].cast("I")
        np.frombuffer(self._stack, np.uint32)[:] = np.arange(size - 1, -1, -1)
        self.free = size

    def take(self) -> int:
        """Take the index on top of the stack and return it.

        Raises
        ------
        ExhaustedError
            If no index is free.
        """
        if not self.free:
            raise ExhaustedError(
                f"out of {self._what}: {len(self._stack)} were planned; format a map planned with more"
            )
        self.free -= 1
        self._region.reads += 1
        return self._stack[self.free]

    def give(self, index: int) -> None:
        """Put an index back on top of the stack."""
        self._stack[self.free] = index
        self._region.writes += 1
        self.free += 1

    @property
    def top(self) -> int:
        """The index that :meth:`take` would return next; there must be one."""
        return self._stack[self.free - 1]

    def peek(self, count: int) -> npt.NDArray[np.int64]:
        """Return the next ``count`` indices, as a (count,) array in the order of :meth:`take`."""
        return np.array(self._stack[self.free - count : self.free], np.int64)[::-1]

    def used(self) -> npt.NDArray[np.bool_]:
        """Return for each index whether it is in use, as a (size,) array."""
        used = np.ones(len(self._stack), bool)
        used[np.frombuffer(self._stack, np.uint32)[: self.free]] = False
        return used

    @property
    def taken(self) -> int:
        """Number of indices in use."""
        return len(self._stack) - self.free


class Waiting:
    """The descriptors of all bins, and the tuples that wait for their pages.

    Parameters
    ----------
    params : Params
        Gives the sizes.
    memory : DeviceMemory
        HBM, which gets the regions ``page descriptors``, ``waiting slots`` and ``free lists``.
    """

    def __init__(self, params: Params, memory: DeviceMemory) -> None:
        self._bins = params.bins
        self._line_bytes = params.descriptor_bytes
        self._first_indices, self._further_indices = params.line_indices
        self._first = struct.Struct(f"<QII{self._first_indices}I")
        self._further = struct.Struct(f"<I{self._further_indices}I")
        self._slot_bytes = params.slot_bytes
        self._tuple_bytes = params.tuple_bytes
        self._key_bytes = params.key_bytes
        self.lines = memory.allocate("page descriptors", (params.bins + params.further_lines) * self._line_bytes)
        self.slots = memory.allocate("waiting slots", params.waiting_slots * self._slot_bytes)
        free = memory.allocate("free lists", 4 * (params.waiting_slots + params.further_lines))
        self.free_slots = FreeList("waiting slots", params.waiting_slots, free, 0)
        self.free_lines = FreeList("further descriptor lines", params.further_lines, free, 4 * params.waiting_slots)

    # -- descriptors --------------------------------------------------------------------------------------------

    def load(self, number: int) -> Descriptor:
        """Read the descriptor of bin ``number``."""
        self.lines.reads += 1
        head, occupancy, link, *waiting = self._first.unpack_from(self.lines.data, number * self._line_bytes)
        count = head >> KEPT_BITS
        further: list[int] = []
        while len(waiting) < count:
            further.append(link)
            self.lines.reads += 1
            link, *more = self._further.unpack_from(self.lines.data, (self._bins + link) * self._line_bytes)
            waiting += more
        return Descriptor(number, head & KEPT_MASK, occupancy, waiting[:count], further)

    def store(self, descriptor: Descriptor) -> None:
        """Write a descriptor back; take further lines that its list needs, give back those it does not need."""
        waiting, further = descriptor.waiting, descriptor.further
        first, each = self._first_indices, self._further_indices
        needed = max(0, -(-(len(waiting) - first) // each))
        while len(further) < needed:
            further.append(self.free_lines.take())
        while len(further) > needed:
            self.free_lines.give(further.pop())
        links = [*further, 0]
        padded = waiting + [0] * (first + needed * each - len(waiting))
        self.lines.writes += 1
        self._first.pack_into(
            self.lines.data,
            descriptor.number * self._line_bytes,
            descriptor.version & KEPT_MASK | len(waiting) << KEPT_BITS,
            descriptor.occupancy,
            links[0],
            *padded[:first],
        )
        for place, line in enumerate(further):
            self.lines.writes += 1
            at = first + place * each
            self._further.pack_into(
                self.lines.data, (self._bins + line) * self._line_bytes, links[place + 1], *padded[at : at + each]
            )

    def kept(self, numbers: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the versions, as far as they are kept, and the occupancies of n bins, as two (n,) arrays."""
        self.lines.reads += len(numbers)
        words = np.frombuffer(self.lines.data, "<u4").reshape(-1, self._line_bytes // 4)[numbers, :3].astype(np.int64)
        return (words[:, 0] | words[:, 1] << 32) & KEPT_MASK, words[:, 2]

    # -- tuples -------------------------------------------------------------------------------------------------

    def read_slot(self, index: int) -> bytes:
        """Return the tuple in a waiting slot."""
        self.slots.reads += 1
        at = index * self._slot_bytes
        return bytes(self.slots.data[at : at + self._tuple_bytes])

    def write_slot(self, index: int, entry: bytes) -> None:
        """Store a tuple in a waiting slot."""
        self.slots.writes += 1
        at = index * self._slot_bytes
        self.slots.data[at : at + self._tuple_bytes] = entry

    def append(self, descriptor: Descriptor, entry: bytes) -> None:
        """Put a tuple at the end of the list of a bin. The caller stores the descriptor."""
        index = self.free_slots.take()
        self.write_slot(index, entry)
        descriptor.waiting.append(index)

    def take_oldest(self, descriptor: Descriptor) -> bytes:
        """Remove the oldest waiting tuple and return it. The caller stores the descriptor."""
        index = descriptor.waiting.pop(0)
        self.free_slots.give(index)
        return self.read_slot(index)

    def take_key(self, descriptor: Descriptor, key: bytes) -> bytes | None:
        """Remove the waiting tuple of ``key`` and return its value, or None. The caller stores the descriptor."""
        found = None
        for place, index in enumerate(descriptor.waiting):
            entry = self.read_slot(index)
            if entry.startswith(key):
                found = place, entry
        if found is None:
            return None
        self.free_slots.give(descriptor.waiting.pop(found[0]))
        return found[1][self._key_bytes :]

    def all_slots(self) -> Iterator[tuple[npt.NDArray[np.bool_], npt.NDArray[np.uint8]]]:
        """Yield which waiting slots are used, and what they hold, some at a time."""
        used = self.free_slots.used()
        rows = np.frombuffer(self.slots.data, np.uint8).reshape(len(used), self._slot_bytes)
        for first in range(0, len(used), SLOTS_AT_ONCE):
            last = min(first + SLOTS_AT_ONCE, len(used))
            self.slots.reads += last - first
            yield used[first:last], rows[first:last, : self._tuple_bytes]
