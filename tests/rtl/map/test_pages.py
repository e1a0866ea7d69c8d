# amaranth: UnusedElaboratable=no
"""Pages on their way: each touch is handed what the one before left of its page, whatever the host does and when."""

import random
from collections import defaultdict, deque
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from rtl.config import EngineConfig
from rtl.constants import BLOCK_BYTES, LINE_BITS, LINE_BYTES
from rtl.map.pages import Pages
from tests.support.rtl.engines import tight

BASE = 3 << 33
TURNAROUND, FOLLOW = 40, 80


def config(lines, **others):
    """Return an engine with pages of so many lines, of which 10 can be under way."""
    params = replace(tight("TINY"), page_bytes=lines * LINE_BYTES)
    offsets = {"interval": 60, "reply_cycles": 100, "merge_cycles": 120} | others
    return EngineConfig(params=params, turnaround_cycles=TURNAROUND, follow_cycles=FOLLOW, **offsets)


class Rig:
    """Pages between a host and a stand-in for all that happens to a page: it counts the touches of each.

    Every line of a page holds its place, the page's number, and how often it was touched. The host reads a page when it
    answers, and writes one when it acknowledges: what has not been acknowledged can't be read yet.
    """

    def __init__(self, config, *, read=lambda: 30, write=lambda: 60, seal=lambda: 10, stall=lambda: False, seed=0):
        self.config, self.lines = config, config.page_lines
        self.beat_bits = 8 * BLOCK_BYTES * config.lanes
        self.rng = random.Random(seed)  # whose line comes next
        self.delays = {"read": read, "write": write, "seal": seal}
        self.stall = stall
        self.dut = Pages(config)
        self.memory = {page: self.lines_of(page, 0) for page in range(config.params.pages)}
        self.cycle, self.next, self.late = 0, 0, 0
        self.handed = []  # page and touches so far, as they were handed on
        self.events = defaultdict(list)  # when pages were read, started, and written
        self.forget()

    def lines_of(self, page, count):
        """Return the lines of a page that was touched so often."""
        return [line << 64 | page << 32 | count for line in range(self.lines)]

    def forget(self):
        """Forget what is under way."""
        self.reads, self.writes = [], []  # when it ends, id, page
        self.bursts = []  # reads that are being answered: id, lines left
        self.lines_out, self.contents = deque(), {}  # writes whose lines come, and have come
        self.text, self.sealing = [], deque()

    def run(self, pages, *, blanks=(), gap=0, before=(), cut_off=None, limit=8000):
        """Touch pages, at least ``gap`` cycles apart, and let what is under way end.

        First ``blanks`` are written. Or there is a reset, when some of the pages ``before`` were touched and
        ``cut_off`` says so.
        """
        m, reset = Module(), Signal()
        m.submodules.dut = ResetInserter(reset)(self.dut)
        self.gap = gap

        async def ended(ctx, pages, blank=0):
            for _ in range(limit):
                if await self.step(ctx, pages, blank) and self.cycle > 3:
                    return
            raise AssertionError(f"not at rest after {limit} cycles")

        async def bench(ctx):
            ctx.set(self.dut.base, BASE)
            if blanks:
                await ended(ctx, list(blanks), 1)
                self.late = 0  # blanks are due at once
            if cut_off:
                started = list(before)
                while not cut_off(self):
                    await self.step(ctx, started)
                ctx.set(reset, 1)
                await ctx.tick()
                ctx.set(reset, 0)
                self.forget()
                self.handed.clear()
                self.before = dict(self.memory)
            await ended(ctx, list(pages))

        simulator = Simulator(m)
        simulator.add_clock(1e-6)
        simulator.add_testbench(bench)
        simulator.run()

    async def step(self, ctx, pages, blank=0):
        """Let a cycle pass; return whether all is done."""
        dut, now = self.dut, self.cycle
        asked = bool(pages) and now >= self.next
        ctx.set(dut.i_page.valid, asked)
        if asked:
            ctx.set(dut.i_page.payload, {"page": pages[0], "blank": blank})
        stalled = self.stall()
        for ready in (dut.o_read.ready, dut.o_write.ready, dut.o_lines.ready):
            ctx.set(ready, not stalled)
        self.answer(ctx)
        self.acknowledge(ctx)
        beat = self.sealing[0] if self.sealing and self.sealing[0][0] <= now else None
        ctx.set(dut.i_sealed.valid, beat is not None)
        if beat:
            ctx.set(dut.i_sealed.payload, {"data": beat[1], "last": beat[2]})
        ctx.set(dut.o_sealed.ready, not stalled)

        if asked and ctx.get(dut.i_page.ready):
            if blank:
                self.seal(pages[0], 0)
            pages.pop(0)
            self.next = now + self.gap
        if beat and ctx.get(dut.i_sealed.ready):
            self.sealing.popleft()
        if ctx.get(dut.o_sealed.valid) and not stalled:
            self.merge(ctx.get(dut.o_sealed.payload))
        if ctx.get(dut.started):
            self.events["started"].append(now)
        self.late += ctx.get(dut.late)
        if not stalled:
            self.take(ctx)
        done = not pages and not asked and ctx.get(dut.idle)
        await ctx.tick()
        self.cycle += 1
        return done

    def page_of(self, address):
        assert (address - BASE) % (self.lines * LINE_BYTES) == 0
        return (address - BASE) // (self.lines * LINE_BYTES)

    def take(self, ctx):
        """Take what leaves for the host."""
        dut, now = self.dut, self.cycle
        for name, stream, under_way in (("read", dut.o_read, self.reads), ("write", dut.o_write, self.writes)):
            if ctx.get(stream.valid):
                request = stream.payload
                page, number = self.page_of(ctx.get(request.address)), ctx.get(request.id)
                assert ctx.get(request.lines) == self.lines
                assert number not in [one[1] for one in under_way]
                if name == "write":
                    assert page not in [one[2] for one in under_way], "writes of a page could overtake each other"
                    self.lines_out.append((number, []))
                self.events[name].append((now, page))
                under_way.append((now + self.delays[name](), number, page))
        if ctx.get(dut.o_lines.valid):
            number, content = self.lines_out[0]
            content.append(ctx.get(dut.o_lines.payload))
            if len(content) == self.lines:
                self.lines_out.popleft()
                self.contents[number] = content

    def answer(self, ctx):
        """Answer reads that are due, line by line; those of several may come in turns."""
        for one in [one for one in self.reads if one[0] <= self.cycle]:
            self.reads.remove(one)
            self.bursts.append((one[1], list(self.memory[one[2]])))
        ctx.set(self.dut.i_data.valid, bool(self.bursts))
        if self.bursts:
            number, left = burst = self.rng.choice(self.bursts)
            ctx.set(self.dut.i_data.payload, {"id": number, "data": left.pop(0), "last": not left})
            if not left:
                self.bursts.remove(burst)

    def acknowledge(self, ctx):
        """Acknowledge a write that is due and whole."""
        due = [one for one in self.writes if one[0] <= self.cycle and one[1] in self.contents]
        ctx.set(self.dut.i_written.valid, bool(due))
        if due:
            _, number, page = min(due)
            self.writes.remove(min(due))
            self.memory[page] = self.contents.pop(number)
            ctx.set(self.dut.i_written.payload, number)

    def merge(self, beat):
        """Take a beat that was handed on, and seal the page when it is whole: its touches are one more."""
        self.text.append(beat)
        if len(self.text) == self.config.page_beats:
            whole = sum(one << self.beat_bits * k for k, one in enumerate(self.text))
            lines = [whole >> LINE_BITS * k & (1 << LINE_BITS) - 1 for k in range(self.lines)]
            self.text = []
            page, count = lines[0] >> 32, lines[0] & 0xFFFFFFFF
            assert lines == self.lines_of(page, count)
            self.handed.append((page, count))
            self.seal(page, count + 1)

    def seal(self, page, count):
        ready = self.cycle + self.delays["seal"]()
        starts, mask = range(0, LINE_BITS, self.beat_bits), (1 << self.beat_bits) - 1
        beats = [line >> at & mask for line in self.lines_of(page, count) for at in starts]
        self.sealing += [(ready, one, k == len(beats) - 1) for k, one in enumerate(beats)]


