# amaranth: UnusedElaboratable=no
"""GCM of records, some of which have more headers in the clear: equal to the reference, at the rate of all others."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.errors import ParamsError
from rtl.crypto.gcm import GcmOpen, GcmOpenEach, GcmSeal
from rtl.crypto.ghash import Ghash
from sim.bench.compiled import Design
from tests.support.rtl.gcm_messages import (
    STREAMS,
    Messages,
    Pair,
    expected_each,
    no_text_before_the_tag,
    open_all,
    run,
    spoil,
    taken,
)

MORE = 7
"""Beats of the further headers of a message: the fields of SOURCE, 112 bytes."""

MOST = 72
"""Beats of the longest message: of more than two segments of the hash."""

RECORD = {
    "sealed_bytes": 16 * MOST,
    "header_bytes": 16,
    "key_bits": 128,
    "keys": 3,
    "lengths": True,
    "more_header_bytes": 16 * MORE,
}
SEEDS = st.integers(0, (1 << 32) - 1)
WAITS = st.lists(st.integers(0, 4), max_size=20)
TEXTS = st.one_of(st.integers(3, MOST - MORE), st.sampled_from([3, 4, 24, 25, 26, 31, 32, 33, 34, 57, 58, MOST - MORE]))
KINDS = st.lists(st.tuples(TEXTS, st.booleans()), min_size=1, max_size=8)
"""Beats without further headers, and whether there are such."""


@pytest.fixture(scope="module")
def records():
    pair = Pair(each=True, **RECORD)
    return pair, Design(pair)


@pytest.fixture(scope="module")
def pages():
    opener = GcmOpen(**RECORD)
    return opener, Design(opener)


def drawn(design, seed, kinds):
    beats = [beats + MORE * more for beats, more in kinds]
    return Messages(design, random.Random(seed), len(beats), beats, [more for _, more in kinds])


@settings(max_examples=60)
@given(seed=SEEDS, kinds=KINDS, waits=st.fixed_dictionaries(dict.fromkeys(STREAMS, WAITS)))
def test_messages_with_and_without_equal_the_reference_in_any_schedule(records, seed, kinds, waits):
    pair, design = records
    bench = design.bench()
    for name in STREAMS:
        (bench.sink if "__o_" in name else bench.source)(name, waits=waits[name])
    run(pair, bench, drawn(pair.opener, seed, kinds))


@settings(max_examples=20)
@given(seed=SEEDS, kinds=st.lists(st.tuples(TEXTS, st.booleans()), min_size=20, max_size=30))
def test_no_beat_waits_whatever_has_more(records, seed, kinds):
    pair, design = records
    bench, messages = design.bench(), drawn(pair.opener, seed, kinds)
    _, sealed = run(pair, bench, messages)
    cycles = bench.source("open__i_sealed").cycles
    assert cycles[-1] - cycles[0] == messages.sealed_beats - 1
    assert sealed == messages.sealed_beats - 1 + pair.sealer.latency


@settings(max_examples=20)
@given(seed=SEEDS, beats=st.lists(st.integers(MORE + 3, MOST), min_size=1, max_size=12), which=st.integers(0, 4095))
def test_all_times_follow_from_the_beats_alone(records, seed, beats, which):
    pair, design = records
    seen = []
    for more in ([], [bool(which >> place & 1) for place in range(len(beats))]):
        bench = design.bench()
        run(pair, bench, Messages(pair.opener, random.Random(seed), len(beats), beats, more))
        seen.append([list((bench.sink if "__o_" in name else bench.source)(name).cycles) for name in STREAMS])
    assert seen[0] == seen[1]


@pytest.mark.sec_cm("GCM.TEXT.VERIFIED")
@pytest.mark.parametrize("beats", [MORE + 3, MOST])
def test_neither_headers_nor_text_before_the_tag(records, beats):
    pair, design = records
    no_text_before_the_tag(pair, design.bench(), Messages(pair.opener, random.Random(1), 1, [beats], [True]))


@pytest.mark.sec_cm("GCM.TEXT.ZERO_ON_FAULT")
@settings(max_examples=60)
@given(
    seed=SEEDS,
    kinds=st.lists(st.tuples(TEXTS, st.booleans()), min_size=1, max_size=12),
    at=st.integers(0, 12),
    bit=st.integers(0, 128 * (MORE + 1) - 1),
    waits=WAITS,
)
def test_a_changed_bit_of_any_header_fails_the_message_and_takes_no_time(records, seed, kinds, at, bit, waits):
    pair, design = records
    at = min(at, len(kinds))
    messages, seen = drawn(pair.opener, seed, [*kinds[:at], (5, True), *kinds[at:]]), []
    for bad in (set(), {at}):
        bench, sealed = design.bench(), spoil(messages, bad, bit)
        messages.load(bench, "open__")
        bench.sink("open__o_text", waits=waits)
        open_all(bench, messages, "open__", sealed)
        bench.run_until(limit=1000 + 7 * messages.sealed_beats, transfers={"open__o_text": messages.text_beats})
        assert taken(bench, "open__o_text", 1) == expected_each(messages, sealed, bad)
        seen.append([list(bench.source(name).cycles) for name in ("open__i_request", "open__i_sealed")])
        seen[-1].append(list(bench.sink("open__o_text").cycles))
    assert seen[0] == seen[1]


@settings(max_examples=20)
@given(seed=SEEDS, beats=st.integers(MORE + 3, MOST), more=st.booleans())
def test_the_tag_says_where_the_headers_end(records, seed, beats, more):
    pair, design = records
    messages = Messages(pair.opener, random.Random(seed), 1, [beats], [more])
    messages.more = [not more]
    bench = design.bench()
    messages.load(bench, "open__")
    open_all(bench, messages, "open__")
    bench.run_until(limit=1000, transfers={"open__o_text": messages.text_beats})
    header = messages.sealed[0][:16].ljust(len(messages.clear[0]), b"\0")
    assert taken(bench, "open__o_text", 1) == [(*beat, True) for beat in messages.beats([header])]


@pytest.mark.parametrize("place", [15, 16, 100, 127, 128])
def test_an_opener_of_pages_opens_them_too_and_stops_at_a_changed_bit(pages, place):
    opener, design = pages
    messages = drawn(opener, place, [(4, True), (20, False), (40, True), (5, True), (9, False)])
    bench = design.bench()
    messages.load(bench, "")
    sealed = [bytearray(message) for message in messages.sealed]
    sealed[3][place] ^= 4
    open_all(bench, messages, sealed=sealed)
    good = messages.beats(messages.texts()[:3])
    bench.run_until(limit=1000, transfers={"o_text": len(good) + 1})
    bench.run(200)
    header = messages.beats([sealed[3][:16].ljust(len(messages.clear[3]), b"\0")])
    shown = taken(bench, "o_text", 1)
    assert shown[: len(good) + len(header)] == [*((*beat, False) for beat in good), *((*beat, True) for beat in header)]
    assert bench.get("fault") == 1
    assert all(fault and not data for data, _, fault in shown[len(good) + 1 :])


@pytest.mark.parametrize("block", [GcmOpen, GcmOpenEach, GcmSeal])
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"more_header_bytes": 24}, "more_header_bytes is 24; it must be a multiple of 16"),
        ({"more_header_bytes": -16}, "more_header_bytes is -16; it must be a multiple of 16"),
        ({"lengths": False}, "more_header_bytes is 112; it must be .* 0 without lengths"),
        ({"sealed_bytes": 144}, "blocks is 9; it must be a whole number from 10"),
    ],
)
def test_refused_parameters(block, arguments, text):
    with pytest.raises(ParamsError, match=text):
        block(**(RECORD | arguments))


def test_without_further_headers_nothing_of_them_is_there():
    plain = RECORD | {"more_header_bytes": 0}
    assert "more" not in dict(GcmSeal(**plain).i_request.p.shape())
    assert "more" not in dict(Ghash(blocks=9, aad_bytes=0, header_bytes=16, lengths=True).beat_shape)
