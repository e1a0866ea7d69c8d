"""The bounds behind the sizes: known figures, distributions, and counts of small cases."""

import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from omap import sizing
from omap.errors import ParamsError
from omap.params import DESCRIPTOR_BYTES, KEY_SIZES, MAX_PAGE_SLOTS
from omap.presets import NAMES, preset
from omap.sizing import buckets, theorem

FIGURES = {(6, 8): 19.31, (8, 8): 21.36, (8, 12): 13.32, (11.25, 15): 10.21, (12, 16): 9.54, (22.5, 30): 4.85}
"""Load, slots, % waiting: the theorem as computed and simulated elsewhere."""

PROVISIONED = {8: (20.2, 19.5), 12: (13.8, 13.1), 15: (11.1, 10.4), 30: (5.7, 5.1)}
"""Slots: % to provision at N = 2^20 and 2^24 by the first, sketched bound."""


# -- the theorem ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "share"), FIGURES.items())
def test_the_theorem_gives_the_known_figures(shape, share):
    assert 100 * theorem.mean_share(*shape) == pytest.approx(share, abs=0.006)


@pytest.mark.parametrize(("load", "slots"), FIGURES)
def test_the_law_has_the_mean_of_the_formula(load, slots):
    """1 - exp(-c) tuples were accessed since, and the older ones exceed the slots by their mean excess."""

    def excess(age):
        counts = np.arange(slots + 1, 200)
        return math.exp(-age) * float((counts - slots) @ stats.poisson.pmf(counts, load - age))

    formula = 1 - math.exp(-load) + integrate.quad(excess, 0, load, epsabs=1e-12)[0]
    assert theorem.mean_share(load, slots) * load == pytest.approx(formula, rel=1e-9)


@pytest.mark.parametrize(("capacity", "pages", "slots"), [(1000, 191, 7), (1 << 20, 93207, 15), (64, 2, 31)])
def test_the_law_for_a_number_of_pages_is_a_distribution_above_the_limit(capacity, pages, slots):
    law = theorem.waiting_law(capacity, pages, slots)
    assert law.sum() == pytest.approx(1, abs=1e-12)
    mean = law @ np.arange(len(law))
    limit = theorem.mean_share(capacity / pages, slots) * capacity / pages
    assert limit < mean < limit + 3 * capacity / pages**2 + 2 / pages


@pytest.mark.parametrize("slots", PROVISIONED)
@pytest.mark.parametrize("place", [0, 1])
def test_the_proven_bound_is_below_the_sketched_one_and_above_the_mean(slots, place):
    capacity = 1 << (20, 24)[place]
    pages = math.ceil(capacity / (0.75 * slots))
    law = theorem.waiting_law(capacity, pages, slots)
    provided = theorem.provision(law, np.arange(len(law)), pages, sizing.INSTANT_BITS) / capacity
    assert theorem.mean_share(0.75 * slots, slots) + 0.0005 < provided < (PROVISIONED[slots][place] + 0.06) / 100


@settings(max_examples=30)
@given(capacity=st.integers(20, 10**9), slots=st.integers(1, 32), bits=st.integers(1, 200))
def test_tail_bits_invert_provision(capacity, slots, bits):
    pages = max(2, math.ceil(capacity / (0.75 * slots)))
    law = theorem.waiting_law(capacity, pages, slots)
    size = theorem.provision(law, np.arange(len(law)), pages, bits)
    assert theorem.tail_bits(law, np.arange(len(law)), pages, size) >= bits - 1e-6
    assert theorem.tail_bits(law, np.arange(len(law)), pages, size - 2) < bits


# -- the position map -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entries", buckets.LOADS)
def test_a_placement_exists_at_every_size(entries):
    capacities = {33, 34, 40, *np.geomspace(40, 2**31, 60).astype(int).tolist()}
    for capacity in capacities:
        tables = buckets.table_buckets(capacity, entries)
        assert 2 * tables * entries * buckets.LOADS[entries] >= capacity
        assert buckets.obstruction_bits(capacity, tables, entries) >= sizing.INSTANT_BITS, capacity


def test_the_obstruction_bound_holds_where_it_can_be_counted():
    """Every set of buckets, of random graphs small enough to try them all."""
    random = np.random.default_rng(5)
    tables, entries, keys, transit = 3, 2, 9, 1
    sets = [np.array(chosen, bool) for chosen in itertools.product((0, 1), repeat=2 * tables)]
    obstructed = 0
    for _ in range(4000):
        one, other = random.integers(tables, size=(2, keys))
        obstructed += any((s[one] & s[tables + other]).sum() > entries * s.sum() + transit for s in sets)
    bound = 2.0 ** -buckets.obstruction_bits(keys, tables, entries, transit)
    assert 0 < obstructed / 4000 <= bound < 1


