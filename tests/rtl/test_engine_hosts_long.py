"""Engines that ship, and hosts that answer when it suits them: no operation shows in times, and nothing is late."""

import random
from itertools import cycle, islice

import pytest

from omap import sizing
from omap.operations import Kind, Operation
from rtl.config import EngineConfig
from tests.support.rtl.engines import ROOMY
from tests.support.rtl.hosts import HOSTS
from tests.support.rtl.timed_engine import Pages, TimedEngine, difference, stalls

NOP, GET, PUT, DELETE = Kind

ENGINES = {
    "PAPER": ROOMY,
    "STANDARD": EngineConfig(params=sizing.one_choice(capacity=1 << 14, key_bytes=8, value_bytes=64, page_bytes=640)),
    "WIDE": EngineConfig(params=sizing.one_choice(capacity=1 << 12, key_bytes=16, value_bytes=256, page_bytes=4096)),
}
"""Keys, values, pages and descriptors of the presets of these names."""

COMPARED = ENGINES | {
    "WIDE": EngineConfig(params=sizing.one_choice(capacity=1 << 14, key_bytes=16, value_bytes=256, page_bytes=4096)),
}
"""Engines whose times are compared: with pages enough for scripts in which no operation waits for another's page."""

SEEDS = 20_000
"""Seeds of secrets that are tried: no more than some seconds, while a map that has too few pages needs millions."""

LATE = {"PAPER": 1_000_000, "STANDARD": 200_000, "WIDE": 30_000}
"""Operations of each workload, none of which may be late at the fastest host."""

PHASES = 3
"""Engines that share the operations of a workload; in each, refreshes of HBM come at other times."""

COMMON = 150
"""Keys that are in the map when scripts begin."""

WINDOW = 80
LONG = 600
"""Operations that are compared: a few that wait for no other, and many that touch the same pages."""

SPARSE = [(700, 1), (30, 3), (0, 20), (1500, 1)]
"""Arrivals with gaps: operations that come alone show what nothing before them hides."""

BOUNDARY = 4096
"""Bytes; no burst of AXI crosses a multiple of it."""

ABSENT = 1 << 20


class Words:
    """Operations on numbered keys of a map."""

    def __init__(self, params):
        self.params = params

    def do(self, kind, number=0):
        params = self.params
        key = (number * 0x9E3779B1 % (1 << 32)).to_bytes(params.key_bytes, "big") if kind else b""
        value = (number * 0x85EBCA6B % (1 << 32)).to_bytes(params.value_bytes, "big") if kind == PUT else b""
        return Operation(kind, key, value)

    def many(self, kind, numbers):
        return [self.do(kind, number) for number in numbers]


