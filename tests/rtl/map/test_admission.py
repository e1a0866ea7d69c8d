# amaranth: UnusedElaboratable=no
"""Admission: which pages and bins an operation touches follows from its draws, and when it reads from its turn."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.drbg import Drbg
from omap.operations import Kind
from rtl.map.admission import Admission
from rtl.map.bin_shapes import Use
from rtl.map.core import Core
from sim.bench.amaranth_bench import AmaranthBench
from tests.support.rtl.engines import TIGHT

SEED = bytes(range(32))
PAGES = TIGHT.params.pages
LONGEST_LOOKUP = TIGHT.interval
"""Cycles between answers of the position map here: no more than between operations, so that no answer is late."""


def packed(shape, **values):
    return shape.const(values).as_value().value


def run(kinds, waits, config=TIGHT):
    """Admit operations of these kinds, whose answers come with these gaps and name page 1 for a miss, else page 3."""
    admission = Core(config).admission
    assert isinstance(admission, Admission)
    bench = AmaranthBench(admission)
    located = admission.i_located.p.shape()
    answers = [packed(located, hit=kind is Kind.GET, page=3 if kind is Kind.GET else 1) for kind in kinds]
    bench.source("i_seed").push([SEED])
    bench.source("i_command").push([packed(admission.i_command.p.shape(), kind=kind) for kind in kinds])
    bench.source("i_located", waits=waits).push(answers)
    bench.set("formatted", 1)
    bench.run_until(limit=len(kinds) * TIGHT.interval + TIGHT.lookup_cycles + 300, transfers={"o_read": len(kinds)})
    return admission, bench


kinds_and_waits = st.lists(
    st.tuples(st.sampled_from(Kind), st.integers(0, LONGEST_LOOKUP)), min_size=2, max_size=4
).map(lambda drawn: tuple(zip(*drawn, strict=True)))


@pytest.mark.sec_cm("EVENT.TIME.PACED")
@settings(max_examples=6)
@given(kinds_and_waits)
def test_a_page_is_read_at_a_fixed_time_after_admission(drawn):
    _, bench = run(*drawn)
    begun, read = bench.source("i_command").cycles, bench.sink("o_read").cycles
    assert [after - before for before, after in zip(begun, read, strict=True)] == [TIGHT.lookup_cycles] * len(read)
    assert bench.get("late") == 0


@settings(max_examples=6)
@given(kinds_and_waits)
def test_no_bin_is_announced_before_a_lookup_without_waiting_would_be_over(drawn):
    """Else an operation whose lines are on chip would take places of bins that are planned for those before it."""
    _, bench = run(*drawn)
    begun, announced = bench.source("i_command").cycles, bench.sink("o_touch").cycles
    for number, (before, answered) in enumerate(zip(begun, bench.source("i_located").cycles, strict=True)):
        touch = max(before + TIGHT.announce_cycles, answered + 1)
        assert announced[2 * number] == max(touch, announced[2 * number - 1] + 1 if number else touch)


@pytest.mark.parametrize(("interval", "gaps"), [(9, [9] * 9), (Fraction(19, 2), [10, 9, 10, 9, 10, 9, 10, 9, 10])])
def test_operations_are_admitted_at_the_interval(interval, gaps):
    _, bench = run([Kind.GET] * 10, [0], replace(TIGHT, interval=interval))
    assert [after - before for before, after in pairwise(bench.source("i_command").cycles)] == gaps


@pytest.mark.sec_cm("PAGE.ADDR.FRESH")
@pytest.mark.sec_cm("PAGE.MISS.DUMMY")
def test_every_operation_takes_its_draws_whatever_it_is():
    kinds = [*Kind, *reversed(Kind)]
    admission, bench = run(kinds, [0])
    draws = [tuple(map(int, Drbg(SEED).pairs(number, 1, PAGES)[0])) for number in range(len(kinds))]
    assert len(set(draws)) > 3
    lookup, touch = admission.o_lookup.p.shape(), admission.o_touch.p.shape()
    assert bench.sink("o_lookup").take() == [
        packed(lookup, kind=kind, dummy=dummy, fresh=fresh) for kind, (dummy, fresh) in zip(kinds, draws, strict=True)
    ]
    found = [3 if kind is Kind.GET else 1 for kind in kinds]
    assert bench.sink("o_touch").take() == [
        packed(touch, bin=number, use=use)
        for page, (_, fresh) in zip(found, draws, strict=True)
        for number, use in ((page, Use.TOUCH), (fresh, Use.APPEND))
    ]
    assert bench.sink("o_read").take() == bench.sink("o_page").take() == found
