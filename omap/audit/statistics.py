"""Statistical checks: are the pages independent uniform draws?

Each check counts something over the touches of a trace and bounds how improbable the count is, by the functions of
:mod:`omap.audit.tails`. All hold for every number of touches and pages; where operations touch a varying number of
pages, they hold given those numbers. Which checks there are depends on the parameters and the number of operations
alone, so that one threshold can be set for all of them beforehand.

What the checks look at comes from leaks that were planted and found (see tests/leakage/faults.py): a page that is
touched again too soon, too late, too often or never; pages that are preferred or avoided; pairs that come again; an
order within the pair that tells something; a number of touches that tells something.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from omap.audit import tails
from omap.audit.structure import Touches
from omap.leakage import touches_per_operation
from omap.params import Params, Rule

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

LAGS = range(1, 17)
"""Lags at which repeats are counted and judged one by one."""

LONG_LAGS = 1024
"""Repeats are counted up to this lag, and judged together; up to a shorter one if that takes more than ..."""

COMPARISONS = 2_000_000_000
"""... so many comparisons of two pages."""

COARSE, FINE = 16, 256
"""Most cells that pages are sorted into, by range or by remainder; as many for pairs of successive touches."""

BLOCKS = 8
"""Parts of a run whose pages are counted apart."""


@dataclass(frozen=True)
class Count:
    """One statistic: what was counted and how improbable the count is. Fields as in :class:`omap.audit.Finding`."""

    name: str
    statistic: str
    observed: float
    expected: float
    p_value: float
    means: str


def counts(touches: Touches, params: Params) -> Iterator[Count]:
    """Yield every statistic of the rule of ``params`` (``one_choice`` or ``two_choice``)."""
    pages = params.pages
    if params.rule is Rule.TWO_CHOICE:
        yield from _touches_per_operation(touches.per_operation, params)
    if pages < 2:
        return  # one page: nothing is drawn
    if params.rule is Rule.ONE_CHOICE:
        yield from _draws(touches.page, pages, "")
    else:
        yield from _draws(touches.page[~touches.second], pages, "first ")
        yield from _draws(touches.page[touches.second], pages, "second ")
        yield from _pairs(touches, pages)
    yield from _occupancy(touches, pages)
    yield from _ages(touches, params)


# -- independent uniform draws ----------------------------------------------------------------------------------


def _draws(page: Ints, pages: int, which: str) -> Iterator[Count]:
    """Statistics of touches of which each is uniform over all pages, whatever came before."""
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
    for cells in sorted({min(COARSE, pages), min(FINE, pages)}):
        for how, cell, chances in _sortings(page, pages, cells):
            yield _unevenness(
                f"spread of {which}pages over {len(chances)} {how}",
                np.bincount(cell, minlength=len(chances))[None, :],
                chances,
                "Some pages are preferred or avoided: what is drawn depends on keys or on how full pages are.",
                rows_given=True,
            )
    (how, cell, chances), *_ = _sortings(page, pages, COARSE)
    block = np.arange(n) * BLOCKS // max(n, 1)
    yield _unevenness(
        f"spread of {which}pages over {len(chances)} {how} in each of {BLOCKS} parts of the run",
        _table(block, cell, BLOCKS, len(chances)),
        chances,
        "Some pages are preferred for a while: the working set shows.",
        rows_given=True,
    )
    for lag in (1, 2):
        for how, cell, chances in _sortings(page, pages, COARSE):
            yield _unevenness(
                f"{which}pages given the one {lag} before, by {len(chances)} {how}",
                _table(cell[:-lag], cell[lag:], len(chances), len(chances)),
                chances,
                "A page can be guessed from an earlier one.",
                rows_given=False,
            )
        step = (page[lag:] - page[:-lag]) % pages
        for how, cell, chances in _sortings(step, pages, FINE):
            yield _unevenness(
                f"steps between {which}pages {lag} apart, by {len(chances)} {how}",
                np.bincount(cell, minlength=len(chances))[None, :],
                chances,
                "Pages follow a pattern: a page can be guessed from an earlier one.",
                rows_given=True,
            )


def _sortings(page: Ints, pages: int, cells: int) -> list[tuple[str, Ints, Floats]]:
    """Return two ways to sort pages into at most ``cells`` cells: name, cell of each touch, chance of each cell."""
    cells = min(cells, pages)
    edges = np.arange(cells + 1) * pages // cells
    ranges = np.searchsorted(edges, page, side="right") - 1
    remainders = np.full(cells, pages // cells) + (np.arange(cells) < pages % cells)
    return [("ranges", ranges, np.diff(edges) / pages), ("remainders", page % cells, remainders / pages)]


def _table(row: Ints, column: Ints, rows: int, columns: int) -> Ints:
    return np.bincount(row * columns + column, minlength=rows * columns).reshape(rows, columns).astype(np.int64)


def _unevenness(name: str, table: Ints, chances: Floats, means: str, *, rows_given: bool) -> Count:
    """Report Pearson's statistic, which readers know, with the bound of :func:`omap.audit.tails.unevenness`."""
    mean = table.sum(axis=1)[:, None] * chances[None, :]
    pearson = float((((table - mean) ** 2)[mean > 0] / mean[mean > 0]).sum())
    freedom = (len(chances) - 1) * int((table.sum(axis=1) > 0).sum())
    return Count(
        name,
        "chi-square",
        pearson,
        freedom,
        tails.improbable(tails.unevenness(table, chances, rows_given)),
        means,
    )


