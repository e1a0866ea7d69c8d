# amaranth: UnusedElaboratable=no
"""CMAC and key derivation against published vectors and the reference."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.errors import ParamsError
from omap.kdf import cmac, derive
from rtl.crypto.cmac import Cmac
from rtl.crypto.kdf import Kdf
from sim.bench.amaranth_bench import AmaranthBench

FOLDER = Path(__file__).parents[2] / "vectors" / "published"


def vectors(name):
    tests = json.loads((FOLDER / name).read_text())["tests"]
    return [{field: bytes.fromhex(value) for field, value in test.items()} for test in tests]


def number(data):
    return int.from_bytes(data, "little")


def beats(message):
    parts = [message[at : at + 16] for at in range(0, len(message), 16)] or [b""]
    return [
        {"data": number(part), "bytes": len(part), "last": index == len(parts) - 1} for index, part in enumerate(parts)
    ]


def test_published_cmac_vectors():
    bench = AmaranthBench(Cmac())
    tests = vectors("cmac.json")
    assert len({test["key"] for test in tests}) == 1
    bench.source("i_key").push([tests[0]["key"]])
    bench.run(1)
    for test in tests:
        bench.source("i_message").push(beats(test["msg"]))
    bench.run_until(limit=600, transfers={"o_tag": len(tests)})
    assert bench.sink("o_tag").take() == [number(test["tag"]) for test in tests]


@settings(max_examples=10)
@given(
    messages=st.lists(st.tuples(st.booleans(), st.binary(max_size=50)), min_size=1, max_size=4),
    keys=st.lists(st.binary(min_size=32, max_size=32), min_size=4, max_size=4),
    waits=st.lists(st.integers(0, 40), max_size=10),
    stalls=st.lists(st.integers(0, 40), max_size=4),
)
def test_cmac_in_any_schedule(messages, keys, waits, stalls):
    bench = AmaranthBench(Cmac())
    source, sink = bench.source("i_message", waits=waits), bench.sink("o_tag", waits=stalls)
    key = None
    for index, (change, message) in enumerate(messages):
        if change or key is None:
            key = keys[index]
            bench.source("i_key").push([key])
            bench.run_until(limit=200, transfers={"i_key": 1})
        source.push(beats(message))
        bench.run_until(limit=600, transfers={"o_tag": 1})
        assert sink.take() == [number(cmac(key, message))]


def test_the_times_of_cmac():
    bench = AmaranthBench(Cmac())
    bench.source("i_key").push([bytes(32)])
    bench.source("i_message").push(beats(bytes(48)))
    bench.run_until(limit=200, transfers={"o_tag": 1})
    first, second, third = bench.source("i_message").cycles
    assert first - bench.source("i_key").cycles[0] == 17
    assert second - first == third - second == bench.sink("o_tag").cycles[0] - third == 16


def run(fixed, key, length):
    design = Kdf(fixed_bytes=len(fixed), output_bytes=length)
    bench = AmaranthBench(design)
    bench.source("i").push([{"key": number(key), "fixed": number(fixed)}])
    bench.run_until(limit=2000, transfers={"o": 1})
    assert bench.sink("o").cycles[0] - bench.source("i").cycles[0] == design.latency
    return bench.sink("o").take()[0].to_bytes(length, "little")


def test_published_kdf_vector():
    for test in vectors("kdf.json"):
        assert run(test["fixed"], test["key"], len(test["output"])) == test["output"]


@settings(max_examples=8)
@given(
    key=st.binary(min_size=32, max_size=32),
    label=st.binary(max_size=14),
    context=st.binary(max_size=60),
    blocks=st.integers(1, 6),
)
def test_derivation_equals_the_reference(key, label, context, blocks):
    length = 16 * blocks
    fixed = label + b"\0" + context + (8 * length).to_bytes(4, "big")
    assert run(fixed, key, length) == derive(key, label, context, length)


def test_one_derivation_after_another():
    bench = AmaranthBench(Kdf(fixed_bytes=6, output_bytes=32))
    keys = [bytes([index]) * 32 for index in range(3)]
    fixed = b"a\0" + (256).to_bytes(4, "big")
    bench.source("i").push([{"key": number(key), "fixed": number(fixed)} for key in keys])
    sink = bench.sink("o", waits=[0, 90, 3])
    bench.run_until(limit=600, transfers={"o": 3})
    assert sink.take() == [number(derive(key, b"a", b"", 32)) for key in keys]


@settings(max_examples=4)
@given(key=st.binary(min_size=32, max_size=32), short=st.integers(5, 40), more=st.integers(1, 30))
def test_one_block_derives_from_inputs_of_two_lengths(key, short, more):
    design = Kdf(fixed_bytes=short + more, output_bytes=32, short_bytes=short)
    bench = AmaranthBench(design)
    labels = [b"s" * (short - 5), b"l" * (short + more - 5), b"t" * (short - 5)]
    fixed = [label + b"\0" + (256).to_bytes(4, "big") for label in labels]
    fixed[2] += b"\xff" * more
    bench.source("i").push(
        [{"key": number(key), "fixed": number(each), "short": place != 1} for place, each in enumerate(fixed)]
    )
    bench.run_until(limit=2000, transfers={"o": 3})
    assert bench.sink("o").take() == [number(derive(key, label, b"", 32)) for label in labels]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"short_bytes": 10}, "short_bytes is 10; it must be a whole number from 0 to 9"),
        ({"fixed_bytes": 0}, "fixed_bytes is 0; it must be a whole number from 1 to 252"),
        ({"output_bytes": 24}, "output_bytes is 24; it must be a multiple of 16"),
        ({"output_bytes": 512}, "output_bytes is 512; it must be a whole number from 16 to 256"),
    ],
)
def test_refused_parameters(arguments, text):
    with pytest.raises(ParamsError, match=text):
        Kdf(**({"fixed_bytes": 10, "output_bytes": 32} | arguments))
