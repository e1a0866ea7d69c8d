"""The result of a statistical check, and what several checks share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from omap.audit import tails

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

BLOCKS = 8
"""Parts of a run whose pages, and whose numbers of touches, are counted apart."""


@dataclass(frozen=True)
class Count:
    """One statistic: what was counted, and how improbable the count is. Fields as in :class:`omap.audit.Finding`."""

    name: str
    statistic: str
    observed: float
    expected: float
    p_value: float
    means: str


def table(row: Ints, column: Ints, rows: int, columns: int) -> Ints:
    """Return how often each (row, column) occurs, as a (rows, columns) array."""
    return np.bincount(row * columns + column, minlength=rows * columns).reshape(rows, columns).astype(np.int64)


def unevenness(name: str, counts: Ints, chances: Floats, means: str, *, rows_given: bool) -> Count:
    """Return Pearson's statistic, which readers know, with the probability of :func:`omap.audit.tails.unevenness`.

    Parameters
    ----------
    name : str
        As in :class:`Count`.
    counts : (rows, cells) array
        Draws seen in each cell.
    chances : (cells,) array
        Claimed chance of each cell.
    means : str
        As in :class:`Count`.
    rows_given : bool
        Whether the number of draws of each row is public.
    """
    mean = counts.sum(axis=1)[:, None] * chances[None, :]
    pearson = float((((counts - mean) ** 2)[mean > 0] / mean[mean > 0]).sum())
    freedom = (len(chances) - 1) * int((counts.sum(axis=1) > 0).sum())
    return Count(
        name,
        "chi-square",
        pearson,
        freedom,
        tails.improbable(tails.unevenness(counts, chances, rows_given)),
        means,
    )
