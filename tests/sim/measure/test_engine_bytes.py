"""The engine's benchmark: what counts as which part of the link, what a record costs at least, and its options."""

import argparse
from fractions import Fraction

import numpy as np
import pytest

from omap.presets import preset
from omap.wire import CONTROL_BYTES, BufferLayout, RecordCodec
from rtl.config import EngineConfig
from sim.measure.engine import UP_PARTS, link_bound, number, part_of
from sim.models.timing import HostTiming

LAYOUT = BufferLayout(preset("TINY"), 128)


def test_each_place_of_the_buffer_belongs_to_one_part():
    places = [0, CONTROL_BYTES - 1, LAYOUT.commands, LAYOUT.responses - 1, LAYOUT.responses, LAYOUT.journal - 1]
    places += [LAYOUT.journal, LAYOUT.pages - 1]
    wanted = [name for name in reversed(UP_PARTS) for _ in range(2)]
    found = part_of(LAYOUT, np.array([*places, LAYOUT.pages, LAYOUT.size - 1]))
    assert [UP_PARTS[part] for part in found] == wanted


@pytest.mark.parametrize("name", ["PAPER", "STANDARD", "WIDE"])
def test_the_bound_of_the_link_is_the_page_and_its_share_of_a_record(name):
    config, host = EngineConfig(params=preset(name)), HostTiming()
    cycles = link_bound(config, host)
    least = config.params.page_bytes + RecordCodec(config.params).bytes_each_way
    assert least < cycles * host.link_gbps / 8 / host.clock_mhz * 1e3 < 1.4 * least


def test_numbers_of_an_engine_are_given_by_name():
    assert number("lanes=2") == ("lanes", 2)
    assert number("interval=5") == ("interval", 5)
    assert number("interval=19/4") == ("interval", Fraction(19, 4))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lane=2", "is not NAME=NUMBER with one of these names: lanes, interval"),
        ("lanes", "is not NAME=NUMBER"),
        ("lanes=-2", "is not NAME=NUMBER"),
        ("lanes=4/2", "only the interval may be a fraction, such as interval=19/4"),
        ("interval=5/0", "only the interval may be a fraction"),
        ("interval=5/", "only the interval may be a fraction"),
    ],
)
def test_what_is_no_number_of_an_engine_is_refused(text, message):
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        number(text)
