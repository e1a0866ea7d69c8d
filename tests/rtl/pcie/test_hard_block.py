"""Our end of PCIe on cocotbext-pcie's model of the UltraScale+ block, with a host that answers in any order."""

import pytest

from sim.bench.cocotb_runner import cocotb_tests, run_cocotb

BENCH = "tests.support.designs.pcie_bench"


@pytest.mark.long
@pytest.mark.parametrize("name", cocotb_tests(BENCH))
def test_with_a_model_from_elsewhere(name):
    run_cocotb(BENCH, name, waves=False)  # the log says enough; a waveform takes long to compile for
