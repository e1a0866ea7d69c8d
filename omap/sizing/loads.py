"""How many pages of a size suit a map: few make many tuples wait, and many need many descriptors.

The HBM of a map falls with the number of pages and then rises. Rounding and small maps make it uneven, so that the
search looks at loads on a grid first, narrows the best of them down, and ends with every number of pages near it if
little is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from omap import sizing
from omap.errors import ParamsError
from omap.params import Params
from omap.sizing.refusals import Request
from omap.sizing.sizes import page_slots_of, pages_for

LEAST_LOAD, MOST_LOAD = 0.25, 4.0
"""Tuples of a page, over those that it has room for, between which the search stays. Far outside of them a map needs
more HBM than within; a little outside, a map without pages (``resident``) needs less."""

MOST_BOARD_LOAD = 1.1
"""Most of a card, for pages of many slots: a touch reads what waits for a page in a fixed time, so that lists must be
short. A page of few slots may have up to half a tuple more, on average, than it has room for."""

GRID = (LEAST_LOAD, 0.4, 0.5, 0.65, 0.75, 0.9, 1.1, 1.4, 1.8, 2.3, 3.0, MOST_LOAD)
"""Loads to look at first."""

HOPE = 1.06
"""If the best of the grid needs more HBM than this share of what there is, then the best of all does not fit either:
between neighbours of the grid the least is a few per cent lower at most."""

NEAR = 24
"""Numbers of pages at which the search tries each."""

ROUGH = 1e-3
"""Share of the pages to which the search first goes, and share of the HBM that trying every number may gain."""

GOLDEN = (5**0.5 - 1) / 2


@dataclass
class Loads:
    """Maps of one page size; ``tried`` holds those that were looked at, by their number of pages.

    Parameters
    ----------
    request : Request
        What is asked for; the board limits the loads, and the host memory limits the pages.
    page_bytes : int
        Bytes of a page.
    tuning : dict
        Further arguments of :func:`omap.sizing.one_choice`, ``descriptor_bytes`` among them.
    """

    request: Request
    page_bytes: int
    tuning: dict[str, Any]
    tried: dict[int, Params | None] = field(default_factory=dict)

    def at(self, pages: int) -> Params | None:
        """Return the map with so many pages; None if there is none."""
        if pages not in self.tried:
            try:
                self.tried[pages] = sizing.one_choice(
                    **self.request.shape, page_bytes=self.page_bytes, pages=pages, **self.tuning
                )
            except ParamsError:
                self.tried[pages] = None
        return self.tried[pages]

    def search(self, worth: float | None = None) -> Params | None:
        """Return the map that needs the least HBM of those that the host memory holds; None if none is worth it.

        If the host memory holds none at all, the one with the fewest pages tells by how much.

        Parameters
        ----------
        worth : float, optional
            Bytes of HBM; a map that needs more need not be the best one. Without it, all HBM that there is.
        """
        worth = self.request.hbm_bytes if worth is None else worth
        low, high = self._range()
        if low > high:
            return self.at(low)  # for the message: even the fewest pages are too many
        grid = sorted({min(max(pages, low), high) for pages in map(self._pages, GRID)})
        grid = [pages for pages in grid if self._at_least(pages) <= HOPE * worth]
        if not grid:
            return None
        best = min(range(len(grid)), key=lambda place: self._need(grid[place]))
        if self._bytes(grid[best]) <= HOPE * worth:
            one, other = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
            near = least(self._bytes, one, other, ROUGH)
            if 1 < self._bytes(near) / worth < 1 + ROUGH:
                near = least(self._bytes, one, other)
                self._try(range(max(near - NEAR, low), min(near + NEAR, high) + 1))
            if self.request.board is not None and not self.request.hbm_fits(self._known(near)):
                # channels round up, so that other numbers of pages may need fewer
                self._try(min(max(near * percent // 100, low), high) for percent in range(60, 150, 3))
        found = [pages for pages in self.tried if low <= pages <= high and self.tried[pages]]
        return self.at(min(found, key=self._need)) if found else None

    def _at_least(self, pages: int) -> int:
        """Return bytes of HBM that a map needs at least: descriptors, and slots for tuples that fit no page."""
        request = self.request
        tuple_bytes = request.key_bytes + request.value_bytes
        outside = max(request.capacity - pages * self._slots, 0)
        return pages * int(self.tuning["descriptor_bytes"]) + outside * tuple_bytes

    def _range(self) -> tuple[int, int]:
        """Return the fewest and the most pages."""
        most = MOST_LOAD
        if self.request.board is not None:
            most = most_board_load(self._slots)
        high = self._pages(LEAST_LOAD)
        if self.request.host_bytes is not None:
            high = min(high, self.request.host_bytes // self.page_bytes)
        return self._pages(most), high

    def _try(self, numbers: Iterable[int]) -> None:
        for pages in numbers:
            self.at(pages)

    def _known(self, pages: int) -> Params:
        found = self.at(pages)
        assert found is not None
        return found

    @property
    def _slots(self) -> int:
        return page_slots_of(self.page_bytes, self.request.key_bytes + self.request.value_bytes)

    def _pages(self, load: float) -> int:
        return pages_for(self.request.capacity, self._slots, load)

    def _bytes(self, pages: int) -> float:
        found = self.at(pages)
        return float("inf") if found is None else found.hbm_bytes

    def _need(self, pages: int) -> tuple[float, float]:
        """Return what is to be least: what there must be enough of, and then bytes."""
        found = self.at(pages)
        return (float("inf"),) * 2 if found is None else (self.request.hbm_need(found)[0], found.hbm_bytes)


def most_board_load(slots: int) -> float:
    """Return the largest load for a card, with pages that have room for so many tuples."""
    return max(MOST_BOARD_LOAD, 1 + 1 / (1 + slots))


def least(cost: Callable[[int], float], low: int, high: int, rough: float = 0.0) -> int:
    """Return where a cost that falls and then rises is least, from ``low`` to ``high``, by golden section.

    Parameters
    ----------
    cost : callable
        Cost of a whole number.
    low, high : int
        Where to look, both included.
    rough : float
        Share of the result by which it may be off.
    """
    while high - low > max(NEAR, rough * low):
        step = round((high - low) * GOLDEN)
        left, right = high - step, low + step
        if cost(left) <= cost(right):
            high = right
        else:
            low = left
    return min(range(low, high + 1) if high - low <= NEAR else (low, (low + high) // 2, high), key=cost)
