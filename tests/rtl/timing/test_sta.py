"""Static timing against sums done by hand."""

import numpy as np
import pytest

from rtl.timing import delays
from rtl.timing.netlist import read
from rtl.timing.placement import Placement
from rtl.timing.sta import analyse, worst
from rtl.timing.wires import MODELS, Model, Wires, wires
from tests.support.rtl.netlists import cell, module

FREE = delays.LUT[0] + delays.LUT_PIN[0]


def still(netlist, ps=0.0):
    """Wires that all take the same."""
    return Wires(np.where(netlist.start >= 0, ps, 0.0), False)


def at(netlist, places, *, together=False):
    """Place cells by hand: number of a cell to its tile; the others at the origin."""
    x, y = np.zeros((2, len(netlist.kinds)), dtype=np.int64)
    for number, place in places.items():
        x[number], y[number] = place
    macro = np.zeros(len(x), dtype=np.int64) if together else np.arange(len(x))
    return Placement(x, y, macro)


def flop(d, q):
    return cell("FDRE", C=[1], D=[d], Q=[q])


def test_clock_to_output_luts_and_setup_add_up():
    netlist = read(module(flop(2, 3), cell("LUT1", I0=[3], O=[4]), cell("LUT1", I0=[4], O=[5]), flop(5, 6), inputs=[2]))
    timing = analyse(netlist, still(netlist, 100.0))
    assert timing.period == pytest.approx(delays.CLOCK_TO_Q + 3 * 100 + 2 * FREE + delays.SETUP["D"])
    (path,) = worst(netlist, timing, 1)
    assert path.ps == timing.period
    assert [netlist.kinds[netlist.cell[way]] for way in path.ways] == ["FDRE", "LUT1", "LUT1", "FDRE"]
    assert len(path.nets) == 3


def test_the_latest_signal_gets_the_fastest_input():
    slow = [cell("LUT1", I0=[net], O=[net + 1]) for net in (3, 4)]
    netlist = read(module(flop(2, 3), *slow, cell("LUT3", I0=[2], I1=[3], I2=[5], O=[6]), flop(6, 7), inputs=[2]))
    timing = analyse(netlist, still(netlist))
    assert timing.period == pytest.approx(delays.CLOCK_TO_Q + 3 * FREE + delays.SETUP["D"])
    late = [cell("LUT1", I0=[net], O=[net + 1]) for net in (3, 4)]
    both = read(module(flop(2, 3), *late, cell("LUT2", I0=[5], I1=[5], O=[6]), flop(6, 7), inputs=[2]))
    second = delays.LUT[1] + delays.LUT_PIN[1]
    assert analyse(both, still(both)).period == pytest.approx(timing.period - FREE + max(FREE, second))


def test_slack_is_what_is_left():
    netlist = read(module(flop(2, 3), cell("LUT1", I0=[3], O=[4]), flop(4, 5), flop(3, 6), inputs=[2]))
    timing = analyse(netlist, still(netlist))
    assert timing.slack.min() == pytest.approx(0)
    (straight,) = np.flatnonzero((netlist.start >= 0) & (netlist.cell == 3))
    assert timing.slack[straight] == pytest.approx(FREE)


def test_memories_launch_and_capture():
    memory = cell("RAMB36E2", ADDRARDADDR=[2], CLKARDCLK=[1], DOUTBDOUT=[3], CLKBWRCLK=[1])
    memory["port_directions"]["DOUTBDOUT"] = "output"
    netlist = read(module(memory, cell("LUT1", I0=[3], O=[2])))
    expected = delays.BLOCK_RAM_CLOCK_TO_OUT["B", 0] + FREE + delays.BLOCK_RAM_SETUP["ADDR"]
    assert analyse(netlist, still(netlist)).period == pytest.approx(expected)
    memory["parameters"] = {"DOB_REG": "00000000000000000000000000000001"}
    registered = read(module(memory, cell("LUT1", I0=[3], O=[2])))
    gain = delays.BLOCK_RAM_CLOCK_TO_OUT["B", 0] - delays.BLOCK_RAM_CLOCK_TO_OUT["B", 1]
    assert analyse(registered, still(registered)).period == pytest.approx(expected - gain)


