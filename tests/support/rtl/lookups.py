"""What tests of the lookup stage share: operations, what they must answer, and how they are run."""

import random

from omap.memory import DeviceMemory
from omap.operations import Kind
from omap.params import Params
from omap.position_map import PositionMap as Reference

NOP, GET, PUT, _ = Kind

HASH_KEY = bytes(range(100, 116))
PAGES = 1000


def geometry(key_bytes, *, buckets, transit, capacity, bucket_bytes=64, **change):
    values = {"value_bytes": 4, "page_bytes": 64, "pages": PAGES, "waiting_slots": 8, "further_lines": 1}
    values |= {"bucket_bytes": bucket_bytes, "buckets": buckets, "transit_entries": transit}
    return Params(capacity=capacity, key_bytes=key_bytes, **{**values, **change})


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
