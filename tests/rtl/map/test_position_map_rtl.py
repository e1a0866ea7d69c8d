"""The lookup stage answers as the reference does, whatever is under way, and its turns do not depend on keys."""

import random
from functools import cache
from io import StringIO

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from omap.errors import ParamsError
from omap.operations import Kind
from omap.params import Rule
from rtl.map.position_map import PositionMap
from sim.bench.amaranth_bench import AmaranthBench
from sim.bench.compiled import Design
from tests.support.designs.lookup_rig import LookupRig
from tests.support.rtl.lookups import HASH_KEY, Rules, answers, geometry, give_key, operations, push, start, take
from tests.support.rtl.waveforms import final_values

NOP, GET, PUT, DELETE = Kind

# In each of them the queue has room for a new key whenever fewer than `capacity` are live, so that every answer is
# determined; and it is used, for that many keys do not fit the buckets, or only just.
SMALL = {
    4: geometry(4, buckets=1, transit=5, capacity=21),  # 16 places, all of them candidates of every key
    8: geometry(8, buckets=3, transit=30, capacity=30),  # 30 places
    16: geometry(16, buckets=2, bucket_bytes=128, transit=24, capacity=24),  # 24 places
}


@cache
def small(key_bytes):
    return Design(LookupRig(SMALL[key_bytes], line_entries=4, under_way=8))


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


@cache
def roomy():
    """Operations never wait for room: the use of a line, 30 cycles after the turn, is seven operations later."""
    return Design(LookupRig(SMALL[8], line_entries=4, under_way=32))


@pytest.mark.sec_cm("POSMAP.LOOKUP.CONST_TIME")
@settings(max_examples=20)
@example(choices=([], [(PUT, key) for key in range(5)]), waits=[0, 4, 0] * 10)
@given(choices=st.tuples(steps(9, 30), steps(9, 30)), waits=st.lists(st.integers(0, 20), min_size=30, max_size=30))
def test_turns_and_lines_used_depend_on_arrivals_alone(choices, waits):
    seen = []
    for drawn in choices:  # so few keys that none is ever in transit
        script = operations([*drawn, *[(NOP, 0)] * (30 - len(drawn))], 8, 4)
        bench = start(roomy().bench(), latency=0, jitter=0, shy=0)
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
        (change(line_entries=129), "line_entries is 129; it must be a whole number from 2 to 128"),
        (
            lambda: PositionMap(geometry(4, buckets=3, transit=9, capacity=5, rule=Rule.TWO_CHOICE, hbm_bins=2)),
            "rule is two_choice; the lookup stage is built for one_choice",
        ),
    ],
)
def test_bad_parameters_are_refused(build, text):
    with pytest.raises(ParamsError, match=text):
        build()
