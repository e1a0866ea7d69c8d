"""Placement and timing of one netlist over several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rtl.timing.netlist import PORT, Netlist
from rtl.timing.placement import Placement, place
from rtl.timing.sta import Path, analyse, worst
from rtl.timing.wires import MODELS, Wires, wires

LEADING = "calibrated"
"""Model by which placements are judged, and whose worst paths are shown."""

PATHS = 10
SEEDS = (1, 2, 3)


@dataclass(frozen=True)
class Step:
    """A register at either end of a path: its name for a reader, and file and line that it comes from, or nothing."""

    name: str
    source: str


@dataclass(frozen=True)
class Worst:
    """One of the worst paths.

    Attributes
    ----------
    ps : float
        What it takes.
    wires : float
        Share of it that is spent in wires and on the pins behind them.
    fanouts : list of int
        Cells that each of its nets reaches.
    first, last : Step
        Where it begins and ends.
    """

    ps: float
    wires: float
    fanouts: list[int]
    first: Step
    last: Step


@dataclass(frozen=True)
class Estimate:
    """What was found of a netlist.

    Attributes
    ----------
    cells : int
        Cells of the netlist.
    periods : dict
        Least and greatest period over all seeds by model, in ps.
    middle : dict
        Median of the periods over all seeds by model, in ps.
    paths : list of Worst
        Worst paths of the seed in the middle, with the leading model.
    """

    cells: int
    periods: dict[str, tuple[float, float]]
    middle: dict[str, float]
    paths: list[Worst]


def estimate(netlist: Netlist, seeds: Sequence[int] = SEEDS) -> Estimate:
    """Place a netlist once for each seed and return what its clock would be."""
    placed = [place(netlist, seed, lambda placement: _judged(netlist, placement)) for seed in seeds]
    found = {
        name: [analyse(netlist, wires(netlist, placement, model)).period for placement in placed]
        for name, model in MODELS.items()
    }
    middle = int(np.argsort(found[LEADING])[(len(seeds) - 1) // 2])
    laid = wires(netlist, placed[middle], MODELS[LEADING])
    timing = analyse(netlist, laid)
    return Estimate(
        cells=sum(kind != PORT for kind in netlist.kinds),
        periods={name: (min(periods), max(periods)) for name, periods in found.items()},
        middle={name: float(np.median(periods)) for name, periods in found.items()},
        paths=[_told(netlist, laid, path) for path in worst(netlist, timing, PATHS)],
    )


def _judged(netlist: Netlist, placement: Placement) -> tuple[float, np.ndarray]:
    timing = analyse(netlist, wires(netlist, placement, MODELS[LEADING]))
    return timing.period, np.clip(1 - timing.slack / max(timing.period, 1e-9), 0, 1)


def _told(netlist: Netlist, laid: Wires, path: Path) -> Worst:
    first, last = (int(netlist.cell[path.ways[end]]) for end in (0, -1))
    return Worst(
        ps=path.ps,
        wires=float(laid.delay[path.ways].sum()) / path.ps,
        fanouts=[int(netlist.fanout[net]) for net in path.nets],
        first=Step(netlist.names[first], netlist.sources[first]),
        last=Step(netlist.names[last], netlist.sources[last]),
    )
