"""The waiting lists equal plain lists, and running out is named."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omap.errors import ExhaustedError
from omap.memory import DeviceMemory
from omap.params import DESCRIPTOR_BYTES
from omap.presets import preset
from omap.waiting import Waiting

SHAPE = replace(preset("TINY"), pages=3, waiting_slots=40, further_lines=9)


def entry(number):
    return number.to_bytes(4, "big") + number.to_bytes(4, "little")


@given(
    line_bytes=st.sampled_from(DESCRIPTOR_BYTES),
    steps=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["append", "oldest", "key"]), st.integers(0, 39))),
    versions=st.lists(st.integers(0, 2**48 - 1), min_size=3, max_size=3),
)
def test_equals_lists(line_bytes, steps, versions):
    waiting = Waiting(replace(SHAPE, descriptor_bytes=line_bytes), DeviceMemory())
    lists = [[], [], []]
    for number, action, name in steps * 3:
        descriptor = waiting.load(number)
        descriptor.version, descriptor.occupancy = versions[number], versions[number] & 0x3F
        expected = lists[number]
        if action == "append" and sum(map(len, lists)) < 40 and all(entry(name) not in bin_ for bin_ in lists):
            waiting.append(descriptor, entry(name))
            expected.append(entry(name))
        elif action == "oldest" and expected:
            assert waiting.take_oldest(descriptor) == expected.pop(0)
        elif action == "key":
            held = entry(name) in expected
            assert waiting.take_key(descriptor, entry(name)[:4]) == (entry(name)[4:] if held else None)
            if held:
                expected.remove(entry(name))
        waiting.store(descriptor)
    for number, expected in enumerate(lists):
        descriptor = waiting.load(number)
        assert [waiting.read_slot(index) for index in descriptor.waiting] == expected
        assert descriptor.load() == descriptor.occupancy.bit_count() + len(expected)
        if any(step[0] == number for step in steps):
            assert (descriptor.version, descriptor.occupancy) == (versions[number], versions[number] & 0x3F)
    assert waiting.free_slots.taken == sum(map(len, lists))


def test_running_out_is_named():
    waiting = Waiting(SHAPE, DeviceMemory())
    descriptor = waiting.load(0)
    for number in range(40):
        waiting.append(descriptor, entry(number))
    waiting.store(descriptor)
    with pytest.raises(ExhaustedError, match="out of waiting slots: 40 were planned"):
        waiting.append(descriptor, entry(40))
    few = Waiting(replace(SHAPE, further_lines=1), DeviceMemory())
    descriptor = few.load(0)
    for number in range(12):  # 4 indices in the first line, 7 in the second
        few.append(descriptor, entry(number))
    with pytest.raises(ExhaustedError, match="out of further descriptor lines: 1 were planned"):
        few.store(descriptor)
