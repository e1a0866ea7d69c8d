"""Checks of when a page is touched again: how long ago its last touch was, and the most frequent distance."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from omap.audit import tails
from omap.audit.count import Count, Ints
from omap.audit.structure import Touches
from omap.params import Params, Rule


def ages(page: Ints, second: npt.NDArray[np.bool_], which: str, pages: int, operations: int) -> Iterator[Count]:
    """Count how often a page comes again 1, 2, 3 to 4, 5 to 8, ... touches after its last touch; and within 4, 8, ...

    The former sees one distance, the latter a weaker leak that spreads over many.

    Before each touch it is known how many pages were last touched that long ago, and so is the chance that the touch
    meets one of them. These chances vary, so :func:`omap.audit.tails.surprise` judges the counts.

    Parameters
    ----------
    page : (t,) array
        Pages in the order of their touches.
    second : (t,) array
        Whether a touch is the second of its operation, which avoids the page of the touch before it.
    which : str
        Which touches these are, for the names of the checks.
    pages, operations : int
        Pages of the map, and operations that ran.
    """
    n = len(page)
    previous, following = neighbours(page)
    age = np.arange(n) - previous  # touches since the last touch of the same page
    for low, high in _spans(pages, operations):
        hits = int(((previous >= 0) & (age > low) & (age <= high)).sum())
        eligible = _different_pages(following, low, high)
        times = np.bincount(eligible[~second])
        chances = np.arange(len(times)) / pages
        if second.any():  # the page that it avoids has age 1
            more = np.bincount(eligible[second])
            times = np.concatenate([times, more])
            others = np.maximum(np.arange(len(more)) - (low == 0), 0)
            chances = np.concatenate([chances, others / (pages - 1)])
        times, chances = times[times > 0], chances[times > 0]
        share = (1 - 1 / pages) ** low - (1 - 1 / pages) ** high
        when = f"{low + 1} to {high} {which}touches" if high > 1 else f"1 {which}touch"
        yield Count(
            f"touched again after {when}",
            f"{which}touches of a page whose last {which}touch was that long ago",
            hits,
            float((chances * times).sum()),
            tails.improbable(tails.surprise(hits, chances, times, max(n - low, 0) * share)),
            "When a page comes again depends on when its key does: repetition or freshness of keys shows.",
        )


def _spans(pages: int, operations: int) -> Iterator[tuple[int, int]]:
    """Yield the ages that are counted together, as (least less one, most)."""
    low, high = 0, 1
    while low < pages * 8 and low < 2 * operations:
        yield low, high
        if 0 < low < pages:
            yield 0, high
        low, high = high, high * 2


def distances(touches: Touches, params: Params) -> Iterator[Count]:
    """Count the most frequent distance, in operations, between two successive touches of a page."""
    previous, _ = neighbours(touches.page)
    distance = touches.operation - touches.operation[previous]
    operations = len(touches.per_operation)
    pair = params.rule is Rule.TWO_CHOICE
    chance = min(1.0, (2 if pair else 1) / params.pages)  # of any one distance, at most, whatever came before
    for which, chosen in (
        (("first ", ~touches.second), ("second ", touches.second)) if pair else (("", ~touches.second),)
    ):
        histogram = np.bincount(distance[chosen & (previous >= 0)])
        most = int(histogram.max(initial=0))
        trials = int(chosen.sum())
        yield Count(
            f"most frequent distance of {which}touches from the last of their page",
            f"{which}touches whose page was last touched {int(histogram.argmax()) if most else 0} operations before",
            most,
            trials * chance,
            min(1.0, operations * tails.binomial_upper(most, trials, chance)) if most else 1.0,
            "Pages come again with a period: a sweep or a loop over keys shows.",
        )


def neighbours(page: Ints) -> tuple[Ints, Ints]:
    """Return two (t,) arrays: for each touch, the place of the last touch of the same page before, and of the next
    after.

    Where there is none they hold -1 and t.
    """
    n = len(page)
    order = np.argsort(page, kind="stable")
    same = np.diff(page[order]) == 0
    previous, following = np.full(n, -1), np.full(n, n)
    previous[order[1:][same]] = order[:-1][same]
    following[order[:-1][same]] = order[1:][same]
    return previous, following


def _different_pages(following: Ints, low: int, high: int) -> Ints:
    """Return, before each touch, how many pages were last touched more than ``low`` and at most ``high`` touches ago.

    The touch at place j is the last of its page until the next touch of that page, so it counts for places j + low + 1
    to min(j + high, following[j]).
    """
    n = len(following)
    place = np.arange(n)
    first, last = place + low + 1, np.minimum(place + high, following)
    valid = (first <= last) & (first < n)
    change = np.bincount(first[valid], minlength=n + 1) - np.bincount(np.minimum(last[valid] + 1, n), minlength=n + 1)
    return np.cumsum(change)[:n].astype(np.int64)
