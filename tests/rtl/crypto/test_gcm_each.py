# amaranth: UnusedElaboratable=no
"""GCM of records: a wrong tag costs the key of its session, and no message under another key notices anything."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtl.crypto.gcm import GcmOpenEach, GcmSeal
from sim.bench.amaranth_bench import AmaranthBench
from sim.bench.compiled import Design
from sim.bench.secrecy import differences, state
from tests.support.rtl.gcm_messages import Messages, Pair, expected_each, open_all, spoil, taken

WAITS = st.lists(st.integers(0, 4), max_size=20)

RECORD = {"sealed_bytes": 64, "header_bytes": 16, "key_bits": 128, "keys": 3}
RECORDS = RECORD | {"sealed_bytes": 16 * 70, "lengths": True}
"""Records of many lengths, some of more than two segments of the hash."""


@pytest.fixture(scope="module")
def one_length():
    pair = Pair(each=True, **RECORD)
    return pair, Design(pair)


@pytest.fixture(scope="module")
def lengths():
    pair = Pair(each=True, **RECORDS)
    return pair, Design(pair)


@pytest.fixture(params=["one_length", "lengths"])
def each(request):
    return request.getfixturevalue(request.param)


@settings(max_examples=60)
@given(
    seed=st.randoms(use_true_random=False),
    count=st.integers(1, 40),
    bad=st.sets(st.integers(0, 39), min_size=1, max_size=3),
    bit=st.integers(0, 1 << 16),
    waits=st.fixed_dictionaries(dict.fromkeys(["open__i_request", "open__i_sealed", "open__o_text"], WAITS)),
)
@pytest.mark.sec_cm("GCM.TEXT.ZERO_ON_FAULT")
def test_a_wrong_tag_of_one_key_harms_no_message_under_another(one_length, lengths, seed, count, bad, bit, waits):
    for pair, design in (one_length, lengths):
        check_wrong_tag(pair, design.bench(), seed, count, bad, bit, waits)


def check_wrong_tag(pair, bench, seed, count, bad, bit, waits):
    messages = Messages(pair.opener, seed, count)
    bad = {number for number in bad if number < count}
    sealed = spoil(messages, bad, bit)
    messages.load(bench, "open__")
    for name in ("open__i_request", "open__i_sealed"):
        bench.source(name, waits=waits[name])
    bench.sink("open__o_text", waits=waits["open__o_text"])
    open_all(bench, messages, "open__", sealed)
    bench.run_until(limit=2000 + 7 * messages.sealed_beats, transfers={"open__o_text": messages.text_beats})
    assert taken(bench, "open__o_text", pair.opener.lanes) == expected_each(messages, sealed, bad)
    assert bench.get("open__fault") == 0


@pytest.mark.sec_cm("GCM.TIME.CONST")
@settings(max_examples=30)
@given(seed=st.randoms(use_true_random=False), bad=st.integers(0, 19), bit=st.integers(0, 1 << 16), waits=WAITS)
def test_all_times_are_the_same_whether_a_record_is_good(one_length, lengths, seed, bad, bit, waits):
    for pair, design in (one_length, lengths):
        messages, seen = Messages(pair.opener, seed, 20), []
        for spoiled in (set(), {bad}):
            bench = design.bench()
            messages.load(bench, "open__")
            bench.source("open__i_sealed", waits=waits)
            open_all(bench, messages, "open__", spoil(messages, spoiled, bit))
            bench.run_until(limit=2000 + 7 * messages.sealed_beats, transfers={"open__o_text": messages.text_beats})
            names = ("open__i_request", "open__i_sealed")
            seen.append([*(list(bench.source(name).cycles) for name in names), list(bench.sink("open__o_text").cycles)])
        assert seen[0] == seen[1]


def test_a_key_that_was_lost_can_be_loaded_again(each):
    pair, design = each
    bench = design.bench()
    messages = Messages(pair.opener, random.Random(8), 12)
    messages.load(bench, "open__")
    sealed = spoil(messages, {0}, 200)
    open_all(bench, messages, "open__", sealed)
    beats = messages.text_beats
    bench.run_until(limit=2000, transfers={"open__o_text": beats})
    assert taken(bench, "open__o_text", 1) == expected_each(messages, sealed, {0})
    messages.load(bench, "open__")
    open_all(bench, messages, "open__")
    bench.run_until(limit=2000, transfers={"open__o_text": beats})
    assert taken(bench, "open__o_text", 1) == [(*beat, False) for beat in messages.beats(messages.texts())]


def test_the_sealer_takes_no_request_under_a_forgotten_key(each):
    pair, design = each
    bench = design.bench()
    messages = Messages(pair.sealer, random.Random(9), 30)
    messages.load(bench, "seal__")
    bench.set("seal__forget", 1 << 1)
    bench.run(1)
    bench.set("seal__forget", 0)
    alive = [number for number, index in enumerate(messages.indices) if index != 1]
    messages.keep(alive)
    messages.request(bench, "seal__")
    messages.push(bench, "seal__i_text", messages.texts())
    bench.run_until(limit=2000, transfers={"seal__o_sealed": messages.sealed_beats})
    assert taken(bench, "seal__o_sealed", 1) == [(*beat, False) for beat in messages.beats(messages.sealed)]
    bench.source("seal__i_request").push([{"key_index": 1, "nonce": 5} | ({"beats": 4} if pair.sealer.lengths else {})])
    bench.run(200)
    assert bench.source("seal__i_request").remaining == 1


@pytest.mark.sec_cm("GCM.KEY.ERASE")
@pytest.mark.sec_cm("GCM.FAULT.KEY_ERASE")
@pytest.mark.parametrize(
    ("block", "how", "shape"),
    [
        (GcmOpenEach, "wrong tag", RECORD),
        (GcmOpenEach, "forget", RECORD),
        (GcmSeal, "forget", RECORD),
        (GcmOpenEach, "wrong tag", RECORDS),
        pytest.param(GcmOpenEach, "forget", RECORDS, marks=pytest.mark.long),
        pytest.param(GcmSeal, "forget", RECORDS, marks=pytest.mark.long),
    ],
)
def test_a_key_that_is_lost_leaves_nothing_behind_and_the_others_stay(block, how, shape):
    states = []
    for seed in (1, 2):
        design = block(**shape)
        bench = AmaranthBench(design)
        messages = Messages(design, random.Random(3), 1, [4])
        messages.indices = [1]
        messages.keys[1] = random.Random(seed).randbytes(16)
        messages.load(bench, "")
        before = state(bench)
        if how == "forget":
            bench.set("forget", 0b010)
            bench.run(1)
            bench.set("forget", 0)
        else:
            open_all(bench, messages, "", [bytes(64)])
        bench.run(80)
        states.append((before, state(bench, without_memories_of=["fifo.py"])))
    (before, after), (other_before, other_after) = states
    assert len(differences(before, other_before)) > 12
    left = differences(after, other_after)
    assert not [name for name in left if name.startswith(("memory", "key", "hash_key", "power", "share"))]
    zero = [value for name, value in after if name == "memory row 1"]
    assert zero.count(0) >= 11 + 1  # eleven round keys, and the share of the lengths
    assert [value for name, value in after if name == "memory row 2"].count(0) < len(zero) - 11
