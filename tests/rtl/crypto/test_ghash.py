# amaranth: UnusedElaboratable=no
"""GHASH and the multiplication under it, against the reference."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap import ghash as reference
from omap.errors import ParamsError
from rtl.crypto.gf128 import GfMultiplier, GfSerialMultiplier
from rtl.crypto.ghash import Ghash
from sim.bench.amaranth_bench import AmaranthBench
from sim.bench.compiled import Design

ELEMENTS = st.integers(0, (1 << 128) - 1)


def number(data):
    return int.from_bytes(data, "little")


def test_a_product_comes_every_cycle():
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    draw = random.Random(seed).getrandbits
    pairs = [(1, 1), (1 << 127, 5), ((1 << 128) - 1, (1 << 128) - 1), (0, 3), (1, (1 << 128) - 1)]
    pairs += [(1 << bit, 1 << draw(7)) for bit in range(128)]  # every coefficient alone
    pairs += [(draw(128), draw(128)) for _ in range(40)]
    design = GfMultiplier()
    bench = AmaranthBench(design)
    seen = []
    for a, b in pairs + [(0, 0)] * design.latency:
        bench.set("a", a)
        bench.set("b", b)
        bench.run(1)
        seen.append(bench.get("o"))
    assert seen[design.latency - 1 : -1] == [reference.multiply(a, b) for a, b in pairs]


@settings(max_examples=6)
@given(st.lists(st.tuples(ELEMENTS, ELEMENTS), min_size=1, max_size=3), st.lists(st.integers(0, 30), max_size=3))
def test_the_serial_product(pairs, waits):
    design = GfSerialMultiplier()
    bench = AmaranthBench(design)
    bench.source("i").push([{"a": a, "b": b} for a, b in pairs])
    sink = bench.sink("o", waits=waits)
    bench.run_until(limit=300, transfers={"o": len(pairs)})
    assert sink.take() == [reference.multiply(a, b) for a, b in pairs]
    if not waits:
        assert sink.cycles[0] - bench.source("i").cycles[0] == design.latency


def check(design, bench, seed, gaps):
    """Load all keys, hash messages in a drawn schedule, compare digests and their times."""
    keys = [(seed.randbytes(16), seed.randbytes(16)) for _ in range(design.keys)]
    bench.source("i_key").push(
        [
            {"key_index": key_index, "hash_key": number(key), "aad": number(aad)}
            for key_index, (key, aad) in enumerate(keys)
        ]
    )
    cycles = design.load_cycles * design.keys
    bench.run_until(limit=300 + cycles, transfers={"i_key": design.keys})
    bench.run_until(limit=300 + cycles, values={"i_key__ready": 1})
    messages = [(seed.randrange(design.keys), seed.randbytes(16 * design.blocks)) for _ in range(4)]
    source, sink = bench.source("i_blocks", waits=gaps), bench.sink("o_digest")
    beat_bytes = 16 * design.lanes
    for key_index, message in messages:
        beats = [message[at : at + beat_bytes] for at in range(0, len(message), beat_bytes)]
        source.push([{"key_index": key_index, "data": number(beat)} for beat in beats])
    bench.run_until(limit=400, transfers={"o_digest": len(messages)})
    expected = []
    for key_index, message in messages:
        key, aad = keys[key_index]
        clear, text = message[: design.header_bytes], message[design.header_bytes : -16]  # the tag's place counts not
        expected.append(number(reference.ghash(key, aad[: design.aad_bytes] + clear, text)))
    assert sink.take() == expected
    ends = list(source.cycles)[design.beats - 1 :: design.beats]
    assert list(sink.cycles) == [cycle + design.latency for cycle in ends]


@pytest.fixture(scope="module")
def compiled():
    design = Ghash(blocks=6, aad_bytes=16, keys=3)
    return design, Design(design)


@settings(max_examples=40)
@given(seed=st.randoms(use_true_random=False), gaps=st.lists(st.integers(0, 2), max_size=30))
def test_messages_of_all_keys_in_any_schedule(compiled, seed, gaps):
    design, built = compiled
    check(design, built.bench(), seed, gaps)


@pytest.mark.parametrize(
    ("blocks", "lanes", "aad_bytes", "header_bytes", "keys"),
    [(2, 1, 5, 0, 1), (3, 1, 0, 16, 1), (13, 1, 0, 0, 2), (4, 2, 16, 0, 1), (4, 4, 0, 16, 1)],
)
def test_other_shapes(blocks, lanes, aad_bytes, header_bytes, keys):
    design = Ghash(blocks=blocks, lanes=lanes, aad_bytes=aad_bytes, header_bytes=header_bytes, keys=keys)
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    check(design, AmaranthBench(design), random.Random(seed), [0, 1, 0, 0, 2])


@pytest.fixture(scope="module")
def lengths():
    design = Ghash(blocks=200, aad_bytes=0, header_bytes=16, keys=3, lengths=True)
    return design, Design(design)


@settings(max_examples=30)
@given(
    seed=st.randoms(use_true_random=False),
    places=st.lists(
        st.one_of(st.integers(3, 200), st.sampled_from([3, 4, 32, 33, 34, 64, 65, 66, 200])), min_size=1, max_size=5
    ),
    gaps=st.lists(st.integers(0, 2), max_size=30),
)
def test_messages_of_many_lengths_in_any_schedule(lengths, seed, places, gaps):
    design, built = lengths
    bench = built.bench()
    keys = [seed.randbytes(16) for _ in range(design.keys)]
    bench.source("i_key").push([{"key_index": at, "hash_key": number(key), "aad": 0} for at, key in enumerate(keys)])
    cycles = design.load_cycles * design.keys
    bench.run_until(limit=300 + cycles, transfers={"i_key": design.keys})
    bench.run_until(limit=300 + cycles, values={"i_key__ready": 1})
    source, sink = bench.source("i_blocks", waits=gaps), bench.sink("o_digest")
    expected, ends = [], []
    for count in places:
        key_index, message = seed.randrange(design.keys), seed.randbytes(16 * count)
        for behind in reversed(range(count)):
            block = number(message[16 * (count - 1 - behind) :][:16])
            beat = {"key_index": key_index, "data": block, "places": behind % 32, "ends_text": behind == 1}
            source.push([beat])
        expected.append(number(reference.ghash(keys[key_index], message[:16], message[16:-16])))
        ends.append(count + (ends[-1] if ends else 0))
    bench.run_until(limit=200 + 3 * sum(places), transfers={"o_digest": len(places)})
    assert sink.take() == expected
    moved = list(source.cycles)
    assert list(sink.cycles) == [moved[end - 1] + design.latency for end in ends]


def test_loading_takes_as_long_however_long_the_longest_message_is():
    short, long = (Ghash(blocks=blocks, aad_bytes=0, header_bytes=16, lengths=True) for blocks in (3, 16384))
    assert short.load_cycles == long.load_cycles


@pytest.mark.parametrize("blocks", [2, 7])
def test_loading_takes_what_the_promise_says(blocks):
    design = Ghash(blocks=blocks, aad_bytes=16)
    bench = AmaranthBench(design)
    bench.source("i_key").push([{"key_index": 0, "hash_key": 3, "aad": 4}] * 2)
    bench.run_until(limit=3000, transfers={"i_key": 2})
    first, second = bench.source("i_key").cycles
    assert second - first == design.load_cycles


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"blocks": 1}, "blocks is 1; it must be a whole number from 2 to 16384"),
        ({"blocks": 2, "aad_bytes": 0, "header_bytes": 16}, "blocks is 2; it must be a whole number from 3"),
        ({"blocks": 6, "lanes": 4}, "blocks is 6; it must be a multiple of lanes, 4"),
        ({"aad_bytes": 17}, "aad_bytes is 17; it must be a whole number from 0 to 16"),
        ({"header_bytes": 8, "aad_bytes": 0}, "header_bytes is 8; it must be one of 0, 16"),
        ({"header_bytes": 16}, "aad_bytes is 16 and header_bytes 16; .* one of them must be 0"),
        ({"lengths": True}, "lanes is 1, header_bytes 0 and aad_bytes 16; messages with lengths of their own need 1"),
        ({"keys": 65}, "keys is 65"),
        ({"lanes": 8}, "lanes is 8"),
    ],
)
def test_refused_parameters(arguments, text):
    with pytest.raises(ParamsError, match=text):
        Ghash(**({"blocks": 8, "aad_bytes": 16} | arguments))
