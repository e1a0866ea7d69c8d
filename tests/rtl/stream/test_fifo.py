# amaranth: UnusedElaboratable=no
"""FIFO and skid buffer against a list, on drawn items and waiting times; their timing and their parameters."""

import pytest
from amaranth.lib import data
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.errors import ParamsError
from rtl.stream.fifo import RAM_STYLES, Fifo
from rtl.stream.skid import SkidBuffer
from sim.bench.amaranth_bench import AmaranthBench

KINDS = [*RAM_STYLES, "registered"]


def fifo(kind, depth):
    """A FIFO in a kind of memory, or in LUT RAM with a register behind it."""
    if kind == "registered":
        return Fifo(shape=8, depth=depth, registered=True)
    return Fifo(shape=8, depth=depth, ram_style=kind)


waits = st.lists(st.integers(0, 4), max_size=20)


@settings(max_examples=40)
@given(st.lists(st.integers(0, 255), max_size=30), waits, waits, st.integers(1, 5), st.sampled_from([*KINDS, "skid"]))
def test_items_come_out_as_they_went_in(items, before, after, depth, kind):
    dut = SkidBuffer(shape=8) if kind == "skid" else fifo(kind, depth)
    bench = AmaranthBench(dut)
    bench.source("i", waits=before).push(items)
    bench.sink("o", waits=after)
    bench.run(4 * len(items) + sum(before) + sum(after) + 4)
    assert bench.sink("o").take() == items


@pytest.mark.parametrize("kind", [*KINDS, "skid"])
def test_one_item_a_cycle_after_the_stated_latency(kind):
    dut = SkidBuffer(shape=8) if kind == "skid" else fifo(kind, 3)
    latency = 1 if kind == "skid" else dut.latency
    bench = AmaranthBench(dut)
    bench.source("i").push(range(20))
    bench.run(30)
    assert bench.source("i").cycles == list(range(20))
    assert bench.sink("o").cycles == [n + latency for n in range(20)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("depth", [1, 3, 8])
def test_depth_items_fit_and_are_counted(depth, kind):
    bench = AmaranthBench(fifo(kind, depth))
    bench.source("i").push(range(20))
    bench.sink("o", waits=[30])
    bench.run(20)
    assert bench.source("i").transfers == depth == bench.get("level")


def test_a_structured_payload_keeps_its_shape():
    shape = data.StructLayout({"tag": 3, "word": 21})
    bench = AmaranthBench(Fifo(shape=shape, depth=2))
    bench.source("i").push([{"tag": 5, "word": 0x12345}])
    bench.run(5)
    assert shape.from_bits(bench.sink("o").take()[0])["word"] == 0x12345


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 0}, "depth is 0"),
        ({"depth": 2.0}, "depth is 2.0"),
        ({"depth": 2, "ram_style": "lut"}, "ram_style is 'lut'"),
    ],
)
def test_impossible_parameters_are_refused(arguments, message):
    with pytest.raises(ParamsError, match=message):
        Fifo(shape=8, **arguments)
