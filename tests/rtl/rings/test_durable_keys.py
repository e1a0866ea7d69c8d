# amaranth: UnusedElaboratable=no
"""Keys of journals and snapshots: as the reference, one for each era and each snapshot, and gone when erased."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.kdf import JOURNAL, SNAPSHOT
from rtl.rings.durable_keys import DurableKeys
from sim.bench.amaranth_bench import AmaranthBench
from sim.bench.secrecy import differences, state
from tests.support.rtl.session_ends import number

KEY_CYCLES = 200
"""Cycles in which a key is derived, and more."""


def derived(root_key, asked):
    """Return the keys that the block derives for what it is asked."""
    bench = AmaranthBench(DurableKeys())
    bench.set("root_key", number(root_key))
    bench.source("i").push(asked)
    bench.run_until(limit=KEY_CYCLES * len(asked), transfers={"o": len(asked)})
    return [key.to_bytes(32, "little") for key in bench.sink("o").take()]


def journal(map_id, era):
    return {"snapshot": 0, "map_id": number(map_id), "context": era}


def snapshot(map_id, export_id):
    return {"snapshot": 1, "map_id": number(map_id), "context": number(export_id)}


@pytest.mark.sec_cm("JOURNALS.NONCE.UNIQUE")
@pytest.mark.sec_cm("SNAPSHOTS.KEY.OWN")
@settings(max_examples=5)
@given(seed=st.integers(0, 1 << 32))
def test_keys_equal_the_reference(seed):
    rng = random.Random(seed)
    root, (map_id, *ids), era = rng.randbytes(32), [rng.randbytes(16) for _ in range(3)], rng.getrandbits(32)
    asked = [journal(map_id, 0), snapshot(map_id, ids[0]), journal(map_id, era), snapshot(map_id, ids[1])]
    wanted = [
        JOURNAL.derive(root, map_id, bytes(4)),
        SNAPSHOT.derive(root, map_id, ids[0]),
        JOURNAL.derive(root, map_id, era.to_bytes(4, "big")),
        SNAPSHOT.derive(root, map_id, ids[1]),
    ]
    assert derived(root, asked) == wanted


@pytest.mark.sec_cm("JOURNALS.KEY.ERASE")
@pytest.mark.parametrize("cycles", [3, 60, KEY_CYCLES])
@pytest.mark.parametrize("of_snapshot", [False, True])
def test_an_erased_block_holds_nothing_of_its_keys(cycles, of_snapshot):
    states = []
    for seed in (7, 8):
        rng = random.Random(seed)
        bench = AmaranthBench(DurableKeys())
        bench.sink("o", waits=[1 << 20])
        bench.set("root_key", number(rng.randbytes(32)))
        bench.source("i").push([snapshot(bytes(16), bytes(16)) if of_snapshot else journal(bytes(16), 0)])
        bench.run(cycles)
        before = state(bench)
        bench.set("root_key", 0)  # as an erased root key
        bench.set("erase", 1)
        bench.run(1)
        bench.set("erase", 0)
        bench.run(2)
        states.append((before, state(bench)))
    (before, after), (other_before, other_after) = states
    assert differences(before, other_before)
    assert not differences(after, other_after)
