"""Which cells sit in one slice, or in a column of slices, because a carry chain or a wide multiplexer holds them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rtl.synth.netlist import FLIP_FLOPS, LUT_MEMORIES
from rtl.timing.netlist import Netlist

LONE_FLIP_FLOP = 0.5
"""Area of a flip-flop without a LUT before it, in LUTs: a slice has 8 LUTs and 16 flip-flops."""

SITE = 8.0
"""Area that keeps block RAMs, UltraRAMs and multipliers apart while cells are spread, in LUTs."""

CARRIES = {"CARRY4": 4, "CARRY8": 8}
CHAINS_PER_TILE = 8
"""Bits of a carry chain in one tile: a slice."""


@dataclass(frozen=True)
class Packing:
    """Cells in groups that move together.

    Attributes
    ----------
    macro : ndarray of int
        Group of each cell, from 0.
    above : ndarray of int
        Tiles by which each cell sits above the lowest of its group.
    area : ndarray of float
        LUTs that each group takes.
    """

    macro: np.ndarray
    above: np.ndarray
    area: np.ndarray


def pack(netlist: Netlist) -> Packing:
    """Group cells: carry chains, wide multiplexers with their LUTs, and flip-flops with what drives their data."""
    group = np.arange(len(netlist.kinds))
    above = np.zeros(len(netlist.kinds), dtype=np.int64)
    used = np.zeros(netlist.nets, dtype=bool)  # nets that go straight to a neighbour in their slice
    for lower, upper, net in _chained(netlist):
        used[net] = True
        group[upper], above[upper] = group[lower], above[lower] + CARRIES[netlist.kinds[lower]]
    above //= CHAINS_PER_TILE
    alone = np.ones(len(netlist.kinds), dtype=bool)  # cells that have not been drawn to another
    for feeder, fed, net in _straight(netlist):
        if used[net] or not alone[feeder]:
            continue
        if netlist.kinds[fed] in FLIP_FLOPS:
            if alone[fed]:
                used[net], alone[fed] = True, False
                group[fed], above[fed] = group[feeder], above[feeder]
        else:
            used[net], alone[feeder] = True, False
            members = np.flatnonzero(group == group[feeder]) if netlist.kinds[feeder].startswith("MUX") else feeder
            group[members], above[members] = group[fed], above[fed]
    roots, macro = np.unique(group, return_inverse=True)
    area = np.zeros(len(roots))
    np.add.at(area, macro, [_area(kind, single) for kind, single in zip(netlist.kinds, alone, strict=True)])
    return Packing(macro, above, np.maximum(area, 0.01))


def _chained(netlist: Netlist) -> Iterator[tuple[int, int, int]]:
    """Yield pairs of chained carries and the net between them, from the lowest up."""
    below = {}
    for way in np.flatnonzero(~np.isnan(netlist.near)):
        upper, net = int(netlist.cell[way]), int(netlist.start[way])
        lower = int(netlist.driver[net])
        if lower >= 0 and netlist.kinds[upper] in CARRIES and netlist.kinds[lower] in CARRIES:
            below[lower] = (upper, net)
    uppers = {upper for upper, _ in below.values()}
    for bottom in sorted(set(below) - uppers):
        lower = bottom
        while lower in below:
            upper, net = below[lower]
            yield lower, upper, net
            lower = upper


def _straight(netlist: Netlist) -> Iterator[tuple[int, int, int]]:
    """Yield cell, neighbour that it may feed inside a slice, and net; flip-flops last."""
    ways = np.flatnonzero(~np.isnan(netlist.near) & (netlist.start >= 0))
    pairs = dict.fromkeys((int(netlist.start[way]), int(netlist.cell[way])) for way in ways)
    for registers in (False, True):
        for net, fed in pairs:
            feeder = int(netlist.driver[net])
            if feeder < 0 or (netlist.kinds[fed] in FLIP_FLOPS) != registers:
                continue
            kind = netlist.kinds[feeder]
            wide = netlist.kinds[fed].startswith("MUX") and kind.startswith("MUX")
            if kind.startswith("LUT") or wide or (registers and (kind.startswith("MUX") or kind in CARRIES)):
                yield feeder, fed, net


def _area(kind: str, alone: bool) -> float:
    if kind in FLIP_FLOPS:
        return LONE_FLIP_FLOP if alone else 0.0
    if kind in CARRIES:
        return 0.0 if not alone else CARRIES[kind] / 4  # most of its LUTs are counted as such
    if kind in LUT_MEMORIES:
        return float(LUT_MEMORIES[kind])
    if kind.startswith("LUT"):
        return 1.0
    return SITE if kind.startswith(("RAMB", "URAM", "DSP")) else 0.0
