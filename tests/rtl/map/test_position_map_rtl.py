"""The lookup stage answers as the reference does, whatever is under way, and its turns do not depend on keys."""

import math
import random
from collections import Counter
from dataclasses import dataclass
from functools import cache
from io import StringIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.errors import ParamsError
from omap.memory import DeviceMemory
from omap.operations import Kind
from omap.params import Params, Rule
from omap.position_map import PositionMap as Reference
from omap.sizing.backlog import most_poisson
from rtl.config import MOVING_CYCLES
from rtl.map.position_map import PositionMap
from sim.bench.amaranth_bench import AmaranthBench
from sim.bench.compiled import Design
from tests.support.designs.lookup_rig import LookupRig
from tests.support.rtl.waveforms import final_values

NOP, GET, PUT, DELETE = Kind
HASH_KEY = bytes(range(100, 116))
PAGES = 1000


def geometry(key_bytes, *, buckets, transit, capacity, bucket_bytes=64, **change):
    values = {"value_bytes": 4, "page_bytes": 64, "pages": PAGES, "waiting_slots": 8, "further_lines": 1}
    values |= {"bucket_bytes": bucket_bytes, "buckets": buckets, "transit_entries": transit}
    return Params(capacity=capacity, key_bytes=key_bytes, **{**values, **change})


# In each of them the queue has room for a new key whenever fewer than `capacity` are live, so that every answer is
# determined; and it is used, for that many keys do not fit the buckets, or only just.
SMALL = {
    4: geometry(4, buckets=1, transit=5, capacity=21),  # 16 places, all of them candidates of every key
    8: geometry(8, buckets=3, transit=30, capacity=30),  # 30 places
    16: geometry(16, buckets=2, bucket_bytes=128, transit=24, capacity=24),  # 24 places
}
LARGE = geometry(4, buckets=64, transit=32, capacity=920)  # load 0.9, as the planner has it


@cache
def small(key_bytes):
    return Design(LookupRig(SMALL[key_bytes], line_entries=4, under_way=8))


def operations(choices, key_bytes, seed):
    """Operations from drawn (kind, number of a key); keys differ in single bits, pages come from ``seed``."""
    rng = random.Random(seed)
    common = rng.randbytes(key_bytes)
    keys = [common[: k % key_bytes] + bytes([k]) + common[k % key_bytes + 1 :] for k in range(256)]
    return [(kind, keys[number], rng.randrange(PAGES), rng.randrange(PAGES)) for kind, number in choices]


class Rules:
    """The answers of a map on the reference's position map; see `omap.reference.ReferenceMap._operate`."""

    def __init__(self, params):
        self.map, self.params, self.live = Reference(params, HASH_KEY, DeviceMemory()), params, 0

    def operate(self, kind, key, fresh, dummy):
        found = self.map.begin(None if kind == NOP else key, self.map.candidates(key))
        hit = found is not None
        room = self.live < self.params.capacity and self.map.has_room()
        keep = hit or room if kind == PUT else hit and kind == GET
        self.map.finish((fresh,) if keep else None)
        self.live += keep - hit
        return hit, keep, kind == PUT and not keep, found[0] if hit else dummy


def start(bench, *, key=HASH_KEY, seed=0, latency=0, jitter=7, shy=1, idle=0.0, stalls=0.0):
    for name, value in (("latency", latency), ("jitter", jitter), ("shy", shy)):
        bench.set(name, value)
    bench.source("i_operation", idle=idle)
    bench.sink("o_located", idle=stalls)
    give_key(bench, key)
    return bench


def give_key(bench, key=HASH_KEY):
    bench.source("i_key").push([int.from_bytes(key, "little")])
    bench.run(4)


def push(bench, script):
    names = ("kind", "key", "fresh", "dummy")
    bench.source("i_operation").push(
        [dict(zip(names, (int(k), int.from_bytes(key, "little"), *pages), strict=True)) for k, key, *pages in script]
    )


def answers(bench, count):
    bench.run_until(limit=2000 + 400 * count, transfers={"o_located": count})
    return take(bench)


def take(bench):
    return [(bool(x & 1), bool(x & 2), bool(x & 4), x >> 3) for x in bench.sink("o_located").take()]


def steps(keys, most):
    return st.lists(
        st.tuples(st.sampled_from([PUT, PUT, PUT, GET, DELETE, NOP]), st.integers(0, keys - 1)), max_size=most
    )


