"""The fault matrix: what a man in the middle and a malicious host can do to records and rings, a row each.

Every case is detected, no wrong answer is returned, and the error names what was noticed.
"""

import random

import pytest

import omap
from host.client.paced import PacedClient
from host.client.settings import Settings
from host.testing import running_relay
from omap.device import read_counter, write_counter
from omap.errors import (
    AlteredError,
    DeviceError,
    DeviceFaultError,
    LostError,
    ReplayedError,
    RollbackError,
    SessionError,
    UnknownFateError,
    WrongKeyError,
)
from omap.operations import Kind, Operation
from omap.presets import preset
from omap.regmap import Fault, State
from omap.wire import HEADER, Counter, Header, read_header
from tests.support.host.middle import Middle
from tests.support.host.rogue import KEY, RogueRelay
from tests.support.oracle import expected

PARAMS = preset("TINY")
AT = 2 + 13
"""The record that is attacked; two are the handshake's."""

LAST = 2 + 15
"""The last record of the second batch."""


def batch(seed, count=8):
    rng = random.Random(seed)
    kinds = [Kind.GET, Kind.PUT, Kind.PUT, Kind.DELETE, Kind.NOP]
    return [
        Operation(rng.choice(kinds), rng.randrange(8).to_bytes(4, "big"), rng.randbytes(4)) for number in range(count)
    ]


# -- attacks: what goes on in place of record n of the connection under attack; `seen` are those before it ------------


def flip(byte):
    def attack(number, record, seen, other):
        if number != AT:
            return [record]
        return [record[:byte] + bytes([record[byte] ^ 1]) + record[byte + 1 :]]

    return attack


def retype(number, record, seen, other):
    return [bytes([4]) + record[1:]] if number == AT else [record]


def drop(number, record, seen, other):
    return [] if number == AT else [record]


def drop_last(number, record, seen, other):
    return [] if number == LAST else [record]


def repeat(number, record, seen, other):
    return [record] * (1 + (number == AT))


def reorder(number, record, seen, other):
    return [] if number == AT else [record, seen[-1]] if number == AT + 1 else [record]


def replay(number, record, seen, other):
    return [seen[-3]] if number == AT else [record]


def truncate(number, record, seen, other):
    return [record[:30]] if number == AT else [record]


def splice(number, record, seen, other):
    """A record of another session, as it is."""
    return [other[-1]] if number == AT else [record]


def relabel(number, record, seen, other):
    """A record of another session under this one's header."""
    return [record[: HEADER.size] + other[-1][HEADER.size :]] if number == AT else [record]


def insert(number, record, seen, other):
    """A record that nobody made, in front of a good one."""
    return [record[: HEADER.size] + bytes(len(record) - HEADER.size), record] if number == AT else [record]


def nonsense(number, record, seen, other):
    return [random.Random(number).randbytes(len(record))] if number == AT else [record]


GONE = "the peer|the connection broke|the device refused"
SEQUENCE, TAG = Fault.RECORD_SEQUENCE, Fault.RECORD_TAG

STOPPED = "stopped by a relay, so that the device is not harmed"

