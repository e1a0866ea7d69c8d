# amaranth: UnusedElaboratable=no
"""The sessions block in a restore: it takes what the reference takes, and goes on where the map goes on."""

import random
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.lineage import Ancestor, Lineage
from omap.operations import Status
from omap.presets import preset
from omap.source import END
from omap.wire import RecordCodec
from rtl.rings.sessions import Sessions
from sim.bench.compiled import Design
from sim.bench.secrecy import differences, state
from tests.support.rtl.restore_bench import RestoreTwin
from tests.support.rtl.restore_histories import History, drawn_history
from tests.support.rtl.session_bench import IN_FLIGHT, ROOT_KEY, UNERASED, Interpreted, flipped


@cache
def design(name):
    return Design(Sessions(preset(name), in_flight=IN_FLIGHT, journal=True)), preset(name)


SCHEDULE = {
    "stall": st.fixed_dictionaries(
        dict.fromkeys(["o_command", "o_record", "o_journal"], st.sampled_from([0.0, 0.1, 0.8]))
    ),
    "idle": st.sampled_from([0.0, 0.0, 0.5]),
    "chunk": st.sampled_from([1, 7, 40]),
    "cuts": st.sampled_from([0, 1, 3]),
}


def twin_of(name, seed, *, stall, idle, chunk):
    twin = RestoreTwin(*design(name), random.Random(seed), chunk=chunk)
    for sink, share in stall.items():
        twin.bench.sink(sink, idle=share)
    twin.bench.source("i_record", idle=idle)
    return twin


def test_a_record_that_was_read_early_before_a_restore_began_is_none_of_it():
    bench = design("TINY")[0].bench(seed=1)
    for name in ("open_", "restore", "early"):
        bench.set(name, 1)
    bench.source("i_record").push([{"data": 3, "last": beat == 3, "malformed": 0} for beat in range(4)])
    bench.run_until(limit=100, values={"again": 1})
    bench.set("early", 0)
    bench.run(200)
    assert bench.get("idle") == 1
    assert not bench.get("failed")
    assert not bench.sink("o_record").transfers


@pytest.mark.parametrize("name", ["TINY", "WIDE"])
def test_a_restore_equals_the_reference_in_any_schedule(name):
    assert design(name)

    @settings(max_examples=15)
    @given(seed=st.integers(0, 1 << 32), **SCHEDULE)
    def check(seed, stall, idle, chunk, cuts):
        twin = twin_of(name, seed, stall=stall, idle=idle, chunk=chunk)
        history = drawn_history(twin.codec, ROOT_KEY, twin.rng, snapshots=name != "WIDE")
        twin.restore([*history.records, END], cuts=cuts)
        assert twin.law.complete
        assert twin.law.operation == history.operation
        client = twin.opened()
        for _ in range(3):
            twin.feed(client.operations(twin.rng))
        twin.settle()
        lineage = history.lineage.child(history.map_id, history.operation)
        for known, kept in [*lineage.ancestors[:3], lineage.ancestors[-1], (history.map_id[::-1], None)]:
            assert twin.kept(known) == kept
        twin.settle()
        if name != "WIDE":  # a snapshot of the whole map
            twin.export()
            twin.feed(client.operations(twin.rng))
            twin.settle()

    check()


@settings(max_examples=15)
@given(seed=st.integers(0, 1 << 32), full=st.booleans(), **SCHEDULE)
def test_after_a_restore_that_failed_another_one_or_a_format_does(seed, full, stall, idle, chunk, cuts):
    twin = twin_of("TINY", seed, stall=stall, idle=idle, chunk=chunk)
    rng, client = twin.rng, twin.opened()
    twin.feed(client.operations(rng))
    history = drawn_history(twin.codec, ROOT_KEY, rng).run(2)
    good = [*history.records, END]
    at = rng.randrange(len(good) - 1)
    bad = [*good[:at], flipped(good[at], 8 * 16 + rng.randrange(8 * len(good[at]) - 128)), *good[at + 1 :]]
    twin.restore(good if full else bad, full={0: Status.FULL} if full else {}, cuts=cuts)
    assert twin.law.failed
    if rng.random() < 0.5:
        twin.restore(good, cuts=cuts)
        assert twin.law.complete
    else:
        twin.format()
        assert twin.kept(history.map_id) is None
    client = twin.opened()
    for _ in range(3):
        twin.feed(client.operations(rng))
    twin.settle()


