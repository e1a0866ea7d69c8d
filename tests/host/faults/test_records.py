"""Attacks on records in either direction, on the wire and on the rings."""

import random

import pytest

import omap
from omap.errors import AlteredError, LostError, ReplayedError, UnknownFateError
from omap.regmap import Fault, State
from omap.wire import HEADER, Header, read_header
from tests.support.host.faults import use

AT = 2 + 13
"""The record that is attacked; two are the handshake's."""

LAST = 2 + 15
"""The last record of the second batch."""


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
    body = other[-1][HEADER.size :].ljust(len(record), b"\0")
    return [record[: HEADER.size] + body[: len(record) - HEADER.size]] if number == AT else [record]


def insert(number, record, seen, other):
    """A record that nobody made, in front of a good one."""
    return [record[: HEADER.size] + bytes(len(record) - HEADER.size), record] if number == AT else [record]


def nonsense(number, record, seen, other):
    """Random bytes, but as many as they say."""
    drawn = random.Random(number).randbytes(len(record))
    return [drawn[:2] + record[2:3] + drawn[3:]] if number == AT else [record]


GONE = "the peer|the connection broke|the device refused"
ALTERED, MOVED = "was altered on its way to the device", "was repeated, dropped or reordered on its way"

# direction, attack, what the client raises, what it says
RECORDS = [
    ("command", flip(20), UnknownFateError, ALTERED),
    ("command", flip(63), UnknownFateError, ALTERED),
    ("command", flip(2), UnknownFateError, GONE),  # in the lines, which do not fit any more
    ("command", flip(3), UnknownFateError, f"{GONE}|{ALTERED}"),  # in the count, which may fit the lines
    ("command", flip(15), UnknownFateError, MOVED),  # in the sequence number
    ("command", flip(7), UnknownFateError, GONE),  # in the session number
    ("command", flip(0), UnknownFateError, GONE),
    ("command", retype, UnknownFateError, GONE),
    ("command", drop, UnknownFateError, MOVED),
    ("command", drop_last, UnknownFateError, "no answer came"),
    ("command", repeat, UnknownFateError, MOVED),
    ("command", reorder, UnknownFateError, MOVED),
    ("command", replay, UnknownFateError, MOVED),
    ("command", truncate, UnknownFateError, GONE),
    ("command", relabel, UnknownFateError, ALTERED),
    ("command", insert, UnknownFateError, ALTERED),
    ("command", nonsense, UnknownFateError, GONE),
    ("response", flip(20), AlteredError, "response 13 failed authentication"),
    ("response", flip(63), AlteredError, "response 13 failed authentication"),
    ("response", flip(1), AlteredError, "response 13 failed authentication"),  # in the session index
    ("response", flip(2), AlteredError, "a record of 0 lines came|response 13 failed authentication"),
    ("response", flip(3), AlteredError, "response 13 failed authentication"),  # in the count
    ("response", flip(15), ReplayedError, "response 12 came again; response 13 is next"),
    ("response", flip(8), LostError, "before response 13, which is missing"),
    ("response", flip(7), AlteredError, "it was exchanged"),
    ("response", flip(0), AlteredError, "a response of type 2 came"),
    ("response", retype, UnknownFateError, "without proof"),
    ("response", drop, LostError, "response 14 came before response 13, which is missing"),
    ("response", drop_last, UnknownFateError, "no answer came"),
    ("response", repeat, ReplayedError, "response 13 came again"),
    ("response", reorder, LostError, "response 14 came before response 13"),
    ("response", replay, ReplayedError, "response 10 came again"),
    ("response", truncate, UnknownFateError, GONE),
    ("response", splice, AlteredError, "it was exchanged"),
    ("response", relabel, AlteredError, "response 13 failed authentication"),
    ("response", insert, AlteredError, "response 13 failed authentication"),
    ("response", nonsense, AlteredError, "it was exchanged"),
]


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


def test_without_an_attack_all_is_well(place):
    attack_records(place, "command", lambda number, record, seen, other: [record])
    attack_records(place, "response", lambda number, record, seen, other: [record])
    with place.connect() as other, place.connect() as client:
        other.ping()
        assert use(client, {}) is None
        assert client.ping().sequence == 17


@pytest.mark.parametrize(("client", "each"), [("sync", 5), ("asyncio", 1)])
@pytest.mark.parametrize(("direction", "attack", "kind", "says"), RECORDS)
def test_attacks_on_records(place, direction, attack, kind, says, client, each):
    """The client under attack notices, its session ends, and nobody else notices anything."""
    attack_records(place, direction, attack)
    with place.connect() as other, place.connect(client) as client:
        other.put(b"mine", b"data")
        error = use(client, {}, each=each)
        assert type(error) is kind
        assert error.in_doubt >= each
        assert error.answered % each == 0
        with pytest.raises(kind, match=says):
            raise error
        # the next call raises the same error after tampering, and else opens a session and works
        if issubclass(kind, omap.TamperedError):
            with pytest.raises(kind, match="dead since"):
                client.ping()
        else:
            assert client.ping().sequence in range(1 + 13 * each, 3 + 16 * each)
        assert other.get(b"mine") == b"data"
        assert place.device.state is State.READY
        assert Fault(place.device.registers.read("FAULT")) is Fault.NONE


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


def test_a_header_that_came_is_the_header_that_was_sent():
    """What the rows above flip is where they say it is."""
    header = Header(3, 1, 1, 2, 5, 7).pack()
    assert read_header(header[:2] + bytes([header[2] ^ 1]) + header[3:]).lines == 0
    assert read_header(header[:3] + bytes([header[3] ^ 1]) + header[4:]).count == 3
    assert read_header(header[:15] + bytes([header[15] ^ 1])).sequence == 6
    assert read_header(header[:7] + bytes([header[7] ^ 1]) + header[8:]).session == 4