# direction, attack, what the client raises, what it says, what the device latches
RECORDS = [
    ("command", flip(20), UnknownFateError, GONE, TAG),
    ("command", flip(63), UnknownFateError, GONE, TAG),
    ("command", flip(2), UnknownFateError, GONE, (TAG, STOPPED)),  # in the code, which says nothing
    ("command", flip(15), UnknownFateError, GONE, SEQUENCE),  # in the sequence number
    ("command", flip(7), UnknownFateError, GONE, (SEQUENCE, STOPPED)),  # in the session: the next is out of turn
    ("command", flip(0), UnknownFateError, GONE, SEQUENCE),
    ("command", retype, UnknownFateError, GONE, (SEQUENCE, STOPPED)),
    ("command", drop, UnknownFateError, GONE, SEQUENCE),
    ("command", drop_last, UnknownFateError, "no answer came", None),
    ("command", repeat, UnknownFateError, GONE, SEQUENCE),
    ("command", reorder, UnknownFateError, GONE, SEQUENCE),
    ("command", replay, UnknownFateError, GONE, SEQUENCE),
    ("command", truncate, UnknownFateError, GONE, None),
    ("command", relabel, UnknownFateError, GONE, TAG),
    ("command", insert, UnknownFateError, GONE, TAG),
    ("command", nonsense, UnknownFateError, GONE, (SEQUENCE, STOPPED)),
    ("response", flip(20), AlteredError, "response 13 failed authentication", None),
    ("response", flip(63), AlteredError, "response 13 failed authentication", None),
    ("response", flip(1), AlteredError, "response 13 failed authentication", None),  # in the slot
    ("response", flip(15), ReplayedError, "response 12 came again; response 13 is next", None),
    ("response", flip(8), LostError, "before response 13, which is missing", None),
    ("response", flip(7), AlteredError, "it was exchanged", None),
    ("response", flip(0), AlteredError, "a response of type 2 came", None),
    ("response", retype, UnknownFateError, "without proof", None),
    ("response", drop, LostError, "response 14 came before response 13, which is missing", None),
    ("response", drop_last, UnknownFateError, "no answer came", None),
    ("response", repeat, ReplayedError, "response 13 came again", None),
    ("response", reorder, LostError, "response 14 came before response 13", None),
    ("response", replay, ReplayedError, "response 10 came again", None),
    ("response", truncate, UnknownFateError, GONE, None),
    ("response", splice, AlteredError, "it was exchanged", None),
    ("response", relabel, AlteredError, "response 13 failed authentication", None),
    ("response", insert, AlteredError, "response 13 failed authentication", None),
    ("response", nonsense, AlteredError, "it was exchanged", None),
]


class Place:
    """Somewhere to stand: where hooks go, what clients connect to, and the device behind."""

    def __init__(self, hooks, device, key):
        self.hooks, self.device, self.key = hooks, device, key

    def connect(self, client="sync", **options):
        options = {"root_key": self.key, "timeout": 0.5} | options
        if client == "asyncio":
            return PacedClient(Settings.from_url(self.hooks.url, **options))  # without a rate: in a thread, no more
        return omap.connect(self.hooks.url, **options)


@pytest.fixture(params=["on the wire", "on the rings"])
def place(request, key_file):
    if request.param == "on the rings":
        with RogueRelay(PARAMS, ring_entries=16) as relay:
            yield Place(relay, relay.device, KEY)
    else:
        with running_relay(PARAMS, key_file) as relay, Middle(relay.port) as middle:
            yield Place(middle, relay.transport.device, bytes.fromhex(key_file.read_text()))


def attack_records(place, direction, attack, victim=1):
    """Attack what passes on a connection in one direction."""
    seen, other = [], []

    def hook(connection, number, record):
        if connection != victim:
            other.append(record)
            return [record]
        changed = attack(number, record, seen, other)
        seen.append(record)
        return changed

    setattr(place.hooks, direction, hook)


def use(client, oracle, batches=2):
    """Run batches; every answer must be right. Return the error that ended it, its answers checked too."""
    error = None
    for seed in range(batches):
        operations = batch(seed)
        wanted = [expected(oracle, PARAMS.capacity, operation) for operation in operations]
        try:
            answers = client.execute(operations)
        except omap.OmapError as caught:
            error = caught
            break
        assert answers == wanted
    if error is not None:
        assert list(error.responses) == wanted[: error.answered]
        assert error.answered + error.in_doubt + error.not_sent == len(operations)
    return error


def test_without_an_attack_all_is_well(place):
    attack_records(place, "command", lambda number, record, seen, other: [record])
    attack_records(place, "response", lambda number, record, seen, other: [record])
    with place.connect() as other, place.connect() as client:
        other.ping()
        assert use(client, {}) is None
        assert client.ping().sequence == 17


