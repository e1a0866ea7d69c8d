# amaranth: UnusedElaboratable=no
"""Items leave at a fixed offset from their start, whenever they came; a late one is told, once."""

import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.errors import ParamsError
from rtl.map.pacer import Pacer
from sim.bench.amaranth_bench import AmaranthBench

OFFSET, DEPTH = 12, 8


class Started(wiring.Component):
    """A pacer whose starts are a stream, so that a bench can place them."""

    def __init__(self):
        super().__init__(
            {
                "i_start": In(stream.Signature(1, always_ready=True)),
                "i": In(stream.Signature(8)),
                "o": Out(stream.Signature(8)),
                "late": Out(8),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.pacer = pacer = Pacer(shape=8, offset=OFFSET, depth=DEPTH)
        m.d.comb += pacer.start.eq(self.i_start.valid)
        connect(m, flipped(self.i), pacer.i)
        connect(m, pacer.o, flipped(self.o))
        m.d.sync += self.late.eq(self.late + pacer.late)
        return m


def run(starts, comes):
    """Start at given gaps, let items come at given gaps; return the cycles of starts and of items, and overruns."""
    bench = AmaranthBench(Started())
    bench.source("i_start", waits=starts).push([0] * len(starts))
    bench.source("i", waits=comes).push(range(len(comes)))
    bench.run_until(limit=2000, transfers={"o": len(starts)})
    assert bench.sink("o").take() == list(range(len(starts)))
    bench.run(2)
    return bench.source("i_start").cycles, bench.sink("o").cycles, bench.get("late")


gaps = st.lists(st.integers(2, 9), min_size=1, max_size=6)


@pytest.mark.sec_cm("EVENT.TIME.PACED")
@settings(max_examples=15)
@given(starts=gaps, data=st.data())
def test_the_time_of_an_item_does_not_matter(starts, data):
    comes = data.draw(st.lists(st.integers(0, 2), min_size=len(starts), max_size=len(starts)))
    begun, left, late = run(starts, comes)
    assert [b - a for a, b in zip(begun, left, strict=True)] == [OFFSET] * len(starts)
    assert late == 0


def test_a_late_item_is_counted_once():
    begun, left, late = run([1, 1], [40, 1])
    assert left[0] > begun[0] + OFFSET
    assert late == 2


def test_what_cannot_be_is_refused():
    with pytest.raises(ParamsError, match="offset is 1"):
        Pacer(shape=8, offset=1, depth=4)
