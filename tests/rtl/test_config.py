"""What an engine is given for a map: channels that hold their structures, and refusals that say why."""

from dataclasses import replace

import pytest

from omap.errors import ParamsError
from omap.params import Params, Rule
from omap.presets import preset
from omap.sizing import resident
from rtl.config import CHANNEL_BYTES, EngineConfig


def with_descriptors(size: int) -> Params:
    """Return a map whose descriptors are as many bytes."""
    standard = preset("STANDARD")  # slow enough that one channel carries the traffic
    lines = size // standard.descriptor_bytes
    return replace(standard, pages=lines - standard.further_lines)


@pytest.mark.parametrize(("over", "channels"), [(0, 2), (64, 4)])
def test_a_structure_that_is_one_line_too_large_gets_more_channels(over, channels):
    config = EngineConfig(params=with_descriptors(2 * CHANNEL_BYTES + over))
    assert config.channels["descriptors"] == channels


def test_structures_lie_one_after_the_other():
    config = EngineConfig(params=preset("PAPER"))
    ends = [config.first_channel[name] + count for name, count in config.channels.items()]
    assert list(config.first_channel.values()) == [0, *ends[:-1]]


def test_what_no_engine_can_be_is_refused():
    with pytest.raises(ParamsError, match="need 41 HBM channels of 512 MiB.*a card has 32: plan for fewer keys"):
        EngineConfig(params=preset("U55C"))
    with pytest.raises(ParamsError, match=f"rule is '{Rule.RESIDENT}'"):
        EngineConfig(params=resident(capacity=10, key_bytes=4, value_bytes=4))
    with pytest.raises(ParamsError, match="lanes is 3"):
        EngineConfig(params=preset("TINY"), lanes=3)
    with pytest.raises(ParamsError, match="interval is 2"):
        EngineConfig(params=preset("TINY"), interval=2)
