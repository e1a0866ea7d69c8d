"""A placement of a netlist on tiles of the family: quadratic wire length, spread by bisection, pulled by slack.

A tile has two slices around one switch box. Wires across take about twice as long for a tile as wires along, so lengths
across count double.

Methods: bound-to-bound nets (Spindler, Schlichtmann, Johannes: Kraftwerk2, 2008), and lower and upper bounds that meet
by anchors of growing weight (Kim, Lee, Markov: SimPL, 2012).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import cg

from rtl.timing.netlist import Netlist
from rtl.timing.packing import Packing, pack
from rtl.timing.sites import settle

LUTS_PER_TILE = 16
DENSITY = 0.5
"""Share of the LUTs of a tile that are used."""

ACROSS = 2.0
"""Length of a tile across over its length along."""

_SCALE = np.array([[ACROSS], [1.0]])

ROUNDS, TIMED = 28, 22
"""Rounds of placing and spreading, and those at the end that know the slack."""

ANCHOR, GROWTH = 0.01, 1.22
"""Weight of the anchors in the first round, over the nets' own, and by how much it grows each round."""

PULL, CRITICAL = 40.0, 16
"""Weight that the most critical wires get over others, and the power with which it falls."""

KEEP = 0.6
"""Share of the criticality of earlier rounds that stays, so that rounds do not swing."""

WIDEST = 4000
"""Cells of a net that is left out: it is everywhere anyway."""

SMOOTHED, SLOWLY = 150, 200
"""Rounds of averaging for the first positions: so many, or one for so many groups, because a large netlist is smooth
only after more of them.
"""

STEPS = 80
"""Most steps of the solver a round."""


@dataclass(frozen=True)
class Placement:
    """Where cells are.

    Attributes
    ----------
    x, y : ndarray of int
        Tile of each cell, across and along.
    macro : ndarray of int
        Group that each cell moves with.
    """

    x: np.ndarray
    y: np.ndarray
    macro: np.ndarray


Judge = Callable[[Placement], tuple[float, np.ndarray]]
"""From a placement to its period, and to the criticality of each way, 0 to 1."""


def place(netlist: Netlist, seed: int, judge: Judge | None = None) -> Placement:
    """Return a placement; the same for the same netlist and seed.

    Parameters
    ----------
    netlist : Netlist
        What to place.
    seed : int
        Of the first positions.
    judge : callable, optional
        Weighs wires in the later rounds, and chooses the best of them; without it, only lengths count.
    """
    packing = pack(netlist)
    pins = _pins(netlist, packing)
    tiles = packing.area.sum() / (LUTS_PER_TILE * DENSITY)
    across = max(round(np.sqrt(tiles / ACROSS)), 1)
    grid = across, max(int(np.ceil(tiles / across)), 1)
    at = _first(pins, packing, grid, np.random.default_rng(seed))
    best, shortest, critical, pulls = None, np.inf, np.zeros(len(netlist.start)), None
    for turn in range(ROUNDS + 1):
        spread = _bisected(at, packing.area, grid)
        if judge is not None and turn > ROUNDS - TIMED:
            placement = _placement(netlist, packing, spread)
            period, now = judge(placement)
            best, shortest = (placement, period) if period < shortest else (best, shortest)
            critical = KEEP * critical + (1 - KEEP) * now
            pulls = _pulls(netlist, packing, critical)
        if turn < ROUNDS:
            at = np.stack([_solved(pins, pulls, at[axis], spread[axis], ANCHOR * GROWTH**turn) for axis in (0, 1)])
    return best if best is not None else _placement(netlist, packing, spread)


@dataclass(frozen=True)
class _Pins:
    """Groups of each net, net by net, and where each net begins; ``weight`` is one over the pins beyond the first."""

    group: np.ndarray
    net: np.ndarray
    first: np.ndarray
    weight: np.ndarray
    groups: int


def _pins(netlist: Netlist, packing: Packing) -> _Pins:
    nets, cells = netlist.connections
    driven = np.flatnonzero(netlist.driver >= 0)
    net = np.concatenate([nets, driven])
    group = packing.macro[np.concatenate([cells, netlist.driver[driven]])]
    net, group = np.unique(np.stack([net, group]), axis=1)
    size = np.bincount(net, minlength=netlist.nets)
    kept = (size[net] > 1) & (size[net] <= WIDEST)
    net, group = net[kept], group[kept]
    first = np.flatnonzero(np.diff(net, prepend=-1))
    size = np.diff(first, append=len(net))
    return _Pins(group, np.repeat(np.arange(len(first)), size), first, 1.0 / (size - 1), len(packing.area))