@pytest.mark.sec_cm("PAGE.MISS.DUMMY")
@pytest.mark.parametrize("key_bytes", [4, 8, 16])
def test_answers_equal_the_reference(key_bytes):
    params, design = SMALL[key_bytes], small(key_bytes)

    @settings(max_examples=60)
    @given(
        filled=st.integers(0, params.capacity + 2),
        choices=steps(params.capacity + 4, 120),
        seed=st.integers(0, 2**32 - 1),
        latency=st.sampled_from([0, 5, 60]),
        idle=st.sampled_from([0.0, 0.6, 0.95]),
        stalls=st.sampled_from([0.0, 0.9]),
    )
    def check(filled, choices, seed, latency, idle, stalls):
        script = operations([(PUT, number) for number in range(filled)] + choices + [(NOP, 0)], key_bytes, seed)
        bench = start(design.bench(seed=seed), latency=latency, jitter=15, idle=idle, stalls=stalls)
        push(bench, script)
        rules = Rules(params)
        assert answers(bench, len(script)) == [rules.operate(*operation) for operation in script]
        assert bench.get("live") == rules.live

    check()


def test_every_key_is_found_again_when_all_places_and_the_queue_are_full():
    params = SMALL[4]
    count = params.capacity
    script = operations([(PUT, k) for k in range(count + 2)] + [(GET, k) for k in range(count + 2)] * 20, 4, 1)
    bench = start(small(4).bench())
    push(bench, script)
    got = answers(bench, len(script))
    assert [answer[2] for answer in got[: count + 2]] == [False] * count + [True] * 2  # then refused
    assert [answer[0] for answer in got[count + 2 :]] == ([True] * count + [False] * 2) * 20
    assert max(bench.get(f"uses__{t}") for t in range(2)) > len(script)  # and entries moved all the while
    assert bench.get("live") == count


@pytest.mark.parametrize("key_bytes", [4, 8, 16])
def test_churn_at_capacity(key_bytes):
    """Keys come and go while many are in transit: places of the queue are given away while a move is under way."""
    params, rng = SMALL[key_bytes], random.Random(9)
    alive, absent = list(range(params.capacity)), list(range(params.capacity, params.capacity + 9))
    choices = [(PUT, number) for number in alive]
    for _ in range(1500):
        at, other = rng.randrange(len(alive)), rng.randrange(len(absent))
        choices += [(DELETE, alive[at]), (PUT, absent[other]), (GET, rng.choice(alive))]
        alive[at], absent[other] = absent[other], alive[at]
    script = operations(choices, key_bytes, 9)
    bench = start(small(key_bytes).bench(), latency=20, jitter=15)
    push(bench, script)
    rules = Rules(params)
    assert answers(bench, len(script)) == [rules.operate(*operation) for operation in script]


def test_the_same_key_back_to_back():
    script = operations(
        [(PUT, 7), (PUT, 7), (GET, 7), (GET, 7), (DELETE, 7), (GET, 7), (PUT, 7), (DELETE, 7)] * 5, 8, 2
    )
    bench = start(small(8).bench(), latency=40)
    push(bench, script)
    rules = Rules(SMALL[8])
    assert answers(bench, len(script)) == [rules.operate(*operation) for operation in script]


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


@pytest.mark.sec_cm("POSMAP.LOOKUP.CONST_TIME")
@pytest.mark.parametrize(("buckets", "interval", "moves"), [(1, 10, 3), (64, 4, 1.9), (64, 5, 2.85)])
def test_entries_move_between_operations_at_full_rate(buckets, interval, moves):
    """An operation takes two cycles and a move one; if all are about one line, a move takes two."""
    filled = 16 * buckets + 40  # 40 entries that never find a place
    params = geometry(4, buckets=buckets, transit=60, capacity=filled)
    count = 600
    keys = [(number * 0x9E3779B1 % 2**32).to_bytes(4, "little") for number in range(filled + 4)]
    script = [(PUT, keys[k], k % PAGES, 0) for k in range(filled)]
    script += [(GET, keys[k % len(keys)], k % PAGES, 1) for k in range(count)]
    bench = start(Design(LookupRig(params, interval=interval, line_entries=64)).bench(), shy=0)
    push(bench, script[:filled])
    rules = Rules(params)
    assert answers(bench, filled) == [rules.operate(*operation) for operation in script[:filled]]
    bench.run(200)
    before, first = sum(bench.get(f"uses__{t}") for t in range(2)), len(bench.sink("o_located").cycles)
    push(bench, script[filled:])
    assert answers(bench, count) == [rules.operate(*operation) for operation in script[filled:]]
    taken = bench.source("i_operation").cycles[filled:]
    assert taken[-1] - taken[0] == interval * (count - 1)
    cycles = bench.sink("o_located").cycles[first:]
    assert abs(cycles[-1] - cycles[0] - interval * (count - 1)) <= 20  # nothing piles up
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
    assert rate * INTERVAL > 0.2  # else it was not the worst that was sampled
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


