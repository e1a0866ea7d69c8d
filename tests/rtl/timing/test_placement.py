"""Placement: repeatable, dense as wanted, groups kept together, better than chance."""

import itertools

import numpy as np
import pytest

from rtl.timing.netlist import read
from rtl.timing.packing import pack
from rtl.timing.placement import DENSITY, LUTS_PER_TILE, Placement, place
from rtl.timing.sites import COLUMNS, settle
from rtl.timing.wires import MODELS, wires
from tests.support.rtl.netlists import cell, chain, module


@pytest.fixture(scope="module")
def ring():
    """A long ring of LUTs, and the netlist of it."""
    return read(chain(600))


def wire_length(netlist, placement):
    nets, cells = netlist.connections
    driver = netlist.driver[nets]
    across, along = (np.abs(axis[driver] - axis[cells]).mean() for axis in (placement.x, placement.y))
    return 2 * across + along


def test_the_same_seed_gives_the_same_placement(ring):
    first, second, other = (place(ring, seed) for seed in (7, 7, 8))
    assert (first.x == second.x).all()
    assert (first.y == second.y).all()
    assert (first.x != other.x).any() or (first.y != other.y).any()


def test_no_tile_holds_more_than_it_has(ring):
    placement = place(ring, 1)
    counts = np.unique(np.stack([placement.x, placement.y]), axis=1, return_counts=True)[1]
    assert counts.max() <= LUTS_PER_TILE
    assert np.mean(counts) == pytest.approx(LUTS_PER_TILE * DENSITY, rel=0.5)


def test_neighbours_in_the_netlist_become_neighbours(ring):
    placement = place(ring, 1)
    shuffle = np.random.default_rng(1).permutation(len(placement.x))
    by_chance = Placement(placement.x[shuffle], placement.y[shuffle], placement.macro)
    assert wire_length(ring, placement) < wire_length(ring, by_chance) / 4


def test_wires_of_the_models_are_in_order(ring):
    placement = place(ring, 1)
    ideal, calibrated, pessimistic = (wires(ring, placement, model).delay for model in MODELS.values())
    assert list(MODELS) == ["ideal", "calibrated", "pessimistic"]
    assert (ideal <= calibrated).all()
    assert (calibrated <= pessimistic).all()


def test_a_judge_gets_the_placement_that_it_likes_best(ring):
    seen = []

    def judge(placement):
        seen.append(placement)
        return -float(len(seen)), np.zeros(len(ring.start))

    assert place(ring, 1, judge) is seen[-1]
    assert place(ring, 1, lambda placement: (0.0, np.ones(len(ring.start)))) is not seen[-1]


def test_critical_wires_become_shorter():
    """Of LUTs whose inputs come from anywhere, so that most wires are long."""
    random = np.random.default_rng(3)
    luts = [cell("LUT2", I0=[int(random.integers(k + 2))], I1=[k + 1], O=[k + 2]) for k in range(400)]
    netlist = read(module(*luts, inputs=[0, 1], outputs=[401]))
    nets, cells = netlist.connections
    far = random.permutation(np.flatnonzero(netlist.driver[nets] + 20 < cells))[:20]
    critical = np.zeros(len(netlist.start))
    critical[np.isin(netlist.start, nets[far]) & np.isin(netlist.cell, cells[far])] = 1.0

    def length(critical):
        """Place with this criticality all along, and measure the last round."""
        turns = itertools.count()
        placement = place(netlist, 1, lambda placement: (-float(next(turns)), critical))
        driver = netlist.driver[nets[far]]
        across, along = (np.abs(axis[driver] - axis[cells[far]]).sum() for axis in (placement.x, placement.y))
        return 2 * across + along

    assert length(critical) < length(0 * critical) / 2


def test_registers_sit_behind_what_drives_them():
    flop = cell("FDRE", C=[1], D=[4], Q=[5])
    netlist = read(module(cell("LUT1", I0=[2], O=[4]), flop, cell("FDRE", C=[1], D=[4], Q=[6]), inputs=[2]))
    packing = pack(netlist)
    assert packing.macro[0] == packing.macro[1] != packing.macro[2]
    assert packing.area[packing.macro[0]] == 1
    assert packing.area[packing.macro[2]] == 0.5


def test_wide_multiplexers_hold_their_luts():
    luts = [cell("LUT6", I0=[2], O=[10 + k]) for k in range(4)]
    sevens = [cell("MUXF7", I0=[10 + 2 * k], I1=[11 + 2 * k], S=[2], O=[20 + k]) for k in range(2)]
    eight = cell("MUXF8", I0=[20], I1=[21], S=[2], O=[30])
    packing = pack(read(module(*luts, *sevens, eight, cell("FDRE", C=[1], D=[30], Q=[31]), inputs=[2])))
    assert len(set(packing.macro[:8])) == 1
    assert packing.area[packing.macro[0]] == 4


def test_a_carry_chain_climbs():
    def carry(number):
        pins = {"CI": [10 * number] if number else ["0"], "CO": ["x", "x", "x", 10 * number + 10], "S": [2]}
        ways = {"CI": "input", "CO": "output", "S": "input"}
        return {"type": "CARRY4", "parameters": {}, "port_directions": ways, "connections": pins}

    netlist = read(module(*(carry(k) for k in range(6)), inputs=[2], outputs=[60]))
    packing = pack(netlist)
    assert len(set(packing.macro[:6])) == 1
    assert packing.above[:6].tolist() == [0, 0, 1, 1, 2, 2]


def test_memories_stand_in_columns_and_not_on_each_other():
    kinds = ["URAM288"] * 9 + ["RAMB36E2"] * 30 + ["LUT6"]
    x, y = np.full(40, 5), np.full(40, 5)
    settle(kinds, x, y)
    assert len({(kind, a, b) for kind, a, b in zip(kinds, x, y, strict=True)}) == 40
    assert (x[-1], y[-1]) == (5, 5)
    for kind in set(kinds) & set(COLUMNS):
        its = [a for name, a in zip(kinds, x, strict=True) if name == kind]
        assert len({a % COLUMNS[kind].every for a in its}) == 1
