"""What people use today, for comparison: an encrypted hash table. Its pages are sealed, its addresses tell all."""

from __future__ import annotations

from omap.interface import Kind
from omap.map import OneChoiceMap
from omap.position_map import Words
from omap.reference import Draw


class PlainTable(OneChoiceMap):
    """An encrypted, authenticated hash table that is *not* oblivious: a key's page is a hash of the key, for good.

    Everything else is shared with :class:`~omap.map.OneChoiceMap`, so that the difference is the remapping alone.

    Reveals
        Which key an operation is about, up to the keys that share its page; hence repetition, hot keys and sweeps.
    """

    def _page(self, key: bytes) -> Words:
        return (self.position_map.candidates(key)[0] * self.params.pages // self.params.buckets,)

    def _placement(self, kind: Kind, key: bytes, found: Words | None, draw: Draw) -> Words:
        return self._page(key)

    def _bins(self, kind: Kind, key: bytes, found: Words | None, draw: Draw) -> Words:
        return self._page(key)