def test_unmeasured_buckets_are_refused():
    with pytest.raises(ParamsError, match="buckets of 7 entries; it was measured for 2, 3, 4"):
        buckets.table_buckets(1000, 7)


def test_the_transit_queue_meets_the_target():
    assert buckets.transit_bits(33) >= sizing.INSTANT_BITS
    assert buckets.transit_bits(32) == math.inf


# -- parameters -------------------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(
    capacity=st.one_of(st.integers(1, 300), st.integers(1, 10**8)),
    key_bytes=st.sampled_from(KEY_SIZES),
    value_bytes=st.integers(1, 300),
    slots=st.integers(1, 12),
    descriptor_bytes=st.sampled_from(DESCRIPTOR_BYTES),
    bucket_bytes=st.sampled_from([64, 128]),
)
def test_every_shape_is_sized_and_small_ones_cannot_run_out(
    capacity, key_bytes, value_bytes, slots, descriptor_bytes, bucket_bytes
):
    shape = dict(capacity=capacity, key_bytes=key_bytes, value_bytes=value_bytes, bucket_bytes=bucket_bytes)
    page_bytes = sizing.page_bytes_for(slots, key_bytes + value_bytes)
    if (page_bytes - 16) // (key_bytes + value_bytes) > MAX_PAGE_SLOTS:
        page_bytes = sizing.page_bytes_for(MAX_PAGE_SLOTS // 2, key_bytes + value_bytes)
    one = sizing.one_choice(**shape, page_bytes=page_bytes, descriptor_bytes=descriptor_bytes)
    two = sizing.two_choice(**shape, descriptor_bytes=descriptor_bytes)
    for params in (one, two, sizing.resident(**shape)):
        assert params.capacity <= params.entries + params.transit_entries
        assert 1 <= params.waiting_slots <= capacity
        if capacity <= 24:
            assert params.waiting_slots == capacity
        if params.pages:
            first, further = params.line_indices
            # as many lines as the waiting tuples can need at all, or a count from the theorem
            enough = params.waiting_slots // min(first + 1, further)
            assert params.further_lines <= enough
            if capacity <= 24:
                assert params.further_lines == enough
    assert one.page_slots * one.pages >= capacity
    assert two.bins >= 2


@pytest.mark.parametrize("name", NAMES)
def test_presets_meet_the_target(name):
    from omap.sizing.plan import Plan

    risks = Plan(preset(name), "").risks
    assert set(risks) == {"position map", "waiting slots", "further lines"}
    assert all(risk.bits >= sizing.TARGET_BITS for risk in risks.values())
    assert preset(name.lower()) == preset(name)


def test_tiny_cannot_run_out_at_all():
    from omap.sizing.plan import Plan

    assert {risk.bits for risk in Plan(preset("TINY"), "").risks.values()} == {math.inf}


def test_unknown_preset():
    with pytest.raises(ParamsError, match="no preset is called 'HUGE'; choose one of TINY"):
        preset("HUGE")


@pytest.mark.parametrize("descriptor_bytes", DESCRIPTOR_BYTES)
def test_line_costs_are_those_of_the_parameters(descriptor_bytes):
    params = sizing.one_choice(
        capacity=100, key_bytes=8, value_bytes=8, page_bytes=128, descriptor_bytes=descriptor_bytes
    )
    first, further = params.line_indices
    expected = [max(0, math.ceil((waiting - first) / further)) for waiting in range(100)]
    assert sizing.line_costs(100, descriptor_bytes).tolist() == expected


PUBLISHED = {16: (13.00, 14_856, 7_437), 20: (13.32, 217_743, 78_977), 24: (13.58, 3_391_324, 1_078_402)}
"""log2 N: published bounds on load, HBM store and eviction buffer at c = 8, alpha = 0.2."""


@pytest.mark.parametrize(("bits", "expected"), PUBLISHED.items())
def test_the_published_bounds(bits, expected):
    capacity = 1 << bits
    params = sizing.two_choice(capacity=capacity, key_bytes=8, value_bytes=8)
    assert (params.bins, params.hbm_bins) == (capacity // 8, int(capacity // 8 * 0.2))
    assert params.page_slots >= 13
    bounds = sizing.two_choice_bounds(capacity, 8, params.hbm_bins, params.pages)
    assert (sizing.most_load(capacity, 8), *bounds) == pytest.approx(expected, abs=1)
    assert sum(bounds) < params.waiting_slots < 1.1 * sum(bounds) + 0.2 * capacity


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"capacity": 0}, "capacity is 0; it must be a whole number, 1 or more"),
        ({"capacity": 1e6}, "capacity is 1000000.0; it must be a whole number"),
        ({"key_bytes": 5}, "key_bytes is 5; it must be 4, 8 or 16"),
        ({"value_bytes": 5000}, "value_bytes is 5000; it must be 1 to 4096"),
        ({"page_bytes": 64}, "page_bytes is 64; one 72-byte tuple and its tag need 128"),
        ({"page_bytes": 100}, "page_bytes is 100; it must be a positive multiple of 64"),
        ({"page_bytes": 4096}, "room for 56 tuples"),
    ],
)
def test_what_cannot_be_sized_is_refused(wrong, message):
    with pytest.raises(ParamsError, match=message):
        sizing.one_choice(**dict(capacity=1000, key_bytes=8, value_bytes=64, page_bytes=640) | wrong)


