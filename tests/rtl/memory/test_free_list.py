"""No index is lost or handed out twice, whatever takers, givers and HBM do; what can't be had is seen."""

import math
import random
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, connect, flipped
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.errors import ParamsError
from omap.presets import preset
from omap.sizing.channels import LEAST_INTERVAL
from omap.sizing.hbm import HbmLimits
from rtl.memory.free_list import GIVEN, HIGH, LINE_CYCLES, LINE_INDICES, LOW, OFFERED, ORDERS, FreeList, FreeLists
from rtl.offsets import TAKE_CYCLES
from sim.bench.compiled import Design
from sim.models.faults import Fault, FaultKind
from sim.models.memory import Memory
from sim.models.observer import EventKind
from sim.models.timing import HbmTiming

SLOTS, LINES, CHANNEL = 900, 211, 5
KINDS = {"slot": SLOTS, "line": LINES}
SHAPE = replace(preset("TINY"), waiting_slots=SLOTS, further_lines=LINES)
TIMINGS = {
    "usual": HbmTiming(),
    "busy": HbmTiming(ready_withheld=0.6, valid_withheld=0.5),
    "slow": HbmTiming(hit_ns=900, closed_ns=1000, conflict_ns=1100),
}


class Taker(wiring.Component):
    """The lists with takers that take one index for each item of ``i_want_*``. ``erase`` is what benches know."""

    def __init__(self, params):
        self.lists = FreeLists(params, CHANNEL, timeout=3000, groups=(3, 2))
        members = self.lists.signature.members
        kept = ("order", "o_slot", "i_slot", "o_line", "i_line", "m_axi", "exhausted", "quiet", "error")
        super().__init__(
            {
                **{name: members[name] for name in kept},
                "i_want_slot": In(stream.Signature(1)),
                "i_want_line": In(stream.Signature(1)),
                "erase": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.lists = lists = self.lists
        for kind in ("slot", "line"):
            want, inner, outer = (getattr(x, y + kind) for x, y in ((self, "i_want_"), (lists, "o_"), (self, "o_")))
            m.d.comb += [
                outer.valid.eq(inner.valid & want.valid),
                outer.p.eq(inner.p),
                inner.ready.eq(want.valid & outer.ready),
                want.ready.eq(inner.valid & outer.ready),
            ]
            connect(m, flipped(getattr(self, "i_" + kind)), getattr(lists, "i_" + kind))
        connect(m, lists.m_axi[0], flipped(self.m_axi[0]))
        m.d.comb += [lists.clear.eq(self.erase), lists.order.eq(self.order)]
        for name in ("exhausted", "quiet", "error"):
            m.d.comb += getattr(self, name).eq(getattr(lists, name))
        return m


@cache
def design(further_lines=LINES):
    return Design(Taker(replace(SHAPE, further_lines=further_lines)))


class Run:
    """A bench that knows what is taken."""

    def __init__(self, *, seed=0, timing="usual", faults=()):
        self.bench = design().bench(seed=seed)
        memory = Memory(1 << 13, CHANNEL << 29)
        timing = TIMINGS[timing] if isinstance(timing, str) else timing
        self.bench.memory("m_axi__0", memory, timing, faults=faults, observe=True)
        self.taken = {kind: [] for kind in KINDS}

    def want(self, kind, count):
        self.bench.source(f"i_want_{kind}").push([0] * count)

    def give(self, kind, count, rng):
        """Give ``count`` of the taken ones back."""
        held = self.taken[kind]
        rng.shuffle(held)
        self.taken[kind], back = held[count:], held[:count]
        self.bench.source(f"i_{kind}").push(back)

    def collect(self):
        """Note what was taken; nothing that is held may come again."""
        for kind, size in KINDS.items():
            fresh = self.bench.sink(f"o_{kind}").take()
            self.taken[kind] += fresh
            assert len(set(self.taken[kind])) == len(self.taken[kind])
            assert all(index < size for index in fresh)

    def settle(self):
        for kind in KINDS:
            for name in (f"i_want_{kind}", f"i_{kind}"):
                remaining = self.bench.source(name).remaining
                if remaining:
                    self.bench.run_until(limit=60_000, transfers={name: remaining})
        self.bench.run_until(limit=20_000, values={"quiet": 1})
        self.collect()
        assert self.bench.get("error") == 0

    def clear(self):
        """Clear the lists; what was taken till then counts no longer."""
        self.bench.set("erase", 1)
        self.bench.run(1)
        self.bench.set("erase", 0)
        self.collect()
        self.taken = {kind: [] for kind in KINDS}

    def take_all(self):
        """Take whatever remains; then everything must be held."""
        for kind, size in KINDS.items():
            self.want(kind, size - len(self.taken[kind]))
        self.settle()
        assert {kind: sorted(held) for kind, held in self.taken.items()} == {k: [*range(n)] for k, n in KINDS.items()}


@settings(max_examples=20)
@given(
    timing=st.sampled_from(sorted(TIMINGS)),
    seed=st.integers(0, 2**32 - 1),
    idle=st.sampled_from([0.0, 0.5, 0.9]),
    clears=st.booleans(),
)
def test_every_index_has_one_holder(timing, seed, idle, clears):
    rng = random.Random(seed)
    run = Run(seed=seed, timing=timing)
    for kind in KINDS:
        for name in (f"i_want_{kind}", f"i_{kind}"):
            run.bench.source(name, idle=idle)
    for _ in range(8):
        for kind, size in KINDS.items():
            run.give(kind, rng.choice([0, 1, len(run.taken[kind]) // 2, len(run.taken[kind])]), rng)
            # what is being given back may be wanted again only once it is there
            run.want(kind, rng.randint(0, size - len(run.taken[kind]) - run.bench.source(f"i_{kind}").remaining))
        run.settle()
    if clears:
        for kind, size in KINDS.items():
            run.give(kind, len(run.taken[kind]), rng)
            run.want(kind, size // 2)
        run.bench.run(rng.randint(1, 400))
        while any(run.bench.source(f"i_{kind}").remaining for kind in KINDS):
            run.bench.run(1)
        run.clear()
        run.settle()
    run.take_all()
    assert run.bench.get("exhausted") == 0


def test_a_want_that_cant_be_met_shows_until_clear():
    run = Run(seed=1)
    run.take_all()
    run.want("line", 1)
    run.bench.run_until(limit=100, values={"exhausted": 1})
    run.give("line", 1, random.Random(0))
    run.settle()
    assert run.bench.get("exhausted") == 1
    run.clear()
    run.bench.run(1)
    assert run.bench.get("exhausted") == 0


def test_without_further_lines_none_is_offered():
    bench = design(0).bench()
    bench.memory("m_axi__0", Memory(1 << 13, CHANNEL << 29), HbmTiming())
    bench.source("i_want_slot").push([0] * SLOTS)
    bench.run_until(limit=2000, transfers={"i_want_slot": SLOTS})
    assert sorted(bench.sink("o_slot").take()) == [*range(SLOTS)]
    assert bench.get("exhausted") == 0
    bench.source("i_want_line").push([0])
    bench.run_until(limit=10, values={"exhausted": 1})
    assert bench.sink("o_line").take() == []


def test_one_is_taken_and_one_given_every_cycle():
    """As long as as many are given as are taken, nothing comes from HBM."""
    run, rng = Run(), random.Random(7)
    run.want("slot", SLOTS - 2 * OFFERED)
    run.settle()
    run.give("slot", OFFERED // 2, rng)
    run.settle()
    count = 200
    run.give("slot", count, rng)
    run.want("slot", count)
    run.settle()
    for name in ("i_slot", "i_want_slot"):
        cycles = run.bench.source(name).cycles[-count:]
        assert cycles[-1] - cycles[0] == count - 1, name
    assert len(run.bench.observer.events()) == 0


def test_indices_are_given_back_almost_as_fast_as_they_come():
    """A client that deletes what it has just swept over frees more slots than it takes, for as long as it wants."""
    run, rng = Run(), random.Random(8)
    run.want("slot", SLOTS)
    run.settle()
    source = run.bench.source("i_slot")
    before = source.transfers
    run.give("slot", SLOTS, rng)
    run.settle()
    cycles = source.cycles[before:]
    assert cycles[-1] - cycles[0] <= SLOTS * LINE_CYCLES / LINE_INDICES
    assert (np.diff(cycles[: OFFERED + GIVEN]) == 1).all()
    run.take_all()


def test_taking_one_for_each_operation_goes_on():
    """Everything is given back, then everything is taken, and nobody waits for HBM, which refreshes meanwhile."""
    step = math.ceil(LEAST_INTERVAL)
    for start in range(0, 900, 150):
        run, rng = Run(seed=start), random.Random(start)
        run.want("slot", SLOTS)
        run.settle()
        run.bench.run(start)
        run.give("slot", SLOTS, rng)
        run.bench.run_until(limit=60_000, transfers={"i_slot": SLOTS})
        source = run.bench.source("i_want_slot", waits=[step - 1] * SLOTS)
        before = source.transfers
        run.want("slot", SLOTS)
        run.settle()
        steps = np.diff(source.cycles[before:])
        assert steps.max() == step, start


def test_lines_come_back_as_fast_as_offsets_count_on():
    """Indices are taken as fast as may be, all from lines in an HBM as slow as it may be."""
    limits = HbmLimits()
    slow = {f"{name}_ns": limits.latency_ns for name in ("hit", "closed", "conflict")}
    run, rng = Run(timing=HbmTiming(**slow, refresh_every_ns=0)), random.Random(4)
    run.want("slot", SLOTS)
    run.settle()
    run.give("slot", SLOTS, rng)
    run.settle()
    source = run.bench.source("i_want_slot")
    before = source.transfers
    run.want("slot", SLOTS)
    run.settle()
    cycles = source.cycles[before:]
    assert cycles[-1] - cycles[0] <= TAKE_CYCLES * SLOTS


@pytest.mark.sec_cm("WAITING.PLACE.RANDOM")
@pytest.mark.parametrize("seed", range(3))
def test_fresh_indices_come_in_groups_each_in_its_own_order(seed):
    """By bits that stay, and by others later on. The indices behind the last whole group come in their order."""
    run, rng = Run(), random.Random(seed)
    first, then, half = rng.getrandbits(32), rng.getrandbits(32), SLOTS // 16
    run.bench.set("order", first)
    run.want("slot", 8 * half)
    run.settle()
    run.bench.set("order", then)
    run.want("slot", SLOTS - 8 * half)
    run.settle()
    taken = run.taken["slot"]
    whole = range(SLOTS // 8)
    masks = [{index ^ 8 * group ^ place for place, index in enumerate(taken[8 * group :][:8])} for group in whole]
    known = LOW // 8 + 2  # groups that may be on offer when the bits change
    for group in [*whole[:half], *whole[half + known :]]:
        assert masks[group] == {(first if group < half else then) >> 3 * (group % ORDERS) & 7}, group
    assert taken[8 * len(whole) :] == [*range(8 * len(whole), SLOTS)]


def test_a_burst_given_while_a_line_comes_back_leaves_it_room():
    run, rng = Run(timing="slow"), random.Random(6)
    run.want("slot", SLOTS)
    run.settle()
    run.give("slot", SLOTS, rng)
    run.settle()
    reads = 0
    while not reads:
        run.want("slot", 1)
        run.bench.run(3)
        run.collect()
        reads = (run.bench.observer.events()["kind"] == EventKind.READ).sum()
    run.give("slot", OFFERED + GIVEN, rng)
    run.settle()
    run.take_all()


@pytest.mark.parametrize("delay", range(96, 156, 4))
def test_clear_in_the_middle_of_a_line(delay):
    """Nothing of the line that was packed, on its way or not, turns up afterwards."""
    run, rng = Run(), random.Random(delay)
    run.want("slot", SLOTS)
    run.settle()
    run.give("slot", OFFERED + 28, rng)
    run.bench.run(delay)
    assert run.bench.source("i_slot").remaining == 0
    run.clear()
    for _ in range(2):
        run.take_all()
        run.give("slot", SLOTS, rng)
        run.settle()


def test_most_of_a_burst_stays_on_chip():
    """Taking and giving in turns moves no line."""
    run, rng = Run(), random.Random(4)
    run.want("slot", SLOTS)
    run.settle()
    run.give("slot", OFFERED + HIGH - 1, rng)
    run.settle()
    for _ in range(20):
        run.want("slot", OFFERED)
        run.settle()
        run.give("slot", OFFERED, rng)
        run.settle()
    assert len(run.bench.observer.events()) == 0


@pytest.mark.parametrize("write", [False, True])
def test_a_broken_line_is_an_error(write):
    run, rng = Run(faults=[Fault(kind=FaultKind.ERROR, write=write)]), random.Random(5)
    run.want("slot", SLOTS)
    run.bench.run_until(limit=2000, transfers={"o_slot": SLOTS})
    run.collect()
    run.give("slot", SLOTS, rng)
    run.bench.run_until(limit=3000, transfers={"i_slot": SLOTS})
    run.want("slot", SLOTS)
    run.bench.run_until(limit=6000, values={"error": 1})


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"size": 0}, "size is 0; it must be a whole number from 1"),
        ({"size": 20, "first_line": 3, "address_bits": 2}, "address_bits is 2; it must be a whole number from 3"),
        ({"size": 20, "id": 2}, "id is 2; it must be a whole number from 0 to 1"),
    ],
)
def test_bad_parameters_are_refused(change, text):
    with pytest.raises(ParamsError, match=text):
        FreeList(**change)
