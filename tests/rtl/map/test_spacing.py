# amaranth: UnusedElaboratable=no
"""Distances between events: their mean is the interval exactly, and they depend on the number of events alone."""

from fractions import Fraction
from functools import cache
from itertools import accumulate, pairwise
from math import ceil, floor

import pytest
from amaranth.sim import Simulator
from hypothesis import example, given
from hypothesis import strategies as st

from omap.errors import ParamsError
from rtl.map.spacing import Spacing

INTERVALS = (2, 5, 9, Fraction(19, 4), Fraction(5, 2), Fraction(17, 8), Fraction(31, 8), Fraction(16, 3))


@cache
def least(interval, count):
    """Return the least distance after each of so many events."""
    return [ceil((k + 1) * interval) - ceil(k * interval) for k in range(count)]


def run(interval, waits):
    """Have one event after the other, each so many cycles after it may be; return their cycles."""
    dut, found = Spacing(interval), []

    async def bench(ctx):
        cycle, soon = 0, 1  # at reset an event may be
        for wait in waits:
            waited = 0
            while waited <= wait:
                free = ctx.get(dut.free)
                assert free == soon, cycle
                event = free and waited == wait
                ctx.set(dut.event, event)
                if event:
                    found.append(cycle)
                soon = ctx.get(dut.soon)
                await ctx.tick()
                waited, cycle = waited + free, cycle + 1

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return found


@given(st.sampled_from(INTERVALS), st.lists(st.integers(0, 12), min_size=2, max_size=12))
@example(Fraction(19, 4), [0] * 12)
def test_the_distance_after_an_event_depends_on_the_number_of_events_alone(interval, waits):
    found = run(interval, waits)
    wanted = accumulate((gap + wait for gap, wait in zip(least(interval, len(waits)), waits[1:], strict=False)))
    assert [cycle - found[0] for cycle in found[1:]] == list(wanted)


@pytest.mark.parametrize("interval", INTERVALS)
def test_events_span_their_number_of_intervals_less_one_cycle(interval):
    found = run(interval, [0] * 40)
    distances = [after - before for before, after in pairwise(found)]
    assert set(distances) == {floor(interval), ceil(interval)}
    for begin in range(20):
        for count in range(1, 20):
            assert abs(found[begin + count] - found[begin] - count * interval) < 1


def test_nineteen_quarters_are_three_times_five_and_once_four():
    found = run(Fraction(19, 4), [0] * 9)
    assert [after - before for before, after in pairwise(found)] == 2 * [5, 5, 5, 4]


@pytest.mark.parametrize("interval", [1, Fraction(3, 2), Fraction(46, 9)])
def test_intervals_that_no_event_could_keep_to_are_refused(interval):
    with pytest.raises(ParamsError, match=f"interval is {interval}; it must be at least 2, in parts of 1/8 or larger"):
        Spacing(interval)
