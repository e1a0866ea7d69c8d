"""The planner finds the smallest pages: no other load, of all that a search tries one by one, lets smaller ones fit."""

import random

import pytest

from omap import sizing
from omap.board import BOARDS
from omap.errors import ParamsError, PlanError
from omap.params import DESCRIPTOR_BYTES, KEY_SIZES
from omap.sizing.loads import GRID, LEAST_LOAD, MOST_LOAD, NEAR, least, most_board_load
from omap.sizing.planner import largest, plan
from omap.sizing.sizes import page_slots_of, pages_for

GIB = 1 << 30
SEED = 20
STEP = 1.02
"""Factor from one load to the next in a search by brute force; a small map is tried with every number of pages."""


def numbers_of_pages(capacity, slots):
    low, high = pages_for(capacity, slots, MOST_LOAD), pages_for(capacity, slots, LEAST_LOAD)
    if high - low <= 150:
        return range(low, high + 1)
    found, load = set(), MOST_LOAD
    while load > LEAST_LOAD:
        found.add(pages_for(capacity, slots, load))
        load /= STEP
    return sorted(found)


def maps(shape, slots):
    """Yield every map with the smallest pages that hold some tuples."""
    page_bytes = sizing.page_bytes_for(slots, shape["key_bytes"] + shape["value_bytes"])
    try:
        slots = page_slots_of(page_bytes, shape["key_bytes"] + shape["value_bytes"])
    except ParamsError:
        return
    for pages in numbers_of_pages(shape["capacity"], slots):
        for descriptor_bytes in DESCRIPTOR_BYTES:
            yield sizing.one_choice(**shape, page_bytes=page_bytes, pages=pages, descriptor_bytes=descriptor_bytes)


def drawn(number):
    """Return a configuration: shape, HBM and host memory. One page size fits by a little, or fails by a little."""
    draw = random.Random(f"page sizes {SEED} {number}")
    shape = dict(
        capacity=int(10 ** draw.uniform(1, 8)),
        key_bytes=draw.choice(KEY_SIZES),
        value_bytes=draw.choice((1, 8, 16, 64, 100, 256, 1000, 4096)),
    )
    smallest = min(maps(shape, draw.choice((1, 1, 2, 2, 3, 4, 6))), key=lambda params: params.hbm_bytes)
    hbm_bytes = int(smallest.hbm_bytes * draw.choice((1, 1, 1.0001, 1.003, 1.03, 0.9999, 0.99)))
    host_bytes = draw.choice((None, None, int(smallest.host_bytes * draw.uniform(0.7, 1.5))))
    return shape, hbm_bytes, host_bytes


def by_brute_force(shape, hbm_bytes, host_bytes):
    """Return the smallest pages for which some map fits; None if there are none."""
    for slots in range(1, 33):
        for params in maps(shape, slots):
            if params.hbm_bytes <= hbm_bytes and (host_bytes is None or params.host_bytes <= host_bytes):
                return params.page_bytes
    return None


@pytest.mark.parametrize(
    "numbers",
    [range(5), *(pytest.param(range(at, at + 15), marks=pytest.mark.long) for at in range(5, 200, 15))],
    ids=lambda numbers: f"{numbers.start} to {numbers.stop - 1}",
)
def test_brute_force_finds_no_smaller_pages(numbers):
    for number in numbers:
        shape, hbm_bytes, host_bytes = drawn(number)
        wanted = by_brute_force(shape, hbm_bytes, host_bytes)
        try:
            found = plan(**shape, rule="one_choice", hbm_bytes=hbm_bytes, host_bytes=host_bytes).params
        except PlanError:
            assert wanted is None, (number, shape, hbm_bytes, host_bytes)
            continue
        assert found.hbm_bytes <= hbm_bytes
        assert host_bytes is None or found.host_bytes <= host_bytes
        assert wanted is None or found.page_bytes <= wanted, (number, shape, hbm_bytes, host_bytes)


@pytest.mark.parametrize(
    ("shape", "hbm_bytes", "page_bytes"),
    [
        (dict(capacity=67357508, key_bytes=8, value_bytes=256), 16 * GIB, 320),
        (dict(capacity=55414, key_bytes=16, value_bytes=8), 3298843, 64),
    ],
)
def test_pages_of_one_or_two_slots_fit_at_a_high_load(shape, hbm_bytes, page_bytes):
    chosen = plan(**shape, hbm_bytes=hbm_bytes)
    assert chosen.params.page_bytes == page_bytes
    assert chosen.params.hbm_bytes <= hbm_bytes
    assert chosen.params.capacity > 1.1 * chosen.params.pages * chosen.params.page_slots
    assert all(risk.bits >= sizing.TARGET_BITS for risk in chosen.risks.values())


@pytest.mark.parametrize(
    ("key_bytes", "value_bytes"),
    [(4, 8), pytest.param(8, 64, marks=pytest.mark.long), pytest.param(16, 256, marks=pytest.mark.long)],
)
def test_prefer_hbm_needs_no_more_than_any_page_size_and_load(key_bytes, value_bytes):
    shape = dict(capacity=3000, key_bytes=key_bytes, value_bytes=value_bytes)
    frugal = plan(**shape, prefer="hbm").params
    position_map = frugal.hbm_account["position map"]
    for slots in (1, 2, 4, 8, 16, 24, 28, 31, 32):
        for params in maps(shape, slots):
            others = params.hbm_bytes - params.hbm_account["position map"]
            assert (frugal.hbm_bytes - position_map) <= others * 1.001


def test_a_plan_for_a_card_keeps_lists_short():
    """A touch reads the list of a page in a fixed time, so that the loads of a card stay low."""
    for slots, most in ((1, 1.5), (2, 4 / 3), (4, 1.2), (9, 1.1), (32, 1.1)):
        assert most_board_load(slots) == pytest.approx(most)
    for value_bytes in (8, 256):
        for capacity in (10**8, 1.5 * 10**8, 2 * 10**8):
            try:
                params = plan(capacity=int(capacity), key_bytes=8, value_bytes=value_bytes, board=BOARDS["u50"]).params
            except PlanError:
                continue
            load = params.capacity / (params.pages * params.page_slots)
            assert load <= most_board_load(params.page_slots) + 1e-6


def test_largest_tries_high_loads_for_pages_of_few_slots():
    found = largest(key_bytes=8, value_bytes=256, page_bytes=320, hbm_bytes=GIB)
    params = found.params
    assert params.capacity > 2 * params.pages
    usual = sizing.one_choice(capacity=params.capacity, key_bytes=8, value_bytes=256, page_bytes=320, page_load=1.1)
    assert usual.hbm_bytes > GIB >= params.hbm_bytes


@pytest.mark.parametrize("lowest", [0, 1, 5, 40, 99, 100])
@pytest.mark.parametrize("high", [100, NEAR, 1])
def test_golden_section_ends_at_the_least(lowest, high):
    asked = []

    def cost(number):
        asked.append(number)
        return abs(number - lowest)

    assert least(cost, 0, high) == min(lowest, high)
    assert min(asked) >= 0
    assert max(asked) <= high


def test_golden_section_takes_few_steps():
    asked = set()

    def cost(number):
        asked.add(number)
        return (number - 123_456_789) ** 2

    assert least(cost, 0, 10**9) == 123_456_789
    assert len(asked) < 120
    assert abs(least(cost, 10**8, 10**9, 1e-3) / 123_456_789 - 1) < 1e-3
    assert list(GRID) == sorted(GRID)
