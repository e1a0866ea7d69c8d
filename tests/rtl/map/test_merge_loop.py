"""Bins and merge stage together equal the reference's touches, in whatever order memory answers, at full rate."""

import random
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from omap.map import PagedMap
from omap.memory import DeviceMemory
from omap.page import Page
from omap.params import Params
from omap.presets import preset
from omap.waiting import Waiting
from rtl.map.bin_shapes import Use
from rtl.work import MERGE
from sim.bench.compiled import Design
from tests.support.designs.merge_loop import MergeLoop

# Few pages, so that bins are used again while they are in use; lists longer than a first line.
SHAPES = {
    "TINY": replace(preset("TINY"), capacity=60, pages=4, waiting_slots=60, further_lines=20, buckets=6),
    "SMALL": replace(preset("SMALL"), capacity=90, pages=3, waiting_slots=90, further_lines=8, buckets=40),
    "WIDE": replace(preset("WIDE"), capacity=80, pages=3, waiting_slots=80, further_lines=6, buckets=40),
}
ENTRIES = {"TINY": 3, "SMALL": 7, "WIDE": 4}
PAPER = replace(preset("PAPER"), capacity=3375, pages=500, waiting_slots=700, further_lines=10, buckets=4000)


@cache
def design(shape: str):
    return Design(MergeLoop(SHAPES[shape], entries=ENTRIES[shape], most=64))


@cache
def paper():
    return Design(MergeLoop(PAPER, lanes=2))


class Touches(PagedMap):
    """The reference's touches and lists alone: pages lie here in the clear, as in the bench."""

    rule = None
    _draws = _bulk_words = None

    def __init__(self, params: Params) -> None:
        self.params, self.waiting = params, Waiting(params, DeviceMemory())
        self.pages = [bytes(params.plaintext_bytes)] * params.pages
        self.sequence = 0
        self.seen = []  # page and version before, page and occupancy after, tuples that waited, of each touch

    def _read_page(self, number, descriptor, present):
        self.seen.append([self.pages[number], descriptor.version, len(self.before.waiting)])
        return Page(self.params, self.pages[number], descriptor.occupancy)

    def _write_page(self, number, descriptor, page):
        self.pages[number] = bytes(page.plaintext)
        descriptor.version, descriptor.occupancy = self.version, page.occupancy
        self.seen[-1] += [self.pages[number], page.occupancy]

    def touch(self, number, key):
        self.sequence += 1
        self.before = self.waiting.load(number)
        return self._touch(number, key)

    def append(self, number, entry):
        descriptor = self.waiting.load(number)
        self.waiting.append(descriptor, entry)
        self.waiting.store(descriptor)

    @property
    def in_use(self):
        return self.waiting.free_slots.taken, self.waiting.free_lines.taken


class Script:
    """Operations on random keys, as the map makes them of commands; with all that goes in and must come out."""

    def __init__(self, params, count, rng, *, keys, absent=0.1, lazy=0.0):
        self.reference, live = Touches(params), {}
        self.touches, self.keys, self.appends, self.results, self.waited = [], [], [], [], []
        most = min(len(range(params.waiting_slots)), 60 if params.pages < 10 else params.waiting_slots)
        for number in range(count):
            key = rng.randrange(keys).to_bytes(params.key_bytes, "big")
            taking = rng.random() >= lazy  # else a NOP: a touch for nothing
            page = live[key] if taking and key in live else rng.randrange(params.pages)
            found = self.reference.touch(page, key if taking and key in live else None)
            assert (found is not None) == (taking and key in live)
            live.pop(key, None) if taking else None
            fresh = rng.randrange(params.pages)
            present = key not in live and rng.random() >= absent and self.reference.in_use[0] < most
            present = present and len(live) < params.capacity
            entry = key + number.to_bytes(4, "little").ljust(params.value_bytes, b"\x5a")
            if present:
                live[key] = fresh
                self.reference.append(fresh, entry)
            self.add(page, key if found is not None else None, found, fresh, entry if present else None)

    def add(self, page, key, found, fresh, entry):
        self.touches += [{"bin": page, "use": Use.TOUCH}, {"bin": fresh, "use": Use.APPEND}]
        self.keys.append({"take": key is not None, "key": int.from_bytes(key or b"\1", "little")})
        self.appends.append({"present": entry is not None, "entry": int.from_bytes(entry or b"\7", "little")})
        self.results.append((found is not None, int.from_bytes(found or b"", "little"), self.reference.seen[-1][4]))
        self.waited.append(self.reference.seen[-1][2])


