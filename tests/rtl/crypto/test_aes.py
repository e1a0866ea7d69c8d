# amaranth: UnusedElaboratable=no
"""AES: published vectors, random keys and schedules, keys loaded while others are in use."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.errors import ParamsError
from rtl.crypto.aes import Aes, AesIterative
from sim.bench.amaranth_bench import AmaranthBench

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "published" / "aes.json").read_text())["tests"]


def number(data):
    return int.from_bytes(data, "little")


def reference(key, block):
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(block)


def load(bench, keys):
    before = bench.source("i_key").transfers
    bench.source("i_key").push([{"key_index": key_index, "key": number(key)} for key_index, key in keys.items()])
    bench.run_until(limit=400, transfers={"i_key": len(keys)})
    assert bench.source("i_key").transfers == before + len(keys)
    bench.run_until(limit=20, values={"i_key__ready": 1})


@pytest.mark.parametrize("key_bits", [128, 256])
def test_published_vectors(key_bits):
    tests = [
        [bytes.fromhex(test[field]) for field in ("key", "plain", "cipher")]
        for test in VECTORS
        if len(test["key"]) * 4 == key_bits
    ]
    keys = list(dict.fromkeys(key for key, _, _ in tests))
    bench = AmaranthBench(Aes(key_bits=key_bits, keys=len(keys)))
    load(bench, dict(enumerate(keys)))
    bench.source("i_blocks").push(
        [{"key_index": keys.index(key), "blocks": [number(plain)]} for key, plain, _ in tests]
    )
    bench.run_until(limit=50, transfers={"o_blocks": len(tests)})
    assert bench.sink("o_blocks").take() == [number(cipher) for _, _, cipher in tests]

    bench = AmaranthBench(AesIterative(key_bits=key_bits))
    bench.source("i").push([{"key": number(key), "block": number(plain)} for key, plain, _ in tests])
    bench.run_until(limit=200, transfers={"o": len(tests)})
    assert bench.sink("o").take() == [number(cipher) for _, _, cipher in tests]


@settings(max_examples=12)
@given(
    key_bits=st.sampled_from([128, 256]),
    keys=st.sampled_from([1, 3]),
    seed=st.randoms(use_true_random=False),
    waits=st.lists(st.integers(0, 3), min_size=1, max_size=25),
)
def test_blocks_of_all_keys_in_any_schedule(key_bits, keys, seed, waits):
    design = Aes(key_bits=key_bits, keys=keys)
    bench = AmaranthBench(design)
    keys = [seed.randbytes(key_bits // 8) for _ in range(keys)]
    load(bench, dict(enumerate(keys)))
    blocks = [(seed.randrange(len(keys)), seed.randbytes(16)) for _ in waits]
    source, sink = bench.source("i_blocks", waits=waits), bench.sink("o_blocks")
    source.push([{"key_index": key_index, "blocks": [number(block)]} for key_index, block in blocks])
    bench.run_until(limit=200, transfers={"o_blocks": len(blocks)})
    assert sink.take() == [number(reference(keys[key_index], block)) for key_index, block in blocks]
    assert sink.cycles == [cycle + design.latency for cycle in source.cycles]


@pytest.mark.parametrize("lanes", [2, 4])
def test_lanes_share_a_key(lanes):
    bench = AmaranthBench(Aes(key_bits=128, keys=2, lanes=lanes))
    keys = [bytes(range(16)), bytes(range(16, 32))]
    load(bench, dict(enumerate(keys)))
    beats = [[bytes([beat, lane]) * 8 for lane in range(lanes)] for beat in range(6)]
    bench.source("i_blocks").push(
        [{"key_index": index % 2, "blocks": [number(block) for block in beat]} for index, beat in enumerate(beats)]
    )
    bench.run_until(limit=40, transfers={"o_blocks": len(beats)})
    expected = [
        number(b"".join(reference(keys[index % 2], block) for block in beat)) for index, beat in enumerate(beats)
    ]
    assert bench.sink("o_blocks").take() == expected


def test_a_key_is_loaded_while_others_are_in_use():
    bench = AmaranthBench(Aes(key_bits=256, keys=2))
    first, second = bytes(range(32)), bytes(range(32, 64))
    load(bench, {0: first})
    blocks = [bytes([index]) * 16 for index in range(40)]
    bench.source("i_key").push([{"key_index": 1, "key": number(second)}])
    bench.source("i_blocks").push([{"key_index": 0, "blocks": [number(block)]} for block in blocks])
    bench.run_until(limit=100, transfers={"o_blocks": len(blocks)})
    assert bench.source("i_blocks").cycles[-1] - bench.source("i_blocks").cycles[0] == len(blocks) - 1
    assert bench.sink("o_blocks").take() == [number(reference(first, block)) for block in blocks]
    bench.source("i_blocks").push([{"key_index": 1, "blocks": [number(blocks[3])]}])
    bench.run_until(limit=40, transfers={"o_blocks": 1})
    assert bench.sink("o_blocks").take() == [number(reference(second, blocks[3]))]


def test_loading_takes_what_the_promise_says():
    design = Aes(key_bits=256)
    bench = AmaranthBench(design)
    bench.source("i_key").push([{"key_index": 0, "key": 1}] * 3)
    bench.run_until(limit=100, transfers={"i_key": 3})
    first, second, third = bench.source("i_key").cycles
    assert second - first == third - second == design.rounds + 2


@settings(max_examples=10)
@given(
    key_bits=st.sampled_from([128, 256]),
    seed=st.randoms(use_true_random=False),
    waits=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=4),
)
def test_the_iterative_core_in_any_schedule(key_bits, seed, waits):
    design = AesIterative(key_bits=key_bits)
    bench = AmaranthBench(design)
    tests = [(seed.randbytes(key_bits // 8), seed.randbytes(16)) for _ in waits]
    source = bench.source("i", waits=[before for before, _ in waits])
    sink = bench.sink("o", waits=[20 + after for _, after in waits])  # counted from the cycle after the last answer
    source.push([{"key": number(key), "block": number(block)} for key, block in tests])
    bench.run_until(limit=400, transfers={"o": len(tests)})
    assert sink.take() == [number(reference(key, block)) for key, block in tests]


@pytest.mark.parametrize("key_bits", [128, 256])
def test_the_latency_of_the_iterative_core(key_bits):
    design = AesIterative(key_bits=key_bits)
    bench = AmaranthBench(design)
    bench.source("i").push([{"key": 5, "block": 6}] * 2)
    bench.run_until(limit=60, transfers={"o": 2})
    source, sink = bench.source("i").cycles, bench.sink("o").cycles
    assert [out - into for into, out in zip(source, sink, strict=True)] == [design.latency] * 2
    assert source[1] == sink[0] + 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"key_bits": 192}, "key_bits is 192; it must be one of 128, 256"),
        ({"keys": 0}, "keys is 0; it must be a whole number from 1 to 64"),
        ({"keys": 65}, "keys is 65"),
        ({"keys": 2.0}, "keys is 2.0"),
        ({"lanes": 3}, "lanes is 3; it must be one of 1, 2, 4"),
    ],
)
def test_refused_parameters(arguments, text):
    with pytest.raises(ParamsError, match=text):
        Aes(**arguments)
    if "key_bits" in arguments:
        with pytest.raises(ParamsError, match=text):
            AesIterative(**arguments)
