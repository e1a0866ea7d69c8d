"""The tops at work, as generated, in the compiled simulator: registers, driver, operations, and how a card comes up."""

import random

import pytest

from host.device.driver import Driver
from omap.operations import Kind, Status
from omap.regmap import BY_NAME, IDENTITY, Fault, State, hbm_pointer
from sim.device.client import open_all, open_session, responses_of, seal_all
from sim.device.engine_run import BUFFER_ADDRESS
from sim.device.transport import RtlTransport
from sim.models.faults import Fault as Strike
from sim.models.faults import FaultKind
from tests.support.boards.top_run import CLEARED_BYTES, KEY, RESET_CYCLES, DirectRun, VitisRun
from tests.support.rtl.engines import TIGHT, operations

pytestmark = pytest.mark.long  # each top takes minutes to compile; under cocotb both run in every test

RUNS = {"u55c_vitis": VitisRun, "u55c_direct": DirectRun}
HBM_PRIVATE, HARDWARE = 1, 4
JUNK = 0xA5


@pytest.mark.parametrize(("target", "mode"), [("u55c_vitis", HARDWARE), ("u55c_direct", HBM_PRIVATE | HARDWARE)])
def test_registers(target, mode):
    run = RUNS[target](TIGHT, ring_lines=128)
    assert run.read("IDENTITY") == IDENTITY
    assert run.read("MODE") == mode
    assert run.read("STATUS") == State.IDLE
    assert run.read("BUFFER_LOW") | run.read("BUFFER_HIGH") << 32 == BUFFER_ADDRESS
    assert run.read("RING_LINES") == 128
    for port in (0, 31):  # pointers of ports are taken and forgotten
        run.write_word(hbm_pointer(port), 0xFFFF_FFFF)
        run.write_word(hbm_pointer(port) + 4, 0xFFFF_FFFF)
        assert run.read_word(hbm_pointer(port)) == 0
    digest = b"".join(run.read(f"DIGEST_{word}").to_bytes(4, "big") for word in range(8))
    assert digest == TIGHT.params.digest


@pytest.mark.parametrize("target", RUNS)
def test_a_map_is_formatted_and_served(target):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    run, params = RUNS[target](TIGHT, ring_lines=128, seed=seed), TIGHT.params
    driver = Driver(RtlTransport(run), params, timeout=600)
    driver.format(timeout=600)
    session, table = open_session(driver, KEY), {}
    batch = operations(random.Random(seed), 60, params, 12)
    answers = driver.exchange(b"".join(seal_all(session, batch, [1, 1, 20, 3])))
    responses = responses_of(session, open_all(session, answers))
    for (kind, key, value), response in zip(batch, responses, strict=True):
        known = table.get(key) if kind != Kind.NOP else None
        assert response.previous == known
        if kind in (Kind.GET, Kind.DELETE):
            assert response.status == (Status.OK if known is not None else Status.NOT_FOUND)
        if kind == Kind.PUT:
            table[key] = value
        elif kind == Kind.DELETE:
            table.pop(key, None)


def junk(run):
    for port in run.hbm:
        port.memory.data[:] = JUNK


@pytest.mark.sec_cm("BOARD.HBM.CLEARED")
def test_nothing_is_served_before_hbm_was_zeroed():
    run = DirectRun(TIGHT, ring_lines=128, opened=False)
    junk(run)
    for _ in range(3):
        run.step(500)
        assert [run.read(name) for name in ("IDENTITY", "MODE", "STATUS", "FAULT")] == [0, 0, 0, 0]
        run.start()  # in vain
    assert all((port.memory.data == JUNK).all() for port in run.hbm)
    run.hbm_up()
    run.open()
    for channel, port in enumerate(run.hbm):
        assert port.memory.base == channel << TIGHT.channel_bits
        assert not port.memory.data[:CLEARED_BYTES].any()
        assert (port.memory.data[CLEARED_BYTES:] == JUNK).all()
    assert run.read("RING_LINES") == 0
    assert run.read("CTRL") == 1 << BY_NAME["CTRL"].fields[2].low  # idle: nothing was started


@pytest.mark.sec_cm("BOARD.HBM.CLEARED")
@pytest.mark.parametrize("kind", [FaultKind.ERROR, FaultKind.DEAD])
def test_hbm_that_can_not_be_zeroed_is_told_and_not_used(kind):
    run = DirectRun(TIGHT, ring_lines=128, opened=False)
    run.hbm[3].add_fault(Strike(kind=kind, write=True, skip=2))
    run.hbm_up()
    run.until(lambda: run.read("FAULT") != Fault.NONE, limit=40_000)
    assert run.read("FAULT") == Fault.BUS
    assert run.read("STATUS") == State.FAULT
    run.step(20_000)
    assert run.read("IDENTITY") == 0


def test_a_card_that_is_reset_begins_anew():
    """A reset, as at a restart of the host: keys are gone, HBM is zeroed again."""
    run = DirectRun(TIGHT, ring_lines=128)
    assert run.read("RING_LINES") == 128
    run.step(1000)
    run.bench.reset()
    junk(run)
    run.bench.run(RESET_CYCLES)
    assert run.read("IDENTITY") == 0
    run.open()
    assert run.read("RING_LINES") == 0
    assert not any(port.memory.data[:CLEARED_BYTES].any() for port in run.hbm)