def touches(pages, memory=None):
    """Return each page with the number of earlier touches, those that ``memory`` knows of included."""
    seen, found = {page: lines[0] & 0xFFFFFFFF for page, lines in (memory or {}).items()}, []
    for page in pages:
        found.append((page, seen.setdefault(page, 0)))
        seen[page] += 1
    return found


@pytest.mark.parametrize("lines", [1, 3])
def test_each_touch_is_handed_what_the_one_before_left(lines):
    used = config(lines)

    @settings(max_examples=6)
    @given(
        pages=st.lists(st.integers(0, used.params.pages - 1), min_size=12, max_size=30),
        reads=st.integers(3, 400),
        writes=st.integers(3, 400),
        stalls=st.sampled_from([0, 0.4]),
        gap=st.sampled_from([0, 0, 150]),
        blank=st.booleans(),
        seed=st.integers(0, 2**32 - 1),
    )
    def one(pages, reads, writes, stalls, gap, blank, seed):
        rng = random.Random(seed)
        rig = Rig(
            used,
            read=lambda: rng.randint(2, reads),
            write=lambda: rng.randint(2, writes),
            seal=lambda: rng.randint(1, 60),
            stall=lambda: rng.random() < stalls,
            seed=seed,
        )
        blanks = list(rig.memory) if blank else []
        if blank:
            rig.memory = dict.fromkeys(blanks, [0] * lines)
        rig.run(pages, blanks=blanks, gap=gap)
        assert rig.handed == touches(pages)
        assert [page for _, page in rig.events["read"]] == pages
        assert [page for _, page in rig.events["write"]] == blanks + pages
        assert rig.late == 0
        reads, starts = rig.events["read"], rig.events["started"]
        assert all(start >= read + TURNAROUND for (read, _), start in zip(reads, starts, strict=True))
        for page, content in rig.memory.items():
            assert content == rig.lines_of(page, pages.count(page))

    one()


