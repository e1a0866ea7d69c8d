# amaranth: UnusedElaboratable=no
"""Page draws: equal to the reference for every index and bound, at the promised rate."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.drbg import Drbg as Reference
from omap.errors import ParamsError
from rtl.constants import SPARE_BITS
from rtl.crypto.drbg import Drbg
from sim.bench.amaranth_bench import AmaranthBench


def expected(design, seed, indices):
    """Draws of the reference as the payload of ``o_draw``."""
    reference = Reference(seed)
    pairs = [map(int, reference.pairs(index, 1, design.pages)[0]) for index in indices]
    return [design.draw_shape.const({"dummy": p, "next": q}).as_value().value for p, q in pairs]


@settings(max_examples=12)
@given(
    pages=st.one_of(st.sampled_from([2, 1 << 31, 139811]), st.integers(1, 1 << 31)),
    ciphers=st.sampled_from([1, 3, 6]),
    seed=st.binary(min_size=32, max_size=32),
    indices=st.lists(st.integers(0, (1 << 63) - 1), min_size=1, max_size=8),
    waits=st.lists(st.integers(0, 20), max_size=8),
    stalls=st.lists(st.integers(0, 60), max_size=8),
)
def test_draws_equal_the_reference_in_any_schedule(pages, ciphers, seed, indices, waits, stalls):
    design = Drbg(pages=pages, ciphers=ciphers)
    bench = AmaranthBench(design)
    bench.source("i_seed").push([seed])
    bench.source("i_index", waits=waits).push(indices)
    sink = bench.sink("o_draw", waits=stalls)
    if pages == 1:  # a payload without bits
        bench.run_until(limit=1500, transfers={"o_draw": len(indices)})
        return
    bench.run_until(limit=1500, transfers={"o_draw": len(indices)})
    assert sink.take() == expected(design, seed, indices)


@pytest.mark.parametrize(("ciphers", "rate"), [(4, 4), (6, 16 / 6), (8, 2)])
def test_draws_come_at_the_promised_rate(ciphers, rate):
    design = Drbg(pages=139811, ciphers=ciphers)
    bench = AmaranthBench(design)
    seed = bytes(range(32))
    indices = list(range(10 * ciphers))
    bench.source("i_seed").push([seed])
    source, sink = bench.source("i_index"), bench.sink("o_draw")
    source.push(indices)
    bench.run_until(limit=400, transfers={"o_draw": len(indices)})
    assert sink.take() == expected(design, seed, indices)
    assert sink.cycles == [cycle + design.latency for cycle in source.cycles]
    assert source.cycles[-1] - source.cycles[ciphers - 1] <= rate * (len(indices) - ciphers)


def test_spare_bits_are_the_lowest_of_the_draw_made_last_and_are_erased():
    seed, indices = bytes(range(32)), [5, 9, 1 << 40]
    bench = AmaranthBench(Drbg(pages=139811))
    bench.source("i_seed").push([seed])
    for index in indices:
        bench.source("i_index").push([index])
        bench.run(60)
        assert bench.get("spare") == int(Reference(seed).words(index, 1)[0][1]) & (1 << SPARE_BITS) - 1
    bench.set("erase", 1)
    bench.run(2)
    assert bench.get("spare") == 0


def test_nothing_is_drawn_without_a_seed():
    bench = AmaranthBench(Drbg(pages=5))
    bench.source("i_index").push([1, 2])
    bench.run(60)
    assert bench.source("i_index").transfers == 0
    bench.source("i_seed").push([bytes(32)])
    bench.run_until(limit=60, transfers={"o_draw": 2})
    bench.set("erase", 1)
    bench.run(1)
    bench.set("erase", 0)
    bench.source("i_index").push([3])
    bench.run(60)
    assert bench.source("i_index").transfers == 2


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"pages": 0}, "pages is 0; it must be a whole number from 1 to 2147483648"),
        ({"pages": (1 << 31) + 1}, "pages is 2147483649"),
        ({"pages": 4, "ciphers": 17}, "ciphers is 17; it must be a whole number from 1 to 16"),
    ],
)
def test_refused_parameters(arguments, text):
    with pytest.raises(ParamsError, match=text):
        Drbg(**arguments)
