"""The merge stage equals the reference's page and waiting list, whatever the pages and however streams wait."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.errors import ParamsError
from omap.page import Page
from omap.params import Rule
from omap.presets import preset
from rtl.map.page import PageMerge, Verdict
from sim.bench.amaranth_bench import AmaranthBench
from sim.bench.secrecy import differences, state

SHAPES = {
    "TINY": preset("TINY"),
    "PAPER": preset("PAPER"),
    "one slot": replace(preset("STANDARD"), page_bytes=128),
    "odd": replace(preset("TINY"), value_bytes=9, page_bytes=192),
}


def reference(params, key, plaintext, occupancy, waiting):
    """Return page, occupancy, value and verdicts as the map computes them."""
    page, verdicts, value = Page(params, plaintext, occupancy), [], None
    left = list(waiting)
    if key is not None:
        value = next((entry[params.key_bytes :] for entry in waiting if entry.startswith(key)), None)
        left = [entry for entry in waiting if not entry.startswith(key)]
        if value is None:
            value = page.take(key)
    for entry in waiting:
        if key is not None and entry.startswith(key):
            verdicts.append(Verdict.TAKEN)
        elif page.has_room():
            page.put(left.pop(0))
            verdicts.append(Verdict.MOVED)
        else:
            verdicts.append(Verdict.KEPT)
    return bytes(page.plaintext), page.occupancy, value, verdicts


def drawn(params, rng):
    """Return a job: the key to take or None, a page, its occupancy, and what waits."""
    names = rng.sample(range(40), 40)
    make = [name.to_bytes(params.key_bytes, "big") + rng.randbytes(params.value_bytes) for name in names]
    used = [rng.random() < 0.7 for _ in range(params.page_slots)]
    slots = [make.pop() if use else bytes(params.tuple_bytes) for use in used]
    waiting = [make.pop() for _ in range(rng.choice([0, 1, 1, 2, 5]))]
    there = [entry for entry in slots if any(entry)] + waiting
    key = rng.choice([None, rng.choice(there or make), make[0]])
    plaintext = b"".join(slots).ljust(params.plaintext_bytes, b"\0")
    occupancy = sum(1 << place for place, use in enumerate(used) if use)
    return key and key[: params.key_bytes], plaintext, occupancy, waiting


@settings(max_examples=12)
@given(
    shape=st.sampled_from(sorted(SHAPES)),
    lanes=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 2**32 - 1),
    waits=st.lists(st.integers(0, 3), max_size=12),
)
def test_equals_the_reference(shape, lanes, seed, waits):
    params, rng = SHAPES[shape], random.Random(seed)
    dut = PageMerge(params, lanes=lanes)
    jobs = [drawn(params, rng) for _ in range(5)]
    bench = AmaranthBench(dut, seed=seed)
    ends = {name: bench.source(name, waits=waits) for name in ("i_job", "i_text", "i_waiting")}
    results = {name: bench.sink(name, waits=waits[::-1]) for name in ("o_verdict", "o_result", "o_text")}
    expected = [reference(params, *job) for job in jobs]
    for key, plaintext, occupancy, waiting in jobs:
        ends["i_job"].push(
            [{"take": key is not None, "key": int.from_bytes(key or b"", "little"), "occupancy": occupancy}]
        )
        padded = plaintext.ljust(dut.text_beats * 16 * lanes, b"\0")
        beats = [padded[at : at + 16 * lanes] for at in range(0, len(padded), 16 * lanes)]
        ends["i_text"].push([{"data": int.from_bytes(beat, "little"), "last": 0} for beat in beats])
        ends["i_waiting"].push([{"end": 0, "entry": int.from_bytes(entry, "little")} for entry in waiting])
        ends["i_waiting"].push([{"end": 1, "entry": rng.getrandbits(8)}])
    bench.run_until(limit=4000, transfers={"o_text": len(jobs) * dut.text_beats})
    text_beats = iter(dut.o_text.payload.shape().from_bits(raw) for raw in results["o_text"].take())
    found = [dut.o_result.payload.shape().from_bits(raw) for raw in results["o_result"].take()]
    for (page, occupancy, value, _), result in zip(expected, found, strict=True):
        beats = [next(text_beats) for _ in range(dut.text_beats)]
        text = b"".join(beat.data.to_bytes(16 * lanes, "little") for beat in beats)
        assert text == page.ljust(len(text), b"\0")
        assert [beat.last for beat in beats] == [0] * (dut.text_beats - 1) + [1]
        assert result.occupancy == occupancy
        assert result.found == (value is not None)
        assert result.value == int.from_bytes(value or b"", "little")
    assert [Verdict(raw) for raw in results["o_verdict"].take()] == [v for *_, verdicts in expected for v in verdicts]


@pytest.mark.parametrize(("shape", "lanes"), [("PAPER", 1), ("PAPER", 2), ("PAPER", 4), ("one slot", 4), ("odd", 2)])
@pytest.mark.parametrize("waiting", [0, 1, 2, 5, 9])
def test_a_page_takes_as_many_cycles_as_it_has_beats_or_tuples_and_one(shape, lanes, waiting):
    dut = PageMerge(SHAPES[shape], lanes=lanes)
    bench = AmaranthBench(dut)
    count, cycles = 40, max(dut.text_beats, waiting + 1)
    bench.source("i_job").push([{"take": 1, "key": 1, "occupancy": 1}] * count)
    bench.source("i_text").push([{"data": 0, "last": 0}] * dut.text_beats * count)
    bench.source("i_waiting").push(([{"end": 0, "entry": 5}] * waiting + [{"end": 1, "entry": 0}]) * count)
    for name in ("o_verdict", "o_result", "o_text"):
        bench.sink(name)
    bench.run_until(limit=1000, transfers={"o_text": dut.text_beats * count})
    assert bench.cycle <= cycles * count + 2 * dut.text_beats + 4


def test_a_result_is_there_three_cycles_after_its_page_and_does_not_wait_for_the_page_before():
    dut = PageMerge(SHAPES["PAPER"])
    bench = AmaranthBench(dut)
    bench.source("i_job").push([{"take": 1, "key": 1, "occupancy": 1}] * 3)
    bench.source("i_text").push([{"data": 0, "last": 0}] * dut.text_beats * 3)
    bench.source("i_waiting").push([{"end": 1, "entry": 0}] * 3)
    bench.sink("o_text", waits=[10_000])
    results = bench.sink("o_result")
    bench.run_until(limit=100, transfers={"o_result": 2})
    came = bench.source("i_text").cycles[dut.text_beats - 1 :: dut.text_beats]
    assert [after - before for before, after in zip(came, results.cycles, strict=False)] == [3, 3]


def offer(bench, dut, rng, waiting):
    """Offer two jobs whose keys, values and pages come from ``rng``; their keys lie in their pages."""
    params = dut.params
    bench.source("i_waiting").push([{"end": 0, "entry": rng.getrandbits(8 * params.tuple_bytes)}] * waiting)
    bench.source("i_waiting").push([{"end": 1, "entry": 0}] * 2)
    for _ in range(2):
        key = rng.getrandbits(8 * params.key_bytes)
        bench.source("i_job").push([{"take": 1, "key": key, "occupancy": 3}])
        beats = [rng.getrandbits(128) for _ in range(dut.text_beats)]
        beats[0] = beats[0] >> 8 * params.key_bytes << 8 * params.key_bytes | key
        bench.source("i_text").push([{"data": beat, "last": 0} for beat in beats])


@pytest.mark.sec_cm("MERGE.TEXT.ERASE")
@pytest.mark.parametrize("after", [5, 12, 16, 25])
def test_an_erased_stage_holds_nothing_of_keys_and_pages(after):
    states = []
    for seed in (1, 2):
        dut = PageMerge(SHAPES["PAPER"])
        bench = AmaranthBench(dut)
        offer(bench, dut, random.Random(seed), 3)
        bench.run(after)
        before = state(bench)
        bench.set("erase", 1)
        bench.run(1)
        states.append((before, state(bench)))
    assert differences(states[0][0], states[1][0])
    left = differences(states[0][1], states[1][1])
    assert not [name for name in left if not name.startswith("i_")]  # what is offered to the block is not in it


@pytest.mark.sec_cm("MERGE.TEXT.UNREADABLE")
def test_results_and_pages_are_zero_while_none_is_on_offer():
    dut = PageMerge(SHAPES["PAPER"])
    bench = AmaranthBench(dut)
    offer(bench, dut, random.Random(3), 2)
    bench.sink("o_result", waits=[9, 0])
    bench.sink("o_text", waits=[0, 30])
    seen = set()
    for _ in range(120):
        for name in ("o_result", "o_text"):
            valid, payload = bench.get(f"{name}__valid"), bench.get(f"{name}__payload")
            assert valid or not payload
            seen.add((name, valid))
        bench.run(1)
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("change", "lanes", "text"),
    [
        ({}, 3, "lanes is 3; it must be one of 1, 2, 4"),
        (
            {"rule": Rule.RESIDENT, "pages": 0, "page_bytes": 0, "further_lines": 0},
            1,
            "only maps with pages have something to merge",
        ),
    ],
)
def test_bad_parameters_are_refused(change, lanes, text):
    with pytest.raises(ParamsError, match=text):
        PageMerge(replace(preset("TINY"), **change), lanes=lanes)
