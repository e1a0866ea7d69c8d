"""Requests of both sides leave one at a time, whole, and in turns."""

import random
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from rtl.pcie.layouts import BEAT
from rtl.pcie.merge import RequestMerge
from sim.bench.compiled import Design


@cache
def design():
    return Design(RequestMerge())


def beats(side, number, count):
    return [{"data": side << 64 | number << 8 | n, "last": n == count - 1, "keep": n} for n in range(count)]


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1), idle=st.sampled_from([0.0, 0.3, 0.8]))
def test_every_request_leaves_whole_and_in_the_order_of_its_side(seed, idle):
    rng, bench = random.Random(seed), design().bench(seed=seed)
    bench.set("open_", 1)
    sides = [[beats(0, n, 1) for n in range(40)], [beats(1, n, rng.choice([3, 5, 17])) for n in range(20)]]
    for name, requests in zip(("i_read", "i_write"), sides, strict=True):
        bench.source(name, idle=idle).push(beat for request in requests for beat in request)
    bench.sink("o", idle=idle)
    count = sum(len(request) for side in sides for request in side)
    bench.run_until(limit=50_000, transfers={"o": count})
    bench.run(10)
    came, now = ([], []), None
    for item in bench.sink("o").take():
        beat = BEAT["rq"].from_bits(item)
        side = beat["data"] >> 64
        assert now in (None, side)
        came[side].append(item)
        now = None if beat["last"] else side
    for found, requests in zip(came, sides, strict=True):
        assert found == [BEAT["rq"].const(beat).as_value().value for request in requests for beat in request]
    assert bench.get("idle")


def test_they_take_turns():
    bench = design().bench()
    bench.set("open_", 1)
    bench.source("i_read").push(beat for n in range(20) for beat in beats(0, n, 1))
    bench.source("i_write").push(beat for n in range(20) for beat in beats(1, n, 3))
    bench.run_until(limit=500, transfers={"o": 80})
    sides = [BEAT["rq"].from_bits(item)["data"] >> 64 for item in bench.sink("o").take()]
    assert sides == [0, 1, 1, 1] * 20


def test_when_closed_nothing_begins_and_what_has_begun_ends():
    bench = design().bench()
    bench.run(20)
    bench.source("i_write").push(beat for n in range(5) for beat in beats(1, n, 8))
    bench.source("i_read").push(beats(0, 0, 1))
    bench.run(50)
    assert not bench.sink("o").transfers
    assert bench.get("idle")
    bench.set("open_", 1)
    bench.run(4)
    assert not bench.get("idle")
    bench.set("open_", 0)
    bench.run(50)
    assert bench.get("idle")
    assert BEAT["rq"].from_bits(bench.sink("o").take()[-1])["last"]
    assert bench.source("i_write").remaining in (32, 40)
