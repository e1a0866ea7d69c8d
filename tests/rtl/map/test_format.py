# amaranth: UnusedElaboratable=no
"""A format begins at a time of its own, whatever still goes on in HBM."""

import pytest

from rtl.map.format import Format
from sim.bench.amaranth_bench import AmaranthBench
from tests.support.rtl.engines import TIGHT

SETTLE = 40


@pytest.mark.sec_cm("FORMAT.TIME.FIXED")
def test_how_long_hbm_is_busy_does_not_show(monkeypatch):
    monkeypatch.setattr("rtl.map.format.SETTLE", SETTLE)
    begun = []
    for busy in (0, 1, SETTLE // 2, SETTLE - 1):
        bench = AmaranthBench(Format(TIGHT.params))
        for cycle in range(3 * SETTLE):
            bench.set("format", cycle == 0)
            bench.set("quiet", cycle >= busy)
            bench.run(1)
            if bench.get("clear"):
                begun.append(cycle)
                break
    assert len(begun) == 4
    assert len(set(begun)) == 1
