# amaranth: UnusedElaboratable=no
"""The core equals the reference on the same secrets and operations: replies, pages in their order, host memory."""

import random
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.hazmat.fixed import fixed_secrets
from omap.map import create
from omap.trace import Observer
from rtl.config import EngineConfig
from sim.bench.compiled import Design
from sim.device.map_bench import CoreRun
from sim.models.timing import HbmTiming, HostTiming
from tests.support.designs.core_on_host import CoreOnHost
from tests.support.rtl.engines import DELETE, GET, GROUPED, PUT, operations, tight


@cache
def design(name: str, lanes: int = 1, epoch_bits: int = 0) -> tuple[EngineConfig, Design]:
    config = EngineConfig(params=replace(tight(name), epoch_bits=epoch_bits), lanes=lanes)
    return config, Design(CoreOnHost(config))


def check(
    config: EngineConfig, found: Design, script, seed: int, *, host=None, hbm=None, idle=0.0, batch=64
) -> CoreRun:
    """Run a script on core and reference and compare everything that can be compared."""
    params, observer = config.params, Observer()
    reference = create(params, secrets=fixed_secrets(seed), observer=observer)
    run = CoreRun(found.bench(seed=seed), config, host=host, hbm=hbm)
    run.bench.source("i_command", idle=idle)
    run.format(fixed_secrets(seed)())
    assert run.pages() == bytes(reference.host.data)
    observer.clear()
    run.bench.observer.clear()
    for first in range(0, len(script), batch):
        part = script[first : first + batch]
        wanted = reference.execute(part)
        replies = run.execute(part)
        assert [reply.response for reply in replies] == wanted
        assert [reply.sequence for reply in replies] == list(range(first, first + len(part)))
        assert replies[-1].live == len(reference)
        assert replies[-1].overruns == 0
    run.settle()
    assert run.pages() == bytes(reference.host.data)
    trace = run.bench.observer.trace(port="m_axi_host", base=run.base, page_bytes=params.page_bytes, pages=params.pages)
    expected = observer.trace()
    assert trace.address.tolist() == expected.address.tolist()
    assert trace.write.tolist() == expected.write.tolist()
    return run


@pytest.mark.long
@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_equals_the_reference(lanes):
    config, found = design("SMALL", lanes)

    @settings(max_examples=8)
    @given(
        seed=st.integers(0, 2**32 - 1),
        count=st.integers(1, 150),
        keys=st.sampled_from([1, 3, 30, 60]),
        idle=st.sampled_from([0.0, 0.8]),
        reorder=st.booleans(),
        withheld=st.sampled_from([0.0, 0.3]),
    )
    def one(seed, count, keys, idle, reorder, withheld):
        script = operations(random.Random(seed), count, config.params, keys)
        host = HostTiming(reorder=reorder, ready_withheld=withheld, valid_withheld=withheld)
        check(config, found, script, seed, host=host, hbm=HbmTiming(ready_withheld=withheld), idle=idle)

    one()


@pytest.mark.long
@pytest.mark.sec_cm("PAGE.KEY.EPOCH")
@pytest.mark.parametrize("lanes", [1, 4])
def test_equals_the_reference_over_the_ends_of_epochs(lanes):
    """Nine epochs, each place for a key used twice and more; then once more, from a format on."""
    config, found = design("SMALL", lanes, epoch_bits=7)
    script = operations(random.Random(lanes), 9 * 128 - 20, config.params, 40)
    run = check(config, found, script, lanes, batch=500)
    reference = create(config.params, secrets=fixed_secrets("again"))
    run.format(fixed_secrets("again")())
    assert run.pages() == bytes(reference.host.data)
    assert [reply.response for reply in run.execute(script[:400])] == reference.execute(script[:400])
    run.settle()
    assert run.pages() == bytes(reference.host.data)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_reference_on_channels_in_groups(seed):
    """Numbers of channels that are no powers of two; all structures but the free lists cross from group to group."""
    assert GROUPED.channels == {"table 0": 3, "table 1": 3, "descriptors": 6, "slots": 10, "free lists": 1}
    found = Design(CoreOnHost(GROUPED))
    script = operations(random.Random(seed), 2500, GROUPED.params, 390, kinds=(PUT, PUT, PUT, GET, DELETE))
    run = check(GROUPED, found, script, seed)
    for name, least in {"table 0": 3, "table 1": 3, "descriptors": 3, "slots": 4}.items():
        first = GROUPED.first_channel[name]
        used = [bool(port.memory.data.any()) for port in run.hbm[first : first + GROUPED.channels[name]]]
        assert sum(used) >= least, (name, used)
