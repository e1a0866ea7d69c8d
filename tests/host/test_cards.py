"""Both drivers of a card with the generated accelerator behind them, in simulation."""

import pytest

from host.driver import Driver
from host.keyfile import read_key_file
from host.transport import open_transport
from omap.regmap import State
from rtl.config import EngineConfig
from sim.engine_run import EngineRun, engine_design
from tests.contract.test_contract import expected
from tests.host.cards import RunCard
from tests.host.clients import DriverClient, mixed
from tests.host.fake_pyxrt import FakeXrt
from tests.host.fake_vfio import FakeVfio

RING = 8


@pytest.mark.long
@pytest.mark.parametrize("name", ["vfio", "xrt"])
def test_drivers_of_a_card_run_the_accelerator(name, params, key_file, tmp_path):
    config, key = EngineConfig(params=params), read_key_file(key_file)
    design = engine_design(config)
    card = RunCard(lambda: EngineRun(design, config, key, ring_entries=RING, start=False))
    machine = FakeVfio(tmp_path, params, key, card=card) if name == "vfio" else FakeXrt(params, key, card=card)
    with machine:
        options = {"system": machine} if name == "vfio" else {"xclbin": machine.xclbin(tmp_path)}
        oracle, operations = {}, mixed(params, 1, 30)
        with Driver(open_transport(name, params, ring_entries=RING, **options), params) as driver:
            driver.start()
            replies = DriverClient(driver, key).run(operations)
            assert [reply.response for reply in replies] == [
                expected(oracle, params.capacity, operation) for operation in operations
            ]
    assert card.run.read("STATUS") == State.STOPPED
