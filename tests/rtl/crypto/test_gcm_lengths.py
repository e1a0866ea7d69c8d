# amaranth: UnusedElaboratable=no
"""GCM of records that have lengths of their own: equal to the reference, at full rate, and silent until the tag."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.errors import ParamsError
from rtl.crypto.gcm import GcmOpenEach, GcmSeal
from sim.bench.compiled import Design
from tests.support.rtl.gcm_messages import (
    STREAMS,
    Messages,
    Pair,
    no_text_before_the_tag,
    number,
    open_all,
    run,
    taken,
)

MOST = 256
"""Beats of the longest record of 64 lines."""

SEEDS = st.integers(0, (1 << 32) - 1)
WAITS = st.lists(st.integers(0, 4), max_size=20)
BEATS = st.one_of(st.integers(3, MOST), st.sampled_from([3, 4, 8, 31, 32, 33, 34, 35, 64, 65, 66, 96, 97, MOST]))


@pytest.fixture(scope="module")
def records():
    pair = Pair(each=True, sealed_bytes=16 * MOST, header_bytes=16, key_bits=128, keys=3, lengths=True)
    return pair, Design(pair)


@settings(max_examples=40)
@given(
    seed=SEEDS,
    beats=st.lists(BEATS, min_size=1, max_size=6),
    waits=st.fixed_dictionaries(dict.fromkeys(STREAMS, WAITS)),
)
def test_messages_of_any_length_equal_the_reference_in_any_schedule(records, seed, beats, waits):
    pair, design = records
    bench = design.bench()
    for name in STREAMS:
        (bench.sink if "__o_" in name else bench.source)(name, waits=waits[name])
    run(pair, bench, Messages(pair.opener, random.Random(seed), len(beats), beats))


@pytest.mark.parametrize("beats", [3, 4, 5, 33, MOST])
def test_messages_back_to_back_take_their_beats_and_a_constant(records, beats):
    pair, design = records
    for count in (1, 2, 40):
        messages = Messages(pair.opener, random.Random(count), count, [beats] * count)
        opened, sealed = run(pair, design.bench(), messages)
        assert opened == (count - 1) * beats + beats - 1 + pair.opener.latency + beats - 2
        assert sealed == count * beats - 1 + pair.sealer.latency


@settings(max_examples=20)
@given(seed=SEEDS, beats=st.lists(BEATS, min_size=20, max_size=40))
def test_no_beat_waits_whatever_the_lengths(records, seed, beats):
    pair, design = records
    messages = Messages(pair.opener, random.Random(seed), len(beats), beats)
    bench = design.bench()
    _, sealed = run(pair, bench, messages)
    cycles = bench.source("open__i_sealed").cycles
    assert cycles[-1] - cycles[0] == sum(beats) - 1
    assert sealed == sum(beats) - 1 + pair.sealer.latency


@pytest.mark.sec_cm("GCM.TEXT.VERIFIED")
@pytest.mark.parametrize("beats", [4, 33, MOST])
def test_no_text_before_the_tag(records, beats):
    pair, design = records
    no_text_before_the_tag(pair, design.bench(), Messages(pair.opener, random.Random(1), 1, [beats]))


@pytest.mark.sec_cm("GCM.TEXT.ZERO_ON_FAULT")
@settings(max_examples=30)
@given(
    seed=SEEDS,
    beats=st.lists(BEATS, min_size=4, max_size=12),
    lost=st.integers(0, 2),
    at=st.integers(0, 800),
    waits=WAITS,
)
def test_a_key_that_is_forgotten_costs_its_own_messages_and_no_time(records, seed, beats, lost, at, waits):
    pair, design = records
    messages, seen = Messages(pair.opener, random.Random(seed), len(beats), beats), []
    for forget in (0, 1 << lost):
        bench = design.bench()
        messages.load(bench, "open__")
        bench.sink("open__o_text", waits=waits)
        open_all(bench, messages, "open__")
        bench.run(at)
        bench.set("open__forget", forget)
        bench.run(1)
        bench.set("open__forget", 0)
        left = messages.text_beats - bench.sink("open__o_text").transfers
        bench.run_until(limit=4000 + 6 * messages.sealed_beats, transfers={"open__o_text": left})
        seen.append([list(bench.source(name).cycles) for name in ("open__i_request", "open__i_sealed")])
        seen[-1].append(list(bench.sink("open__o_text").cycles))
    items, dead = taken(bench, "open__o_text", 1), False
    for index, text in zip(messages.indices, messages.texts(), strict=True):
        got, items = items[: len(text) // 16], items[len(text) // 16 :]
        dead |= index == lost and got[0][2]
        if dead and index == lost:
            text = text[:16] + bytes(len(text) - 16)
        assert got == [(*beat, dead and index == lost) for beat in messages.beats([text])]
    assert seen[0] == seen[1]


@pytest.mark.sec_cm("GCM.KEY.PRESENT")
@pytest.mark.parametrize("prefix", ["open__", "seal__"])
def test_no_request_is_taken_without_a_key(records, prefix):
    pair, design = records
    bench = design.bench()
    block = pair.opener if prefix == "open__" else pair.sealer
    messages = Messages(block, random.Random(4), 3)
    messages.request(bench, prefix)
    bench.run(700)
    assert bench.source(f"{prefix}i_request").transfers == 0
    first = messages.indices[0]
    bench.source(f"{prefix}i_key").push([{"key_index": first, "key": number(messages.keys[first]), "aad": 0}])
    bench.run_until(limit=1000, transfers={f"{prefix}i_request": 1})
    loaded = bench.source(f"{prefix}i_key").cycles[0] + block.load_cycles
    assert bench.source(f"{prefix}i_request").cycles[0] == loaded


def test_a_key_is_loaded_while_others_are_in_use(records):
    pair, design = records
    bench = design.bench()
    messages = Messages(pair.opener, random.Random(5), 40)
    messages.load(bench, "open__")
    fresh = Messages(pair.opener, random.Random(6), 40)
    messages.keep([place for place, key_index in enumerate(messages.indices) if key_index != 2])
    fresh.keep([fresh.indices.index(2)])
    open_all(bench, messages, "open__")
    bench.run(20)
    bench.source("open__i_key").push([{"key_index": 2, "key": number(fresh.keys[2]), "aad": 0}])
    bench.run_until(limit=5000, transfers={"open__o_text": messages.text_beats})
    assert taken(bench, "open__o_text", 1) == [(*beat, False) for beat in messages.beats(messages.texts())]
    moved = bench.source("open__i_sealed").cycles
    assert moved[-1] - moved[0] <= len(moved)  # one cycle, in which the new hash key was made
    assert moved[0] < bench.source("open__i_key").cycles[-1] < moved[-1]
    open_all(bench, fresh, "open__")
    bench.run_until(limit=2000, transfers={"open__o_text": fresh.text_beats})
    assert taken(bench, "open__o_text", 1) == [(*beat, False) for beat in fresh.beats(fresh.texts())]


@pytest.mark.parametrize("block", [GcmOpenEach, GcmSeal])
@pytest.mark.parametrize(
    "arguments",
    [{"lanes": 4}, {"header_bytes": 0}, {"header_bytes": 0, "aad_bytes": 16}],
)
def test_refused_parameters(block, arguments):
    with pytest.raises(ParamsError, match="messages with lengths of their own need 1, 16 and 0"):
        block(**({"sealed_bytes": 4096, "header_bytes": 16, "lengths": True} | arguments))
