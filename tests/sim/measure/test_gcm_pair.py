"""The design that `make bench-sim` times does its work: what it moves opens under its new version."""

import pytest

from omap.errors import PageAlteredError
from sim.bench.amaranth_bench import AmaranthBench
from sim.bench.compiled import Design
from sim.measure import gcm_pair


def test_pages_are_moved_under_amaranth():
    bench = AmaranthBench(gcm_pair.GcmPair(), seed=gcm_pair.SEED)
    memory = gcm_pair.load(bench, 8)
    bench.run(450)
    assert bench.sink("o_done").transfers == 8
    gcm_pair.check(bench, memory)
    memory.write(0, b"\0")
    with pytest.raises(PageAlteredError):
        gcm_pair.check(bench, memory)


@pytest.mark.long
def test_the_harness_moves_a_page_in_eight_cycles():
    bench = Design(gcm_pair.GcmPair()).bench(seed=gcm_pair.SEED)
    memory = gcm_pair.load(bench, 3000)
    bench.run_until(limit=40_000, transfers={"o_done": 3000})
    gcm_pair.check(bench, memory)
    done = bench.sink("o_done").cycles
    assert done[-1] - done[1000] == pytest.approx(8 * 1999, rel=0.01)
