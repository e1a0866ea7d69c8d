"""GCM of pages and records against published vectors, Wycheproof's invalid tags among them."""

import json
from collections import defaultdict
from pathlib import Path

import pytest

from rtl.crypto.gcm import GcmOpen, GcmSeal
from sim.bench.amaranth_bench import AmaranthBench

FOLDER = Path(__file__).parents[2] / "vectors" / "published"
FIELDS = ("key", "iv", "aad", "msg", "ct", "tag")


def groups():
    """Return the vectors by what is fixed in a block: length of the key, the additional data and the text."""
    found = defaultdict(list)
    for name in ("gcm.json", "wycheproof_aes_gcm.json"):
        for test in json.loads((FOLDER / name).read_text())["tests"]:
            values = {field: bytes.fromhex(test[field]) for field in FIELDS}
            valid = test.get("result", "valid") == "valid"
            shape = 8 * len(values["key"]), len(values["aad"]), len(values["msg"])
            found[shape].append((values, valid))
    return sorted(found.items())


GROUPS = groups()


def cases(keep):
    """Return the groups as parameters; long texts under 128-bit keys, which nothing here uses, are for long runs."""
    return [
        pytest.param(
            shape,
            [(test, valid) for test, valid in tests if keep(valid)],
            id=str(shape),
            marks=[pytest.mark.long] if shape[0] == 128 and shape[2] >= 64 else [],
        )
        for shape, tests in GROUPS
    ]


def number(data):
    return int.from_bytes(data, "little")


def blocks(data):
    return [number(data[at : at + 16]) for at in range(0, len(data), 16)]


def load(bench, design, test):
    """Erase, so that a fault of the vector before is forgotten, and load the key of this one."""
    bench.set("erase", 1)
    bench.run(1)
    bench.set("erase", 0)
    bench.source("i_key").push([{"key_index": 0, "key": number(test["key"]), "aad": number(test["aad"])}])
    bench.run_until(limit=100, transfers={"i_key": 1})
    bench.source("i_request").push([{"key_index": 0, "nonce": number(test["iv"])}])
    bench.run_until(limit=design.load_cycles + 2, transfers={"i_request": 1})


def parameters(shape):
    key_bits, aad_bytes, text_bytes = shape
    return {"key_bits": key_bits, "aad_bytes": aad_bytes, "sealed_bytes": text_bytes + 16}


@pytest.mark.parametrize(("shape", "tests"), cases(lambda valid: True))
def test_open(shape, tests):
    design = GcmOpen(**parameters(shape))
    bench = AmaranthBench(design)
    loaded = None
    for test, valid in tests:
        if loaded == test["key"] and not bench.get("fault"):
            bench.source("i_request").push([{"key_index": 0, "nonce": number(test["iv"])}])
        else:
            load(bench, design, test)
        loaded = test["key"]
        bench.source("i_sealed").push(blocks(test["ct"] + test["tag"]))
        bench.run_until(limit=100, transfers={"o_text": design.text_beats})
        items = bench.sink("o_text").take()
        assert [item >> 129 for item in items] == [not valid] * len(items)
        assert [item & (1 << 128) - 1 for item in items] == blocks(test["msg"] if valid else bytes(len(test["msg"])))
        assert bench.get("fault") == (not valid)


@pytest.mark.parametrize(("shape", "tests"), cases(lambda valid: valid))
def test_seal(shape, tests):
    design = GcmSeal(**parameters(shape))
    bench = AmaranthBench(design)
    for test, _ in tests:
        load(bench, design, test)
        bench.source("i_text").push(blocks(test["msg"]))
        bench.run_until(limit=100, transfers={"o_sealed": design.beats})
        assert [item & (1 << 128) - 1 for item in bench.sink("o_sealed").take()] == blocks(test["ct"] + test["tag"])


def test_both_verdicts_are_among_them():
    assert sum(not valid for _, tests in GROUPS for _, valid in tests) > 30
    assert sum(valid for _, tests in GROUPS for _, valid in tests) > 12
