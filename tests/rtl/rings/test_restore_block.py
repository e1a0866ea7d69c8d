# amaranth: UnusedElaboratable=no
"""Restores in the blocks that do them: the reference's answers, line by line, and its operations."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.presets import preset
from omap.source import END
from omap.wire import RecordCodec
from tests.support.rtl.restore_histories import History, drawn_history
from tests.support.rtl.restore_rig import RigRun, rig
from tests.support.rtl.session_ends import ROOT_KEY

NAMES = pytest.mark.parametrize("name", ["TINY", "WIDE"])
LOTS = st.sampled_from([None, 1, 4])


def history_of(name, rng):
    """Return a drawn history; a snapshot of WIDE is too long to be one."""
    return drawn_history(RecordCodec(preset(name)), ROOT_KEY, rng, snapshots=name != "WIDE")


def test_a_snapshot_of_many_records_is_restored():
    rng, codec = random.Random(2), RecordCodec(preset("SMALL"))
    assert codec.chunks > 10
    for lot in (None, 3):
        history = History(codec, ROOT_KEY, rng).snapshot().run(3, codec.most_operations).child().run(1)
        run = RigRun(rig("SMALL"), rng, [*history.records, END]).run(lot=lot)
        assert run.law.complete
        spoilt = list(history.records)
        spoilt[3], spoilt[4] = spoilt[4], spoilt[3]
        assert RigRun(rig("SMALL"), rng, [*spoilt, END]).run(lot=lot).law.failed


@NAMES
def test_restores_equal_the_reference(name):
    assert rig(name)

    @settings(max_examples=25)
    @given(seed=st.integers(0, 1 << 32), lot=LOTS)
    def check(seed, lot):
        rng = random.Random(seed)
        history = history_of(name, rng)
        run = RigRun(rig(name), rng, [*history.records, END]).run(lot=lot)
        assert run.law.complete
        assert run.law.operation == history.operation

    check()
