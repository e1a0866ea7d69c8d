"""The pace of the lookup stage: operations at full rate, and entries in transit that move between them."""

import math
import random
from collections import Counter
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from omap.operations import Kind
from omap.params import Params
from omap.sizing.backlog import most_poisson
from rtl.config import MOVING_CYCLES
from rtl.work import MOVED_LINES
from sim.bench.compiled import Design
from tests.support.designs.lookup_rig import LookupRig
from tests.support.rtl.lookups import PAGES, Rules, answers, geometry, push, start, take

_, GET, PUT, DELETE = Kind

LARGE = geometry(4, buckets=64, transit=32, capacity=920)  # load 0.9, as the planner has it


@dataclass
class Load:
    """Random deletions, then as many new keys, in bursts at capacity: the worst for the queue."""

    params: Params
    rng: random.Random
    share: float = 0.1
    """Of the keys, deleted at a time."""
    gets: bool = True
    """Whether keys are asked for meanwhile."""

    def script(self, count):
        alive, number, made = [], 0, []
        while len(made) < count:
            for _ in range(self.params.capacity - len(alive)):
                alive.append((number * 0x9E3779B1 % 2**32).to_bytes(4, "little"))
                made.append((PUT, alive[-1], self.rng.randrange(PAGES), 0))
                number += 1
            self.rng.shuffle(alive)
            for _ in range(int(self.params.capacity * self.share)):
                made.append((DELETE, alive.pop(), 0, 0))
                if self.gets:
                    made.append((GET, self.rng.choice(alive), self.rng.randrange(PAGES), 0))
        return made[:count]


@cache
def large():
    return Design(LookupRig(LARGE))


def sustain(count, *, seed, latency):
    script = Load(LARGE, random.Random(seed)).script(count)
    bench = start(large().bench(seed=seed), latency=latency, jitter=15, shy=0)
    push(bench, script)
    got = answers(bench, count)
    pages = {}
    for (kind, key, fresh, dummy), answer in zip(script, got, strict=True):
        assert answer == (key in pages, kind != DELETE, False, pages.get(key, dummy))
        if kind == DELETE:
            del pages[key]
        else:
            pages[key] = fresh
    assert bench.get("live") == len(pages)
    return bench


def test_an_operation_every_four_cycles_is_sustained():
    count = 4000
    bench = sustain(count, seed=3, latency=40)
    cycles = bench.sink("o_located").cycles
    assert cycles[-1] - cycles[0] <= 4.1 * count
    assert sum(bench.get(f"uses__{t}") for t in range(2)) > 2 * count + 100  # entries moved as well


def crowded(buckets):
    """Return a map with 40 keys more than fit the buckets, and how many keys it has."""
    return geometry(4, buckets=buckets, transit=60, capacity=16 * buckets + 40), 16 * buckets + 40


@cache
def full(buckets, interval):
    return Design(LookupRig(crowded(buckets)[0], interval=interval, line_entries=64))


@pytest.mark.sec_cm("POSMAP.LOOKUP.CONST_TIME")
@pytest.mark.parametrize(
    ("buckets", "interval", "waits", "moves"), [(1, 10, [9], 3), (64, 4, [3], 1.9), (64, 4, [3, 4, 4, 4], 2.6)]
)
def test_entries_move_between_operations_at_full_rate(buckets, interval, waits, moves):
    """An operation takes two cycles and a move one; if all are about one line, a move takes two."""
    params, filled = crowded(buckets)
    count = 600
    keys = [(number * 0x9E3779B1 % 2**32).to_bytes(4, "little") for number in range(filled + 4)]
    script = [(PUT, keys[k], k % PAGES, 0) for k in range(filled)]
    script += [(GET, keys[k % len(keys)], k % PAGES, 1) for k in range(count)]
    bench = start(full(buckets, interval).bench(), shy=0)
    push(bench, script[:filled])
    rules = Rules(params)
    assert answers(bench, filled) == [rules.operate(*operation) for operation in script[:filled]]
    bench.run(200)
    before, first = sum(bench.get(f"uses__{t}") for t in range(2)), len(bench.sink("o_located").cycles)
    bench.source("i_operation", waits=(waits * count)[:count])
    push(bench, script[filled:])
    assert answers(bench, count) == [rules.operate(*operation) for operation in script[filled:]]
    taken = bench.source("i_operation").cycles[filled:]
    assert abs(taken[-1] - taken[0] - (1 + sum(waits) / len(waits)) * (count - 1)) <= 2
    cycles = bench.sink("o_located").cycles[first:]
    assert abs(cycles[-1] - cycles[0] - (taken[-1] - taken[0])) <= 20  # nothing piles up
    assert sum(bench.get(f"uses__{t}") for t in range(2)) - before >= (2 + moves) * (count - 1)


