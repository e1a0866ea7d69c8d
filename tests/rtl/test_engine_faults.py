"""Whatever host, buses and memories do: the fault is latched and told, keys are gone, and no answer was ever wrong."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.records import split
from omap.operations import Operation
from omap.regmap import Fault, Request, State
from omap.wire import (
    HEADER,
    HELLO_LINES,
    LINE_BYTES,
    Counter,
    RecordType,
    Refusal,
    read_counter,
    read_header,
    write_counter,
)
from sim.models.faults import Fault as Injected
from sim.models.faults import FaultKind
from tests.support.rtl.engine_bench import SETTLED, Twin
from tests.support.rtl.engines import GET, PUT, TIGHT
from tests.support.rtl.running import MANY, commands, pages, used
from tests.support.rtl.session_bench import ROOT_KEY, flipped

FLIP, REPLAY, DROP, *_ = FaultKind

# -- pages ----------------------------------------------------------------------------------------------------------

STRIKES = {
    "flip what is read": {"kind": FLIP},
    "flip what is written": {"kind": FLIP, "write": True},
    "replay": {"kind": REPLAY, "count": 4},
    "drop": {"kind": DROP, "write": True},
}


def strike_pages(seed, strike, skip, bit):
    """Strike once, and touch pages one by one: each comes from the host, and the one that was struck latches."""
    twin, clients = used(seed)
    if strike == "replay":
        skip += 20  # the port knows the bytes before the last write if it saw that
    twin.run.host.add_fault(Injected(**STRIKES[strike], **pages(twin), skip=skip, argument=bit))
    for _ in range(4 * MANY):  # among five pages, none is spared that long
        if twin.state is not State.FAULT:
            twin.take()
            twin.send(clients, 1)
            twin.run.step(SETTLED)
    twin.latched(Fault.PAGE_TAG)
    assert len(twin.got) < len(twin.model.answers)


@pytest.mark.sec_cm("ENGINE.FAULT.LATCH")
@pytest.mark.sec_cm("PAGE.VERSION.FRESH")
@pytest.mark.parametrize("strike", STRIKES)
def test_a_page_that_is_not_what_was_written_last_latches(strike):
    strike_pages(1, strike, 3, 77)


@pytest.mark.parametrize("strike", STRIKES)
def test_what_is_struck_while_pages_follow_each_other_is_never_used(strike):
    """Most touches take what the one before has sealed; what the host has of a page counts as soon as one does not."""
    twin, clients = used(4)
    twin.run.host.add_fault(Injected(**STRIKES[strike] | {"count": 1000}, **pages(twin), skip=2, argument=77))
    for _ in range(2):  # the second time, nothing is under way that the first touch of a page could follow
        if twin.state is not State.FAULT:
            twin.take()
            twin.send(clients, MANY)
            twin.run.until(lambda: twin.state is State.FAULT or twin.all_answered, limit=40_000)
            twin.run.step(SETTLED)
    twin.latched(Fault.PAGE_TAG)
    assert len(twin.got) < len(twin.model.answers)


@pytest.mark.long
@settings(max_examples=100)
@given(
    seed=st.integers(0, 2**32 - 1),
    strike=st.sampled_from(sorted(STRIKES)),
    skip=st.integers(0, 8),
    bit=st.integers(0, 511),
)
def test_any_bit_of_any_page_latches(seed, strike, skip, bit):
    strike_pages(seed, strike, skip, bit)


@pytest.mark.sec_cm("PAGE.VERSION.FRESH")
@pytest.mark.parametrize("attack", ["flip", "replay", "exchange"])
def test_pages_that_the_host_altered_at_rest_latch(attack):
    twin, clients = used(2)
    size, first = twin.params.page_bytes, twin.layout.pages
    old = bytes(twin.buffer[first:])
    assert twin.layout.size - first == twin.params.pages * size
    twin.send(clients, MANY)
    twin.rest()
    number = len(twin.got)
    if attack == "flip":
        for page in range(twin.params.pages):
            twin.buffer[first + page * size + twin.rng.randrange(size)] ^= 1 << twin.rng.randrange(8)
    elif attack == "replay":
        twin.buffer[first:] = old
    else:
        twin.buffer[first:] = bytes(twin.buffer[first + size :]) + bytes(twin.buffer[first : first + size])
    twin.send(clients, MANY)
    twin.latched(Fault.PAGE_TAG)
    assert len(twin.got) == number


# -- commands -------------------------------------------------------------------------------------------------------


def altered(twin, attack, clients):
    """Return the records of an attack on a client that has sent some already."""
    rng, (client, other) = twin.rng, clients
    sizes = [rng.randint(1, twin.codec.most_operations) for _ in range(4)]
    if attack == "splice":
        sizes = [3] * 4
    records = [twin.record(client, size) for size in sizes]
    match attack:
        case "flip":
            at = HEADER.size + rng.randrange(len(records[0]) - HEADER.size)
            return [records[0][:at] + bytes([records[0][at] ^ 1 << rng.randrange(8)]) + records[0][at + 1 :]]
        case "repeat":
            return [records[0], records[1], records[0]]
        case "drop":
            return [records[0], records[2]]
        case "exchange":
            return [records[1], records[0]]
        case "splice":
            head = read_header(records[1])._replace(
                session_index=other.session_index, session=other.session, sequence=other.sent
            )
            return [records[0], head.pack() + records[1][HEADER.size :]]


@pytest.mark.sec_cm("SESSIONS.TAMPER.ENDS")
@pytest.mark.parametrize(
    ("attack", "code"),
    [
        ("flip", Refusal.ALTERED),
        ("repeat", Refusal.OUT_OF_TURN),
        ("drop", Refusal.OUT_OF_TURN),
        ("exchange", Refusal.OUT_OF_TURN),
        ("splice", Refusal.ALTERED),
    ],
)
def test_attacks_on_commands_end_the_session_that_they_end_in_the_model(attack, code):
    twin, clients = used(3)
    third = twin.opened()
    twin.send(clients, 5)
    first = len(twin.model.answers)
    for record in altered(twin, attack, clients):
        twin.feed(record)
        twin.send([third], 2)
    twin.send([*clients, third], 12, most=1)
    headers = [read_header(answer) for answer in twin.model.answers[first:]]
    codes = [header.count for header in headers if header.type == RecordType.REFUSED]
    assert codes.count(code) == 1
    assert len(headers) - len(codes) >= 6  # others go on
    assert twin.opened().session_index < 3  # the place is free again
    twin.rest()
    assert (twin.state, twin.fault) == (State.READY, Fault.NONE)
    assert twin.got == twin.model.answers


@pytest.mark.long
@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), bit=st.integers(0, 8 * 64 - 1), before=st.integers(0, 20))
def test_any_flipped_bit_of_a_command_has_the_effect_that_the_model_gives_it(seed, bit, before):
    twin, clients = used(seed)
    twin.send(clients, before)
    record = twin.record(clients[0], twin.rng.randint(1, 8))
    twin.feed(flipped(record, bit))
    twin.send(clients, 10)
    twin.rest()
    assert (twin.state, twin.fault) == (State.READY, Fault.NONE)


def test_a_command_that_changes_while_it_is_fetched_is_refused():
    twin, clients = used(4)
    written = read_counter(twin.buffer, Counter.COMMANDS_WRITTEN)
    place = commands(twin)["low"] + written % twin.layout.ring_lines * LINE_BYTES
    # at every read of its line: what was read early and fails its tag is read once more
    twin.run.host.add_fault(Injected(kind=FLIP, low=place, high=place + LINE_BYTES, count=10_000, argument=8 * 40))
    twin.run.step(1000)  # no read is under way that began before
    record = twin.record(clients[0], 1)
    twin.put(record)
    answer = twin.model.feed(flipped(record, 8 * 40))  # as the engine sees it
    assert read_header(answer).count == Refusal.ALTERED
    twin.send(clients, 6)
    twin.run.until(lambda: twin.all_answered, limit=40_000)
    twin.take()
    assert twin.got == twin.model.answers
    assert (twin.state, twin.fault) == (State.READY, Fault.NONE)


# -- rings ----------------------------------------------------------------------------------------------------------


def lie(twin, written, taken):
    """Set both counters of the host; the engine fetches what fits, and comes to rest."""
    answered = len(twin.lines)
    write_counter(twin.buffer, Counter.COMMANDS_WRITTEN, written)
    write_counter(twin.buffer, Counter.RESPONSES_TAKEN, taken)
    twin.run.step(30000)
    fetched, responses = (
        read_counter(twin.buffer, counter) for counter in (Counter.COMMANDS_FETCHED, Counter.RESPONSES_WRITTEN)
    )
    believed = max(answered, taken if taken <= responses else 0)
    assert answered <= responses <= min(fetched, believed + twin.layout.ring_lines)


numbers = st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 200), st.integers(2**64 - 100, 2**64 - 1))


@settings(max_examples=5)
@given(written=numbers, taken=numbers)
def test_counters_full_of_nonsense_do_no_harm_to_an_empty_ring(written, taken):
    twin = Twin(5)
    lie(twin, written, taken)
    assert twin.state is State.READY
    assert twin.fault is Fault.NONE
    assert bytes(twin.buffer[twin.layout.pages :]) == twin.model.buffer[twin.layout.pages :]


@settings(max_examples=5)
@given(written=numbers, taken=numbers)
def test_counters_that_lie_make_no_command_run_again(written, taken):
    twin, _ = used(6)
    before = bytes(twin.buffer[twin.layout.pages :])
    lie(twin, written, taken)
    assert bytes(twin.buffer[twin.layout.pages :]) == before
    assert (twin.state, twin.fault) == (State.READY, Fault.NONE)


# -- more -----------------------------------------------------------------------------------------------------------


def reset(twin):
    """Pulse the reset in a cycle in which no bus offers anything."""
    bench = twin.run.bench
    buses = ["m_axi_host", *(f"m_axi_hbm__{port}" for port in range(len(twin.run.hbm)))]
    valid = [f"{bus}__{channel}valid" for bus in buses for channel in ("ar", "aw", "w")]
    while any(map(bench.get, valid)):
        bench.run(1)
    port = bench._port("rst")
    for value in (b"\1", b"\0"):
        bench._lib.sim_set(bench._h, port, value)
        bench.run(1)


@pytest.mark.parametrize("cycles", [300, 900, 1500])
def test_a_reset_in_mid_flight_leaves_nothing(cycles):
    twin, clients = used(13)
    twin.send(clients, MANY)
    twin.run.step(cycles)
    reset(twin)
    assert twin.run.read("CTRL") == 4
    twin.run.step(SETTLED)
    kept = bytes(twin.buffer)
    twin.run.bench.observer.clear()
    twin.run.step(4 * SETTLED)
    assert bytes(twin.buffer) == kept
    assert not len(twin.run.bench.observer.events())
    # answers to what the reset cut off are nobody's
    assert (twin.state, twin.fault) in {(State.IDLE, Fault.NONE), (State.FAULT, Fault.BUS)}

    # once all is at rest, another reset gives a new start: without the root key, and with no session known
    reset(twin)
    twin.buffer[:] = bytes(len(twin.buffer))
    twin.run.start()
    twin.run.write("REQUEST", Request.FORMAT)
    records = b"".join([twin.record(clients[0], 5), twin.client().hello()])
    twin.layout.write_lines(twin.buffer, twin.layout.commands, 0, records)
    write_counter(twin.buffer, Counter.COMMANDS_WRITTEN, len(records) // LINE_BYTES)
    twin.run.step(8 * SETTLED)
    assert read_counter(twin.buffer, Counter.RESPONSES_WRITTEN) == 0  # the format's secrets need the root key
    assert twin.state == State.FORMATTING
    twin.run.provision(ROOT_KEY)
    twin.run.until(lambda: twin.answered == 1 + HELLO_LINES, limit=40000)
    answers = split(twin.layout.read_lines(twin.buffer, twin.layout.responses, 0, twin.answered))
    assert [answer[0] for answer in answers] == [RecordType.REFUSED, RecordType.HELLO]
    assert not twin.in_the_clear()


def test_what_lies_in_the_clear_is_found():
    twin, _ = used(14)
    assert twin.tuples
    assert not twin.in_the_clear()
    one = next(iter(twin.tuples))
    twin.buffer[twin.layout.pages + 3 : twin.layout.pages + 3 + len(one)] = one
    assert twin.in_the_clear() == {one}


FEW = replace(TIGHT, params=replace(TIGHT.params, waiting_slots=10))


def test_what_the_board_finds_broken_latches():
    twin, clients = used(17)
    twin.send(clients, 8)
    twin.run.bench.set("broken", 1)
    twin.latched(Fault.INTERNAL)


@pytest.mark.long
def test_waiting_slots_that_run_out_latch():
    """Keys that are put and never asked for wait until their page is touched."""
    twin = Twin(14, config=FEW)
    client = twin.opened()
    for number in range(40):
        twin.feed(client.seal([Operation(PUT, bytes([0, 0, 0, number]), b"data")]))
    for _ in range(100):
        twin.feed(client.seal([Operation(GET, bytes([0, 0, 0, twin.rng.randrange(40)]), b"")]))
        if twin.model.device.state is State.FAULT:
            break
    twin.latched(Fault.EXHAUSTED)