@pytest.mark.parametrize("client", ["sync", "asyncio"])
@pytest.mark.parametrize(("direction", "attack", "kind", "says", "fault"), RECORDS)
def test_attacks_on_records(place, direction, attack, kind, says, fault, client):
    attack_records(place, direction, attack)
    if isinstance(fault, tuple):
        fault = fault[0] if isinstance(place.hooks, RogueRelay) else None
    with place.connect() as other, place.connect(client) as client:
        other.ping()
        error = use(client, {})
        assert type(error) is kind
        assert error.in_doubt >= 1
        with pytest.raises(kind, match=says):
            raise error
        # the error that was shown is not taken back: the next call says why, or works on a map in good order
        if issubclass(kind, omap.TamperedError):
            with pytest.raises(kind, match="dead since"):
                client.ping()
        elif fault is None:
            assert client.ping().sequence in range(14, 19)
        else:
            with pytest.raises(omap.OmapError):
                client.ping()
        if fault is None:
            assert place.device.state is State.READY
        else:
            assert place.device.state is State.FAULT
            assert Fault(place.device.registers.read("FAULT")) is fault
            assert place.device._map is None


def test_a_command_of_another_session_never_counts_as_ones_own(place):
    """Held back from its connection and sent over another, it runs as its owner's, or not at all."""
    held = []

    def steal(connection, number, record):
        if connection == 0 and number == 2:
            held.append(record)
            return []
        if connection == 1 and number == AT:
            return [held[0], record]
        return [record]

    place.hooks.command = steal
    with place.connect() as other, place.connect() as client:
        with pytest.raises(UnknownFateError, match="no answer came"):
            other.put(b"mine", b"data")
        error = use(client, {})
        assert type(error) in (AlteredError, UnknownFateError)
        assert "exchanged" in str(error) or "without proof" in str(error)


# -- handshakes -------------------------------------------------------------------------------------------------------


def change(byte):
    return lambda record: [record[:byte] + bytes([record[byte] ^ 1]) + record[byte + 1 :]]


HANDSHAKES = [
    ("command", 0, change(0), SessionError, "none of this version"),
    ("command", 0, change(16), WrongKeyError, "check the key file"),
    ("command", 0, lambda record: [], DeviceError, "without opening a session"),
    ("command", 0, lambda record: [record, record], AlteredError, "type 1 came during set-up"),
    ("command", 1, change(16), WrongKeyError, "the root key is not the device's"),
    ("command", 1, change(35), WrongKeyError, "the root key is not the device's"),
    ("command", 1, change(7), SessionError, "at the same time"),
    ("command", 1, lambda record: [], DeviceError, "without opening a session"),
    ("response", 0, change(0), AlteredError, "came during set-up"),
    ("response", 0, change(7), WrongKeyError, "check the key file"),
    ("response", 0, change(16), WrongKeyError, "check the key file"),
    ("response", 0, change(32), WrongKeyError, "check the key file"),
    ("response", 0, change(48), WrongKeyError, "check the key file"),
    ("response", 0, lambda record: [record[:40]], SessionError, "hung up before a session was open"),
    ("response", 1, change(0), AlteredError, "during set-up, not CONFIRM"),
    ("response", 1, lambda record: [], DeviceError, "without opening a session"),
]


@pytest.mark.parametrize(("direction", "at", "attack", "kind", "says"), HANDSHAKES)
def test_attacks_on_handshakes(place, monkeypatch, direction, at, attack, kind, says):
    monkeypatch.setattr("host.client.opening.HANDSHAKES", 2)
    monkeypatch.setattr("host.client.opening.BUSY_SECONDS", 0.0)
    # every second record, where attempts are repeated
    hook = lambda connection, number, record: attack(record) if number % 2 == at else [record]  # noqa: E731
    setattr(place.hooks, direction, hook)
    with pytest.raises(kind, match=says) as caught:
        place.connect()
    assert type(caught.value) is kind
    assert place.device.state is State.READY
    setattr(place.hooks, direction, lambda connection, number, record: [record])
    with place.connect() as client:
        assert use(client, {}) is None


def test_a_slot_that_was_exchanged_during_set_up_runs_nothing(place):
    place.hooks.response = lambda connection, number, record: (
        [record[:1] + b"\x09" + record[2:]] if (connection, number) == (0, 1) else [record]
    )
    with place.connect() as client:
        error = use(client, {})
        assert type(error) is UnknownFateError
        assert error.answered == 0
        assert client.ping().sequence == 0  # it was refused


