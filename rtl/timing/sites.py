"""Block RAMs, UltraRAMs and multipliers stand in columns of their own; here each gets the nearest free site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Column:
    """Columns of one kind of site.

    Attributes
    ----------
    every : int
        Tiles from one column to the next: those of a U55C, 116 tiles across and 720 along, spread evenly.
    height : float
        Tiles along that one site takes (UltraScale architecture memory resources user guide, UG573).
    """

    every: int
    height: float


COLUMNS = {
    "RAMB36E2": Column(8, 5.0),
    "RAMB18E2": Column(8, 2.5),
    "URAM288": Column(23, 3.75),
    "DSP48E2": Column(4, 2.5),
}


def settle(kinds: Sequence[str], x: np.ndarray, y: np.ndarray) -> None:
    """Move all cells that have columns of their own to the nearest free site, in place."""
    for kind, column in COLUMNS.items():
        cells = [cell for cell, its in enumerate(kinds) if its == kind]
        taken: set[tuple[int, int]] = set()
        for cell in sorted(cells, key=lambda cell: (y[cell], x[cell], cell)):
            site = _nearest(int(x[cell]), int(y[cell]), column, taken)
            taken.add(site)
            x[cell] = site[0] * column.every + column.every // 2
            y[cell] = int(site[1] * column.height)


def _nearest(x: int, y: int, column: Column, taken: set[tuple[int, int]]) -> tuple[int, int]:
    across, along = x // column.every, int(y / column.height)
    reach = 0
    while True:
        near = [
            (across + i, along + j)
            for i in range(-reach, reach + 1)
            for j in range(-reach * 4, reach * 4 + 1)
            if across + i >= 0 and along + j >= 0 and (across + i, along + j) not in taken
        ]
        if near:
            return min(near, key=lambda s: (_way(s, x, y, column), s))
        reach += 1


def _way(site: tuple[int, int], x: int, y: int, column: Column) -> float:
    return 2 * abs(site[0] * column.every + column.every / 2 - x) + abs(site[1] * column.height - y)
