"""The waiting bins keep up with the link, whatever is used: few cycles an operation, and one for each tuple."""

import random
from dataclasses import replace
from functools import cache

import pytest

from omap.presets import preset
from rtl.map.bin_shapes import Use
from rtl.offsets import LANDING
from rtl.work import FLUSH, FLUSH_LINE
from sim.bench.compiled import Design
from tests.support.designs.bins_loop import SHARES, BinsLoop

PAPER = replace(preset("PAPER"), capacity=13_500, pages=2000, waiting_slots=8000, further_lines=40, buckets=4000)
LATENCY = 20
"""Cycles of an access to memory: enough that bins overlap, and so few that there are bins for all of them."""

PORTS = 10
"""Cycles through the ports of HBM, there and back, at most; and in which a vacant place is found."""

KEEPS, JOINS = 0.265, 0.853
"""Shares of a full map: 1.16 tuples wait for a touched page, and 0.31 go on waiting."""


@cache
def design():
    return Design(BinsLoop(PAPER, entries=128))


def measure(uses, *, joins, keeps=KEEPS, alone=False):
    """Run uses and return, for the second half of them: cycles, and tuples that were judged."""
    bench = design().bench()
    for name, value in {"keeps": keeps * SHARES, "joins": joins * SHARES, "alone": alone, "latency": LATENCY}.items():
        bench.set(name, round(value))
    bench.source("i_touch").push(uses)
    ends = {
        name: sum(use["use"] == kind for use in uses)
        for name, kind in (("touched", Use.TOUCH), ("appended", Use.APPEND))
    }
    sinks = {f"o_{name}": count for name, count in ends.items()}
    bench.run_until(limit=20 * len(uses) + 1000, transfers=sinks)
    bench.run_until(limit=2000, values={"quiet": 1})
    assert not bench.get("exhausted")
    times = bench.sink(max(sinks, key=sinks.get)).cycles
    half = times[len(times) // 2]
    judged = bench.sink("o_judged").cycles
    return times[-1] - half, int((judged >= half).sum())


def operations(count, *, follows=0):
    """Return the uses of operations: each touches a page, and appends to a fresh one.

    ``follows``: the page is the fresh one of so many operations before, because both are on one key; 0 for a random
    page.
    """
    rng, fresh, uses = random.Random(1), [], []
    for number in range(count):
        page = fresh[number - follows] if follows and number >= follows else rng.randrange(PAPER.pages)
        fresh.append(rng.randrange(PAPER.pages))
        uses += [{"bin": page, "use": Use.TOUCH}, {"bin": fresh[-1], "use": Use.APPEND}]
    return uses


def of(kind, count):
    rng = random.Random(2)
    return [{"bin": rng.randrange(PAPER.pages), "use": kind} for _ in range(count)]


def say(what, count, cycles, judged):
    print(f"{what}: {cycles / count:.2f} cycles, {judged / count:.2f} tuples")
    return cycles / count, judged / count


def test_an_operation_takes_two_cycles_and_one_for_each_tuple():
    count = 24_000
    cycles, judged = say("operation", count // 2, *measure(operations(count), joins=JOINS))
    assert 1.0 < judged < 1.3
    assert cycles <= 2.3 + judged


@pytest.mark.parametrize("follows", [1, 2, 3, 8, 40])
def test_operations_on_few_keys_take_no_longer_than_there_is_time(follows):
    """The tuple of each is among those that wait for its page, and not in memory yet."""
    count = 4000
    cycles, judged = say(
        f"key used {follows} before", count // 2, *measure(operations(count, follows=follows), joins=1.0)
    )
    assert judged > 0.9
    assert cycles <= max(3.0, 2.3 + judged) + 0.1
    if follows > 3:  # nothing waits for the tuple of the operation before, and bins are on chip
        assert cycles <= 1.1 + judged  # the merge of an operation takes no less: rtl.work.Work.merging


def test_a_bin_that_nothing_waits_for_is_announced_fetched_and_taken_back_in_two_cycles():
    """Appends take two, and so does the telling of a version: announcement, fetch and flush take one, or less."""
    count = 6000
    cycles, _ = say("touch of nothing", count // 2, *measure(of(Use.TOUCH, count), joins=0.0, alone=True))
    assert cycles <= 2.1
    cycles, _ = say("append", count // 2, *measure(of(Use.APPEND, count), joins=1.0, alone=True))
    assert cycles <= 2.1  # although there are tuples in each bin that a line names


def test_bins_with_further_lines_go_back_one_behind_the_other():
    """None waits until the one before has arrived. Two tuples of each are named in a further line, and all stay."""
    first, _ = PAPER.line_indices
    pages, latency = range(PAPER.further_lines), 200
    bench = design().bench()
    for name, value in {"keeps": SHARES, "joins": SHARES, "alone": 1, "latency": latency}.items():
        bench.set(name, value)
    bench.source("i_touch").push([{"bin": page, "use": Use.APPEND} for _ in range(first + 2) for page in pages])
    bench.run_until(limit=20_000, transfers={"o_appended": len(pages) * (first + 2)})
    bench.run_until(limit=20_000, values={"quiet": 1})
    bench.source("i_touch").push([{"bin": page, "use": Use.TOUCH} for page in pages])
    bench.run_until(limit=20_000, transfers={"o_touched": len(pages)})
    touched = bench.cycle
    bench.run_until(limit=20_000, values={"quiet": 1})
    each = FLUSH / 2 + FLUSH_LINE + 2 + 1
    assert bench.cycle - touched <= 3 * latency + len(pages) * each


def test_the_place_of_a_bin_can_be_taken_soon_after_its_last_use():
    """Both bins of an operation have changed and go back; memory takes as long as it was told to."""
    bench = design().bench()
    for name, value in {"keeps": 0, "joins": SHARES, "alone": 1, "latency": LATENCY}.items():
        bench.set(name, value)
    for number in range(1, 20):
        bench.source("i_touch").push(operations(number)[-2:])
        bench.run_until(limit=1000, transfers={"o_touched": 1, "o_appended": 1})
        ended = bench.cycle
        bench.run_until(limit=1000, values={"quiet": 1})
        assert bench.cycle - ended <= LATENCY + LANDING - PORTS
