"""How many tuples wait under ``one_choice``: the law of one page, and a proven bound on the sum over all pages.

Given everything that the host has seen, the pages of the live keys are independent and uniform. The security argument
says so, and the loads follow from it. Let O be the number of keys of page p that were used last before the last touch
of p, and A the number of those that were used since. Page p holds min(C, O) tuples, and max(O - C, 0) + A tuples wait
for it. To use a key again never lowers this number, so a sequential sweep over all keys is the worst workload, adaptive
ones included. The age of a page is the time since its last touch, in units of one touch a page. Under a sweep it is
exponential, A is Poisson with the age as its mean, and O is Poisson with the rest of the load.

:func:`waiting_law` and :func:`provision` take the number of pages and are upper bounds for exactly that number, not
limits for many pages. The proof is in docs/decisions/0003-sizing.md.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Distribution = npt.NDArray[np.float64]
"""Probabilities of 0, 1, 2, ..."""

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)
_TILTS = np.geomspace(1e-6, 1.0, 241)

MOST_EXPONENT = 700.0
"""exp of this is a floating-point number still."""


def mean_share(load: float, slots: int) -> float:
    """Return f(c, C): the mean share of all tuples that waits, with many pages and under the worst workload.

    Parameters
    ----------
    load : float
        Mean tuples of a page, c.
    slots : int
        Tuples that a page has room for, C.
    """
    law = _law(load, 0.0, slots)
    return float(law @ np.arange(len(law))) / load


def waiting_law(capacity: int, pages: int, slots: int) -> Distribution:
    """Return P(k tuples wait for a page), k = 0.., of a law that dominates the true law of every workload.

    It replaces Binomial(n, 1/M) counts by Poisson counts with mean -n ln(1 - 1/M), which dominate them, and geometric
    ages by exponential ages plus one step, which dominate them too.

    Parameters
    ----------
    capacity : int
        Live keys, N.
    pages : int
        Pages, M; at least 2.
    slots : int
        Tuples that a page has room for, C.
    """
    step = -math.log1p(-1 / pages)
    return _law(capacity * step, step, slots)


def left_law(capacity: int, pages: int, slots: int) -> Distribution:
    """Return P(k tuples still wait for a page after its touch), k = 0..: those of its keys that find no free slot.

    Takes the same arguments as :func:`waiting_law`, and dominates the true law of every workload as that does.
    """
    mean = -capacity * math.log1p(-1 / pages)
    loads = _poisson(np.array([mean]), int(3 * mean + 20 * math.sqrt(mean) + 60) + slots)[0]
    law: Distribution = loads[slots:].copy()
    law[0] = loads[: slots + 1].sum()
    return law


@lru_cache(maxsize=1024)
def _law(load: float, step: float, slots: int) -> Distribution:
    """Integrate over the age of the page, from ``step`` to ``load``; an older page was not touched in N operations."""
    step = min(step, load)
    top = int(3 * load + 20 * math.sqrt(load) + 60)
    ages = step + (_NODES + 1) * (load - step) / 2
    shares = np.append(_WEIGHTS * (load - step) / 2 * np.exp(step - ages), math.exp(step - load))
    ages = np.append(ages, load)
    since, older = _poisson(ages, top), _poisson(load - ages, top + slots)
    excess = older[:, slots:].copy()
    excess[:, 0] = older[:, : slots + 1].sum(axis=1)
    law = np.zeros(top + 1)
    for share, a, o in zip(shares, since, excess, strict=True):
        law += share * np.convolve(a, o)[: top + 1]
    law.setflags(write=False)
    return law


def _poisson(means: Distribution, top: int) -> Distribution:
    """Return P(Poisson(mean) = k) for every mean (rows) and k up to ``top`` (columns)."""
    counts = np.arange(top + 1)
    log_factorials = np.concatenate([[0.0], np.cumsum(np.log(counts[1:]))])
    log_means = np.log(np.maximum(means, 1e-300))[:, None]
    result: Distribution = np.exp(counts * log_means - means[:, None] - log_factorials)
    return result


def provision(law: Distribution, costs: npt.ArrayLike, pages: int, bits: float) -> int:
    """Return a number that the sum of a cost over all pages exceeds with probability 2^-bits at most, at one instant.

    The numbers of tuples that wait for different pages are negatively associated. So the moment generating function of
    the sum is at most the product of the functions of the pages, and Chernoff's bound holds as for independent pages.

    Parameters
    ----------
    law : array
        From :func:`waiting_law`.
    costs : array
        Cost of a page for which k tuples wait, k = 0..; it must not fall as k grows.
    pages : int
        Pages, M.
    bits : float
        -log2 of the probability.
    """
    return math.ceil(np.min((pages * _log_moments(law, costs) + bits * math.log(2)) / _TILTS))


def tail_bits(law: Distribution, costs: npt.ArrayLike, pages: int, size: int) -> float:
    """Return a lower bound on -log2 of the probability that the sum of a cost over all pages exceeds ``size``.

    This is the inverse of :func:`provision`, and takes the same arguments.
    """
    return max(0.0, float(np.max(_TILTS * size - pages * _log_moments(law, costs))) / math.log(2))


def _log_moments(law: Distribution, costs: npt.ArrayLike) -> Distribution:
    """Return ln E exp(tilt * cost) for every tilt; infinity where a number would be too large, which is a bound too."""
    exponents = np.outer(_TILTS, np.asarray(costs, np.float64))
    small = exponents.max(axis=1) < MOST_EXPONENT
    moments: Distribution = np.full(len(_TILTS), np.inf)
    moments[small] = np.log1p(np.expm1(exponents[small]) @ law)
    return moments
