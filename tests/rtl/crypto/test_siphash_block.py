# amaranth: UnusedElaboratable=no
"""SipHash: published vectors, random messages and schedules, one message a cycle."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.errors import ParamsError
from omap.siphash import siphash24
from rtl.crypto.siphash import MESSAGE_BYTES, SipHash
from sim.bench.amaranth_bench import AmaranthBench

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "published" / "siphash.json").read_text())


@pytest.mark.parametrize("length", MESSAGE_BYTES)
def test_published_vectors(length):
    bench = AmaranthBench(SipHash(message_bytes=length))
    bench.source("i_key").push([bytes.fromhex(VECTORS["key"])])
    bench.run(1)
    bench.source("i_message").push([bytes(range(length))])
    bench.run_until(limit=30, transfers={"o_hash": 1})
    assert bench.sink("o_hash").take()[0].to_bytes(8, "little").hex() == VECTORS["hashes"][length]


@settings(max_examples=30)
@given(
    length=st.sampled_from(MESSAGE_BYTES),
    seed=st.randoms(use_true_random=False),
    waits=st.lists(st.integers(0, 3), min_size=1, max_size=30),
)
def test_messages_in_any_schedule(length, seed, waits):
    design = SipHash(message_bytes=length)
    bench = AmaranthBench(design)
    key, messages = seed.randbytes(16), [seed.randbytes(length) for _ in waits]
    bench.source("i_key").push([key])
    bench.run(1)
    source, sink = bench.source("i_message", waits=waits), bench.sink("o_hash")
    source.push(messages)
    bench.run_until(limit=200, transfers={"o_hash": len(messages)})
    assert sink.take() == [siphash24(key, message) for message in messages]
    assert sink.cycles == [cycle + design.latency for cycle in source.cycles]


def test_one_message_a_cycle():
    design = SipHash(message_bytes=4)
    bench = AmaranthBench(design)
    key, messages = bytes(range(16)), [bytes([number, 1, 2, 3]) for number in range(40)]
    bench.source("i_key").push([key])
    bench.run(1)
    bench.source("i_message").push(messages)
    bench.run_until(limit=100, transfers={"o_hash": len(messages)})
    sink = bench.sink("o_hash")
    assert sink.take() == [siphash24(key, message) for message in messages]
    assert sink.cycles[-1] - sink.cycles[0] == len(messages) - 1


def test_a_new_key_counts_from_the_next_cycle():
    design = SipHash(message_bytes=8)
    bench = AmaranthBench(design)
    keys = [bytes([index]) * 16 for index in range(5)]
    bench.source("i_key").push(keys)
    bench.source("i_message", waits=[1]).push([bytes(8)] * 5)
    bench.run_until(limit=60, transfers={"o_hash": 5})
    assert bench.sink("o_hash").take() == [siphash24(key, bytes(8)) for key in keys]


@pytest.mark.parametrize("length", [0, 5, 32, "8"])
def test_refused_parameters(length):
    with pytest.raises(ParamsError, match="message_bytes is .*; it must be one of 4, 8, 16"):
        SipHash(message_bytes=length)
