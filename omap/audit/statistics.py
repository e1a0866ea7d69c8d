"""Statistical checks: are the pages independent uniform draws?

Each check counts something over the touches of a trace and bounds how improbable the count is, by the functions of
:mod:`omap.audit.tails`. All hold for every number of touches and pages; where operations touch a varying number of
pages, they hold given those numbers. Which checks there are depends on the parameters and the number of operations
alone, so that one threshold can be set for all of them beforehand.

What the checks look at comes from leaks that were planted and found (see tests/support/leakage/faults.py): a page that
is touched again too soon, too late, too often or never; pages that are preferred or avoided; pairs that come again; an
order within the pair that tells something; a number of touches that tells something.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from omap.audit import tails
from omap.audit.again import ages, distances
from omap.audit.count import Count
from omap.audit.draws import draws
from omap.audit.pairs import numbers, together
from omap.audit.structure import Touches
from omap.params import Params, Rule


def counts(touches: Touches, params: Params) -> Iterator[Count]:
    """Yield every statistic of the rule of ``params`` (``one_choice`` or ``two_choice``)."""
    pages, page, second = params.pages, touches.page, touches.second
    operations = len(touches.per_operation)
    pair = params.rule is Rule.TWO_CHOICE
    if pair:
        yield from numbers(touches.per_operation, params)
    if pages < 2:
        return  # one page: nothing is drawn
    if pair:
        for which, chosen in (("first ", ~second), ("second ", second)):
            yield from draws(page[chosen], pages, which)
            yield from ages(page[chosen], np.zeros(int(chosen.sum()), np.bool_), which, pages, operations)
        yield from together(touches, pages)
    else:
        yield from draws(page, pages, "")
    yield from _occupancy(touches, pages)
    yield from ages(page, second, "", pages, operations)
    yield from distances(touches, params)


def _occupancy(touches: Touches, pages: int) -> Iterator[Count]:
    """How many different pages, and how often the busiest and the quietest."""
    _, times = np.unique(touches.page, return_counts=True)
    total = len(touches.page)
    paired = int(touches.second.sum())
    mean, variance = tails.collision_moments(pages, total - 2 * paired, paired)
    collisions = total - len(times)
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
        ("busiest page", most, tails.binomial_upper(most, total, 1 / pages) if most >= total / pages + 1 else 1.0),
        ("quietest page", least, tails.binomial_lower(least, total, 1 / pages) if least <= total / pages - 1 else 1.0),
    ):
        yield Count(
            name,
            f"touches of the {name}",
            count,
            total / pages,
            min(1.0, pages * tail),  # a bound over all pages; Hoeffding's for touches that come in pairs
            "One page stands out: it belongs to a key, or is kept away from keys.",
        )
