"""Attacks on greetings and handshakes."""

import pytest

from omap.errors import AlteredError, DeviceError, SessionError, UnknownFateError, WrongKeyError
from omap.regmap import State
from omap.wire import LEAST_RING_LINES
from tests.support.host.faults import PARAMS, use
from tests.support.host.rogue import RogueRelay


def change(byte):
    return lambda record: [record[:byte] + bytes([record[byte] ^ 1]) + record[byte + 1 :]]


HANDSHAKES = [
    ("command", 0, change(0), SessionError, "none of this version"),
    ("command", 0, change(16), WrongKeyError, "check the key file"),
    ("command", 0, change(2), SessionError, "none of this version"),  # in the lines
    ("command", 0, change(3), SessionError, "none of this version"),  # in the count
    ("command", 0, change(32), WrongKeyError, "check the key file"),  # in the rights
    ("command", 0, change(33), WrongKeyError, "check the key file"),  # in the length of the prefix
    ("command", 0, change(34), SessionError, "rights or a prefix that no client of this map can have"),
    ("command", 0, change(50), WrongKeyError, "check the key file"),  # in the name
    ("command", 0, lambda record: [], DeviceError, "without opening a session"),
    ("command", 0, lambda record: [record, record], AlteredError, "type 1 came during set-up"),
    ("command", 1, change(16), WrongKeyError, "the key was not derived from the device's root key"),
    ("command", 1, change(35), WrongKeyError, "the key was not derived from the device's root key"),
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
    # every second record, because attempts are repeated
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
    (lambda data: data[:5] + b"\x01" + data[6:], SessionError, "wire version 1 and this client 2"),
    (lambda data: data[:7] + b"\x80" + data[8:], SessionError, "announces records of up to 128 lines"),
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

    lie = Greeting(replace(PARAMS, capacity=11), LEAST_RING_LINES).pack()
    if isinstance(place.hooks, RogueRelay):
        place.hooks.greeting = lie
    else:
        place.hooks.greeting = lambda data: lie
    with pytest.raises(WrongKeyError, match="other parameters than it was said to have"):
        place.connect()
