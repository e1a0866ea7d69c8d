"""An encrypted hash table, for comparison. Its pages are sealed, but its addresses tell which key is used."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from omap.map import OneChoiceMap
from omap.operations import Kind
from omap.position_map import Words
from omap.reference import Draw


class PlainTable(OneChoiceMap):
    """An encrypted, authenticated hash table that is *not* oblivious: the page of a key is a hash of the key, for ever.

    It shares everything else with :class:`~omap.map.OneChoiceMap`, so that fresh pages are the only difference.

    Reveals
        Which key an operation is about, up to the keys that share its page. Repetition, hot keys and sweeps show.
    """

    def _pages(self, candidates: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the page of each key, as an (n,) array: the two candidate buckets, read as a fraction of all pages."""
        buckets, pages = self.params.buckets, self.params.pages
        return (candidates[:, 0] * pages + (candidates[:, 1] - buckets) * pages // buckets) // buckets

    def _page(self, key: bytes) -> Words:
        return (int(self._pages(np.array([self.position_map.candidates(key)]))[0]),)

    def _placement(self, kind: Kind, key: bytes, found: Words | None, draw: Draw) -> Words:
        return found or self._page(key)

    def _bins(self, kind: Kind, key: bytes, found: Words | None, draw: Draw) -> Words:
        return found or self._page(key)

    def _bulk_words(self, keys: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        return self._pages(self.position_map.candidates_rows(keys))[:, None]