def test_answers_of_an_earlier_connection_open_no_session(place):
    old = []

    def replay_all(connection, number, record):
        if connection == 0:
            old.append(record)
        return [record] if connection == 0 else [old[number]]

    place.hooks.response = replay_all
    with place.connect() as client:
        client.put(b"long", b"past")
    with pytest.raises(WrongKeyError):
        place.connect()


def test_commands_of_an_earlier_connection_run_nothing(place):
    with place.connect() as client:
        client.put(b"once", b"only")
    kept = list(place.hooks.commands)
    with place.connect() as client:
        place.hooks.command = lambda connection, number, record: [kept[2], record] if number == 2 else [record]
        with pytest.raises((AlteredError, UnknownFateError)):
            client.ping()
        place.hooks.command = lambda connection, number, record: [record]
    with place.connect() as client:
        assert client.ping().sequence <= 5
        assert client.get(b"once") == b"only"


# -- greetings --------------------------------------------------------------------------------------------------------

GREETINGS = [
    (lambda data: b"HTTP/1.1 400 Bad" + data[16:], SessionError, "is no omap relay"),
    (lambda data: data[:5] + b"\x02" + data[6:], SessionError, "wire version 2 and this client 1"),
    (lambda data: data[:7] + b"\x80" + data[8:], SessionError, "announces records of 128 bytes"),
    (lambda data: data[:8] + b"\xff" + data[9:], SessionError, "bytes of facts"),
    (lambda data: data.replace(b'"capacity":12', b'"capacity":11'), SessionError, "not well-formed"),
    (lambda data: data.replace(b'"params"', b'"Params"'), SessionError, "not well-formed"),
    (lambda data: data[:16] + bytes(len(data) - 16), SessionError, "not well-formed"),
]


@pytest.mark.parametrize(("attack", "kind", "says"), GREETINGS)
def test_attacks_on_greetings(place, attack, kind, says):
    if isinstance(place.hooks, RogueRelay):
        place.hooks.greeting = attack(place.hooks.greeting)
    else:
        place.hooks.greeting = attack
    with pytest.raises(kind, match=says):
        place.connect()


def test_a_relay_that_names_other_parameters_is_found_out(place):
    from dataclasses import replace

    from host.framing import Greeting

    lie = Greeting(replace(PARAMS, capacity=11), 16).pack()
    if isinstance(place.hooks, RogueRelay):
        place.hooks.greeting = lie
    else:
        place.hooks.greeting = lambda data: lie
    with pytest.raises(WrongKeyError, match="other parameters than it was said to have"):
        place.connect()


# -- rings and pages --------------------------------------------------------------------------------------------------


def at_entry(number, attack):
    """Attack the rings before the device sees command ``number`` (counted over all connections)."""

    def ring(relay):
        if read_counter(relay.buffer, Counter.COMMANDS_WRITTEN) == number + 1:
            attack(relay)

    return ring


def old_lap(relay):
    """Put back what the entry held one lap ago."""
    entry = relay.layout.entry(relay.layout.commands, relay.old["at"])
    relay.buffer[entry] = relay.old["record"]


def old_ring(relay):
    """Put back the whole command ring as it was."""
    start = relay.layout.commands
    relay.buffer[start : start + len(relay.old["ring"])] = relay.old["ring"]


def one_more(relay):
    """Say that there is a command more than was put there."""
    write_counter(relay.buffer, Counter.COMMANDS_WRITTEN, read_counter(relay.buffer, Counter.COMMANDS_WRITTEN) + 1)


def empty_entry(relay):
    """Take away a command but not its place."""
    number = read_counter(relay.buffer, Counter.COMMANDS_WRITTEN) - 1
    relay.buffer[relay.layout.entry(relay.layout.commands, number)] = bytes(relay.layout.record_bytes)


def flip_pages(relay):
    for page in range(PARAMS.pages):
        relay.buffer[relay.layout.pages + page * PARAMS.page_bytes + 5] ^= 16


def old_pages(relay):
    relay.buffer[relay.layout.pages :] = relay.old["pages"]


def exchange_pages(relay):
    pages = bytes(relay.buffer[relay.layout.pages :])
    size = PARAMS.page_bytes
    relay.buffer[relay.layout.pages :] = pages[size:] + pages[:size]