# -- all touches together ---------------------------------------------------------------------------------------


def _occupancy(touches: Touches, pages: int) -> Iterator[Count]:
    """How many different pages, and how often the busiest and the quietest."""
    _, times = np.unique(touches.page, return_counts=True)
    draws = len(touches.page)
    paired = int(touches.second.sum())
    mean, variance = tails.collision_moments(pages, draws - 2 * paired, paired)
    collisions = draws - len(times)
    yield Count(
        "different pages",
        "touches less different pages",
        collisions,
        mean,
        tails.bennett(collisions, mean, variance),
        "More: some pages are preferred, or pages come again with their keys. Fewer: touched pages are avoided.",
    )
    most, least = int(times.max(initial=0)), int(times.min()) if len(times) == pages else 0
    for name, count, tail in (
        ("busiest page", most, tails.binomial_upper(most, draws, 1 / pages) if most >= draws / pages + 1 else 1.0),
        ("quietest page", least, tails.binomial_lower(least, draws, 1 / pages) if least <= draws / pages - 1 else 1.0),
    ):
        yield Count(
            name,
            f"touches of the {name}",
            count,
            draws / pages,
            min(1.0, pages * tail),  # a bound over all pages; Hoeffding's for touches that come in pairs
            "One page stands out: it belongs to a key, or is kept away from keys.",
        )


def _ages(touches: Touches, params: Params) -> Iterator[Count]:
    """How long ago a page was touched when it is touched again, and the most frequent distance of all."""
    page, pages = touches.page, params.pages
    n = len(page)
    previous, following = _neighbours(page)
    age = np.arange(n) - previous  # touches since the last touch of the same page
    seconds = touches.second
    low, high = 0, 1
    while low < params.pages * 8 and low < 2 * len(touches.per_operation):
        hits = int(((previous >= 0) & (age > low) & (age <= high)).sum())
        eligible = _different_pages(following, low, high)
        distinct, times = np.unique(eligible[~seconds], return_counts=True)
        chances = distinct / pages
        if seconds.any():  # the second touch avoids the first, whose age is 1
            distinct2, times2 = np.unique(eligible[seconds], return_counts=True)
            chances2 = distinct2 / (pages - 1) if low else np.zeros(len(distinct2))
            chances, times = np.concatenate([chances, chances2]), np.concatenate([times, times2])
        share = (1 - 1 / pages) ** low - (1 - 1 / pages) ** high
        yield Count(
            f"touched again after {low + 1} to {high} touches" if high > 1 else "touched again at once",
            "touches of a page whose last touch was that long ago",
            hits,
            float((chances * times).sum()),
            tails.improbable(tails.surprise(hits, chances, times, max(n - low, 0) * share)),
            "When a page comes again depends on when its key does: repetition or freshness of keys shows.",
        )
        low, high = high, high * 2
    distance = touches.operation - touches.operation[previous]
    for which, chosen in (("", ~seconds), ("second ", seconds)):
        if which and params.rule is not Rule.TWO_CHOICE:
            continue
        histogram = np.bincount(distance[chosen & (previous >= 0)])
        most = int(histogram.max(initial=0))
        width = 2 if params.rule is Rule.TWO_CHOICE else 1
        trials = int(chosen.sum())
        tail = tails.binomial_upper(most, trials, min(1.0, width / pages))
        yield Count(
            f"most frequent distance between {which}touches of a page",
            f"{which}touches whose page was last touched {int(histogram.argmax()) if most else 0} operations before",
            most,
            trials * width / pages,
            min(1.0, len(touches.per_operation) * tail) if most else 1.0,  # over all distances, none of them likelier
            "Pages come again with a period: a sweep or a loop over keys shows.",
        )


def _neighbours(page: Ints) -> tuple[Ints, Ints]:
    """Return the places of the last touch before, and of the next after, of the same page; -1 and len if none."""
    n = len(page)
    order = np.argsort(page, kind="stable")
    same = np.diff(page[order]) == 0
    previous, following = np.full(n, -1), np.full(n, n)
    previous[order[1:][same]] = order[:-1][same]
    following[order[:-1][same]] = order[1:][same]
    return previous, following


def _different_pages(following: Ints, low: int, high: int) -> Ints:
    """Return, before each touch, how many pages were last touched more than ``low`` and at most ``high`` touches ago.

    Place j is the last touch of its page up to its next touch, so it counts for places j + low + 1 up to
    min(j + high, following[j]).
    """
    n = len(following)
    place = np.arange(n)
    first, last = place + low + 1, np.minimum(place + high, following)
    valid = (first <= last) & (first < n)
    change = np.bincount(first[valid], minlength=n + 1) - np.bincount(np.minimum(last[valid] + 1, n), minlength=n + 1)
    return np.cumsum(change)[:n].astype(np.int64)