def test_a_page_may_come_just_when_an_earlier_touch_starts_or_its_write_leaves_or_is_acknowledged():
    alone = Rig(config(1))
    alone.run([1])
    ((left, _),), (start,) = alone.events["write"], alone.events["started"]
    for moment in (start, start + FOLLOW, left, left + 60):  # after which it is acknowledged
        for gap in range(moment - 8, moment + 4):
            rig = Rig(config(1))
            rig.run([1, 1, 1], gap=gap)
            assert all(later >= one + FOLLOW for one, later in pairwise(rig.events["started"]))
            assert rig.handed == touches([1, 1, 1])
            assert rig.late == 0


@pytest.mark.sec_cm("EVENT.TIME.PACED")
@pytest.mark.sec_cm("PAGE.FOLLOW.PACED")
@pytest.mark.parametrize(("read", "write"), [(30, 60), (200, 300)])
def test_when_a_page_was_sealed_does_not_show_in_what_follows_it(read, write):
    pages = random.Random(5).choices(range(3), k=20)

    def events(seal):
        rig = Rig(config(1), read=lambda: read, write=lambda: write, seal=seal)
        rig.run(pages)
        assert rig.handed == touches(pages)
        return rig.events

    rng = random.Random(6)
    found = [events(seal) for seal in (lambda: 1, lambda: 60, lambda: rng.randint(1, 60))]
    assert found[0] == found[1] == found[2]


@pytest.mark.sec_cm("PAGE.START.PACED")
def test_how_early_the_host_answers_does_not_show_in_when_a_page_starts():
    def run(read):
        rig = Rig(config(1), read=read)
        rig.run([0, 1, 2, 3, 4, 0, 1], gap=100)
        return rig.events["read"], rig.events["started"], rig.events["write"]

    rng = random.Random(7)
    reads, starts, _ = first = run(lambda: 0)
    assert {start - read for (read, _), start in zip(reads, starts, strict=True)} == {TURNAROUND}
    assert run(lambda: rng.randrange(TURNAROUND - 5)) == first
    assert run(lambda: TURNAROUND + 10) != first


@pytest.mark.parametrize(("interval", "gaps"), [(7, [7] * 8), (Fraction(27, 4), [7, 7, 7, 6] * 2)])
def test_pages_that_are_here_start_at_the_interval(interval, gaps):
    rig = Rig(replace(config(1), interval=interval, turnaround_cycles=400, in_flight=64), seal=lambda: 1)
    rig.run([*range(5), *range(5)])
    assert [after - before for before, after in pairwise(rig.events["started"][:5])] == gaps[:4]


