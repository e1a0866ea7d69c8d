# amaranth: UnusedElaboratable=no
"""GCM of pages and records: equal to the reference, at full rate, and silent until the tag is right."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.errors import ParamsError
from rtl.crypto.gcm import GcmOpen, GcmSeal
from sim.bench.amaranth_bench import AmaranthBench
from sim.bench.compiled import Design
from sim.bench.secrecy import state
from tests.support.rtl.gcm_messages import Messages, Pair, no_text_before_the_tag, number, open_all, taken

WAITS = st.lists(st.integers(0, 4), max_size=20)


PAGE = {"sealed_bytes": 128, "aad_bytes": 16}
RECORD = {"sealed_bytes": 64, "header_bytes": 16, "key_bits": 128, "keys": 3}


@pytest.fixture(scope="module")
def pages():
    pair = Pair(**PAGE)
    return pair, Design(pair)


@pytest.fixture(scope="module")
def records():
    pair = Pair(**RECORD)
    return pair, Design(pair)


@pytest.fixture(params=["pages", "records"])
def kind(request):
    return request.getfixturevalue(request.param)


def check_schedule(pair, bench, seed, count, waits):
    messages = Messages(pair.opener, seed, count)
    for name in ("open__i_request", "open__i_sealed", "seal__i_request", "seal__i_text"):
        bench.source(name, waits=waits[name])
    for name in ("open__o_text", "seal__o_sealed"):
        bench.sink(name, waits=waits[name])
    messages.load(bench, "open__")
    messages.load(bench, "seal__")
    open_all(bench, messages, "open__")
    messages.request(bench, "seal__")
    messages.push(bench, "seal__i_text", messages.texts())
    wanted = {
        "open__o_text": count * pair.opener.text_beats,
        "seal__o_sealed": count * pair.sealer.beats,
    }
    bench.run_until(limit=600, transfers=wanted)
    texts, sealed = messages.beats(messages.texts()), messages.beats(messages.sealed)
    assert taken(bench, "open__o_text", pair.opener.lanes) == [(*beat, False) for beat in texts]
    assert taken(bench, "seal__o_sealed", pair.opener.lanes) == [(*beat, False) for beat in sealed]
    assert bench.get("open__fault") == 0


STREAMS = ["open__i_request", "open__i_sealed", "open__o_text", "seal__i_request", "seal__i_text", "seal__o_sealed"]


@settings(max_examples=60)
@given(
    seed=st.randoms(use_true_random=False),
    count=st.integers(1, 6),
    waits=st.fixed_dictionaries(dict.fromkeys(STREAMS, WAITS)),
)
def test_messages_equal_the_reference_in_any_schedule(pages, records, seed, count, waits):
    for pair, design in (pages, records):
        check_schedule(pair, design.bench(), seed, count, waits)


def test_a_key_is_loaded_while_others_are_in_use(records):
    pair, design = records
    bench = design.bench()
    count = 60
    messages = Messages(pair.opener, random.Random(5), count)
    messages.load(bench, "open__")
    fresh = Messages(pair.opener, random.Random(6), count)
    busy = [index for index, key_index in enumerate(messages.indices) if key_index != 2]
    messages.keep(busy)
    open_all(bench, messages, "open__")
    bench.run(20)
    bench.source("open__i_key").push([{"key_index": 2, "key": number(fresh.keys[2]), "aad": 0}])
    bench.run_until(limit=1000, transfers={"open__o_text": len(busy) * pair.opener.text_beats})
    assert taken(bench, "open__o_text", 1) == [(*beat, False) for beat in messages.beats(messages.texts())]
    loaded = bench.source("open__i_key").cycles[-1]
    moved = bench.source("open__i_sealed").cycles
    assert moved[0] < loaded < loaded + pair.opener.load_cycles < moved[-1]
    assert moved[-1] - moved[0] <= len(moved)  # one cycle, in which the new hash key was made
    index = fresh.indices.index(2)
    bench.source("open__i_request").push([{"key_index": 2, "nonce": number(fresh.nonces[index])}])
    fresh.push(bench, "open__i_sealed", [fresh.sealed[index]])
    bench.run_until(limit=100, transfers={"open__o_text": pair.opener.text_beats})
    assert taken(bench, "open__o_text", 1) == [(*beat, False) for beat in fresh.beats([fresh.clear[index]])]


@pytest.mark.long
@pytest.mark.parametrize("idle", [0.0, 0.1, 0.5])
def test_many_messages_with_drawn_gaps(kind, idle):
    pair, design = kind
    seed, count = random.randrange(1 << 32), 5000
    print(f"seed {seed}")
    bench = design.bench(seed=seed)
    messages = Messages(pair.opener, random.Random(seed), count)
    messages.load(bench, "open__")
    messages.load(bench, "seal__")
    for name in STREAMS:
        (bench.sink if "__o_" in name else bench.source)(name, idle=idle)
    open_all(bench, messages, "open__")
    messages.request(bench, "seal__")
    messages.push(bench, "seal__i_text", messages.texts())
    wanted = {"open__o_text": count * pair.opener.text_beats, "seal__o_sealed": count * pair.sealer.beats}
    bench.run_until(limit=100 * count, transfers=wanted)
    texts, sealed = messages.beats(messages.texts()), messages.beats(messages.sealed)
    assert taken(bench, "open__o_text", pair.opener.lanes) == [(*beat, False) for beat in texts]
    assert taken(bench, "seal__o_sealed", pair.opener.lanes) == [(*beat, False) for beat in sealed]


def times(pair, design, count):
    """Cycles from the first beat in to the last beat out, of opening and of sealing."""
    messages = Messages(pair.opener, random.Random(count), count)
    bench = design.bench()
    messages.load(bench, "open__")
    messages.load(bench, "seal__")
    open_all(bench, messages, "open__")
    messages.request(bench, "seal__")
    messages.push(bench, "seal__i_text", messages.texts())
    wanted = {"open__o_text": count * pair.opener.text_beats, "seal__o_sealed": count * pair.sealer.beats}
    bench.run_until(limit=100 + count * pair.opener.beats, transfers=wanted)
    return (
        int(bench.sink("open__o_text").cycles[-1] - bench.source("open__i_sealed").cycles[0]),
        int(bench.sink("seal__o_sealed").cycles[-1] - bench.source("seal__i_text").cycles[0]),
    )


def test_every_beat_is_used(kind):
    pair, design = kind
    beats = pair.opener.beats
    opened, sealed = times(pair, design, 1)
    for count in (2, 3, 20, 501):
        assert times(pair, design, count) == (opened + (count - 1) * beats, sealed + (count - 1) * beats)
    # N messages take N times their beats plus a constant: the latency, and for opening the beat that has no text.
    assert opened == beats - 1 + pair.opener.latency + pair.opener.text_beats - 1
    assert sealed == beats - 1 + pair.sealer.latency


def test_loading_takes_what_the_promise_says(kind):
    pair, design = kind
    bench = design.bench()
    for prefix, block in (("open__", pair.opener), ("seal__", pair.sealer)):
        bench.source(f"{prefix}i_key").push([{"key_index": 0, "key": 1, "aad": 2}] * 2)
        bench.run_until(limit=1000, transfers={f"{prefix}i_key": 2})
        first, second = bench.source(f"{prefix}i_key").cycles
        assert second - first == block.load_cycles


@settings(max_examples=60)
@given(
    seed=st.randoms(use_true_random=False),
    count=st.integers(1, 5),
    which=st.integers(0, 4),
    bit=st.integers(0, 1 << 16),
    waits=WAITS,
)
@pytest.mark.sec_cm("GCM.TEXT.ZERO_ON_FAULT")
def test_a_flipped_bit_gives_zeros_and_a_fault(pages, records, seed, count, which, bit, waits):
    for pair, design in (pages, records):
        bench = design.bench()
        messages = Messages(pair.opener, seed, count)
        bad = which % count
        sealed = [bytearray(message) for message in messages.sealed]
        sealed[bad][bit // 8 % len(sealed[bad])] ^= 1 << bit % 8
        messages.load(bench, "open__")
        bench.sink("open__o_text", waits=waits)
        open_all(bench, messages, "open__", sealed)
        bench.run(300)
        assert bench.get("open__fault") == 1
        good = messages.beats(messages.texts()[:bad])
        head = pair.opener.header_bytes  # is in the clear, and stays as it came
        zeros = messages.beats([bytes(sealed[bad][:head]) + bytes(len(messages.texts()[bad]) - head)])
        expected = [(*beat, False) for beat in good] + [(*beat, True) for beat in zeros]
        assert taken(bench, "open__o_text", pair.opener.lanes) == expected
        assert bench.get("open__o_text__valid") == 0


@pytest.mark.sec_cm("GCM.TEXT.VERIFIED")
def test_no_text_before_the_tag(kind):
    pair, design = kind
    no_text_before_the_tag(pair, design.bench(), Messages(pair.opener, random.Random(1), 1))


@pytest.mark.sec_cm("GCM.TIME.CONST")
@settings(max_examples=30)
@given(seed=st.randoms(use_true_random=False), bit=st.integers(0, 1 << 16), waits=WAITS)
def test_a_verdict_takes_the_same_time_either_way(pages, seed, bit, waits):
    pair, design = pages
    seen = []
    for flip in (False, True):
        bench = design.bench()
        messages = Messages(pair.opener, seed, 2)
        sealed = [bytearray(message) for message in messages.sealed]
        sealed[1][bit // 8 % 128] ^= flip << bit % 8
        messages.load(bench, "open__")
        bench.source("open__i_sealed", waits=waits)
        open_all(bench, messages, "open__", sealed)
        bench.run_until(limit=400, transfers={"open__o_text": 2 * pair.opener.text_beats})
        seen.append([list(bench.source("open__i_sealed").cycles), list(bench.sink("open__o_text").cycles)])
        ends = seen[-1][0][pair.opener.beats - 1 :: pair.opener.beats]
        starts = seen[-1][1][:: pair.opener.text_beats]
        assert [start - end for start, end in zip(starts, ends, strict=True)] == [pair.opener.latency] * 2
    assert seen[0] == seen[1]


@pytest.mark.sec_cm("GCM.FAULT.KEY_ERASE")
def test_a_fault_erases_the_keys_until_new_ones_come(kind):
    pair, design = kind
    bench = design.bench()
    messages = Messages(pair.opener, random.Random(2), 3)
    messages.load(bench, "open__")
    open_all(bench, messages, "open__", [bytes(len(sealed)) for sealed in messages.sealed])
    bench.run(200)
    assert bench.get("open__fault") == 1
    taken(bench, "open__o_text", pair.opener.lanes)
    # Nothing is taken any more, and no key either.
    before = bench.source("open__i_request").transfers, bench.source("open__i_sealed").transfers
    messages.request(bench, "open__")
    bench.run(100)
    assert (bench.source("open__i_request").transfers, bench.source("open__i_sealed").transfers) == before
    assert bench.get("open__i_key__ready") == 0
    # A new format: erase, load, go on.
    bench = design.bench()
    messages.load(bench, "open__")
    open_all(bench, messages, "open__", [bytes(len(messages.sealed[0]))])
    bench.run(200)
    remaining = bench.source("open__i_request").remaining
    bench.set("open__erase", 1)
    bench.run(1)
    bench.set("open__erase", 0)
    bench.run(2)
    assert bench.get("open__fault") == 0
    bench.run(100)
    assert bench.source("open__i_request").remaining == remaining  # still no key
    taken(bench, "open__o_text", pair.opener.lanes)
    messages.load(bench, "open__")
    messages.request(bench, "open__")
    again = [messages.sealed[index] for index in range(3 - remaining, 3)] + messages.sealed
    texts = [messages.texts()[index] for index in range(3 - remaining, 3)] + messages.texts()
    messages.push(bench, "open__i_sealed", again)
    bench.run_until(limit=400, transfers={"open__o_text": len(again) * pair.opener.text_beats})
    assert taken(bench, "open__o_text", pair.opener.lanes) == [(*beat, False) for beat in messages.beats(texts)]


@pytest.mark.sec_cm("GCM.FAULT.KEY_ERASE")
def test_a_fault_leaves_no_key_behind():
    design = GcmOpen(sealed_bytes=32, key_bits=128, aad_bytes=16)
    bench = AmaranthBench(design)
    messages = Messages(design, random.Random(3), 1)
    messages.load(bench, "")

    def keys_found():
        # Round keys, the expander, the hash key with its powers, and the tables; the one ROM is the S-box.
        names = ("key", "hash_key", "power", "share", "memory")
        found = state(bench, without_memories_of=["fifo.py"])
        return [name for name, value in found if value and name.startswith(names) and name != "keystream"]

    loaded = [name for name in keys_found() if name != "memory"]
    assert any(name.startswith("key0") for name in loaded)
    sboxes = [name for name in keys_found() if name.startswith("memory")]
    open_all(bench, messages, "", [bytes(32)])
    bench.run(60)
    assert bench.get("fault") == 1
    remaining = keys_found()
    assert [name for name in remaining if not name.startswith("memory")] == []
    assert 255 <= len([name for name in remaining if name.startswith("memory")]) < len(sboxes)


@pytest.mark.sec_cm("GCM.KEY.PRESENT")
@pytest.mark.parametrize("prefix", ["open__", "seal__"])
def test_no_request_is_taken_without_a_key(kind, prefix):
    pair, design = kind
    bench = design.bench()
    block = pair.opener if prefix == "open__" else pair.sealer
    messages = Messages(block, random.Random(4), 3)
    messages.request(bench, prefix)
    bench.run(100)
    assert bench.source(f"{prefix}i_request").transfers == 0
    last = messages.indices[0]  # the first request is taken when this key is loaded, and no cycle earlier
    bench.source(f"{prefix}i_key").push([{"key_index": last, "key": number(messages.keys[last]), "aad": 0}])
    bench.run_until(limit=1000, transfers={f"{prefix}i_request": 1})
    loaded = bench.source(f"{prefix}i_key").cycles[0] + block.load_cycles
    assert bench.source(f"{prefix}i_request").cycles[0] == loaded
    bench.set(f"{prefix}erase", 1)
    bench.run(1)
    bench.set(f"{prefix}erase", 0)
    before = bench.source(f"{prefix}i_request").transfers
    bench.run(200)
    assert bench.source(f"{prefix}i_request").transfers == before


def check_alone(parameters, count):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    design = GcmOpen(**parameters)
    messages = Messages(design, random.Random(seed), count)
    bench = AmaranthBench(design)
    messages.load(bench, "")
    open_all(bench, messages)
    bench.run_until(limit=2000, transfers={"o_text": count * design.text_beats})
    expected = [(*beat, False) for beat in messages.beats(messages.texts())]
    assert taken(bench, "o_text", design.lanes) == expected
    source, sink = bench.source("i_sealed").cycles, bench.sink("o_text").cycles
    assert source[-1] - source[0] == count * design.beats - 1
    assert sink[0] - source[design.beats - 1] == design.latency

    design = GcmSeal(**parameters)
    bench = AmaranthBench(design)
    messages.load(bench, "")
    messages.request(bench, "")
    messages.push(bench, "i_text", messages.texts())
    bench.run_until(limit=2000, transfers={"o_sealed": count * design.beats})
    expected = [(*beat, False) for beat in messages.beats(messages.sealed)]
    assert taken(bench, "o_sealed", design.lanes) == expected
    cycles = bench.sink("o_sealed").cycles
    assert cycles[-1] - cycles[0] == count * design.beats - 1


@pytest.mark.parametrize(
    "parameters",
    [
        {"sealed_bytes": 64, "lanes": 4, "header_bytes": 16},  # a record in one beat
        {"sealed_bytes": 128, "lanes": 2, "aad_bytes": 9},
        {"sealed_bytes": 32},  # the shortest
        {"sealed_bytes": 58 * 16, "aad_bytes": 16},  # the buffer of text is a block RAM
    ],
)
def test_other_shapes(parameters):
    check_alone(parameters | {"key_bits": 128}, 3)


@pytest.mark.parametrize("block", [GcmOpen, GcmSeal])
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"sealed_bytes": 16}, "sealed_bytes is 16; it must be a whole number from 32 to 262144"),
        ({"sealed_bytes": 120}, "sealed_bytes is 120; it must be whole beats of 16 bytes"),
        ({"sealed_bytes": 96, "lanes": 4}, "sealed_bytes is 96; it must be whole beats of 64 bytes, lanes is 4"),
        ({"lanes": 5}, "lanes is 5; it must be one of 1, 2, 4"),
        ({"aad_bytes": 17}, "aad_bytes is 17"),
        ({"aad_bytes": 1, "header_bytes": 16}, "aad_bytes is 1 and header_bytes 16"),
        ({"key_bits": 192}, "key_bits is 192"),
        ({"keys": 0}, "keys is 0"),
    ],
)
def test_refused_parameters(block, arguments, text):
    with pytest.raises(ParamsError, match=text):
        block(**({"sealed_bytes": 128} | arguments))
