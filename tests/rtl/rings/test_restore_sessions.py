# amaranth: UnusedElaboratable=no
"""The sessions block in a restore: it takes what the reference takes, and goes on where the map goes on."""

import random
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.presets import preset
from omap.source import END
from rtl.rings.sessions import Sessions
from sim.bench.compiled import Design
from tests.support.rtl.restore_bench import RestoreTwin
from tests.support.rtl.restore_histories import drawn_history
from tests.support.rtl.session_bench import IN_FLIGHT, ROOT_KEY


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

    check()
