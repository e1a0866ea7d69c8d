"""The Python models and the compiled ones are the same models: equal in every cycle, on drawn traffic and faults."""

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim.bench.amaranth_bench import AmaranthBench
from sim.bench.cocotb_runner import run_cocotb
from sim.bench.compiled import Design
from sim.models.faults import Fault, FaultKind
from sim.models.memory import Memory
from sim.models.observer import Observer
from sim.models.timing import HbmTiming, HostTiming
from tests.support.designs.dma import Dma

SIZE = 1 << 16


@lru_cache(maxsize=1)
def design():
    return Design(Dma())


shares = st.sampled_from([0.0, 0.1, 0.5])
ports = {
    "reads": st.sampled_from([1, 3, 64]),
    "writes": st.sampled_from([1, 3, 64]),
    "ready_withheld": shares,
    "valid_withheld": shares,
    "clock_mhz": st.sampled_from([250.0, 450.0]),
}
hbm = st.builds(
    HbmTiming,
    **ports,
    refresh_every_ns=st.sampled_from([0.0, 900.0]),
    channel_bytes=st.sampled_from([1 << 14, 1 << 29]),
    banks=st.sampled_from([2, 16]),
    row_bytes=st.sampled_from([512, 1024]),
)
host = st.builds(
    HostTiming,
    **ports,
    ids=st.just(64),
    reorder=st.booleans(),
    quantiles=st.sampled_from([((0.0, 300.0), (0.7, 330.0), (1.0, 900.0)), HostTiming().quantiles]),
    packet_bytes=st.sampled_from([64, 256]),
    gather_ns=st.sampled_from([0.0, 2000.0]),
)


@st.composite
def bursts(draw):
    beats = draw(st.integers(1, 16))
    address = draw(st.integers(0, SIZE // 512 - 1)) * 512  # 16 beats fit: no 4 KB boundary is crossed
    return {"addr": address, "len": beats - 1, "id": draw(st.sampled_from([0, 1, 63]))}


@st.composite
def faults(draw):
    kind = draw(st.sampled_from(FaultKind))
    write = draw(st.booleans()) if kind not in (FaultKind.REPLAY, FaultKind.DROP) else kind is FaultKind.DROP
    low = draw(st.integers(0, SIZE - 1))
    return Fault(
        kind=kind,
        write=write,
        low=low,
        high=draw(st.integers(low + 1, SIZE)),
        skip=draw(st.integers(0, 2)),
        count=draw(st.integers(1, 3)),
        argument=draw(st.integers(0, 5000)),
    )


def run(bench, spec):
    """Run one specification on either form; return everything that can be told apart."""
    timing, reads, writes, injected, waits, idle = spec
    memory = Memory(SIZE)
    memory.data[:] = np.arange(SIZE, dtype=np.uint64).astype(np.uint8)
    bench.memory("m_axi", memory, timing, faults=injected, observe=True)
    bench.observe("o_read")
    bench.source("i_read", waits=waits, idle=idle).push(reads)
    bench.source("i_write", idle=idle).push(writes)
    beats = sum(write["len"] + 1 for write in writes)
    bench.source("i_data", waits=waits).push(n.to_bytes(2, "big") * 16 for n in range(beats))
    bench.sink("o_read", waits=waits, idle=idle)
    bench.sink("o_written", idle=idle)
    bench.run(300)
    bench.source("i_read").push(reads[:2])  # between batches too
    bench.run(200)
    events = bench.observer.events().tolist()
    sinks = [(bench.sink(name).take(), list(map(int, bench.sink(name).cycles))) for name in ("o_read", "o_written")]
    return events, sinks, bench.source("i_write").remaining, memory.data.tobytes()


specifications = st.tuples(
    hbm | host,
    st.lists(bursts(), max_size=12),
    st.lists(bursts(), max_size=8),
    st.lists(faults(), max_size=2),
    st.lists(st.integers(0, 9), max_size=6),
    shares,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(specifications, st.integers(0, 2**32))
def test_both_forms_are_equal_in_every_cycle(spec, seed):
    assert run(AmaranthBench(Dma(), seed=seed), spec) == run(design().bench(seed=seed), spec)


@pytest.mark.parametrize("kind", ["hbm", "host"])
def test_cocotb_sees_what_the_harness_sees(kind, tmp_path):
    from tests.support.designs import dma_bench

    run_cocotb("tests.support.designs.dma_bench", "record_events", kind=kind, file=str(tmp_path / "events.npz"))
    bench = design().bench(seed=dma_bench.SEED)
    dma_bench.load(bench, kind)
    bench.run(dma_bench.CYCLES)
    recorded = Observer.load(tmp_path / "events.npz")
    assert recorded.ports == bench.observer.ports
    assert len(recorded.events()) > 100
    assert np.array_equal(recorded.events(), bench.observer.events())


def test_the_same_seed_gives_the_same_run_and_another_seed_another():
    reads = [{"addr": n * 512, "len": 0, "id": 0} for n in range(12)]
    spec = (HostTiming(ids=64), reads, [], [], [], 0.0)
    first, again, other = (run(design().bench(seed=seed), spec) for seed in (1, 1, 2))
    assert first == again != other
