"""What an engine is given for a map: channels that hold their structures, and refusals that say why."""

import json
from dataclasses import replace
from fractions import Fraction

import pytest

from omap.board import BOARDS
from omap.errors import ParamsError
from omap.params import DESCRIPTOR_BYTES, Params, Rule
from omap.presets import NAMES, preset
from omap.sizing import one_choice, page_bytes_for, resident
from omap.sizing.channels import CHANNEL_BYTES
from omap.sizing.loads import most_board_load
from omap.sizing.planner import largest
from omap.sizing.sizes import page_slots_of
from rtl import offsets
from rtl.config import EngineConfig
from rtl.work import Work


def with_descriptors(size: int) -> Params:
    """Return a map whose descriptors are as many bytes."""
    standard = preset("STANDARD")  # slow enough that one channel carries the traffic
    lines = size // standard.descriptor_bytes
    return replace(standard, pages=lines - standard.further_lines)


def with_pages(size: int) -> Params:
    """Return a map whose pages are as many bytes, and full of the longest values."""
    return one_choice(capacity=1 << 10, key_bytes=8, value_bytes=size // 32 - 9, page_bytes=size)


def test_pages_have_at_most_8_kb():
    assert EngineConfig(params=with_pages(1 << 13), lanes=1).page_beats == 512
    with pytest.raises(ParamsError, match="page_bytes is 16384; .* at most 8192 bytes: plan with smaller pages"):
        EngineConfig(params=with_pages(1 << 14), lanes=4)


@pytest.mark.parametrize("name", NAMES)
def test_there_is_an_engine_for_every_preset(name):
    config = EngineConfig(params=preset(name))
    assert sum(config.channels.values()) <= BOARDS["u55c"].pseudo_channels


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_there_is_an_engine_for_the_largest_map_of_every_board(board):
    chosen = largest(key_bytes=8, value_bytes=64, page_bytes=640, board=board)
    config = EngineConfig(params=chosen.params, channel_bits=board.channel_bits)
    assert config.channels == chosen.channels


@pytest.mark.parametrize(("over", "channels"), [(0, 2), (128, 3)])
def test_a_structure_that_is_one_line_too_large_gets_another_channel(over, channels):
    slow = 64  # cycles, so that traffic asks for no channel
    config = EngineConfig(params=with_descriptors(2 * CHANNEL_BYTES + over), interval=slow)
    assert config.channels["descriptors"] == channels


def test_structures_lie_one_after_the_other():
    config = EngineConfig(params=preset("PAPER"))
    ends = [config.first_channel[name] + count for name, count in config.channels.items()]
    assert list(config.first_channel.values()) == [0, *ends[:-1]]


def test_what_no_engine_can_be_is_refused():
    text = r"need \d+ HBM channels of 256.00 MiB \(table 0 \d+, .*slots \d+, .*\); a card has 32: plan for fewer keys"
    with pytest.raises(ParamsError, match=text):
        EngineConfig(params=preset("U55C"), channel_bits=28)
    with pytest.raises(ParamsError, match="channel_bits is 30; it must be a whole number from 12 to 29"):
        EngineConfig(params=preset("TINY"), channel_bits=30)
    with pytest.raises(ParamsError, match=f"rule is '{Rule.RESIDENT}'"):
        EngineConfig(params=resident(capacity=10, key_bytes=4, value_bytes=4))
    with pytest.raises(ParamsError, match="lanes is 3"):
        EngineConfig(params=preset("TINY"), lanes=3)
    with pytest.raises(ParamsError, match="interval is 2"):
        EngineConfig(params=preset("TINY"), interval=2)


@pytest.mark.parametrize("interval", [3, 5.5, "9", True, Fraction(7, 2), Fraction(91, 9), 4097])
def test_intervals_that_no_engine_has_are_refused(interval):
    text = "it must be a whole number from 4 to 4096, or a Fraction between them with a denominator of at most 8"
    with pytest.raises(ParamsError, match=f"interval is .*{interval}'?; {text}"):
        EngineConfig(params=preset("TINY"), interval=interval)


def test_an_interval_may_be_a_fraction():
    config = EngineConfig(params=preset("PAPER"), interval=Fraction(37, 4))
    whole = EngineConfig(params=preset("PAPER"), interval=9)
    work = Work(whole.params, 1, whole.layouts)
    found = [offsets.offsets(work, interval=interval) for interval in (10, Fraction(37, 4), 9)]
    long, middle, short = (one.lookup + one.turnaround + one.reply for one in found)
    assert long < middle <= short + 1
    assert config.times["interval"] == "37/4"
    assert json.loads(json.dumps(config.to_dict()))["interval"] == "37/4"
    assert EngineConfig(params=preset("PAPER"), interval=Fraction(36, 4)) == whole
    assert type(replace(config, interval=Fraction(18, 2)).interval) is int
    # As many as the distances of rtl.map.spacing.Spacing allow: 10, 9, 9 and 9 cycles.
    assert [config.most_within(cycles) for cycles in (1, 9, 10, 27, 28, 37, 370)] == [1, 1, 2, 3, 4, 4, 40]
    assert [whole.most_within(cycles) for cycles in (1, 9, 10, 18, 19)] == [1, 1, 2, 2, 3]


@pytest.mark.parametrize("descriptor_bytes", DESCRIPTOR_BYTES)
@pytest.mark.parametrize("slots", [1, 2, 3, 4, 8])
@pytest.mark.parametrize(("key_bytes", "value_bytes"), [(4, 8), (8, 64), (16, 256), (16, 1000)])
def test_there_is_an_engine_for_the_highest_load_that_the_planner_gives_a_card(
    key_bytes, value_bytes, slots, descriptor_bytes
):
    """The lists of such a map are short enough for fixed offsets."""
    page_bytes = page_bytes_for(slots, key_bytes + value_bytes)
    load = most_board_load(page_slots_of(page_bytes, key_bytes + value_bytes))
    shape = {"key_bytes": key_bytes, "value_bytes": value_bytes, "page_bytes": page_bytes}
    params = one_choice(capacity=10**6, **shape, page_load=load, descriptor_bytes=descriptor_bytes)
    EngineConfig(params=params)
