"""After how many operations the audit sees a leak of a given size: ``python -m tests.support.leakage.power``.

A leak here is a share of all touches whose page is not drawn as it should be. The map has the pages of SMALL, and
touches are drawn without a map, so that a million of them take seconds.
"""

from functools import partial

import numpy as np

from omap.audit import FALSE_ALARM, statistics
from omap.commands.audit_power import SHARES
from omap.presets import preset
from tests.support.leakage.synthetic import params, touches

PAGES = preset("SMALL").pages
SHAPE = params("one_choice", pages=PAGES)
SEEDS = range(3)
LENGTHS = [step * 10**power for power in range(1, 6) for step in (1, 2, 5)] + [10**6]
"""Lengths that are tried."""


def again(distance, share, count, rng):
    """A share of the pages is that of a fixed number of touches before."""
    page = rng.integers(0, PAGES, count)
    for place in np.flatnonzero(rng.random(count) < share):
        page[place] = page[place - distance] if place >= distance else page[place]
    return page


def preferred(chosen, share, count, rng):
    """A share of the pages is drawn from few."""
    page, few = rng.integers(0, PAGES, count), chosen(rng)
    hit = rng.random(count) < share
    page[hit] = few[rng.integers(0, len(few), hit.sum())]
    return page


def avoided(share, count, rng):
    """In a share of the draws, pages that one of the last touches met, half as many as there are pages, are avoided."""
    page, avoids = rng.integers(0, PAGES, count), rng.random(count) < share
    last = [-PAGES] * PAGES
    for place, drawn in enumerate(page.tolist()):
        while avoids[place] and place - last[drawn] <= PAGES // 2:
            drawn = int(rng.integers(PAGES))
        page[place], last[drawn] = drawn, place
    return page


LEAKS = {
    "are the page of 1 touch ago": partial(again, 1),
    "are that of 1,500 touches ago": partial(again, 1500),
    "are one certain page": partial(preferred, lambda rng: np.array([PAGES // 3])),
    "lie in the lower half": partial(preferred, lambda rng: np.arange(PAGES // 2)),
    "lie in a half picked once": partial(preferred, lambda rng: rng.permutation(PAGES)[: PAGES // 2]),
    "avoid pages touched lately": avoided,
}
"""Makers of pages, by what the share of touches does."""


def seen(leak, share, count, seed):
    """Return whether the statistics of a leaky run raise the alarm."""
    page = LEAKS[leak](share, count, np.random.default_rng([seed, count]))
    found = list(statistics.counts(touches(np.arange(count), page, count), SHAPE))
    return min(one.p_value for one in found) < FALSE_ALARM / len(found)


def shows(leak, share, count):
    """Return whether it does in every run."""
    return all(seen(leak, share, count, seed) for seed in SEEDS)


def first(leak, share):
    """Return the first length at which a leak shows; None if there is none."""
    return next((count for count in LENGTHS if shows(leak, share, count)), None)


def before(count):
    """Return the length that is tried before another one; None if there is none."""
    at = LENGTHS.index(count)
    return LENGTHS[at - 1] if at else None


if __name__ == "__main__":
    for leak in LEAKS:
        print(f"    {leak!r}: {tuple(first(leak, share) for share in SHARES)},", flush=True)