@pytest.mark.parametrize(("entries", "host_ids"), [(105, 64), (160, 128)])
def test_pages_in_flight_may_be_more_than_ids(entries, host_ids):
    used = config(1)
    params = replace(used.params, pages=64)
    crowded = replace(used, params=params, interval=6, turnaround_cycles=400, in_flight=64, host_ids=host_ids)
    vars(crowded).update(page_entries=entries)
    assert crowded.page_ids == host_ids - 8
    rng = random.Random(8)
    rig = Rig(crowded, read=lambda: rng.randint(0, 200), write=lambda: rng.randint(0, 60), seal=lambda: 1)
    pages = [rng.randrange(5) for _ in range(10)] + [page % params.pages for page in range(entries + 10)]
    rig.run(pages, limit=20_000)
    assert rig.handed == touches(pages)


def spacing(events):
    """Return the cycles between one event and the next, from the third on."""
    cycles = [cycle for cycle, _ in events][2:]
    return {after - before for before, after in pairwise(cycles)}


@pytest.mark.parametrize("lines", [1, 2, 3])
def test_pages_are_asked_for_and_written_every_two_cycles_or_as_their_lines_leave(lines):
    """Blank pages are written as fast as they come. Others are read as fast, until all page entries are in use."""
    used = config(lines, lanes=4)
    rig = Rig(used, write=lambda: 0, seal=lambda: 0)
    pages = list(range(used.params.pages))
    rig.run(pages + pages, blanks=pages * 6)
    assert spacing(rig.events["write"][: 6 * len(pages)]) == {max(2, lines)}
    assert spacing(rig.events["read"][: used.page_entries]) == {2}


def test_pages_of_two_lines_are_read_started_and_written_every_two_cycles():
    used = replace(config(2), params=replace(config(2).params, pages=64), lanes=4)
    object.__setattr__(used, "interval", 2)  # no map allows for it: the other blocks don't
    rig = Rig(used, read=lambda: 10, write=lambda: 10, seal=lambda: 5)
    rig.run(list(range(used.params.pages)))
    assert rig.late == 0
    for name in ("read", "write"):
        assert spacing(rig.events[name]) == {2}
    assert spacing((cycle, 0) for cycle in rig.events["started"]) == {2}


@pytest.mark.sec_cm("PAGE.FOLLOW.PACED")
def test_a_page_that_follows_starts_a_fixed_time_after_the_one_before():
    used = config(1)
    rig = Rig(used)
    rig.run([2] * 6)
    starts = rig.events["started"]
    assert {after - before for before, after in pairwise(starts)} == {FOLLOW}
    assert [cycle for cycle, _ in rig.events["read"]][-1] < starts[1]  # all were read at once


@pytest.mark.parametrize("write", [60, 300])
def test_a_page_that_is_sealed_too_late_is_told_and_handed_on_all_the_same(write):
    rig = Rig(config(1), write=lambda: write, seal=lambda: 150)
    rig.run([2, 2, 1, 2])
    assert rig.handed == touches([2, 2, 1, 2])
    assert rig.late == (4 if write == 60 else 1)  # nothing is late that an earlier write holds back for longer


@pytest.mark.parametrize("lines", [1, 2])
def test_pages_that_are_sealed_late_are_handed_on_right_however_often_entries_were_used(lines):
    """The earlier touch has a higher entry than the one that follows it whenever entries begin anew between them."""
    rng = random.Random(9)
    rig = Rig(config(lines), seal=lambda: rng.randint(1, 300))
    pages = rng.choices(range(4), k=60)
    rig.run(pages, limit=40_000)
    assert rig.handed == touches(pages)
    assert rig.late


def in_mid_page(rig):
    """Some lines of a page have come, and some have not."""
    return any(len(left) < rig.lines for _, left in rig.bursts)


def after(cycles):
    return lambda rig: rig.cycle == cycles


@pytest.mark.parametrize("cut_off", [in_mid_page, *map(after, range(150, 900, 50))])
def test_what_a_reset_cut_off_leaves_nothing_behind(cut_off):
    pages = [1, 1, 2, 1, 3, 4, 2]
    rig = Rig(config(3), write=lambda: 150)
    rig.run(pages, before=[4, 1, 2, 1, 1, 3, 2, 2, 4, 4, 4], cut_off=cut_off)
    assert rig.handed == touches(pages, rig.before)