def beats(loop, pages):
    """Return pages as beats in the layout of the streams."""
    width = 16 * loop.lanes
    size = -(-loop.text_beats * width // width) * width
    data = np.frombuffer(b"".join(page.ljust(size, b"\0") for page in pages), np.uint8).reshape(-1, width)
    last = np.zeros((len(data), 1), np.uint8)
    last[loop.text_beats - 1 :: loop.text_beats] = 1
    return np.hstack([data, last])


def feed(bench, script, merge):
    bench.source("i_touch").push(script.touches)
    bench.source("i_key").push(script.keys)
    bench.source("i_append").push(script.appends)
    bench.source("i_text").push(beats(merge, [seen[0] for seen in script.reference.seen]))


def start(bench, *, latency=0, jitter=0, shy=0):
    for name, value in (("latency", latency), ("jitter", jitter), ("shy", shy)):
        bench.set(name, value)
    return bench


def check(bench, script, merge):
    count = len(script.keys)
    wanted = {"o_text": count * merge.text_beats, "o_result": count}
    limit = 3000 + count * (1000 + 30 * merge.text_beats)
    bench.run_until(limit=limit, transfers=wanted)
    bench.run_until(limit=3000, values={"quiet": 1})
    seen = script.reference.seen
    assert bench.sink("o_version").take() == [touch[1] for touch in seen]
    shape = merge.o_result.p.shape()
    results = [shape.from_bits(raw) for raw in bench.sink("o_result").take()]
    assert [(bool(r.found), r.value, r.occupancy) for r in results] == script.results
    assert (bench.sink("o_text").take_array() == beats(merge, [touch[3] for touch in seen])).all()
    assert not bench.get("exhausted")
    assert (bench.get("lost_slots"), bench.get("lost_lines")) == script.reference.in_use


@pytest.mark.parametrize("shape", ["TINY", "SMALL", pytest.param("WIDE", marks=pytest.mark.long)])
def test_touches_and_lists_equal_the_reference(shape):
    params, merge = SHAPES[shape], MergeLoop(SHAPES[shape], entries=2).merge

    @settings(max_examples=5 if shape == "WIDE" else 25)
    @given(
        seed=st.integers(0, 2**32 - 1),
        count=st.sampled_from([5, 60, 100 if shape == "WIDE" else 300]),
        keys=st.sampled_from([3, 20, 60]),
        absent=st.sampled_from([0.0, 0.2, 0.6]),
        lazy=st.sampled_from([0.0, 0.5]),
        latency=st.sampled_from([0, 5, 60]),
        shy=st.integers(0, 1),
        idle=st.sampled_from([0.0, 0.5, 0.9]),
    )
    def run(seed, count, keys, absent, lazy, latency, shy, idle):
        script = Script(params, count, random.Random(seed), keys=keys, absent=absent, lazy=lazy)
        bench = start(design(shape).bench(seed=seed), latency=latency, jitter=31, shy=shy)
        for name in ("i_touch", "i_key", "i_append", "i_text"):
            bench.source(name, idle=idle if seed % 3 else 0.0)
        for name in ("o_version", "o_text", "o_result"):
            bench.sink(name, idle=idle if seed % 5 else 0.0)
        feed(bench, script, merge)
        check(bench, script, merge)

    run()


@pytest.mark.parametrize(("latency", "jitter"), [(0, 0), (20, 0)])
def test_an_operation_takes_as_long_as_its_page_or_as_the_tuples_that_wait_for_it(latency, jitter):
    """Text, keys and announcements are always there; half the run fills the pages."""
    count = 6000
    script = Script(PAPER, count, random.Random(5), keys=PAPER.capacity, absent=0.0)
    bench = start(paper().bench(), latency=latency, jitter=jitter)
    merge = MergeLoop(PAPER, lanes=2, entries=2).merge
    feed(bench, script, merge)
    check(bench, script, merge)
    times = bench.sink("o_result").cycles
    waited = script.waited[count // 2 :]
    assert sum(waited) > 0.8 * len(waited)  # as many as in a large map
    assert times[-1] - times[count // 2] <= 1.01 * sum(max(merge.text_beats, MERGE + count) for count in waited)


class LongLists(Script):
    """Operations that append to the last pages in turns and touch others, and then touch these, one after the other."""

    def __init__(self, params, pages, each):
        super().__init__(params, 0, random.Random(0), keys=1)
        others = params.pages - pages
        turns = [(number % others, others + number % pages) for number in range(pages * each)]
        turns += [(others + number, number) for number in range(pages)]
        for number, (page, fresh) in enumerate(turns):
            assert self.reference.touch(page, None) is None
            entry = number.to_bytes(params.key_bytes, "big").ljust(params.key_bytes + params.value_bytes, b"\x5a")
            self.reference.append(fresh, entry)
            self.add(page, None, None, fresh, entry)


@pytest.mark.parametrize("each", [6, 10])
def test_long_lists_in_a_row_take_a_cycle_for_each_tuple_and_one(each):
    """Offsets count on that, once the tuples are here; meanwhile those of other pages come."""
    pages = PAPER.waiting_slots // each * 9 // 10
    script = LongLists(PAPER, pages, each)
    bench = start(paper().bench(), latency=20)
    merge = MergeLoop(PAPER, lanes=2, entries=2).merge
    feed(bench, script, merge)
    check(bench, script, merge)
    times = bench.sink("o_result").cycles[-pages:]
    waited = script.waited[-pages:]
    assert set(waited) == {each}
    assert np.percentile(np.diff(times), 90) <= MERGE + each


@pytest.mark.sec_cm("WAITING.TUPLE.ERASE")
@example(control="clear", after=357, latency=10)
@settings(max_examples=40)
@given(control=st.sampled_from(["clear", "erase"]), after=st.integers(20, 6000), latency=st.sampled_from([10, 60]))
def test_bins_that_forgot_are_empty_and_ignore_late_memory(control, after, latency):
    params, merge = SHAPES["TINY"], MergeLoop(SHAPES["TINY"], entries=2).merge
    bench = start(design("TINY").bench(seed=after), latency=latency, jitter=63)
    feed(bench, Script(params, 200, random.Random(after), keys=60, absent=0.0), merge)
    bench.run(after)

    def pulse(name):
        bench.set(name, 1)
        bench.run(1)
        bench.set(name, 0)
        bench.run(1)

    pulse(control)
    if not bench.get("quiet"):  # else nothing was under way, and the next touch is taken at once
        left = bench.source("i_touch").remaining
        bench.run_until(limit=500, values={"quiet": 1})
        assert bench.source("i_touch").remaining == left  # nothing is taken while transfers are under way
    bench.set("wipe", 1)
    bench.run(3000)
    pulse("erase")  # the merge stage has taken text meanwhile
    bench.set("wipe", 0)
    for name in ("o_version", "o_result", "o_text"):
        bench.sink(name).take()
    script = Script(params, 100, random.Random(-after), keys=20)
    feed(bench, script, merge)
    check(bench, script, merge)
