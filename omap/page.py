"""The plaintext of a page: page slots with ``key || value``, and a bitmap of the used ones. Free slots are zero."""

from __future__ import annotations

from omap.params import Params


class Page:
    """An opened page.

    Parameters
    ----------
    params : Params
        Gives the layout.
    plaintext : bytes
        ``plaintext_bytes`` bytes.
    occupancy : int
        Bitmap of used page slots, with slot 0 in bit 0.
    """

    __slots__ = ("_full", "_key_bytes", "_tuple_bytes", "occupancy", "plaintext")

    def __init__(self, params: Params, plaintext: bytes, occupancy: int) -> None:
        self._tuple_bytes = params.tuple_bytes
        self._key_bytes = params.key_bytes
        self._full = (1 << params.page_slots) - 1
        self.plaintext = bytearray(plaintext)
        self.occupancy = occupancy

    def take(self, key: bytes) -> bytes | None:
        """Remove ``key`` and return its value, or None if the page does not hold it."""
        at = self.plaintext.find(key)
        while at >= 0:  # a match may also lie in a value, across two slots, or in a free slot
            slot, offset = divmod(at, self._tuple_bytes)
            if offset == 0 and self.occupancy >> slot & 1:
                value = bytes(self.plaintext[at + self._key_bytes : at + self._tuple_bytes])
                self.plaintext[at : at + self._tuple_bytes] = bytes(self._tuple_bytes)
                self.occupancy ^= 1 << slot
                return value
            at = self.plaintext.find(key, at + 1)
        return None

    def has_room(self) -> bool:
        """Return whether a page slot is free."""
        return self.occupancy != self._full

    def put(self, entry: bytes) -> None:
        """Put a tuple in the lowest free page slot; there must be one."""
        bit = ~self.occupancy & (self.occupancy + 1)
        at = (bit.bit_length() - 1) * self._tuple_bytes
        self.plaintext[at : at + self._tuple_bytes] = entry
        self.occupancy |= bit

    def fill(self, entries: bytes) -> int:
        """Put concatenated tuples into free page slots, in order, as many as fit; return how many that were."""
        size = self._tuple_bytes
        room = self._full.bit_length() - self.occupancy.bit_count()
        count = min(room, len(entries) // size)
        if self.occupancy:
            for place in range(count):
                self.put(entries[place * size : (place + 1) * size])
        else:
            self.plaintext[: count * size] = entries[: count * size]
            self.occupancy = (1 << count) - 1
        return count
