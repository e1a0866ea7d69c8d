"""The tops between masters and slaves from elsewhere, driven as a shell and a host drive them."""

import pytest

from sim.bench.cocotb_runner import cocotb_tests, run_cocotb

BENCHES = ("tests.support.boards.cocotb_vitis", "tests.support.boards.cocotb_direct")


@pytest.mark.parametrize(("bench", "name"), [(bench, name) for bench in BENCHES for name in cocotb_tests(bench)])
def test_with_models_from_elsewhere(bench, name):
    run_cocotb(bench, name, waves=False)  # the log says enough; a waveform takes minutes to compile for
