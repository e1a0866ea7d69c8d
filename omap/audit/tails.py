"""How improbable a count is: exact tails, or bounds that hold for every number of trials.

An alarm is raised at probabilities around 1e-12. Normal and chi-square approximations of a discrete statistic can't be
trusted so far out, so that nothing here is asymptotic: every function returns a number p with P(p <= x) <= x for all x,
if the trace is sound. The checks are two-sided, because a fault may raise a statistic or lower it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def binomial_upper(count: int, trials: int, chance: float) -> float:
    """Return P(Binomial(trials, chance) >= count), exactly, by the regularised incomplete beta function."""
    if count <= 0:
        return 1.0
    return float(special.betainc(count, trials - count + 1, chance)) if count <= trials else 0.0


def binomial_lower(count: int, trials: int, chance: float) -> float:
    """Return P(Binomial(trials, chance) <= count), exactly."""
    if count >= trials:
        return 1.0
    return float(special.betaincc(count + 1, trials - count, chance)) if count >= 0 else 0.0


def binomial(count: int, trials: int, chance: float) -> float:
    """Return the two-sided probability of ``count`` hits: twice the smaller exact tail."""
    return min(1.0, 2 * min(binomial_upper(count, trials, chance), binomial_lower(count, trials, chance)))


def binomial_among(counts: Ints, trials: Ints, chance: float) -> float:
    """Bound the two-sided probability of the least probable of several binomial counts, which may be dependent."""
    if not len(counts):
        return 1.0
    upper = np.where(counts > 0, special.betainc(np.maximum(counts, 1), trials - counts + 1, chance), 1.0)
    lower = np.where(counts < trials, special.betaincc(counts + 1, np.maximum(trials - counts, 1), chance), 1.0)
    return min(1.0, 2 * len(counts) * float(np.minimum(upper, lower).min()))


def mixed_binomial(count: int, trials: int, mean: float) -> float:
    """Bound the two-sided probability of ``count`` hits in independent trials of different chances with sum ``mean``.

    W. Hoeffding, "On the distribution of the number of successes in independent trials" (1956), theorem 4: one unit or
    more away from the mean, the tail is at most the tail for equal chances. Closer to the mean the result is 1.
    """
    if trials == 0 or mean - 1 < count < mean + 1:
        return 1.0
    chance = min(1.0, mean / trials)
    tail = binomial_upper(count, trials, chance) if count > mean else binomial_lower(count, trials, chance)
    return min(1.0, 2 * tail)


def bennett(count: float, mean: float, variance: float) -> float:
    """Bound the two-sided probability of a sum of independent 0/1 variables with this mean and variance.

    G. Bennett (1962): P(|S - mean| >= t) <= 2 exp(-v h(t / v)), with h(u) = (1 + u) ln(1 + u) - u. The bound stays
    valid if the variance that is given is too large.
    """
    distance = abs(count - mean)
    if distance == 0:
        return 1.0
    if variance <= 0:
        return 0.0
    ratio = distance / variance
    return min(1.0, 2 * math.exp(-variance * ((1 + ratio) * math.log1p(ratio) - ratio)))


def collision_moments(cells: int, singles: int, pairs: int = 0) -> tuple[float, float]:
    """Return mean and variance of the number of draws less the number of different cells that were drawn.

    A draw is a single cell or a pair of two different cells. The number of cells that are never drawn is a sum of
    independent 0/1 variables, so :func:`bennett` applies. Proof: let f be the generating polynomial of that number. One
    more draw maps f to f + (1 - x) f' / cells = (1 - x)^(cells + 1) / cells * d/dx [f (1 - x)^-cells], which by Rolle's
    theorem keeps all roots real; the second draw of a pair is the same map with cells - 1, since the cell drawn first
    is occupied. (V. A. Vatutin and V. G. Mikhailov, 1982.)
    """
    draws = singles + 2 * pairs
    if cells == 1 or draws == 0:
        return float(max(draws - 1, 0)), 0.0
    with np.errstate(divide="ignore"):  # the log of 0, for a pair out of two cells, or two empty cells out of three
        log_empty = singles * np.log1p(-1 / cells) + (pairs * np.log1p(-2 / cells) if pairs else 0.0)
        log_ratio = singles * np.log1p(-1 / (cells - 1) ** 2) if singles else 0.0
        if pairs and cells > 2:
            log_ratio += pairs * np.log1p(-2 / ((cells - 1) * (cells - 2)))
    empty = math.exp(log_empty)
    mean = draws + cells * math.expm1(log_empty)
    variance = -cells * empty * math.expm1(log_empty) + cells * (cells - 1.0) * empty**2 * math.expm1(log_ratio)
    rounding = 1e-14 * draws
    return mean, max(variance, 0.0) + rounding if empty else 0.0


EXCESS = (3.0, 1.0, 1 / 3, 1 / 9, 1 / 99)
"""Strengths of the uneven alternatives of :func:`unevenness`: prior draws for each draw that was seen."""

SHORTAGE = (1.01, 1.1, 1.5)
"""Sizes of the urns of the too even alternatives of :func:`unevenness`: copies for each draw that was seen."""

DEVIATIONS = (2.5, 7.5, 20.0)
"""Numbers of standard deviations for which the factors of :func:`surprise` are best."""


def improbable(evidence: float) -> float:
    """Return an upper bound on the probability of so much evidence in a sound trace: exp(-evidence).

    Evidence is the logarithm of a likelihood ratio of some alternatives against the claim. If the claim holds, the
    ratio has mean 1, so it exceeds 1/x with a probability of at most x (Markov's inequality).
    """
    return math.exp(-min(max(evidence, 0.0), 700.0))


def unevenness(counts: Sequence[Sequence[int]] | Ints, chances: Floats, rows_given: bool) -> float:
    """Return the evidence that draws are not independent with the given chances: cells are too uneven or too even.

    In the uneven alternatives the chances of each row are drawn from Dirichlet distributions around the claimed
    chances. In the too even alternatives the draws come from urns, without replacement. This test finds about as much
    as Pearson's chi-square, whose tail can't be trusted as far out as an audit needs it. It holds for any number of
    draws and for small cells.

    Parameters
    ----------
    counts : (rows, cells) array
        Draws seen in each cell, with one row for each set of draws that may have chances of its own.
    chances : (cells,) array
        Claimed chances, which are positive and add up to 1.
    rows_given : bool
        Whether the number of draws of each row is public. If not, because an earlier draw chose the row, the too even
        alternatives are not used.
    """
    table = np.atleast_2d(np.asarray(counts, dtype=np.int64))
    sizes = table.sum(axis=1)
    total = int(sizes.sum())
    if total == 0 or len(chances) < 2:
        return 0.0
    claim = float((table.sum(axis=0) * np.log(chances)).sum())
    row_sizes = sizes.astype(np.float64) if rows_given else np.full(len(table), total / len(table))
    logs = []
    for strength in (*EXCESS, 0.0):
        prior_sizes = np.maximum(strength * row_sizes, 1e-3) if strength else np.full(len(table), float(len(chances)))
        prior = prior_sizes[:, None] * chances[None, :]
        log = (special.gammaln(table + prior) - special.gammaln(prior)).sum()
        log -= (special.gammaln(sizes + prior_sizes) - special.gammaln(prior_sizes)).sum()
        logs.append(float(log) - claim)
    for size in SHORTAGE if rows_given else ():
        urn = np.ceil(size * row_sizes[:, None] * chances[None, :])  # whole copies of each cell, more than draws
        if (table > urn).any():
            logs.append(-math.inf)
            continue
        log = (special.gammaln(urn + 1) - special.gammaln(urn - table + 1)).sum()
        log -= (special.gammaln(urn.sum(axis=1) + 1) - special.gammaln(urn.sum(axis=1) - sizes + 1)).sum()
        logs.append(float(log) - claim)
    return _mean_of_exponentials(logs)


def surprise(hits: int, chances: Floats, times: Ints, scale: float) -> float:
    """Return the evidence that ``hits`` are too many or too few, in trials whose chances depend on earlier trials.

    For every factor a, the product over all trials of (a if hit else 1) / (1 + chance (a - 1)) has mean 1, whatever
    decides the chances: it is a test martingale. Some factors are above 1, some are below, and one is 0.

    Parameters
    ----------
    hits : int
        Hits in all trials.
    chances, times : (m,) arrays
        Different chances that occurred, and the number of trials with each.
    scale : float
        Mean of the sum of the chances if the claim holds. It chooses the factors, so it must be public.
    """
    if scale <= 0 or not times.sum():
        return math.inf if hits else 0.0
    steps = [step for z in DEVIATIONS if (step := z / math.sqrt(scale)) < 3]
    factors = [*steps, *(-step for step in steps), math.log(2), 3.0, max(3.0, -math.log(scale)), -math.log(2)]
    logs = [hits * factor - float((times * np.log1p(chances * math.expm1(factor))).sum()) for factor in factors]
    if hits or (chances[times > 0] >= 1).any():
        logs.append(-math.inf)
    else:
        logs.append(-float((times * np.log1p(-chances)).sum()))  # the factor 0 expects no hit
    return _mean_of_exponentials(logs)


def _mean_of_exponentials(logs: list[float]) -> float:
    """Return log(mean(exp(logs)))."""
    top = max(logs)
    return top if top == -math.inf else top + math.log(sum(math.exp(log - top) for log in logs) / len(logs))
