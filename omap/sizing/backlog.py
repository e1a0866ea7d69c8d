"""How far the accelerator can fall behind, by the law of the lists: the fixed offsets of its events must cover it.

Every operation brings work for servers that take one operation after the other: the channels of HBM, the fetch of bins
and the merge. The work of an operation depends on how many tuples wait for the pages that it touches. An operation that
comes when others are still being worked on waits for them. So what an operation may need is not the work of its own
alone: it is the most that any number n of consecutive operations need beyond n intervals.

Let W be the work of an operation at one server, I the interval, and X what the operation itself needs beside waiting.
For independent operations and any tilt t > 0 with E exp(t (W - I)) = r < 1, Chernoff's bound and a union over n give

    P[X + max over n of (W_1 + .. + W_n - n I) > x] <= exp(-t x) E exp(t X) / (1 - r).

With several servers in a row the right side has a factor 1 / (1 - r) for each. The numbers of tuples that wait for
different pages are negatively associated (docs/decisions/0003-sizing.md), so that the bound holds for them as for
independent ones, and pages are independent uniform draws whatever the workload is. The law of a page that nothing is
known of is :func:`omap.sizing.theorem.waiting_law`, which dominates the law of every workload. An operation that finds
its key touches a page that holds this key for certain, and its tuple may be one more that waits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from omap.errors import ParamsError
from omap.params import Params
from omap.sizing.sizes import line_costs
from omap.sizing.theorem import Distribution, left_law, waiting_law

LATE_BITS = 122
"""An event of one operation is late with a probability of at most 2 to the power of minus this."""

Moments = npt.NDArray[np.float64]
"""ln E exp(t X) of a number X of cycles, for every tilt t of :data:`TILTS`."""

TILTS = np.geomspace(1e-3, 8.0, 800)
"""A cycle to the power of -1."""


def moments(law: Distribution, costs: npt.ArrayLike) -> Moments:
    """Return the moments of a cost that k waiting tuples cause with the probability ``law[k]``."""
    exponents = np.outer(TILTS, np.asarray(costs, np.float64))
    return log_mean(exponents, law)


def moments_together(laws: Sequence[Distribution], costs: Sequence[npt.NDArray[np.float64]]) -> Moments:
    """Return the moments of a sum of costs whose numbers of tuples have these laws and are large together.

    Parameters
    ----------
    laws : sequence of array
        Probabilities of each number.
    costs : sequence of array
        What each number costs; more tuples cost no less.

    Notes
    -----
    Of all joint laws with the same marginals, this one has the largest E exp(t X), because exp of a sum is
    supermodular (Lorentz's inequality).
    """
    tails = [law[::-1].cumsum()[::-1] for law in laws]
    steps = np.unique(np.concatenate([*tails, np.zeros(1)]))
    total = np.zeros(len(steps) - 1)
    for tail, cost in zip(tails, costs, strict=True):
        # The largest number that is reached with this probability.
        total += cost[np.maximum(0, len(tail) - 1 - np.searchsorted(tail[::-1], steps[1:]))]
    share = np.diff(steps)
    return moments(share / share.sum(), total)


def log_mean(exponents: npt.NDArray[np.float64], law: Distribution) -> Moments:
    """Return ln of the mean of exp, row by row; no power is too large."""
    top = exponents.max(axis=1)
    with np.errstate(divide="ignore"):
        found: Moments = top + np.log(np.exp(exponents - top[:, None]) @ law)
    return found


def one_of(channels: int, cycles: float) -> Moments:
    """Return the moments of what an access of so many cycles brings to one of some channels, drawn uniformly."""
    loads = np.array([0.0, cycles])
    return moments(np.array([1 - 1 / channels, 1 / channels]), loads)


def repeated(law: Distribution, counts: npt.ArrayLike, each: Moments) -> Moments:
    """Return the moments of ``counts[k]`` independent costs, k waiting tuples having the probability ``law[k]``."""
    return log_mean(np.outer(each, np.asarray(counts, np.float64)), law)


def most_behind(own: Moments, servers: Sequence[Moments], interval: float, bits: float = LATE_BITS) -> float:
    """Return cycles that an operation exceeds with a probability of at most 2^-bits, waiting included.

    Parameters
    ----------
    own : array
        Moments of what the operation needs itself.
    servers : sequence of array
        Moments of the work that every operation brings to each server.
    interval : float
        Least cycles from one operation to the next.
    bits : float
        -log2 of the probability.

    Raises
    ------
    ParamsError
        If a server gets more work, on average, than it can do.
    """
    total = own + bits * math.log(2)
    for work in servers:
        growth = work - TILTS * interval
        with np.errstate(invalid="ignore", divide="ignore"):
            total = total - np.where(growth < 0, np.log(-np.expm1(np.minimum(growth, 0))), -np.inf)
    found = float(np.min(total / TILTS))
    if not math.isfinite(found):
        raise ParamsError(
            f"interval is {interval:g}: operations bring more work, on average, than can be done in so many cycles; "
            "choose a larger interval"
        )
    return found


def most_poisson(mean: float, bits: float = LATE_BITS) -> int:
    """Return the least number that Poisson's law of this mean exceeds with a probability of at most 2^-bits."""
    most, term = 0, -mean  # ln of the probability of this number
    while True:
        # Terms fall at least by the factor mean / (most + 2) from the next one on.
        term += math.log(mean / (most + 1))
        if mean < most + 2 and term - math.log1p(-mean / (most + 2)) <= -bits * math.log(2):
            return most
        most += 1


def mean_of(work: Moments) -> float:
    """Return the mean of a cost, at most one part in a thousand and its variance too large."""
    return float(work[0] / TILTS[0])


@dataclass(frozen=True)
class Lists:
    """The lists of a map: how many tuples wait for a page, and in how many lines they are named.

    Parameters
    ----------
    params : Params
        The map; a rule with pages.
    """

    params: Params

    @property
    def law(self) -> Distribution:
        """P(k tuples wait for a fresh draw), k = 0 to the number of keys; a bound for every workload."""
        return _cut(waiting_law(self.params.capacity, self.params.pages, self.params.page_slots), self.params.capacity)

    @property
    def touched_law(self) -> Distribution:
        """P(k tuples wait for the page of an operation), k = 0 to the number of keys; a bound for every workload.

        Given the page of its key, the pages of the other keys are independent and uniform. So their tuples have the law
        of a fresh draw, and the tuple of the key is one more at most. It does wait if the key was used a short time
        before. This may be so for many operations in a row, a small part of the pages, whose other lists are as long
        as any workload makes them: a client that sweeps over all keys, and then goes back over the last ones, does
        this.
        """
        others = _cut(self.law, max(self.params.capacity - 1, 0))
        return np.concatenate([np.zeros(1), others])

    @property
    def left_law(self) -> Distribution:
        """P(k tuples still wait for a page after its touch): those that find no free slot."""
        return _cut(left_law(self.params.capacity, self.params.pages, self.params.page_slots), self.params.capacity)

    def further(self, count: int) -> npt.NDArray[np.float64]:
        """Return the further lines of a descriptor with k waiting tuples, k = 0 to ``count - 1``."""
        return line_costs(count, self.params.descriptor_bytes).astype(np.float64)


def _cut(law: Distribution, most: int) -> Distribution:
    """Return a law with everything beyond ``most`` at ``most``."""
    if len(law) <= most + 1:
        return law
    found = law[: most + 1].copy()
    found[-1] += law[most + 1 :].sum()
    return found