# As an engine has it, at the usual load; the burst of deletions is the worst that decision 3 knows.
WHOLE = geometry(4, buckets=578, transit=32, capacity=8192)
BURST = int(0.15 * WHOLE.capacity)
INTERVAL = 4
ENTRIES = most_poisson(MOVING_CYCLES / INTERVAL)
TRIP = 100
"""Cycles of a move, if none waits for its turn: hash, memory and use, with memory that answers in 40 to 55 cycles."""
QUEUE_BITS = 2.5
"""By how many powers of two each further entry that waits is rarer, with two moves an insertion (decision 3)."""


@cache
def whole():
    return Design(LookupRig(WHOLE, interval=INTERVAL, line_entries=64, transit_entries=ENTRIES))


def burst(bursts, *, seed):
    """Insert in bursts at full rate; return the entries in transit while the last missing keys come, and moves a cycle.

    The number in transit is sampled every 20 cycles.
    """
    script = Load(WHOLE, random.Random(seed), gets=False, share=0.15).script(WHOLE.capacity + bursts * 2 * BURST)
    bench = start(whole().bench(seed=seed), latency=40, jitter=15, shy=0)
    push(bench, script)
    found, moves, cycles, before = [], 0, 0, None
    while left := bench.source("i_operation").remaining:
        bench.run(20)
        at = len(script) - WHOLE.capacity - left
        now = sum(bench.get(f"uses__{t}") for t in range(2)) - 2 * len(bench.sink("o_located").cycles)
        if at >= 0 and at % (2 * BURST) > 2 * BURST - BURST // 6:
            found.append(bench.get("in_transit").bit_count())
            if before is not None:
                moves, cycles = moves + now - before, cycles + 20
            before = now
        else:
            before = None
    bench.run(1000)
    full = [answer[2] for answer in take(bench)]
    assert len(full) == len(script)
    taken = bench.source("i_operation").cycles
    assert taken[-1] - taken[0] <= (INTERVAL + 0.01) * len(script)
    assert not any(full)
    return found, moves / cycles


def beyond(share, mean):
    """Return the least number that is in transit with a probability below ``share``.

    That many are under way, by Poisson's law, and others wait, by the law of :mod:`omap.sizing.transit`.
    """
    most = 256
    under_way = [math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(most)]
    waits = [(1 - 2**-QUEUE_BITS) * 2 ** (-QUEUE_BITS * k) for k in range(most)]
    law = np.convolve(under_way, waits)[:most]
    tail = law[::-1].cumsum()[::-1]
    return int((tail >= share).sum())


def check_burst(bursts, seed):
    found, rate = burst(bursts, seed=seed)
    mean, shares = sum(found) / len(found), sorted(Counter(found).items())
    law = beyond(1e-3 / len(found), rate * TRIP)
    print(f"seed {seed}: mean {mean:.2f} of {len(found)}, {rate * INTERVAL:.2f} moves an operation, at most {law}")
    print(f"{mean / rate:.1f} cycles a move, {shares}")
    assert 0.2 < rate * INTERVAL < 2 * MOVED_LINES  # less was not the worst; a move is of one of two tables
    assert mean < 1.3 * rate * TRIP  # a move takes its trip alone: none waits for its turn (Little's law)
    assert max(found) < law
    assert beyond(2**-122, rate * TRIP) <= ENTRIES


def test_moves_keep_up_with_a_burst_of_insertions_at_full_rate():
    """A nearly full map: what is in transit follows the law by which the queue is sized (docs/decisions/0003)."""
    check_burst(8, random.randrange(1 << 32))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_moves_keep_up_with_many_bursts(seed):
    check_burst(60, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5))
def test_long_runs_of_the_worst_load(seed):
    sustain(200_000, seed=seed, latency=(0, 10, 20, 30, 40)[seed])
