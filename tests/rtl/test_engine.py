"""The engine equals the device model: every byte of the rings, the pages, the counters and the registers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.device.driver import Driver
from host.records import split
from omap.operations import Operation, Status
from omap.regmap import BY_NAME, Request, State
from omap.wire import Counter, read_counter
from sim.device.client import open_all, open_session, operation_replies, seal_all
from sim.device.transport import RtlTransport
from sim.models.timing import HbmTiming, HostTiming
from tests.support.oracle import expected
from tests.support.rtl.engine_bench import SETTLED, Twin
from tests.support.rtl.engines import DELETE, GET, PUT
from tests.support.rtl.prediction import Prediction
from tests.support.rtl.session_bench import OWNER, ROOT_KEY
from tests.support.rtl.session_ends import drawn

STRAYS = ("session", "type", "lines", "confirm", "credential", "key", "handshake")

steps = st.one_of(
    st.tuples(st.just("send"), st.one_of(st.integers(1, 40), st.integers(200, 600)), st.sampled_from([1, 3, 60])),
    st.tuples(st.just("open"), st.booleans(), st.booleans()),
    st.tuples(st.just("close")),
    st.tuples(st.just("stray"), st.sampled_from(STRAYS)),
    st.tuples(st.just("pass"), st.integers(1, 3000)),
    st.tuples(st.just("rest")),
    st.tuples(st.just("format"), st.booleans()),
)


def play(twin, script):
    """Do what a script says; a session is always open."""
    clients = [twin.opened()]
    for step in script:
        match step:
            case ("send", number, keys):
                twin.send(clients, number, keys=keys)
            case ("open", replacing, owner):
                old = twin.rng.choice(clients)
                if replacing:
                    clients.append(twin.opened(credential=old.credential, replaces=old.session))
                else:
                    clients.append(twin.opened(credential=OWNER if owner else drawn(twin.rng, twin.params)))
                if replacing:
                    clients.remove(old)
                del clients[:-15]  # more than the device keeps: the longest unused would give way
            case ("close",):
                twin.close(clients.pop(twin.rng.randrange(len(clients))))
                clients = clients or [twin.opened()]
            case ("stray", kind):
                twin.stray(kind)
            case ("pass", cycles):
                twin.run.step(cycles)
            case ("rest",):
                twin.rest()
            case ("format", by_register):
                twin.rest()
                twin.request(Request.FORMAT, by_register=by_register)
                clients = [twin.opened()]
    twin.rest()


@pytest.mark.sec_cm("PAGE.ADDR.FRESH")
@pytest.mark.sec_cm("PAGE.MISS.DUMMY")
@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    ring=st.integers(7, 10),
    reorder=st.booleans(),
    withheld=st.sampled_from([0.0, 0.3]),
    script=st.lists(steps, max_size=8),
)
def test_equals_the_model(seed, ring, reorder, withheld, script):
    host = HostTiming(reorder=reorder, ready_withheld=withheld, valid_withheld=withheld)
    play(Twin(seed, ring_lines=1 << ring, host=host, hbm=HbmTiming(ready_withheld=withheld)), script)


def all_answers(twin):
    """Return all answers that an engine has written, where none had the place of another."""
    layout = twin.layout
    return split(layout.read_lines(twin.buffer, layout.responses, 0, twin.answered))


@settings(max_examples=8)
@given(seed=st.integers(0, 2**32 - 1), cycles=st.integers(0, 4000), by_register=st.booleans())
def test_a_format_in_the_midst_of_traffic_falls_between_two_records(seed, cycles, by_register):
    ring = 256
    twin = Twin(seed, ring_lines=ring)
    clients = [twin.opened(), twin.opened()]
    twin.rest()
    lines = read_counter(twin.buffer, Counter.COMMANDS_WRITTEN)
    before = split(twin.layout.read_lines(twin.buffer, twin.layout.commands, 0, lines))
    records = []
    for size in twin.sizes(100):
        client = twin.rng.choice([*clients, None])
        record = twin.client().hello() if client is None else twin.record(client, size)
        records.append(record)
        twin.put(record)
    twin.run.step(cycles + 1)
    twin.ask(Request.FORMAT, by_register=by_register)
    twin.run.until(lambda: len(all_answers(twin)) == len(before) + len(records), limit=80000)
    twin.run.step(SETTLED)
    answers = bytes(twin.buffer[twin.layout.responses : twin.layout.pages])
    for cut in range(len(records) + 1):
        model = Prediction(seed, twin.params, ring)
        model.request(Request.FORMAT)
        for number, record in enumerate([*before, *records]):
            if number == cut + len(before):
                model.request(Request.FORMAT)
            model.feed(record)
        if cut == len(records):
            model.request(Request.FORMAT)
        if bytes(model.buffer[twin.layout.responses : twin.layout.pages]) == answers:
            break
    else:
        raise AssertionError("no order of the format and the records gives these answers")
    assert model.buffer[twin.layout.pages :] == twin.buffer[twin.layout.pages :]


def most_lines(twin):
    """Return how many descriptor lines the longest list of waiting tuples takes."""
    waiting = twin.model.device._map.waiting
    return max(1 + len(waiting.load(number).further) for number in range(twin.params.bins))


def page_of(twin, key):
    """Return the page of a live key, which nobody outside knows."""
    places = twin.model.device._map.position_map
    return places.begin(key, places.candidates(key))[0]


def test_a_full_map_and_long_lists():
    """Keys of all pages but one are asked for until every key waits for this one; then for them."""
    twin = Twin(1)
    client, params = twin.opened(), twin.params
    keys = [number.to_bytes(params.key_bytes, "big") for number in range(params.capacity + 20)]

    def send(kind, key):
        twin.feed(client.seal([Operation(kind, key, twin.rng.randbytes(params.value_bytes) if kind == PUT else b"")]))

    for key in keys:
        send(PUT, key)
    twin.rest()
    replies = operation_replies(client, open_all(client, b"".join(twin.got[2:])))
    assert [reply.response.status for reply in replies] == [Status.OK] * params.capacity + [Status.FULL] * 20
    assert replies[-1].live == params.capacity
    live = keys[: params.capacity]
    while elsewhere := [key for key in live if page_of(twin, key) != 0]:
        send(twin.rng.choice((GET, PUT)), twin.rng.choice(elsewhere))
    assert most_lines(twin) >= 5
    twin.rest()
    twin.late = True  # lists like these never come up where pages are drawn
    for key in twin.rng.sample(keys, len(keys)):
        send(twin.rng.choice((GET, DELETE)), key)
    twin.rest()


@pytest.mark.parametrize("kinds", [(PUT, GET), (GET,), (DELETE, PUT), (PUT,)])
def test_one_key_back_to_back(kinds):
    twin = Twin(2)
    client = twin.opened()
    twin.send([client], 300, kinds=kinds, keys=1)
    twin.rest()


def test_before_the_first_format_nothing_is_served():
    twin = Twin(3, formatted=False)
    client = twin.client()
    twin.put(client.hello())
    twin.run.step(3000)
    assert twin.state is State.IDLE
    assert twin.answered == 0
    twin.compare_registers()


@pytest.mark.parametrize("by_register", [True, False])
def test_stop_erases_and_ends_the_kernel(by_register):
    twin = Twin(4)
    twin.send([twin.opened()], 5)
    twin.rest()
    twin.request(Request.STOP, by_register=by_register)
    twin.compare_registers()
    control = BY_NAME["CTRL"]
    value = twin.run.read("CTRL")
    assert (control.field("done", value), control.field("idle", value)) == (1, 1)
    twin.is_dead(State.STOPPED)


@settings(max_examples=6)
@given(seed=st.integers(0, 2**32 - 1), cycles=st.integers(1, 3000))
def test_a_stop_in_mid_flight(seed, cycles):
    twin = Twin(seed)
    client = twin.opened()
    twin.rest()
    twin.send([client], 64)
    twin.run.step(cycles)
    twin.ask(Request.STOP)
    twin.is_dead(State.STOPPED)


def test_the_driver_runs_it():
    twin = Twin(5, formatted=False)
    params, key = twin.params, ROOT_KEY
    with Driver(RtlTransport(twin.run), params) as driver:
        driver.start(timeout=600)
        session, oracle = open_session(driver, key), {}
        script = [twin.operation() for _ in range(600)]
        answers = driver.exchange(b"".join(seal_all(session, script, twin.sizes(300))))
        replies = operation_replies(session, open_all(session, answers))
        for at, (operation, reply) in enumerate(zip(script, replies, strict=True)):
            assert reply.response == expected(oracle, params.capacity, operation)
            assert (reply.sequence, reply.overruns) == (at, 0)
        driver.stop()
        assert driver.state is State.STOPPED