@pytest.mark.sec_cm("POSMAP.LOOKUP.CONST_TIME")
@settings(max_examples=20)
@given(choices=st.tuples(steps(9, 30), steps(9, 30)), waits=st.lists(st.integers(0, 20), min_size=30, max_size=30))
def test_turns_and_lines_used_depend_on_arrivals_alone(choices, waits):
    seen = []
    for drawn in choices:  # so few keys that none is ever in transit
        script = operations([*drawn, *[(NOP, 0)] * (30 - len(drawn))], 8, 4)
        bench = start(small(8).bench(), latency=0, jitter=0, shy=0)
        bench.source("i_operation", waits=waits)
        push(bench, script)
        answers(bench, len(script))
        seen.append([bench.get(f"uses__{t}") for t in range(2)] + list(bench.source("i_operation").cycles))
    assert seen[0] == seen[1]
    assert seen[0][:2] == [30, 30]


@pytest.mark.sec_cm("POSMAP.KEY.UNREADABLE")
def test_nothing_shows_without_an_operation():
    seen = []
    for key in (bytes(16), HASH_KEY):
        bench = start(small(4).bench(), key=key)
        push(bench, operations([(PUT, 1)] + [(GET, 1)] * 8, 4, 5))
        seen.append([])
        for _ in range(150):
            valid, payload = bench.get("o_located__valid"), bench.get("o_located__payload")
            assert valid or payload == 0
            seen[-1].append((valid, payload, bench.get("fetches__0"), bench.get("fetches__1")))
            bench.run(1)
    assert seen[0] == seen[1]  # with one bucket a table not even the hash shows
    assert bench.get("live") == 1


@pytest.mark.sec_cm("POSMAP.KEY.ERASE")
def test_erase_leaves_no_key_in_any_register():
    secret = 0x5EC2E7C0DE, HASH_KEY
    texts = {}
    for erase in (0, 1):
        bench = AmaranthBench(LookupRig(geometry(8, buckets=1, transit=3, capacity=12), line_entries=2, under_way=4))
        trace = StringIO()
        with bench.simulator.write_vcd(trace):
            start(bench)
            push(bench, [(PUT, (secret[0] + k).to_bytes(8, "little"), 1, 2) for k in range(12)])
            answers(bench, 12)
            bench.set("erase", erase)
            bench.run(1)
            bench.set("erase", 0)
            bench.run(100)
        texts[erase] = final_values(trace.getvalue())
    key_text, hash_text = f"{secret[0]:b}"[:-4], f"{int.from_bytes(HASH_KEY, 'little'):b}"
    for text in (key_text, hash_text):
        assert [name for name, value in texts[0].items() if text in value]
        assert not [name for name, value in texts[1].items() if text in value]


@pytest.mark.parametrize("control", ["clear", "erase"])
@pytest.mark.parametrize("after", [30, 61, 90, 150])
def test_a_map_that_forgot_is_empty_and_ignores_late_memory(control, after):
    script = operations([(PUT, k) for k in range(12)] + [(GET, k) for k in range(24)], 4, 6)
    bench = start(small(4).bench(seed=after), latency=60, jitter=31)
    push(bench, script)
    bench.run(after)
    bench.set(control, 1)
    bench.set("wipe", 1)
    bench.run(1)
    bench.set(control, 0)
    bench.run(1)
    left = bench.source("i_operation").remaining
    assert bench.get("live") == 0
    bench.run_until(limit=200, values={"quiet": 1})
    assert bench.source("i_operation").remaining == left  # nothing is taken while transfers are under way
    bench.set("wipe", 0)
    take(bench)
    if control == "erase":
        bench.run(100)
        assert bench.source("i_operation").remaining == left  # and nothing without a key
        give_key(bench)
    rules = Rules(SMALL[4])
    assert answers(bench, left) == [rules.operate(*operation) for operation in script[-left:]]


def change(**values):
    return lambda: PositionMap(SMALL[4], **values)


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (change(interval=2), "interval is 2; it must be a whole number from 3 to 1024"),
        (change(transit_entries=4), "transit_entries is 4; it must be a whole number from 5 to 128"),
        (change(transit_entries=129), "transit_entries is 129; it must be a whole number from 5 to 128"),
        (change(under_way=3), "under_way is 3; it must be a whole number from 4 to 256"),
        (change(line_entries=65), "line_entries is 65; it must be a whole number from 2 to 64"),
        (
            lambda: PositionMap(geometry(4, buckets=3, transit=9, capacity=5, rule=Rule.TWO_CHOICE, hbm_bins=2)),
            "rule is two_choice; the lookup stage is built for one_choice",
        ),
    ],
)
def test_bad_parameters_are_refused(build, text):
    with pytest.raises(ParamsError, match=text):
        build()
