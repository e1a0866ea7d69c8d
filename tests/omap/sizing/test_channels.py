"""Every item has a place of its own in its structure's channels, and nothing needs more channels than it must."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omap.errors import ParamsError
from omap.presets import NAMES, preset
from omap.sizing.channels import (
    CHANNEL_BYTES,
    LEAST_INTERVAL,
    LEAST_SPREAD,
    PSEUDO_CHANNELS,
    Layout,
    account,
    default_lanes,
    fitting_interval,
    layouts,
    least_interval,
    list_lines,
    total,
)


@st.composite
def drawn_layouts(draw):
    spread, per_group = draw(st.integers(0, 3)), draw(st.integers(1, 40))
    groups = draw(st.integers(1, 9))
    least = ((groups - 1) * per_group << spread) + 1
    items = draw(st.integers(least, groups * per_group << spread))
    return Layout(items=items, item_bytes=32, spread=spread, groups=groups, per_group=per_group)


@given(layout=drawn_layouts(), part=st.floats(0, 1))
def test_items_lie_one_after_the_other_in_their_channels(layout, part):
    places = [layout.place(item) for item in range(layout.items)]
    assert len(set(places)) == layout.items
    count = int(part * layout.items)
    for channel in range(layout.channels):
        rows = [row for found, row in places[:count] if found == channel]
        assert rows == [*range(len(rows))]
        assert layout.below(count, channel) == len(rows) <= layout.per_group


def test_neighbours_take_turns_in_a_group():
    layout = Layout(items=20, item_bytes=32, spread=1, groups=3, per_group=4)
    assert [layout.place(item) for item in (0, 1, 2, 7, 8, 15, 16, 19)] == [
        (0, 0), (1, 0), (0, 1), (1, 3), (2, 0), (3, 3), (4, 0), (5, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("layout", "text"),
    [
        ({"items": 0}, "items is 0"),
        ({"items": 9, "groups": 2, "per_group": 4}, "groups is 2; 9 rows, 4 a group, need 3"),
        ({"items": 8, "groups": 3, "per_group": 4}, "groups is 3; 8 rows, 4 a group, need 2"),
    ],
)
def test_groups_that_do_not_fit_are_refused(layout, text):
    with pytest.raises(ParamsError, match=text):
        Layout(item_bytes=32, **layout)


@pytest.mark.parametrize("channel_bytes", [CHANNEL_BYTES, CHANNEL_BYTES // 2, 1 << 20, 1 << 14])
@pytest.mark.parametrize("name", NAMES)
def test_each_structure_fits_and_wastes_little(name, channel_bytes):
    params = preset(name)
    found = layouts(params, channel_bytes=channel_bytes)
    sizes = [layout.items * layout.item_bytes for layout in found.values()]
    assert sum(sizes[:2]) == params.hbm_account["position map"]
    assert sizes[2:4] == [params.hbm_account[name] for name in ("page descriptors", "waiting slots")]
    assert 0 <= sizes[4] - params.hbm_account["free lists"] < 2 * 64
    slow = layouts(params, channel_bytes=channel_bytes, interval=1 << 12)
    for structure, size in zip(found, sizes, strict=True):
        layout, alone = found[structure], slow[structure]
        assert layout.per_group * layout.item_bytes <= channel_bytes
        assert layout.spread >= alone.spread == (LEAST_SPREAD.get(structure, 0) if size <= channel_bytes else 0)
        if channel_bytes // layout.item_bytes >= 512:
            assert alone.channels <= size / channel_bytes * 512 / 511 + (1 << alone.spread)


def test_traffic_asks_for_channels():
    paper = layouts(preset("PAPER"))
    assert account(paper) == "table 0 4, table 1 4, descriptors 8, slots 8, free lists 1"
    assert total(paper) == 25
    assert total(layouts(preset("PAPER"), interval=40)) == 6


def test_intervals_are_pages_or_bookkeeping():
    assert least_interval(preset("TINY")) == LEAST_INTERVAL
    for name in ("STANDARD", "WIDE"):
        params = preset(name)
        for lanes in (1, 4):
            beats = params.page_bytes // (16 * lanes)
            assert beats < least_interval(params, lanes) <= beats + 1
        assert least_interval(params) == least_interval(params, default_lanes(params))


def test_lanes_are_the_fewest_whose_pages_fit():
    found = {name: default_lanes(preset(name)) for name in NAMES}
    assert found | {"TINY": 1, "PAPER": 2, "STANDARD": 4, "WIDE": 4} == found
    assert least_interval(preset("PAPER")) == LEAST_INTERVAL


def test_a_map_that_fills_the_card_gets_a_longer_interval():
    full = preset("U55C")
    least = next(interval for interval in range(4, 40) if total(layouts(full, interval=interval)) <= PSEUDO_CHANNELS)
    assert least > 4
    assert fitting_interval(full, 4) == least == fitting_interval(full, least)
    assert fitting_interval(preset("PAPER"), LEAST_INTERVAL) == LEAST_INTERVAL
    larger = replace(full, pages=2 * full.pages, waiting_slots=2 * full.waiting_slots)
    assert fitting_interval(larger, LEAST_INTERVAL) == LEAST_INTERVAL


def test_lists_have_whole_lines():
    assert [list_lines(size) for size in (0, 1, 16, 17)] == [0, 1, 1, 2]