@pytest.mark.parametrize("wrong", [{"share": 1.0}, {"share": -0.1}, {"load": 0}])
def test_two_choice_refuses_impossible_shares(wrong):
    with pytest.raises(ParamsError, match="load must be above 0, share at least 0 and below 1"):
        sizing.two_choice(capacity=1000, key_bytes=8, value_bytes=8, **wrong)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(page_load=float("nan")), "page_load is nan; it must be a number above 0, such as 0.75"),
        (dict(page_load=0), "page_load is 0; it must be a number above 0"),
        (dict(page_load=-1.5), "page_load is -1.5; it must be a number above 0"),
        (dict(page_load=5e-324), "page_load is 5e-324; it must be a number above 0"),
        (dict(page_load=10**400), "it must be a number above 0"),
        (dict(page_load="1"), "page_load is '1'; it must be a number above 0"),
        (dict(pages=0), "pages is 0; it must be 1 to 2147483648"),
        (dict(pages=1e9), "pages is 1000000000.0; it must be 1 to"),
        (dict(pages=1 << 40), "it must be 1 to 2147483648"),
        (dict(descriptor_bytes=float("nan")), "descriptor_bytes is nan; it must be 32, 64 or 128"),
        (dict(descriptor_bytes=10**30), "it must be 32, 64 or 128"),
        (dict(bucket_bytes=0), "bucket_bytes is 0; it must be 64 or 128"),
        (dict(bucket_bytes=float("nan")), "bucket_bytes is nan; it must be 64 or 128"),
        (dict(page_bytes=9408), "room for 130 tuples of 72 bytes; the occupancy bitmap allows 32"),
        (dict(page_bytes=640.0), "page_bytes is 640.0; it must be a positive multiple of 64"),
    ],
    ids=str,
)
def test_what_is_no_size_gets_a_sentence(change, message):
    with pytest.raises(ParamsError, match=re.escape(message)):
        sizing.one_choice(**dict(capacity=1000, key_bytes=8, value_bytes=64, page_bytes=640) | change)


@pytest.mark.parametrize("load", [float("nan"), float("inf"), 0, -1, 5e-324, "8", None, 10**400])
def test_what_is_no_load_of_two_choice_gets_a_sentence(load):
    with pytest.raises(ParamsError, match="load must be above 0"):
        sizing.two_choice(capacity=1000, key_bytes=8, value_bytes=64, load=load)


@pytest.mark.parametrize("load", [20, 64, 100, 1000])
def test_long_lists_have_a_bound_too(load):
    """A tilt whose exponentials are too large says nothing; the others do."""
    params = sizing.one_choice(capacity=10_000, key_bytes=8, value_bytes=64, page_bytes=640, page_load=load)
    assert params.waiting_slots <= params.capacity
    assert 0 < params.further_lines <= sizing.most_lines(params.waiting_slots, 64)
    assert params.waiting_slots >= 0.9 * (params.capacity - params.pages * params.page_slots)


def test_pages_can_be_given():
    shape = dict(capacity=1000, key_bytes=8, value_bytes=64, page_bytes=640)
    for pages in (1, 2, 100, 5000):
        assert sizing.one_choice(**shape, pages=pages).pages == pages
    usual = sizing.one_choice(**shape)
    assert sizing.one_choice(**shape, pages=usual.pages) == usual
