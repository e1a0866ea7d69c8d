"""Netlists as arrays: what is a way, what is a loop, what vanishes."""

import pytest

from rtl.synth.netlist import SynthesisError
from rtl.timing.netlist import PORT, read
from tests.support.rtl.netlists import cell, module


def test_a_path_has_a_level_for_each_cell():
    flop = [cell("FDRE", C=[9], D=[4], Q=[2]), cell("LUT1", I0=[2], O=[3]), cell("LUT1", I0=[3], O=[4])]
    netlist = read(module(*flop))
    assert netlist.level.max() == 2
    assert netlist.nets == 3
    assert sorted(netlist.fanout) == [1, 1, 1]


def test_a_loop_without_a_register_is_refused():
    netlist = read(module(cell("LUT1", I0=[2], O=[3]), cell("LUT1", I0=[3], O=[2])))
    with pytest.raises(SynthesisError, match="loop without a register"):
        _ = netlist.level


@pytest.mark.parametrize(
    ("memory", "captures"),
    [
        (cell("RAM32M", ADDRA=[5], ADDRD=[2], DIA=[2], WCLK=[9], WE=[2], DOA=[2]), 3),
        (cell("RAM64X1D", DPRA0=[5], A0=[2], D=[2], WCLK=[9], WE=[2], DPO=[2]), 3),
        (cell("RAMB36E2", ADDRARDADDR=[2], DINADIN=[2], CLKARDCLK=[9], DOUTADOUT=[2]), 2),
        (cell("URAM288", ADDR_A=[2], DIN_B=[2], CLK=[9], DOUT_A=[2]), 2),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_what_a_memory_gives_may_decide_what_is_written_to_it(memory, captures):
    netlist = read(module(memory, cell("LUT1", I0=[5], O=[6])))
    assert netlist.level.max() <= 1
    assert (netlist.end == -1).sum() == captures


def test_a_lut_memory_that_reads_where_it_just_read_is_a_loop():
    with pytest.raises(SynthesisError, match="loop"):
        _ = read(module(cell("RAM32M", ADDRA=[2], WCLK=[9], DOA=[2]))).level


def test_inverters_vanish_and_ports_are_registers():
    netlist = read(module(cell("INV", I=[2], O=[3]), cell("LUT1", I0=[3], O=[4]), inputs=[2], outputs=[4]))
    assert sorted(netlist.kinds) == ["LUT1", PORT, PORT]
    assert netlist.nets == 2
    assert netlist.level.max() == 1


def test_clock_and_reset_are_not_looked_at():
    made = module(cell("FDRE", C=[9], R=[8], D=[2], Q=[3]), inputs=[2])
    made["ports"] |= {"rst": {"direction": "input", "bits": [8]}, "clk": {"direction": "input", "bits": [9]}}
    assert len(read(made).start) == len(read(module(cell("FDRE", C=[9], D=[2], Q=[3]), inputs=[2])).start)


def test_strangers_are_refused_and_parts_that_were_left_out_end_paths():
    stranger = cell("top.lane.gcm", there=[2], O=[3])
    with pytest.raises(SynthesisError, match=r"no delays are known of cells top\.lane\.gcm"):
        read(module(stranger))
    with pytest.raises(SynthesisError, match=r"no part is called \*\.aes"):
        read(module(stranger), ["*.aes"])
    netlist = read(module(stranger), ["*.gcm"])
    assert ((netlist.start < 0) != (netlist.end < 0)).all()
    assert len(netlist.start) == 2


def test_a_cell_is_called_as_the_source_calls_it():
    made = module(cell("FDRE", C=[9], D=[2], Q=[3]), inputs=[2])
    made["netnames"] = {
        "inner.state": {"bits": [7, 3], "hide_name": 0},
        "a_longer_name_of_it[0]": {"bits": [3], "hide_name": 0},
        "$x": {"bits": [3], "hide_name": 1},
    }
    assert "state[1]" in read(made).names
