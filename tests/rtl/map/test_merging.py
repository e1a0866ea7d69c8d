# amaranth: UnusedElaboratable=no
"""The merge of operations: replies leave at their time, and tell how many events were late."""

from dataclasses import replace

import pytest
from amaranth.lib.data import Const
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.operations import Kind
from rtl.map.core import Core
from rtl.map.merging import Merging
from sim.bench.amaranth_bench import AmaranthBench
from tests.support.rtl.engines import TIGHT


class Rig:
    """A merge to which operations that do nothing are given, their pages when a test says so."""

    def __init__(self, config=TIGHT, *, seed=0):
        merging = Core(config).merging
        assert isinstance(merging, Merging)
        self.reply, self.beats = merging.o_reply.p.shape(), merging.merge.text_beats
        self.end = merging.i_waiting.p.shape().const({"end": 1}).as_value().value
        self.append = merging.o_append.p.shape()
        self.bench = AmaranthBench(merging, seed=seed)
        self.bench.set("formatted", 1)
        self.started = []

    def start(self):
        """A page starts."""
        self.started.append(self.bench.cycle)
        self.bench.set("started", 1)
        self.bench.run(1)
        self.bench.set("started", 0)

    def page(self, command=0, finding=0):
        """All that belongs to the page of an operation is there."""
        for name, item in (("i_command", command), ("i_finding", finding), ("i_bin", 0)):
            self.bench.source(name).push([item])
        self.bench.source("i_waiting").push([self.end])
        self.bench.source("i_text").push([0] * self.beats)

    def late(self, which):
        """Events are late."""
        self.bench.set("late", which)
        self.bench.run(1)
        self.bench.set("late", 0)

    def replies(self):
        """Let replies leave, and return them."""
        self.bench.run(TIGHT.reply_cycles + 100)
        return [Const(self.reply, reply) for reply in self.bench.sink("o_reply").take()]


@pytest.mark.sec_cm("EVENT.TIME.PACED")
@settings(max_examples=6)
@given(st.lists(st.integers(0, 60), min_size=2, max_size=3))
def test_a_reply_leaves_at_a_fixed_time_after_its_page_started(waits):
    rig = Rig()
    for wait in waits:
        rig.start()
        rig.bench.run(wait)
        rig.page()
        rig.bench.run(TIGHT.reply_cycles // 2)
    assert [reply.operation for reply in rig.replies()] == list(range(len(waits)))
    left = rig.bench.sink("o_reply").cycles
    assert [after - before for before, after in zip(rig.started, left, strict=True)] == [TIGHT.reply_cycles] * len(left)


@pytest.mark.sec_cm("OVERRUN.COUNT.SEALED")
def test_what_was_late_is_told_in_the_replies_that_follow():
    rig = Rig()
    for late in (0, 0b01, 0b11, 0b10, 0):
        rig.late(late)
        rig.start()
        rig.page()
        rig.bench.run(TIGHT.reply_cycles + 50)
    rig.start()
    rig.bench.run(TIGHT.reply_cycles + 50)  # the reply itself is late, and tells so
    rig.page()
    rig.bench.run(50)
    rig.start()
    rig.page()
    assert [reply.overruns for reply in rig.replies()] == [0, 1, 3, 4, 4, 5, 5]


@pytest.mark.parametrize("waiting", [0, 1, 3])
def test_an_operation_takes_as_many_cycles_as_its_page_has_beats_or_tuples_wait_and_one(waiting):
    config = replace(TIGHT, lanes=4)
    rig, count = Rig(config), config.in_flight
    rig.bench.source("i_waiting").push(([0] * waiting + [rig.end]) * count)
    for name in ("i_command", "i_finding", "i_bin"):
        rig.bench.source(name).push([0] * count)
    rig.bench.source("i_text").push([0] * rig.beats * count)
    ends = [rig.bench.sink(name) for name in ("o_occupancy", "o_append", "o_verdict", "o_text")]
    rig.bench.run_until(limit=500, transfers={"o_append": count})
    for end in ends[:2]:
        assert end.cycles[-1] - end.cycles[0] == (count - 1) * max(rig.beats, waiting + 1)
    assert ends[0].cycles == ends[1].cycles


@settings(max_examples=6)
@given(
    operations=st.lists(st.tuples(st.booleans(), st.integers(0, 2**32 - 1)), min_size=10, max_size=30),
    seed=st.integers(0, 2**32 - 1),
    idle=st.sampled_from([(0.0, 0.7), (0.7, 0.0), (0.6, 0.6), (0.0, 0.0)]),
)
def test_each_tuple_that_joins_is_offered_once_whichever_end_of_an_operation_is_taken_first(operations, seed, idle):
    rig = Rig(seed=seed)
    ends = [rig.bench.sink(name, idle=share) for name, share in zip(("o_occupancy", "o_append"), idle, strict=True)]
    for keep, key in operations:
        rig.page({"kind": Kind.PUT, "key": key, "value": key ^ 1}, {"keep": keep})
    rig.bench.run_until(limit=2000, transfers=dict.fromkeys(("o_occupancy", "o_append"), len(operations)))
    assert len(ends[0].take()) == len(operations)
    append = rig.append
    joined = [(append.from_bits(raw).present, append.from_bits(raw).entry) for raw in ends[1].take()]
    size = 8 * TIGHT.params.key_bytes
    assert joined == [(keep, key | (key ^ 1) << size) for keep, key in operations]
