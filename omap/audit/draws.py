"""Checks of touches that must each be uniform over all pages, whatever came before."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from omap.audit import tails
from omap.audit.count import BLOCKS, Count, Floats, Ints, table, unevenness

LAGS = range(1, 17)
"""Lags at which repeats are counted and judged, each on its own."""

LONG_LAGS = 16_384
"""Repeats at longer lags are counted up to this lag, and judged together."""

COMPARISONS = 2_000_000_000
"""Most comparisons of two pages for the longer lags; a long trace is therefore compared at fewer lags."""

HALVES, COARSE, FINE = 2, 16, 256
"""Most cells that pages are sorted into, by range or by remainder. A leak shows soonest in as few cells as it fills."""


def draws(page: Ints, pages: int, which: str) -> Iterator[Count]:
    """Yield statistics of touches that must each be uniform over all pages, whatever came before.

    Parameters
    ----------
    page : (t,) array
        Pages in the order of their touches.
    pages : int
        Pages of the map.
    which : str
        Which touches these are, for the names of the checks.
    """
    n = len(page)
    for lag in LAGS:
        hits = int((page[lag:] == page[:-lag]).sum())
        trials = max(n - lag, 0)
        yield Count(
            f"repeat of {which}pages at lag {lag}",
            f"{which}touches of the same page as the {which}touch {lag} before",
            hits,
            trials / pages,
            tails.binomial(hits, trials, 1 / pages),
            "A page comes again because its key came again: repetition of keys shows.",
        )
    last = max(LAGS.stop, min(LONG_LAGS, n - 1, COMPARISONS // max(n, 1)) + 1)
    small = page.astype(np.uint32)
    hits_at = np.array([np.count_nonzero(small[lag:] == small[:-lag]) for lag in range(LAGS.stop, last)], np.int64)
    trials_at = n - np.arange(LAGS.stop, last)
    most = int(hits_at.argmax()) if len(hits_at) else 0
    yield Count(
        f"repeat of {which}pages at a longer lag",
        f"{which}touches of the same page as the {which}touch {LAGS.stop + most} before, the lag with most of them",
        int(hits_at[most]) if len(hits_at) else 0,
        max(n - LAGS.stop - most, 0) / pages,
        tails.binomial_among(hits_at, trials_at, 1 / pages),
        "Pages come again with a period: a sweep or a loop over keys shows.",
    )
    for cells in sorted({min(cells, pages) for cells in (HALVES, COARSE, FINE)}):
        for how, cell, chances in _sortings(page, pages, cells):
            yield unevenness(
                f"spread of {which}pages over {len(chances)} {how}",
                np.bincount(cell, minlength=len(chances))[None, :],
                chances,
                "Some pages are preferred or avoided: what is drawn depends on keys or on how full pages are.",
                rows_given=True,
            )
    (how, cell, chances), *_ = _sortings(page, pages, COARSE)
    block = np.arange(n) * BLOCKS // max(n, 1)
    yield unevenness(
        f"spread of {which}pages over {len(chances)} {how} in each of {BLOCKS} parts of the run",
        table(block, cell, BLOCKS, len(chances)),
        chances,
        "Some pages are preferred for a while: the working set shows.",
        rows_given=True,
    )
    for lag in (1, 2):
        for how, cell, chances in _sortings(page, pages, COARSE):
            yield unevenness(
                f"{which}pages given the one {lag} before, by {len(chances)} {how}",
                table(cell[:-lag], cell[lag:], len(chances), len(chances)),
                chances,
                "A page can be guessed from an earlier one.",
                rows_given=False,
            )
        step = (page[lag:] - page[:-lag]) % pages
        for how, cell, chances in _sortings(step, pages, FINE):
            yield unevenness(
                f"steps between {which}pages {lag} apart, by {len(chances)} {how}",
                np.bincount(cell, minlength=len(chances))[None, :],
                chances,
                "Pages follow a pattern: a page can be guessed from an earlier one.",
                rows_given=True,
            )


def _sortings(page: Ints, pages: int, cells: int) -> list[tuple[str, Ints, Floats]]:
    """Return two ways to sort pages into ``cells`` cells at most: name, cell of each touch, chance of each cell."""
    cells = min(cells, pages)
    edges = np.arange(cells + 1) * pages // cells
    ranges = np.searchsorted(edges, page, side="right") - 1
    remainders = np.full(cells, pages // cells) + (np.arange(cells) < pages % cells)
    return [("ranges", ranges, np.diff(edges) / pages), ("remainders", page % cells, remainders / pages)]
