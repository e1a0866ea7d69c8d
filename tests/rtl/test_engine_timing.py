"""What the host sees of the engine, and when, does not depend on keys, kinds, hits, repeats, or what the map holds.

The engine has the shape of PAPER, and the host answers when it suits it. Two engines get different operations at the
same times and must do the same things in the same cycles. Operations that touch a page which is under way may wait for
it, and that is public: compared are runs in which the same do, or none.
"""

from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.audit import audit
from omap.map import create
from omap.operations import Kind, Operation, Status
from omap.regmap import Request
from omap.trace import Submitted
from omap.workloads import workload
from rtl.config import EngineConfig
from rtl.map.format import SETTLE
from rtl.memory.free_list import LOW
from sim.device.known import fixed_formats
from sim.models.faults import Fault, FaultKind
from sim.models.observer import EventKind
from sim.models.timing import HbmTiming
from tests.support.rtl.engines import ROOMY, TIGHT
from tests.support.rtl.hosts import HOSTS
from tests.support.rtl.timed_engine import ALONE, Pages, TimedEngine, difference, stalls

PARAMS = ROOMY.params
REACH = ROOMY.page_entries
"""No more pages are under way: operations further apart than this do not wait for each other."""

NOP, GET, PUT, DELETE = Kind
LOADED = 100
"""Keys that are in the map, under the numbers below this."""

OPERATIONS = 10_000
"""Operations of an audited trace."""

WINDOW = 80
"""Operations that are compared: few enough that for some secrets none of them waits for another."""


def key(number: int) -> bytes:
    return (number * 0x9E3779B1 % (1 << 32)).to_bytes(4, "big")


def value(number: int) -> bytes:
    return (number * 0x85EBCA6B % (1 << 32)).to_bytes(PARAMS.value_bytes, "big")


def do(kind: Kind, number: int) -> Operation:
    return Operation(kind, key(number) if kind else b"", value(number) if kind == PUT else b"")


