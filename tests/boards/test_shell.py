"""The tops between models from elsewhere, driven as a shell, a PCIe slot and a host drive them."""

import pytest

from sim.bench.cocotb_runner import cocotb_tests, run_cocotb

BENCHES = ("tests.support.boards.cocotb_vitis", "tests.support.boards.cocotb_direct")
LONG = {"a_thousand_operations_and_a_reset_in_flight"}
CASES = [
    pytest.param(bench, name, marks=[pytest.mark.long] if name in LONG else [], id=name)
    for bench in BENCHES
    for name in cocotb_tests(bench)
]


@pytest.mark.parametrize(("bench", "name"), CASES)
def test_with_models_from_elsewhere(bench, name):
    run_cocotb(bench, name, waves=False)  # the log says enough; a waveform takes minutes to compile for
