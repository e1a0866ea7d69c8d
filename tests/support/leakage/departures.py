"""Touches that are not independent uniform draws, each in one way: so that every check is seen to fail."""

import numpy as np

from tests.support.leakage.synthetic import draw, params, seen

ONE = params("one_choice", pages=191)
MANY = params("one_choice", pages=100_000)
TWO = params("two_choice", pages=191, hbm_bins=48)


def ones(page):
    page = np.asarray(page)
    return np.arange(len(page)), page


def repeat_at(lag, share, shape, operations, rng):
    """A share of the pages is that of ``lag`` before."""
    _, page = draw(shape, operations, rng)
    for place in np.flatnonzero(rng.random(operations) < share):
        page[place] = page[place - lag] if place >= lag else page[place]
    return ones(page)


def avoid_recent(window, operations, rng):
    """A page touched within the last ``window`` touches is never drawn."""
    page = []
    for _ in range(operations):
        page.append(next(p for p in iter(lambda: int(rng.integers(ONE.pages)), None) if p not in page[-window:]))
    return ones(page)


def uneven(cell_of, share, operations, rng):
    """A share of the pages that are not in cell 0 is drawn again."""
    _, page = draw(ONE, operations, rng)
    again = (rng.random(operations) < share) & (cell_of(page) != 0)
    page[again] = rng.integers(0, ONE.pages, again.sum())
    return ones(page)


