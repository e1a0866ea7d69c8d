"""The position map equals a dict, with the same work for every operation."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.errors import FullError
from omap.memory import DeviceMemory
from omap.params import Params
from omap.position_map import PositionMap, Transit
from omap.presets import preset


def table(*, buckets=3, key_bytes=4, transit=8, steps=4, rule="one_choice", capacity=1):
    params = Params(
        capacity=capacity, key_bytes=key_bytes, value_bytes=4, rule=rule, page_bytes=64, pages=2, waiting_slots=4,
        further_lines=4, bucket_bytes=64, buckets=buckets, transit_entries=transit, relocation_steps=steps,
    )  # fmt: skip
    return PositionMap(params, bytes(16), DeviceMemory())


def look(position_map, key):
    """Look a key up without changing what it maps to."""
    words = position_map.begin(key, position_map.candidates(key))
    position_map.finish(words)
    return words


def put(position_map, key, words):
    position_map.begin(key, position_map.candidates(key))
    position_map.finish(words)


@given(
    rule=st.sampled_from(["one_choice", "two_choice"]),
    key_bytes=st.sampled_from([4, 8, 16]),
    steps=st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["put", "drop", "look", "none"])), max_size=80),
)
def test_equals_a_dict_however_full(rule, key_bytes, steps):
    position_map, oracle = table(rule=rule, key_bytes=key_bytes, buckets=1, transit=4), {}
    width = 2 if rule == "two_choice" else 1
    for number, (name, action) in enumerate(steps):
        key = bytes(key_bytes - 1) + bytes([name])  # mostly zeros: matches that straddle entries occur
        words = position_map.begin(None if action == "none" else key, position_map.candidates(key))
        assert words == (None if action == "none" else oracle.get(key))
        if action == "put" and (words or position_map.has_room()):
            oracle[key] = (2**31 - 1 - number, number)[:width]
            position_map.finish(oracle[key])
        else:
            position_map.finish(words if action == "look" else None)
            if action == "drop":
                oracle.pop(key, None)
        assert position_map.count() == len(oracle)
        assert len(position_map.transit) <= 4
    for key, words in oracle.items():
        assert look(position_map, key) == words


def test_a_full_table_refuses_and_keeps_what_it_has():
    position_map = table(buckets=1, transit=4)
    keys = [bytes([0, 0, 0, name]) for name in range(20)]  # two buckets of eight, four in transit
    for key in keys:
        put(position_map, key, (7,))
    position_map.begin(b"more", position_map.candidates(b"more"))
    assert not position_map.has_room()
    position_map.finish(None)
    assert all(look(position_map, key) == (7,) for key in keys)


@pytest.mark.sec_cm("POSMAP.WORK.FIXED")
@given(names=st.lists(st.tuples(st.integers(0, 40), st.booleans()), min_size=1, max_size=60))
def test_every_access_reads_and_writes_as_many_buckets(names):
    position_map = table(buckets=2, transit=40)
    for name, live in names:
        reads, writes = position_map.region.reads, position_map.region.writes
        put(position_map, bytes([0, 0, 0, name]), (name,) if live else None)
        assert (position_map.region.reads - reads, position_map.region.writes - writes) == (6, 6)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), key_bytes=st.sampled_from([4, 8, 16]), before=st.integers(0, 200))
def test_many_at_once_equal_one_by_one(seed, key_bytes, before):
    rng = random.Random(seed)
    position_map = table(buckets=60, key_bytes=key_bytes, transit=32)
    keys = [name.to_bytes(key_bytes, "big") for name in rng.sample(range(2**30), before + 300)]
    for number, key in enumerate(keys[:before]):
        put(position_map, key, (number,))
    rows = np.frombuffer(b"".join(keys), np.uint8).reshape(-1, key_bytes)
    room = 2 * 60 * (64 // (4 + key_bytes)) * 9 // 10
    count = max(0, min(300, room - before))
    numbers = np.arange(before, before + count)[:, None]
    position_map.insert_rows(rows[before : before + count], numbers)
    assert position_map.contains_rows(rows).tolist() == [True] * (before + count) + [False] * (300 - count)
    for number, key in enumerate(keys[: before + count]):
        assert look(position_map, key) == (number,)


def test_too_many_at_once_leave_the_table_as_it_was():
    position_map = table(buckets=2, transit=8)
    put(position_map, b"here", (5,))
    before = bytes(position_map.region.data)
    rows = np.arange(200, dtype=">u4").view(np.uint8).reshape(-1, 4)
    with pytest.raises(FullError, match="could not place"):
        position_map.insert_rows(rows, np.arange(200)[:, None])
    assert bytes(position_map.region.data) == before
    assert not position_map.transit


def test_candidates_are_one_bucket_of_each_table_and_spread():
    position_map = table(buckets=5)
    rows = np.arange(5000, dtype=">u4").view(np.uint8).reshape(-1, 4)
    pairs = position_map.candidates_rows(rows)
    assert pairs[:7].tolist() == [list(position_map.candidates(row.tobytes())) for row in rows[:7]]
    counts = np.bincount(pairs[:, 0] * 5 + pairs[:, 1] - 5, minlength=25)
    assert len(counts) == 25
    assert (abs(counts - 200) < 6 * 200**0.5).all()  # a fixed key: no chance involved


def test_no_keys_can_be_looked_for_while_an_entry_is_in_transit():
    params = preset("TINY")
    position_map = PositionMap(params, bytes(16), DeviceMemory())
    position_map.transit.append(Transit(bytes(params.entry_bytes), 0))
    assert position_map.contains_rows(np.zeros((0, params.key_bytes), np.uint8)).tolist() == []
