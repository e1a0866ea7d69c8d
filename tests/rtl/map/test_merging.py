# amaranth: UnusedElaboratable=no
"""The merge of operations: replies leave at their time, and tell how many events were late."""

import pytest
from amaranth.lib.data import Const
from hypothesis import given, settings
from hypothesis import strategies as st

from rtl.map.core import Core
from rtl.map.merging import Merging
from sim.bench.amaranth_bench import AmaranthBench
from tests.support.rtl.engines import TIGHT


class Rig:
    """A merge to which operations that do nothing are given, their pages when a test says so."""

    def __init__(self):
        merging = Core(TIGHT).merging
        assert isinstance(merging, Merging)
        self.reply, self.beats = merging.o_reply.p.shape(), merging.merge.text_beats
        self.end = merging.i_waiting.p.shape().const({"end": 1}).as_value().value
        self.bench = AmaranthBench(merging)
        self.bench.set("formatted", 1)
        self.started = []

    def start(self):
        """A page starts."""
        self.started.append(self.bench.cycle)
        self.bench.set("started", 1)
        self.bench.run(1)
        self.bench.set("started", 0)

    def page(self):
        """All that belongs to the page of an operation is there."""
        for name in ("i_command", "i_finding", "i_bin"):
            self.bench.source(name).push([0])
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
