# amaranth: UnusedElaboratable=no
"""Wide items and their beats: nothing lost, in order, and without gaps while both ends keep up."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.errors import ParamsError
from rtl.stream.gearbox import Narrow, Widen
from sim.bench.amaranth_bench import AmaranthBench

WIDE, NARROW = 32, 8
BEATS = WIDE // NARROW


def run(component, items, out, idle, stalls):
    bench = AmaranthBench(component, seed=1)
    bench.source("i", idle=idle).push(items)
    bench.sink("o", idle=stalls)
    bench.run_until(limit=2000, transfers={"o": out})
    return bench.sink("o")


shares = st.sampled_from([0.0, 0.5])


@settings(max_examples=10)
@given(data=st.binary(min_size=BEATS, max_size=8 * BEATS), idle=shares, stalls=shares)
def test_beats_make_items_and_items_make_beats(data, idle, stalls):
    data = data[: len(data) // BEATS * BEATS]
    words = [int.from_bytes(data[at : at + BEATS], "little") for at in range(0, len(data), BEATS)]
    assert run(Narrow(wide=WIDE, narrow=NARROW), words, len(data), idle, stalls).take() == list(data)
    assert run(Widen(narrow=NARROW, wide=WIDE), list(data), len(words), idle, stalls).take() == words


@pytest.mark.parametrize(
    ("component", "count", "out", "apart"),
    [(Narrow(wide=WIDE, narrow=NARROW), 5, 5 * BEATS, 1), (Widen(narrow=NARROW, wide=WIDE), 5 * BEATS, 5, BEATS)],
)
def test_there_are_no_gaps(component, count, out, apart):
    cycles = run(component, [0] * count, out, 0.0, 0.0).cycles
    assert [b - a for a, b in pairwise(cycles)] == [apart] * (out - 1)


def test_what_does_not_divide_is_refused():
    with pytest.raises(ParamsError, match="wide is 20"):
        Narrow(wide=20, narrow=8)
    with pytest.raises(ParamsError, match="wide is 20"):
        Widen(narrow=8, wide=20)