def test_a_multiplier_without_registers_is_one_long_way():
    inputs = {"A": [3], "CLK": [1], "P": [4]}
    ways = {"A": "input", "CLK": "input", "P": "output"}
    off = dict.fromkeys(("AREG", "BREG", "CREG", "MREG", "PREG"), "0" * 32)

    def period(parameters):
        dsp = {"type": "DSP48E2", "parameters": parameters, "port_directions": ways, "connections": inputs}
        netlist = read(module(flop(2, 3), dsp, flop(4, 5), inputs=[2]))
        return analyse(netlist, still(netlist)).period

    whole = sum(delays.DSP.values()) + delays.DSP_OUT
    assert period(off) == pytest.approx(delays.CLOCK_TO_Q + whole + delays.SETUP["D"])
    assert period(off | {"MREG": "1"}) < period(off)
    assert period(off | {"AREG": "1", "MREG": "1", "PREG": "1"}) < period(off | {"MREG": "1"})


def test_a_carry_chain_grows_by_little():
    def period(length):
        chain = [
            {
                "type": "CARRY4",
                "parameters": {},
                "port_directions": {"CI": "input", "S": "input", "CO": "output"},
                "connections": {
                    "CI": [10 * k if k else "0"],
                    "S": [3] if not k else ["0"],
                    "CO": ["x", "x", "x", 10 * k + 10],
                },
            }
            for k in range(length)
        ]
        netlist = read(module(flop(2, 3), *chain, flop(10 * length, 5), inputs=[2]))
        return analyse(netlist, wires(netlist, at(netlist, {}, together=True), MODELS["ideal"])).period

    step = period(5) - period(4)
    assert step == pytest.approx(delays.CARRY_IN_TO_CARRY[7] / 2 + delays.CARRY_UP / 2)


def test_wires_take_longer_over_more_tiles_and_to_more_cells():
    sinks = [flop(3, 10 + k) for k in range(8)]
    netlist = read(module(flop(2, 3), *sinks, inputs=[2]))
    (way,) = np.flatnonzero((netlist.start >= 0) & (netlist.cell == 1))

    def delay(places, model):
        return wires(netlist, at(netlist, places), model).delay[way] - netlist.pin[way]

    ideal = MODELS["ideal"]
    assert delay({}, ideal) == pytest.approx(delays.OUT_OF_TILE)
    assert delay({1: (0, 4)}, ideal) == pytest.approx(delays.OUT_OF_TILE + delays.VERTICAL[4])
    assert delay({1: (2, 12)}, ideal) == pytest.approx(delays.OUT_OF_TILE + delays.HORIZONTAL[2] + delays.VERTICAL[12])
    assert delay({0: (2, 12)}, ideal) == delay({1: (2, 12)}, ideal)
    assert delay({}, Model(1.0, 10.0)) == pytest.approx(delays.OUT_OF_TILE + 30)


def test_a_neighbour_in_the_slice_is_reached_without_a_wire():
    netlist = read(module(flop(2, 3), cell("LUT1", I0=[3], O=[4]), flop(4, 5), inputs=[2]))
    (way,) = np.flatnonzero((netlist.start >= 0) & (netlist.cell == 2))
    apart = wires(netlist, at(netlist, {}), MODELS["calibrated"]).delay[way]
    together = wires(netlist, at(netlist, {}, together=True), MODELS["calibrated"]).delay[way]
    assert together == delays.LUT_TO_FF < apart


def test_bits_of_one_register_count_as_one_path():
    made = module(flop(2, 3), flop(2, 4), cell("LUT2", I0=[3], I1=[4], O=[5]), flop(5, 6), flop(5, 7), inputs=[2])
    made["netnames"] = {
        "a": {"bits": [3, 4], "hide_name": 0},
        "b_1": {"bits": [6], "hide_name": 0},
        "b_2": {"bits": [7], "hide_name": 0},
    }
    netlist = read(made)
    paths = worst(netlist, analyse(netlist, still(netlist)), 10)
    names = [tuple(netlist.names[netlist.cell[path.ways[end]]][0] for end in (0, -1)) for path in paths]
    assert names == [("a", "b"), ("i", "a")]