def _first(pins: _Pins, packing: Packing, grid: tuple[int, int], random: np.random.Generator) -> np.ndarray:
    """Return first positions: the two smoothest ways to lay the netlist on a line, found by repeated averaging."""
    at = random.standard_normal((2, pins.groups))
    ones = np.ones(len(pins.net))
    incidence = sparse.csr_matrix((ones, (pins.net, pins.group)), shape=(len(pins.first), pins.groups))
    weighted = sparse.diags(pins.weight) @ incidence
    reach = incidence.T @ (weighted @ np.ones(pins.groups))
    total = packing.area.sum()
    for _ in range(max(SMOOTHED, pins.groups // SLOWLY)):
        around = (incidence.T @ (weighted @ at.T)).T / np.maximum(reach, 1e-9)
        at = 0.5 * (at + around)
        at -= (at @ packing.area / total)[:, None]
        at[1] -= at[0] * ((at[0] * at[1]) @ packing.area) / max((at[0] ** 2) @ packing.area, 1e-30)
        at /= np.maximum(np.sqrt((at**2) @ packing.area / total), 1e-30)[:, None]
    return _bisected(at, packing.area, grid)


def _bisected(at: np.ndarray, area: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Return positions with the area spread evenly over tiles, neighbours kept: halves of halves down to one tile."""
    region = np.zeros(at.shape[1], dtype=np.int64)
    low, size = np.zeros((2, 1), dtype=np.int64), np.array(grid)[:, None]
    while (size > 1).any():
        axis = np.where(ACROSS * size[0] >= size[1], 0, 1)
        axis = np.where(np.take_along_axis(size, axis[None], 0)[0] > 1, axis, 1 - axis)
        order = np.lexsort((np.arange(len(region)), at[axis[region], np.arange(len(region))], region))
        before = np.cumsum(area[order]) - area[order] / 2
        total = np.bincount(region, area, minlength=len(axis))
        begin = np.cumsum(total) - total
        whole = np.take_along_axis(size, axis[None], 0)[0]
        lower = np.where(whole > 1, whole // 2, 1)
        upper = np.empty(len(region), dtype=bool)
        upper[order] = before - begin[region[order]] > (total * lower / whole)[region[order]]
        region = 2 * region + (upper & (whole > 1)[region])
        low, size = np.repeat(low, 2, axis=1), np.repeat(size, 2, axis=1)
        even = np.arange(len(axis)) * 2
        size[axis, even] = lower
        size[axis, even + 1] = np.maximum(whole - lower, 1)
        low[axis, even + 1] += lower
        used, region = np.unique(region, return_inverse=True)
        low, size = low[:, used], size[:, used]
    return low[:, region] * _SCALE + _SCALE / 2


def _solved(pins: _Pins, pulls: tuple | None, at: np.ndarray, goal: np.ndarray, anchor: float) -> np.ndarray:
    """Return positions on one axis with the least weighted squares of lengths, held by anchors at their goals."""
    order = np.lexsort((at[pins.group], pins.net))
    group = pins.group[order]
    last = np.append(pins.first[1:], len(group)) - 1
    low, high = group[pins.first][pins.net], group[last][pins.net]
    one, other = np.concatenate([group, group]), np.concatenate([low, high])
    inner = np.ones(len(group), dtype=bool)
    inner[last] = False  # the pair of both bounds counts once
    kept = np.concatenate([inner & (group != low), group != high])
    weight = np.tile(pins.weight[pins.net], 2)[kept]
    one, other = one[kept], other[kept]
    if pulls is not None:
        one, other = np.concatenate([one, pulls[0]]), np.concatenate([other, pulls[1]])
        weight = np.concatenate([weight, pulls[2]])
    weight = weight / (np.abs(at[one] - at[other]) + 1.0)
    diagonal = np.bincount(one, weight, pins.groups) + np.bincount(other, weight, pins.groups)
    held = anchor * np.maximum(diagonal, diagonal.mean() / 4)
    matrix = sparse.coo_matrix((-weight, (one, other)), shape=(pins.groups, pins.groups)).tocsr()
    matrix = matrix + matrix.T + sparse.diags(diagonal + held)
    solved, _ = cg(matrix, held * goal, x0=at, rtol=1e-4, maxiter=STEPS, M=sparse.diags(1 / (diagonal + held)))
    return solved


def _pulls(netlist: Netlist, packing: Packing, critical: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pairs of groups with wires that are critical, and their weights."""
    driver = np.where(netlist.start >= 0, netlist.driver[netlist.start], -1)
    ways = np.flatnonzero((driver >= 0) & (critical > 0.6))
    one, other = packing.macro[driver[ways]], packing.macro[netlist.cell[ways]]
    apart = one != other
    pairs = np.stack([one[apart], other[apart]])
    weight = PULL * critical[ways][apart] ** CRITICAL
    pairs, place = np.unique(pairs, axis=1, return_inverse=True)
    most = np.zeros(pairs.shape[1])
    np.maximum.at(most, place.ravel(), weight)
    return pairs[0], pairs[1], most


def _placement(netlist: Netlist, packing: Packing, spread: np.ndarray) -> Placement:
    x, y = np.floor(spread / _SCALE).astype(np.int64)[:, packing.macro]
    y = y + packing.above
    settle(netlist.kinds, x, y)
    return Placement(x, y, packing.macro)