def rounds(operations, rng):
    """Every page once, in a fresh random order each round."""
    return ones(np.concatenate([rng.permutation(ONE.pages) for _ in range(operations // ONE.pages)]))


def working_set(operations, rng):
    """In each eighth of the run, half of the touches are on another eighth of the pages."""
    _, page = draw(ONE, operations, rng)
    place = np.arange(operations)
    hot = (place * 8 // operations * ONE.pages // 8) + rng.integers(0, ONE.pages // 8, operations)
    return ones(np.where(rng.random(operations) < 0.5, hot, page))


def walk(lag, operations, rng):
    """Half of the pages are a little above that of ``lag`` before."""
    _, page = draw(ONE, operations, rng)
    for place in np.flatnonzero(rng.random(operations) < 0.5):
        if place >= lag:
            page[place] = (page[place - lag] + rng.integers(1, 4)) % ONE.pages
    return ones(page)


def parity_after(lag, operations, rng):
    """Half of the pages have the remainder modulo 16 of that of ``lag`` before."""
    _, page = draw(ONE, operations, rng)
    for place in np.flatnonzero(rng.random(operations) < 0.5):
        if place >= lag:
            page[place] = page[place - lag] % 16 + 16 * rng.integers(0, 11)
    return ones(page)


def one_page(shape, times, operations, rng):
    """One page is touched ``times`` times more."""
    _, page = draw(shape, operations, rng)
    page[rng.choice(operations, times, replace=False)] = shape.pages // 3
    return ones(page)


def never_one_page(operations, rng):
    """One page is never touched."""
    _, page = draw(ONE, operations, rng)
    page[page == 77] = rng.integers(0, 77, (page == 77).sum())
    return ones(page)


def never_one_bin(operations, rng):
    """Likewise under two_choice."""
    one, other = (np.where(column == 77, 78, column) for column in bins(operations, rng))
    return seen(TWO, one, np.where(one == other, 79, other))


def period(length, operations, rng):
    """A tenth of the pages is that of ``length`` before."""
    return repeat_at(length, 0.1, MANY, operations, rng)


def bins(operations, rng):
    """Draw both bins of every operation."""
    one = rng.integers(0, TWO.bins, operations)
    other = rng.integers(0, TWO.bins - 1, operations)
    return one, other + (other >= one)


def few_bins(operations, rng):
    """Draw pairs of distinct bins out of 180 of the 239."""
    one = rng.integers(0, 180, operations)
    return one, (one + rng.integers(1, 180, operations)) % 180


def pairs_again(lag, share, operations, rng):
    """A share of the operations has the bins of ``lag`` before, in any order."""
    one, other = bins(operations, rng)
    for place in np.flatnonzero(rng.random(operations) < share):
        if place >= lag:
            both = (one[place - lag], other[place - lag])
            one[place], other[place] = both if rng.random() < 0.5 else both[::-1]
    return seen(TWO, one, other)


def few_pairs(operations, rng):
    """Bins are drawn from a few pairs."""
    one, other = bins(300, rng)
    which = rng.integers(0, 300, operations)
    return seen(TWO, one[which], other[which])


def ascending(operations, rng):
    one, other = bins(operations, rng)
    return seen(TWO, np.minimum(one, other), np.maximum(one, other))


def ranked(operations, rng):
    """The order of a pair follows a hidden rank of its bins."""
    rank = rng.permutation(TWO.bins)
    one, other = bins(operations, rng)
    swap = rank[one] > rank[other]
    return seen(TWO, np.where(swap, other, one), np.where(swap, one, other))


def hidden_again(lag, operations, rng):
    """A fifth of the operations touches as many pages as the one ``lag`` before, other ones."""
    one, other = bins(operations, rng)
    for place in np.flatnonzero(rng.random(operations) < 0.2):
        if place >= lag:
            for column in (one, other):
                hidden = column[place - lag] < TWO.hbm_bins
                low, high = (0, TWO.hbm_bins) if hidden else (TWO.hbm_bins, TWO.bins)
                column[place] = rng.integers(low, high)
            if one[place] == other[place]:
                one[place], other[place] = one[place - 1], other[place - 1]
    return seen(TWO, one, other)


def hot_bins_in_hbm(share, operations, rng):
    """A share of the bins with a page is drawn anew; in the first half only."""
    one, other = bins(operations, rng)
    again = (rng.random(operations) < share) & (np.arange(operations) < operations // 2) & (one >= TWO.hbm_bins)
    one[again] = rng.integers(0, TWO.bins, again.sum())
    other = np.where(other == one, (other + 1) % TWO.bins, other)
    return seen(TWO, one, other)


def shared_page(lag, second, operations, rng):
    """In a tenth of the operations one bin is one of ``lag`` before."""
    one, other = bins(operations, rng)
    for place in np.flatnonzero(rng.random(operations) < 0.1):
        if place >= lag:
            (other if second else one)[place] = (one if rng.random() < 0.5 else other)[place - lag]
            if one[place] == other[place]:
                other[place] = (one[place] + 1 + rng.integers(0, TWO.bins - 1)) % TWO.bins
    return seen(TWO, one, other)


def distort(column_of, change, operations, rng):
    """Apply a departure of one_choice to the first or the second bin of every pair."""
    one, other = bins(operations, rng)
    columns = [one, other]
    _, page = change
    columns[column_of] = np.where(columns[column_of] >= TWO.hbm_bins, page + TWO.hbm_bins, columns[column_of])
    clash = columns[0] == columns[1]
    columns[1 - column_of] = np.where(clash, (columns[1 - column_of] + 1) % TWO.bins, columns[1 - column_of])
    return seen(TWO, *columns)


def departures(rng):
    """Yield (name, params, operations, (operation, page))."""
    n = 6000
    singles = {
        **{f"repeat at lag {lag}": repeat_at(lag, 0.4, ONE, n, rng) for lag in range(1, 17)},
        "repeat from 20 before": repeat_at(20, 0.1, ONE, n, rng),
        "repeat from 50 before": repeat_at(50, 0.1, ONE, n, rng),
        "repeat from 100 before": repeat_at(100, 0.1, ONE, n, rng),
        "repeat from 200 before": repeat_at(200, 0.2, ONE, n, rng),
        "repeat from 400 before": repeat_at(400, 0.5, ONE, 3 * n, rng),
        "repeat from 700 before": repeat_at(700, 0.7, ONE, 3 * n, rng),
        "repeat from 1200 before": repeat_at(1200, 0.9, ONE, n, rng),
        "avoids recent": avoid_recent(60, n, rng),
        "uneven ranges": uneven(lambda page: page // 40, 0.3, 3 * n, rng),
        "uneven remainders": uneven(lambda page: page % 16, 0.4, 3 * n, rng),
        "even pages preferred": uneven(lambda page: page % 2, 0.3, 3 * n, rng),
        "some pages avoided": ones(rng.integers(0, 150, n)),
        "rounds": rounds(n, rng),
        "working set": working_set(n, rng),
        "one hot page": one_page(ONE, 100, n, rng),
        **{f"walk {lag}": walk(lag, n, rng) for lag in (1, 2)},
        **{f"parity {lag}": parity_after(lag, n, rng) for lag in (1, 2)},
    }
    for name, touched in singles.items():
        yield name, ONE, len(touched[1]), touched
        for column, which in enumerate(("first", "second")):
            operations = len(touched[1])
            yield f"{name}, {which}", TWO, operations, distort(column, touched, operations, rng)
    yield "never one page", ONE, n, never_one_page(n, rng)
    yield "never one bin", TWO, n, never_one_bin(n, rng)
    yield "some bins avoided", TWO, n, seen(TWO, *few_bins(n, rng))
    yield "one hot page of many", MANY, n, one_page(MANY, 12, n, rng)
    yield "period", MANY, n, period(777, n, rng)
    pairs = {
        **{f"pairs again at lag {lag}": pairs_again(lag, 0.03, n, rng) for lag in range(1, 17)},
        **{f"shared page at lag {lag}": shared_page(lag, lag % 2, n, rng) for lag in range(1, 17)},
        "few pairs": few_pairs(n, rng),
        "ascending": ascending(n, rng),
        "ranked": ranked(n, rng),
        "as many touches as 1 before": hidden_again(1, n, rng),
        "as many touches as 2 before": hidden_again(2, n, rng),
        "more bins in HBM at first": hot_bins_in_hbm(0.5, 4 * n, rng),
    }
    for name, touched in pairs.items():
        yield name, TWO, int(touched[0].max()) + 1, touched
