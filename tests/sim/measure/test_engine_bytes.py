"""Bytes over the link in the engine's benchmark: what counts as which part, and what a full record costs at least."""

import numpy as np
import pytest

from omap.presets import preset
from omap.wire import CONTROL_BYTES, BufferLayout, RecordCodec
from rtl.config import EngineConfig
from sim.measure.engine import UP_PARTS, link_bound, part_of
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
