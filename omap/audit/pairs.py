"""Checks for a rule that touches a varying number of pages: how many, which together, and in which order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from omap.audit import tails
from omap.audit.again import neighbours
from omap.audit.count import BLOCKS, Count, Ints, table, unevenness
from omap.audit.draws import LAGS
from omap.audit.structure import Touches
from omap.leakage import touches_per_operation
from omap.params import Params

HABIT = 8
"""How many last touches of a page are used to guess its place in the next pair."""


def numbers(touches: Ints, params: Params) -> Iterator[Count]:
    """Yield statistics of how many pages an operation touches; these numbers must be independent, with known
    chances."""
    law = {number: float(chance) for number, chance in touches_per_operation(params).items()}
    operations = len(touches)
    for number, chance in law.items():
        observed = int((touches == number).sum())
        yield Count(
            f"operations with {number} touches",
            f"operations that touch {number} pages",
            observed,
            operations * chance,
            tails.binomial(observed, operations, chance),
            "How many pages are touched depends on the key: on where it lives, or on whether it was found.",
        )
    if len(law) < 2:
        return
    chances = np.array(list(law.values()))
    cell = np.searchsorted(np.array(list(law)), touches)
    block = np.arange(operations) * BLOCKS // max(operations, 1)
    yield unevenness(
        f"numbers of touches in each of {BLOCKS} parts of the run",
        table(block, cell, BLOCKS, len(chances)),
        chances,
        "How many pages are touched changes with the workload.",
        rows_given=True,
    )
    for lag in (1, 2):
        yield unevenness(
            f"number of touches given the number {lag} operations before",
            table(cell[:-lag], cell[lag:], len(chances), len(chances)),
            chances,
            "How many pages are touched can be guessed from an earlier operation: repetition of keys shows.",
            rows_given=False,
        )


def together(touches: Touches, pages: int) -> Iterator[Count]:
    """Yield statistics of the two pages of one operation, given how many pages each operation touches."""
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
    yield from _order(first[both], second[both])
    yield _habit(touches, start[both])


def _order(first: Ints, second: Ints) -> Iterator[Count]:
    """Yield statistics of which page of a pair is touched first. It must be a fair coin, whatever the pages are."""
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


def _habit(touches: Touches, start: Ints) -> Count:
    """Guess the order of a pair from the last few touches of its pages, which follows an order that changes in time."""
    role = np.zeros(len(touches.page) + 1, np.int64)  # 1 if touched first of a pair, -1 if second, 0 if alone
    role[start], role[start + 1] = 1, -1
    previous = np.append(neighbours(touches.page)[0], -1)  # one more place, which stands for no touch, as -1 does
    score, place = np.zeros(len(role), np.int64), np.arange(len(role))
    for _ in range(HABIT):
        place = previous[place]
        score += role[place]
    favoured = score[start] - score[start + 1]
    hits, trials = int((favoured > 0).sum()), int((favoured != 0).sum())
    return Count(
        "order of pairs guessed from the last touches",
        f"pairs whose order was guessed from the last {HABIT} touches of their pages",
        hits,
        trials / 2,
        tails.binomial(hits, trials, 0.5),
        "The order of the two touches tells which of them holds the key, or which page is fuller.",
    )
