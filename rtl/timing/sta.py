"""Static timing: when each net has settled, the slack of each way, and the worst paths."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from rtl.timing import delays
from rtl.timing.netlist import Netlist
from rtl.timing.wires import Wires

RANKS = 6

TRACED = 3000
"""Registers that are looked at for worst paths, worst first."""


@dataclass(frozen=True)
class Timing:
    """What an analysis found, in ps.

    Attributes
    ----------
    arrival : ndarray of float
        When each net has settled after the clock's edge, where its driver is.
    taken : ndarray of float
        What each way takes, wire included.
    period : float
        Least period of the clock.
    slack : ndarray of float
        By how much each way could be longer at this period.
    """

    arrival: np.ndarray
    taken: np.ndarray
    period: float
    slack: np.ndarray


def analyse(netlist: Netlist, wires: Wires) -> Timing:
    """Return when all nets settle, with these wires."""
    lut = np.array(delays.LUT)
    if wires.slow_luts:
        lut = np.maximum(lut, delays.LUT_RELAXED)
    ranks = lut + np.array(delays.LUT_PIN)
    level = netlist.level
    through = np.flatnonzero((netlist.start >= 0) & (netlist.end >= 0))
    order = through[np.lexsort((netlist.end[through], level[netlist.end[through]]))]
    bounds = np.searchsorted(level[netlist.end[order]], np.arange(level.max(initial=0) + 2))
    arrival = np.full(netlist.nets, -np.inf)
    launched = np.flatnonzero(netlist.start < 0)
    np.maximum.at(arrival, netlist.end[launched], netlist.inside[launched])
    taken = np.where(netlist.start >= 0, wires.delay + netlist.inside, netlist.inside)
    for first, last in pairwise(bounds):
        if last > first:
            _settle(netlist, order[first:last], ranks, arrival, taken)
    ends = np.flatnonzero((netlist.start >= 0) & (netlist.end < 0))
    done = arrival[netlist.start[ends]] + taken[ends]
    period = float(done.max(initial=0.0))
    return Timing(arrival, taken, period, _slack(netlist, arrival, taken, period, order, bounds))


def _settle(netlist: Netlist, now: np.ndarray, ranks: np.ndarray, arrival: np.ndarray, taken: np.ndarray) -> None:
    """Settle all nets of one level; their ways stand together."""
    end = netlist.end[now]
    at_pin = arrival[netlist.start[now]] + taken[now]
    latest_first = np.lexsort((-at_pin, end))
    now, end, at_pin = now[latest_first], end[latest_first], at_pin[latest_first]
    heads = np.flatnonzero(np.diff(end, prepend=-1))
    rank = np.arange(len(now)) - np.repeat(heads, np.diff(heads, append=len(now)))
    added = np.where(netlist.ranked[now], ranks[np.minimum(rank, RANKS - 1)], 0.0)
    taken[now] += added
    arrival[end[heads]] = np.maximum(arrival[end[heads]], np.maximum.reduceat(at_pin + added, heads))


def _slack(  # Many: what the analysis has at hand
    netlist: Netlist, arrival: np.ndarray, taken: np.ndarray, period: float, order: np.ndarray, bounds: np.ndarray
) -> np.ndarray:
    required = np.full(netlist.nets, np.inf)
    ends = np.flatnonzero((netlist.start >= 0) & (netlist.end < 0))
    np.minimum.at(required, netlist.start[ends], period - taken[ends])
    for first, last in zip(bounds[-2::-1], bounds[:0:-1], strict=True):
        now = order[first:last]
        np.minimum.at(required, netlist.start[now], required[netlist.end[now]] - taken[now])
    begin = np.where(netlist.start >= 0, arrival[netlist.start], 0.0)
    limit = np.where(netlist.end >= 0, required[netlist.end], period)
    slack = limit - begin - taken
    return np.where(np.isfinite(slack), slack, np.inf)


@dataclass(frozen=True)
class Path:
    """One path from register to register.

    Attributes
    ----------
    ps : float
        What it takes.
    nets : list of int
        Nets along it.
    ways : list of int
        Ways along it; the first comes out of a register, the last goes into one.
    """

    ps: float
    nets: list[int]
    ways: list[int]


def worst(netlist: Netlist, timing: Timing, count: int) -> list[Path]:
    """Return the worst paths, one for each pair of registers, whose bits and numbered likes count as one register."""
    ends = np.flatnonzero((netlist.start >= 0) & (netlist.end < 0))
    done = timing.arrival[netlist.start[ends]] + timing.taken[ends]
    into = _by_end(netlist)
    paths: dict[tuple[str, str], Path] = {}
    for place in np.argsort(-done, kind="stable")[:TRACED]:
        if len(paths) == count or not np.isfinite(done[place]):
            break
        path = _trace(netlist, timing, int(ends[place]), float(done[place]), into)
        first, last = netlist.cell[path.ways[0]], netlist.cell[path.ways[-1]]
        paths.setdefault((_word(netlist, first), _word(netlist, last)), path)
    return list(paths.values())


def _word(netlist: Netlist, cell: int) -> str:
    """Return what all bits, and all registers of an array, have in common: their name without numbers."""
    return re.sub(r"[\d.]+", "", netlist.names[cell].partition("[")[0]) + netlist.sources[cell]


def _by_end(netlist: Netlist) -> tuple[np.ndarray, np.ndarray]:
    ways = np.flatnonzero(netlist.end >= 0)
    ways = ways[np.argsort(netlist.end[ways], kind="stable")]
    return ways, np.searchsorted(netlist.end[ways], np.arange(netlist.nets + 1))


def _trace(netlist: Netlist, timing: Timing, end: int, ps: float, into: tuple[np.ndarray, np.ndarray]) -> Path:
    ways, first = into
    net = int(netlist.start[end])
    nets, trail = [net], [end]
    while True:
        here = ways[first[net] : first[net + 1]]
        begin = np.where(netlist.start[here] >= 0, timing.arrival[netlist.start[here]], 0.0)
        way = int(here[np.argmax(begin + timing.taken[here])])
        trail.append(way)
        if netlist.start[way] < 0:
            return Path(ps, nets[::-1], trail[::-1])
        net = int(netlist.start[way])
        nets.append(net)
