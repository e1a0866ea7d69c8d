"""Delays of wires between placed cells, by three models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rtl.timing import delays
from rtl.timing.netlist import Netlist
from rtl.timing.placement import Placement

LONGEST = 1024
"""Tiles that a wire spans at most."""


@dataclass(frozen=True)
class Model:
    """How long a wire takes.

    Attributes
    ----------
    scale : float
        Factor on the fastest wire between two tiles.
    doubling : float
        What each doubling of the fan-out adds, in ps.
    slow_luts : bool
        Whether LUTs take what they do on relaxed paths.
    """

    scale: float
    doubling: float
    slow_luts: bool = False


MODELS = {
    "ideal": Model(1.0, 0.0),
    "calibrated": Model(*delays.TIGHT),
    "pessimistic": Model(*delays.RELAXED, slow_luts=True),
}


@dataclass(frozen=True)
class Wires:
    """What lies before each way: wire and pin, in ps; and whether LUTs are slow."""

    delay: np.ndarray
    slow_luts: bool


_VERTICAL = np.array(delays.fastest(delays.VERTICAL, LONGEST))
_HORIZONTAL = np.array(delays.fastest(delays.HORIZONTAL, LONGEST))


def wires(netlist: Netlist, placement: Placement, model: Model) -> Wires:
    """Return the delays of all wires of a placed netlist."""
    driver = np.where(netlist.start >= 0, netlist.driver[netlist.start], -1)
    there = driver >= 0
    across = np.where(there, np.abs(placement.x[driver] - placement.x[netlist.cell]), 0)
    along = np.where(there, np.abs(placement.y[driver] - placement.y[netlist.cell]), 0)
    fastest = delays.OUT_OF_TILE + _HORIZONTAL[across] + _VERTICAL[along]
    doublings = np.log2(np.maximum(netlist.fanout[netlist.start], 1))
    routed = model.scale * fastest + model.doubling * doublings + netlist.pin
    together = there & ~np.isnan(netlist.near) & (placement.macro[driver] == placement.macro[netlist.cell])
    delay = np.where(together, np.nan_to_num(netlist.near), routed)
    return Wires(np.where(netlist.start >= 0, delay, 0.0), model.slow_luts)