# -- pairs ------------------------------------------------------------------------------------------------------


def _touches_per_operation(touches: Ints, params: Params) -> Iterator[Count]:
    """Numbers of pages an operation touches: independent, with known chances."""
    table = {number: float(chance) for number, chance in touches_per_operation(params).items()}
    operations = len(touches)
    for number, chance in table.items():
        observed = int((touches == number).sum())
        yield Count(
            f"operations with {number} touches",
            f"operations that touch {number} pages",
            observed,
            operations * chance,
            tails.binomial(observed, operations, chance),
            "How many pages are touched depends on the key: on where it lives, or on whether it was found.",
        )
    if len(table) < 2:
        return
    chances = np.array(list(table.values()))
    cell = np.searchsorted(np.array(list(table)), touches)
    block = np.arange(operations) * BLOCKS // max(operations, 1)
    yield _unevenness(
        f"numbers of touches in each of {BLOCKS} parts of the run",
        _table(block, cell, BLOCKS, len(chances)),
        chances,
        "How many pages are touched changes with the workload.",
        rows_given=True,
    )
    for lag in (1, 2):
        yield _unevenness(
            f"number of touches given that of the operation {lag} before",
            _table(cell[:-lag], cell[lag:], len(chances), len(chances)),
            chances,
            "How many pages are touched can be guessed from an earlier operation: repetition of keys shows.",
            rows_given=False,
        )


def _pairs(touches: Touches, pages: int) -> Iterator[Count]:
    """Statistics of the two pages of one operation, given how many pages each operation touches."""
    number = touches.per_operation
    operations = len(number)
    start = np.cumsum(number) - number
    first, second = np.full(operations, -1), np.full(operations, -2)
    first[number > 0] = touches.page[start[number > 0]]
    second[number > 1] = touches.page[start[number > 1] + 1]
    both = number > 1
    low, high = np.minimum(first, second), np.maximum(first, second)
    possible = pages * (pages - 1) // 2
    for lag in LAGS:
        trials = int((both[lag:] & both[:-lag]).sum())
        hits = int((both[lag:] & both[:-lag] & (low[lag:] == low[:-lag]) & (high[lag:] == high[:-lag])).sum())
        yield Count(
            f"repeat of pairs at lag {lag}",
            f"operations that touch the two pages of the operation {lag} before",
            hits,
            trials / possible,
            tails.binomial(hits, trials, 1 / possible),
            "Two pages come again together: they belong to one key, which came again.",
        )
    for lag in LAGS:
        here, there = number[lag:], number[:-lag]
        shared = np.zeros(len(here), np.bool_)
        for a, b in ((first, first), (first, second), (second, first), (second, second)):
            shared |= (a[lag:] == b[:-lag]) & (a[lag:] >= 0)
        chances = np.zeros((3, 3))
        chances[1, 1], chances[1, 2], chances[2, 1] = 1 / pages, 2 / pages, 2 / pages
        chances[2, 2] = 1 - (pages - 2) * (pages - 3) / (pages * (pages - 1))
        mean = float(chances[there, here].sum())
        yield Count(
            f"shared page at lag {lag}",
            f"operations that touch a page of the operation {lag} before",
            int(shared.sum()),
            mean,
            tails.mixed_binomial(int(shared.sum()), int(((here > 0) & (there > 0)).sum()), mean),
            "A page comes again because its key came again: repetition of keys shows.",
        )
    paired = int(both.sum())
    collisions = paired - len(np.unique(low[both] * pages + high[both]))
    mean, variance = tails.collision_moments(possible, paired)
    yield Count(
        "different pairs",
        "pairs less different pairs",
        collisions,
        mean,
        tails.bennett(collisions, mean, variance),
        "More: pairs come again with their keys. Fewer: pairs that were seen are avoided.",
    )
    yield from _order(first[both], second[both], pages)


def _order(first: Ints, second: Ints, pages: int) -> Iterator[Count]:
    """Which page of a pair is touched first must be a fair coin, whatever the pages."""
    ascending = int((first < second).sum())
    yield Count(
        "ascending pairs",
        "operations whose first page is the lower one",
        ascending,
        len(first) / 2,
        tails.binomial(ascending, len(first), 0.5),
        "The order of the two touches follows their place.",
    )
    half = len(first) // 2
    names, place = np.unique(np.concatenate([first, second]), return_inverse=True)
    one, two = place[: len(first)], place[len(first) :]
    lead = np.bincount(one[:half], minlength=len(names)) - np.bincount(two[:half], minlength=len(names))
    favoured = lead[one[half:]] - lead[two[half:]]  # which of the two came first more often in the first half
    hits, trials = int((favoured > 0).sum()), int((favoured != 0).sum())
    yield Count(
        "order of pairs guessed from earlier ones",
        "pairs whose order was guessed from how often their pages came first in the first half of the run",
        hits,
        trials / 2,
        tails.binomial(hits, trials, 0.5),
        "The order of the two touches tells which of them holds the key, or which page is fuller.",
    )