COMMON = [do(PUT, number) for number in range(LOADED)]
ABSENT = 1 << 20
SHAPES = {
    "nothing": [do(NOP, 0)] * WINDOW,
    "hammer": [do(GET, 0)] * WINDOW,
    "hammer, overwriting": [do(PUT, 0), do(GET, 0)] * (WINDOW // 2),
    "each key twice": [do(GET, number // 2) for number in range(WINDOW)],
    "sweep": [do(GET, number) for number in range(WINDOW)],
    "overwrites": [do(PUT, number) for number in range(WINDOW)],
    "deletes": [do(DELETE, number) for number in range(WINDOW)],
    "misses": [do(GET, ABSENT + number) for number in range(WINDOW)],
    "one miss": [do(GET, ABSENT)] * WINDOW,
    "deletes of what is not there": [do(DELETE, ABSENT + number) for number in range(WINDOW)],
    "inserts": [do(PUT, ABSENT + number) for number in range(WINDOW)],
    "insert, read, delete": [do((PUT, GET, DELETE)[number % 3], ABSENT + number // 3) for number in range(WINDOW)],
}


def secrets_for(scripts, first: int = 0, reach: int = REACH) -> int:
    """Return a seed of secrets under which the same operations wait for a page in all scripts after a common start."""
    for seed in count(first):
        waits = []
        for script in scripts:
            pages = Pages(PARAMS, seed)
            pages.touch(COMMON)
            waits.append(stalls(pages.touch(script), reach))
            if waits[-1] != waits[0]:
                break
        else:
            return seed
    raise AssertionError


# Many: each after the second is an option of its own that few runs give.
def run(
    script, secrets: int, *, arrivals=(), sizes=ALONE, delays: int = 0, config=ROOMY, host="usual", held=None
) -> TimedEngine:
    """Run a script after the common start; answers must be right and in time, and the pages as foretold."""
    engine = TimedEngine(config, secrets, delays=delays, host=HOSTS[host], inside=True)
    engine.fill(COMMON)
    if held:
        engine.hold_pages(**held)
    engine.run.bench.observer.clear()
    replies = engine.send(script, arrivals, sizes)
    live, pages = {operation.key: operation.value for operation in COMMON}, Pages(PARAMS, secrets)
    pages.touch(COMMON)
    for reply, (kind, name, data) in zip(replies, script, strict=True):
        assert reply.overruns == 0
        assert reply.response.previous == (live.get(name) if kind else None)
        if kind == PUT:
            live[name] = data
        elif kind == DELETE:
            live.pop(name, None)
    trace = engine.trace()
    assert (trace.address[~trace.write] // PARAMS.page_bytes).tolist() == pages.touch(script)
    return engine


@pytest.fixture(scope="module", params=[("usual", ALONE), ("0 ns", (1, 5, 2, 40, 1, 1))], ids=lambda drawn: drawn[0])
def shapes(request) -> dict[str, TimedEngine]:
    """The engines after each shape, all in one go, with one host and records of some sizes."""
    secrets, (host, sizes) = secrets_for(SHAPES.values()), request.param
    print(f"secrets of seed {secrets}, host {host}")
    return {name: run(script, secrets, host=host, sizes=sizes) for name, script in SHAPES.items()}


@pytest.mark.sec_cm("EVENT.TIME.PACED")
@pytest.mark.sec_cm("PAGE.START.PACED")
@pytest.mark.parametrize("shape", SHAPES)
def test_no_shape_of_operations_shows(shapes, shape):
    assert difference(shapes[shape], shapes["nothing"]) == ""


def test_inside_they_differ(shapes):
    """Else the comparison above would say nothing: what is hidden takes different times."""
    assert len({engine.stages["cycle"].tobytes() for engine in shapes.values()}) > len(SHAPES) // 2


SAME_PAGES = {"nothing": NOP, "misses": GET, "deletes of what is not there": DELETE, "inserts": PUT}
"""What touches the pages drawn for absent keys, the same whatever the keys."""


@pytest.mark.sec_cm("PAGE.FOLLOW.PACED")
@pytest.mark.parametrize("host", ["usual", "0 ns"])
def test_what_was_merged_into_a_page_does_not_show_in_what_follows_it(host):
    """Of five pages nearly all are under way when they are touched again; inserts make long lists, and fill the map."""
    size, engines = TIGHT.params.key_bytes, []
    for name, kind in SAME_PAGES.items():
        data = bytes(TIGHT.params.value_bytes) if kind == PUT else b""
        script = [
            Operation(kind, number.to_bytes(size, "big") if kind else b"", data) for number in range(1, WINDOW + 1)
        ]
        engine = TimedEngine(TIGHT, 3, host=HOSTS[host], inside=True)
        engine.run.bench.observer.clear()
        assert [reply.overruns for reply in engine.send(script)] == [0] * WINDOW
        engines.append(engine)
        assert engine.trace().address.tolist() == engines[0].trace().address.tolist()
        assert difference(engine, engines[0]) == "", name
    assert engines[-1].stages["cycle"].tobytes() != engines[0].stages["cycle"].tobytes()


operation = st.tuples(
    st.sampled_from(Kind), st.one_of(st.integers(0, 2), st.integers(0, LOADED - 1), st.integers(ABSENT, ABSENT + 20))
).map(lambda drawn: do(*drawn))
singles, bursts = st.tuples(st.integers(0, 600), st.integers(1, 3)), st.tuples(st.integers(0, 40), st.integers(1, 40))


@settings(max_examples=6)
@given(
    pair=st.integers(20, WINDOW).flatmap(lambda n: st.tuples(*[st.lists(operation, min_size=n, max_size=n)] * 2)),
    arrivals=st.lists(st.one_of(singles, bursts), max_size=12),
    sizes=st.lists(st.one_of(st.just(1), st.integers(1, WINDOW)), max_size=40),
    seed=st.integers(0, 1 << 20),
    host=st.sampled_from(list(HOSTS)),
)
def test_no_drawn_pair_of_scripts_can_be_told_apart(pair, arrivals, sizes, seed, host):
    secrets = secrets_for(pair, seed)
    one, other = (run(script, secrets, arrivals=arrivals, sizes=sizes, delays=seed, host=host) for script in pair)
    assert difference(one, other) == ""


def longest_and_shortest(secrets: int, fill) -> list[list[Operation]]:
    """Return reads of the keys for which most tuples, and fewest, wait after a fill with new keys; then new keys."""
    pages, waiting = Pages(PARAMS, secrets, len(fill)), dict[int, list[bytes]]()
    touched_last = {page: at for at, page in enumerate(pages.touch(fill))}
    for at, (name, page) in enumerate(pages.page_of.items()):
        if at >= touched_last.get(page, 0):
            waiting.setdefault(page, []).append(name)
    order = sorted(waiting.values(), key=len)
    half = WINDOW // 2
    more = [do(PUT, ABSENT + number) for number in range(half)]
    assert len(order[-half]) >= len(order[half]) + 3
    return [[Operation(GET, names[0], b"") for names in part] + more for part in (order[-half:], order[:half])]


@pytest.mark.long
def test_how_full_the_map_is_and_how_many_tuples_wait_does_not_show():
    """A fill touches the pages of its dummies, as misses do. Then come the longest lists, the shortest, or misses; and
    PUTs that a full map refuses. Nobody can ask for one of the longest lists after the other, so they come with gaps.

    A short form is :func:`test_what_was_merged_into_a_page_does_not_show_in_what_follows_it`, whose inserts do both.
    """
    full = [do(PUT, number) for number in range(PARAMS.capacity)]
    empty = [do((GET, DELETE, NOP)[number % 3], ABSENT + number) for number in range(PARAMS.capacity)]
    for secrets in count():
        long, short = longest_and_shortest(secrets, full)
        pairs = [(full, long), (full, short), (empty, long)]
        touched = [Pages(PARAMS, secrets, len(full) + WINDOW).touch(start + script) for start, script in pairs]
        if not any(stalls(pages[-WINDOW:], REACH) for pages in touched):
            break
    engines = []
    for start, script in pairs:
        engine = TimedEngine(ROOMY, secrets)
        engine.fill(start)
        replies = engine.send(script, [(100, 2)] * (WINDOW // 2))
        assert replies[-1].overruns == 0
        assert {reply.response.status for reply in replies[WINDOW // 2 :]} == {
            Status.FULL if start is full else Status.OK
        }
        engines.append(engine)
        assert difference(engine, engines[0]) == ""


@pytest.mark.sec_cm("OVERRUN.COUNT.SEALED")
def test_overruns_show_in_sealed_replies_alone():
    """An HBM that stands still now and then is slower than the offsets cover: counted, told to the client, and wrong in
    nothing else."""
    script = SHAPES["insert, read, delete"] + SHAPES["overwrites"] + SHAPES["hammer"]
    slow = HbmTiming(conflict_ns=900.0, refresh_every_ns=20_000.0, refresh_ns=6_000.0)
    reference = create(PARAMS, secrets=fixed_formats(0))
    wanted = reference.execute(COMMON + script)
    looks, overruns = [], []
    for hbm in (slow, None):
        engine = TimedEngine(ROOMY, 0, hbm=hbm)
        replies = engine.fill(COMMON) + engine.send(script)
        assert [reply.response for reply in replies] == wanted
        assert engine.pages == bytes(reference.host.data)
        overruns.append(replies[-1].overruns)
        assert overruns == sorted(overruns, reverse=True)
        looks.append(engine.looks[-1])
    assert overruns[0] > 0 == overruns[1]
    for name in ("registers", "control", "headers"):
        assert getattr(looks[0], name) == getattr(looks[1], name)


@pytest.mark.sec_cm("FORMAT.TIME.FIXED")
def test_what_was_done_last_does_not_show_in_a_format():
    """A NOP leaves no bucket to write back, a GET does; here such writes are slow."""
    engines, stall = [], round(SETTLE * 1000 / HbmTiming.clock_mhz)  # nanoseconds
    for operation in (do(NOP, 0), do(GET, 0), do(PUT, ABSENT), do(DELETE, 1)):
        engine = TimedEngine(ROOMY, 2)
        engine.fill(COMMON)
        engine.run.bench.observer.clear()
        for port in engine.run.hbm[: sum(ROOMY.channels[f"table {t}"] for t in range(2))]:
            port.add_fault(Fault(kind=FaultKind.STALL, write=True, count=100, argument=stall))
        engine.driver.put(engine.session.seal([operation]))
        engine.run.step(400)
        engine.run.write("REQUEST", Request.FORMAT)
        engine.run.step(3 * SETTLE)
        written = sum(engine.events()["kind"] == EventKind.WRITE)
        assert 20 < written < PARAMS.pages  # beside the operation's, pages that the format empties, and not all of them
        engine.look()
        engines.append(engine)
        assert difference(engine, engines[0]) == ""


@pytest.mark.parametrize(
    "name",
    ["hammer", "sweep", *(pytest.param(name, marks=pytest.mark.long) for name in ("misses", "insert_then_read"))],
)
def test_the_trace_passes_the_audit(name):
    work = workload(name, replace(PARAMS, capacity=LOADED), OPERATIONS, seed=1)
    operations = [Operation(PUT, *pair) for pair in zip(map(bytes, work.keys), map(bytes, work.values), strict=True)]
    operations += work.operations
    engine = TimedEngine(ROOMY, 1)
    engine.run.bench.observer.clear()
    replies = engine.fill(operations)
    assert replies[-1].overruns == 0
    trace = replace(engine.trace(), submitted=Submitted(operations=len(operations)))
    found = audit(trace, PARAMS, overlapping=True)
    assert found.passed, found.summary()
    assert not found.notes
    assert found.operations == len(operations)
    pages = Pages(PARAMS, 1, len(operations))
    assert (trace.address[~trace.write] // PARAMS.page_bytes).tolist() == pages.touch(operations)


@pytest.mark.long
@pytest.mark.sec_cm("EVENT.TIME.PACED")
@pytest.mark.parametrize("lanes", [1, 4])
def test_nor_with_other_lanes(lanes):
    config = EngineConfig(params=PARAMS, lanes=lanes)
    secrets = secrets_for(SHAPES.values(), reach=config.page_entries)
    runs = {name: run(script, secrets, config=config, host="0 ns") for name, script in SHAPES.items()}
    assert {name for name, engine in runs.items() if difference(engine, runs["nothing"])} == set()


@pytest.mark.long
@pytest.mark.sec_cm("EVENT.TIME.PACED")
def test_without_the_offsets_shapes_do_show():
    """The same comparison, of an engine without them, tells every shape from every operation being none.

    One miss over and over may look the same, because an operation that is none looks one key up over and over too.
    """
    config = replace(ROOMY, insecure_unpaced=True)
    secrets = secrets_for(SHAPES.values())
    runs = {name: run(script, secrets, config=config) for name, script in SHAPES.items()}
    told = {name for name, engine in runs.items() if difference(engine, runs["nothing"])}
    assert told >= set(SHAPES) - {"nothing", "one miss"}


@pytest.mark.sec_cm("WAITING.PLACE.RANDOM")
def test_draws_decide_the_order_in_which_slots_are_handed_out():
    """Keys go into an empty map, one after the other. Where their tuples lie in HBM tells in which order slots came."""
    engine, layout, keys = TimedEngine(ROOMY, 4), ROOMY.layouts["slots"], range(1, 400)
    engine.fill([Operation(PUT, key.to_bytes(PARAMS.key_bytes, "big"), bytes(PARAMS.value_bytes)) for key in keys])
    channels = [port.memory.data for port in engine.run.hbm[ROOMY.first_channel["slots"] :][: layout.channels]]
    group, orders = 1 << layout.spread, set()
    for first in range(LOW, len(keys) - group, group):
        places = [layout.place(slot) for slot in range(first, first + group)]
        rows = [channels[channel][row * layout.item_bytes :][: PARAMS.key_bytes] for channel, row in places]
        ranks = np.argsort(np.argsort([int.from_bytes(bytes(row), "big") for row in rows]))
        order = {int(rank) ^ turn for turn, rank in enumerate(ranks)}
        if len(order) == 1:  # else a slot of the group was handed out once more
            orders |= order
    assert len(orders) > group // 2
