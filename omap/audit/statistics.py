"""Statistical checks: are the pages independent uniform draws?

Each check counts something over the touches of a trace and bounds how improbable the count is, with the functions of
:mod:`omap.audit.tails`. The bounds hold for any number of touches and pages. Where operations touch a varying number of
pages, the bounds hold given those numbers. Which checks there are depends only on the parameters and on the number of
operations, so that one threshold can be set for all checks beforehand.

The checks follow leaks that were planted and found (see tests/support/leakage/faults.py): a page is touched again too
soon, too late, too often or never; pages are preferred or avoided; pairs come again; the order within a pair tells
something; the number of touches tells something.
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
    """Yield every statistic for the rule of ``params``, ``one_choice`` or ``two_choice``."""
    pages, page, second = params.pages, touches.page, touches.second
    operations = len(touches.per_operation)
    pair = params.rule is Rule.TWO_CHOICE
    if pair:
        yield from numbers(touches.per_operation, params)
    if pages < 2:
        return  # with one page nothing is drawn
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
    """Yield how many different pages were touched, and how often the busiest and the quietest page."""
    _, times = np.unique(touches.page, return_counts=True)
    total = len(touches.page)
    paired = int(touches.second.sum())
    mean, variance = tails.collision_moments(pages, total - 2 * paired, paired)
    collisions = total - len(times)
    yield Count(
        "different pages",
        "touches minus different pages",
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
            min(1.0, pages * tail),  # a union bound over pages; for touches in pairs, Hoeffding's bound too
            "One page stands out: it belongs to a key, or is kept away from keys.",
        )
