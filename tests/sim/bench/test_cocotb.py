"""cocotb benches under pytest: one item each, and a waveform of those that fail only."""

import cocotb_tools.config
import pytest

from sim.bench import build
from sim.bench.cocotb_runner import CocotbFailure, cocotb_tests, run_cocotb
from sim.bench.verilog import simulation_verilog
from sim.cache import root
from sim.errors import SimulationError
from tests.support.designs.dma import Dma

DMA = "tests.support.designs.dma_bench"
CASES = "tests.support.designs.runner_cases"


@pytest.mark.parametrize("name", cocotb_tests(DMA))
def test_dma(name):
    run_cocotb(DMA, name)


def test_every_case_is_an_item():
    assert cocotb_tests(DMA) == [
        "what_is_written_is_read/kind=hbm",
        "what_is_written_is_read/kind=host",
        "record_events",
    ]
    with pytest.raises(SimulationError, match="has no cocotb tests"):
        cocotb_tests("sim.models.timing")


def waveforms():
    folder = root() / "failed"
    return {path.name for path in folder.glob(f"{CASES}*")}


def test_a_failing_test_fails_with_its_log_seed_and_waveform():
    for name in waveforms():
        (root() / "failed" / name).unlink()
    run_cocotb(CASES, "passes")
    assert not waveforms()
    with pytest.raises(
        CocotbFailure, match=rf"(?s)fails failed \(seed 5; waveform: {root().parent.name}/.*the sky is green"
    ):
        run_cocotb(CASES, "fails", seed=5)
    assert waveforms() == {f"{CASES}.fails.vcd"}


def test_a_kept_simulator_names_no_folder_of_the_environment_that_made_it():
    """Whatever environment finds it brings its own libraries of cocotb."""
    program = build.cocotb_executable(simulation_verilog(Dma()))
    assert str(cocotb_tools.config.libs_dir).encode() not in program.read_bytes()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("withdraws", "STREAM_WITHDRAWN"),
        ("waits_for_ready", "STREAM_WAITS"),
        ("breaks_axi", "AR_WITHDRAWN"),
        ("ends_the_process", "without results"),
    ],
)
def test_a_breach_fails_the_test(name, message):
    with pytest.raises(CocotbFailure, match=message):
        run_cocotb(CASES, name, waves=False)