@settings(max_examples=10)
@given(seed=st.integers(0, 1 << 32), cycles=st.integers(0, 3000))
@pytest.mark.sec_cm("SESSIONS.KEY.ERASE")
def test_nothing_of_a_restore_comes_after_an_erasure(seed, cycles):
    twin = twin_of("TINY", seed, stall={}, idle=0.0, chunk=1)
    twin.begin_restore()
    for record in [*drawn_history(twin.codec, ROOT_KEY, twin.rng).records, END]:
        twin.push(record)
    twin.bench.run(cycles)
    twin.bench.set("erase", 1)
    twin.bench.run(1)
    twin.bench.set("erase", 0)
    before = {name: twin.bench.sink(name).transfers for name in ("o_record", "o_command", "o_journal")}
    twin.bench.run(3000)
    twin.bench.set("begin", 1)
    twin.bench.run(1500)
    assert before == {name: twin.bench.sink(name).transfers for name in before}
    assert not twin.bench.get("restored")


@pytest.mark.long
@pytest.mark.parametrize("ends", [True, False])
def test_the_key_that_opens_records_is_gone_when_a_restore_is_over(ends):
    """It stood where that of the first session will stand, and would stay until there is one."""
    states = []
    for seed in (1, 2):
        rng, root_key = random.Random(3), bytes([seed]) * 32
        twin = RestoreTwin(Interpreted(journal=True), preset("TINY"), rng, schedule=random.Random(3), root_key=root_key)
        twin.begin_restore()
        records = History(twin.codec, root_key, random.Random(4)).format().records
        for record in records:
            twin.push(record)
        twin.bench.run(1500)
        assert twin.bench.sink("o_record").transfers == 4 * len(records)  # a line each
        before = state(twin.bench, without_memories_of=UNERASED)
        twin.push(END if ends else flipped(END, 0))
        twin.bench.run(300)
        assert (twin.bench.get("restored"), twin.bench.get("failed")) == (ends, not ends)
        states.append((before, state(twin.bench, without_memories_of=UNERASED)))
    (before, after), (other_before, other_after) = states
    assert differences(before, other_before).count("memory row 0") > 15  # round keys, hash key and its powers
    assert not [name for name in differences(after, other_after) if name.startswith("memory row")]


def cycles_of(seed, make):
    """Restore what ``make`` adds to a history of drawn contents; return when commands and answers left."""
    design_, params = design("TINY")
    twin = RestoreTwin(design_, params, random.Random(seed), schedule=random.Random(1), chunk=1)
    twin.schedule = SimpleNamespace(randint=lambda least, most: most)  # replies come as soon as they can
    step = twin.step
    twin.step = lambda cycles: [step(1) for _ in range(cycles)]
    history = History(twin.codec, ROOT_KEY, random.Random(seed))
    make(history)
    twin.restore([*history.records, END])
    assert twin.law.complete
    return [twin.bench.sink(name).cycles for name in ("o_command", "o_record")]


def test_full_records_give_a_command_a_cycle():
    """But for the beats of a record that are no item: header, preamble and tag."""
    most = RecordCodec(preset("TINY")).most_operations
    commands, _ = cycles_of(3, lambda history: history.format().run(*[most] * 6))
    lines = np.arange(6) * most
    assert all(np.diff(commands[at : at + most]).max() == 1 for at in lines)
    assert commands[-1] - commands[0] < 6 * (most + 4)


def test_times_of_a_restore_do_not_depend_on_what_is_restored():
    """Keys, operations, numbers, ids and versions are others; the lengths of records are the same."""

    def make(history):
        lineage = Lineage((Ancestor(history.rng.randbytes(16), history.rng.getrandbits(60)),) * 3)
        history.snapshot(lineage=lineage).run(2, 60).child().run(1, 1)

    first, second = cycles_of(4, make), cycles_of(5, make)
    assert all(np.array_equal(*pair) for pair in zip(first, second, strict=True))