def windows(words):
    """Return short scripts of all shapes.

    A page that crosses a boundary of 4096 bytes is two bursts. Which pages do is public, but then only scripts that
    touch the same pages can be compared: those about absent keys.
    """
    far = range(ABSENT, ABSENT + WINDOW)
    absent = {
        "nothing": words.many(NOP, [0] * WINDOW),
        "misses": words.many(GET, far),
        "one miss": words.many(GET, [ABSENT] * WINDOW),
        "deletes of what is not there": words.many(DELETE, far),
        "inserts": words.many(PUT, far),
    }
    if BOUNDARY % words.params.page_bytes:
        return absent
    return absent | {
        "one key": [words.do((PUT, GET)[k % 2]) for k in range(WINDOW)],
        "sweep": words.many(GET, range(WINDOW)),
        "deletes": words.many(DELETE, range(WINDOW)),
        "insert, read, delete": [words.do((PUT, GET, DELETE)[k % 3], ABSENT + k // 3) for k in range(WINDOW)],
    }


def saturating(words):
    """Return long scripts that touch the same pages, which are drawn for absent keys."""
    far = range(ABSENT, ABSENT + LONG)
    kinds = {"nothing": NOP, "misses": GET, "inserts": PUT}
    return {name: words.many(kind, far) for name, kind in kinds.items()}


def secrets_for(config, scripts):
    """Return a seed of secrets under which no operation of a script waits for the page of another."""
    words = Words(config.params)
    for seed in range(SEEDS):
        for script in scripts:
            pages = Pages(config.params, seed)
            pages.touch(words.many(PUT, range(COMMON)))
            if stalls(pages.touch(script), config.page_entries):
                break
        else:
            return seed
    raise AssertionError(
        f"{SEEDS:,} seeds, and in each an operation waits for a page: {config.params.pages} are too few"
    )


def compared(config, scripts, secrets, host, *, delays, arrivals=()):
    """Run scripts; return what tells each from the first, and how many operations ran."""
    words, first, told = Words(config.params), None, {}
    for name, script in scripts.items():
        engine = TimedEngine(config, secrets, delays=delays, host=HOSTS[host])
        engine.fill(words.many(PUT, range(COMMON)))
        if host == "one page held":
            engine.hold_pages(first=10, every=70, count=10)
        engine.run.bench.observer.clear()
        replies = engine.send(script, arrivals)
        assert replies[-1].overruns == 0, f"{name}, host {host}, delays {delays}"
        first = first or engine
        if engine is not first and difference(engine, first):
            told[name] = difference(engine, first)
    return told


@pytest.mark.long
@pytest.mark.sec_cm("EVENT.TIME.PACED")
@pytest.mark.sec_cm("PAGE.START.PACED")
@pytest.mark.parametrize("name", COMPARED)
def test_no_operation_shows_whatever_the_host_does_with_its_times(name):
    config = COMPARED[name]
    words, pairs, operations = Words(config.params), 0, 0
    short, long = windows(words), saturating(words)
    secrets = secrets_for(config, short.values())
    for place, host in enumerate(HOSTS):
        for scripts, arrivals in ((short, ()), (short, SPARSE), (long, ())):
            if arrivals and place % 4:
                continue
            told = compared(config, scripts, secrets, host, delays=place, arrivals=arrivals)
            assert told == {}, f"host {host}"
            pairs += len(scripts) - 1
            operations += sum(map(len, scripts.values()))
    print(f"{name}: {pairs} pairs, {len(HOSTS)} hosts, {operations:,} operations compared, secrets of seed {secrets}")


def workload(words, name, amount, keys):
    """Return operations of a workload on a map with so many keys."""
    rng = random.Random(f"{name} {amount}")
    match name:
        case "one key":
            return words.many(GET, [0] * amount)
        case "sweep":
            return words.many(GET, (k % keys for k in range(amount)))
        case "sweep and back":  # next to the turns the tuples of the keys themselves still wait
            return words.many(GET, (min(k % (2 * keys), -1 - k % (2 * keys) + 2 * keys) for k in range(amount)))
        case "random reads":
            return words.many(GET, (rng.randrange(keys) for _ in range(amount)))
        case "overwrites":
            return words.many(PUT, (k % keys for k in range(amount)))
        case "misses":
            return words.many(GET, range(ABSENT, ABSENT + amount))
        case "delete, insert":
            return [words.do((DELETE, PUT)[k % 2], k // 2 % keys) for k in range(amount)]
        case "sweep, delete":  # newest first: what waits leaves, and no operation takes a slot
            newest = range(keys - 1, keys - 1 - keys // 4, -1)
            turn = [(GET, range(keys)), (DELETE, newest), (PUT, newest)]
            return list(islice(cycle(words.do(kind, k) for kind, keys_ in turn for k in keys_), amount))
        case "nothing":
            return words.many(NOP, [0] * amount)
    raise AssertionError(name)


WORKLOADS = (
    *("nothing", "one key", "sweep", "sweep and back", "random reads", "overwrites", "misses", "delete, insert"),
    "sweep, delete",
)


@pytest.mark.long
@pytest.mark.parametrize("load", WORKLOADS)
@pytest.mark.parametrize("name", ENGINES)
def test_nothing_is_late_at_the_fastest_host(name, load):
    """The map is full, which makes lists as long as they get."""
    config = ENGINES[name]
    words, keys = Words(config.params), config.params.capacity
    part = LATE[name] // PHASES
    for phase in range(PHASES):
        engine = TimedEngine(config, phase, delays=phase, host=HOSTS["0 ns"])
        replies = engine.fill(words.many(PUT, range(keys))) + engine.fill(workload(words, load, part, keys))
        assert replies[-1].overruns == 0, f"phase {phase}"
    print(f"{name}, {load}: {PHASES * part:,} operations at the fastest host, {PHASES} phases of refresh, none late")