RINGS = [
    (old_lap, SEQUENCE),
    (old_ring, SEQUENCE),
    (one_more, SEQUENCE),
    (flip_pages, Fault.PAGE_TAG),
    (old_pages, Fault.PAGE_TAG),
    (exchange_pages, Fault.PAGE_TAG),
]


@pytest.mark.parametrize(("attack", "fault"), RINGS)
def test_attacks_on_rings_and_pages(attack, fault):
    with RogueRelay(PARAMS, ring_entries=8) as relay:
        relay.old = {"pages": bytes(relay.buffer[relay.layout.pages :])}

        def ring(relay):
            number = read_counter(relay.buffer, Counter.COMMANDS_WRITTEN) - 1
            start = relay.layout.commands
            if number == 12:
                relay.old |= {"at": 20, "record": relay.buffer[relay.layout.entry(start, 12)]}
                relay.old["ring"] = bytes(relay.buffer[start : relay.layout.responses])
            if number == 20:
                attack(relay)

        relay.ring = ring
        with omap.connect(relay.url, root_key=KEY, timeout=0.5, window=4) as client:
            assert type(use(client, {}, batches=9)) is UnknownFateError
            assert relay.device.state is State.FAULT
            assert Fault(relay.device.registers.read("FAULT")) is fault
            with pytest.raises(omap.OmapError):
                client.ping()


def test_an_entry_that_was_emptied_is_refused_and_its_command_never_runs():
    with RogueRelay(PARAMS, ring_entries=8) as relay:
        relay.ring = at_entry(5, empty_entry)
        with omap.connect(relay.url, root_key=KEY, timeout=0.5, window=1) as client:
            with pytest.raises(
                UnknownFateError, match="without proof: .* the record is none of this version"
            ) as caught:
                client.execute(batch(0))
            assert (caught.value.answered, caught.value.in_doubt) == (3, 1)
            assert client.ping().sequence == 3


def test_old_contents_of_the_response_ring_are_noticed():
    with RogueRelay(PARAMS, ring_entries=8) as relay:
        laps = []

        def old_lap(connection, number, record):
            laps.append(record)
            return [laps[number - 8] if number == 20 else record]

        relay.response = old_lap
        with omap.connect(relay.url, root_key=KEY, timeout=0.5) as client:
            error = use(client, {}, batches=3)
            assert type(error) is ReplayedError
            assert "response 10 came again; response 18 is next" in str(error)


def test_a_device_in_the_place_of_another_is_noticed():
    with RogueRelay(PARAMS) as relay, omap.connect(relay.url, root_key=KEY, timeout=0.5) as client:
        client.put(b"mine", b"data")
        relay.in_thread(relay.restart_device)
        with pytest.raises(UnknownFateError, match="open no longer"):
            client.get(b"mine")
        with pytest.raises(RollbackError, match="another was put in its place"):
            client.get(b"mine")
        with pytest.raises(RollbackError, match="dead since"):
            client.get(b"mine")


def test_the_client_is_told_that_the_device_has_latched_a_fault(key_file):
    key = bytes.fromhex(key_file.read_text())
    with running_relay(PARAMS, key_file) as relay:
        with omap.connect(relay.address, root_key=key, timeout=5) as client:
            client.put(b"mine", b"data")
            pages = relay.transport.layout.pages
            for page in range(PARAMS.pages):
                relay.transport.buffer[pages + page * PARAMS.page_bytes] ^= 1
            with pytest.raises(UnknownFateError, match="latched a fault and erased its keys"):
                client.get(b"mine")
            with pytest.raises(DeviceFaultError, match="read its fault register, then format it"):
                client.get(b"mine")
        with pytest.raises(DeviceFaultError):
            omap.connect(relay.address, root_key=key, timeout=5)


def test_a_header_that_came_is_the_header_that_was_sent():
    """What the rows above flip is where they say it is."""
    header = Header(3, 1, 2, 5, 7).pack()
    assert read_header(header[:15] + bytes([header[15] ^ 1])).sequence == 6
    assert read_header(header[:7] + bytes([header[7] ^ 1]) + header[8:]).session == 4
