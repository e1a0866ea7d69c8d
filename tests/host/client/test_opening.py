"""The opening of a session alone, without socket, clock or event loop. A device model answers in the same thread."""

from dataclasses import replace
from itertools import pairwise

import pytest

from host.client import opening as module
from host.client.address import Address
from host.client.opening import Exchange, Knock, Pause, new_session, opening
from host.client.settings import Settings
from host.client.strangers import SILENCE_SECONDS
from host.client.witness import Witness
from host.framing import PREFIX, Greeting, read_greeting
from omap.bodies import operation_items, read_responses
from omap.errors import (
    AlteredError,
    DeviceError,
    DeviceFaultError,
    InputError,
    MapChangedError,
    SessionError,
    WrongKeyError,
)
from omap.operations import Kind, Operation, Response, Status
from omap.presets import preset
from omap.session import CONFIRM_FIELDS, CONFIRMATION_BYTES
from omap.wire import HEADER, HELLO_LINES, LINE_BYTES, Header, RecordType, Refusal, read_header
from tests.support.host.keys import client_of
from tests.support.host.rogue import CLIENT, RogueRelay

TINY = preset("TINY")
SETTINGS = Settings(where=Address("nowhere", 1), client=CLIENT, timeout=7.5, window=50)


class Peer:
    """Does the steps of an opening, and notes them.

    Parameters
    ----------
    answer : callable
        Takes the number of the record on the connection and the device's answer, and returns what comes instead.
    """

    def __init__(self, answer=lambda number, record: record):
        self.relay, self.answer = RogueRelay(), answer
        self.steps, self.records = [], 0
        self.stranger = TimeoutError()

    def do(self, step):
        self.steps.append(step)
        if isinstance(step, Pause):
            return b""
        if isinstance(step, Knock):
            return self.stranger  # or what the driver throws
        if step.data:
            (answer,) = self.relay.exchange(step.data)
            self.incoming += self.answer(self.records, answer)
            self.records += 1
        taken, self.incoming = self.incoming[: step.wanted], self.incoming[step.wanted :]
        return taken

    def run(self, steps, failure=None, at=None, times=None):
        """Drive the steps to the end; with ``failure``, exchanges from step ``at`` on fail so, at most ``times``."""
        self.incoming = self.relay.greeting if steps.__name__ == opening.__name__ else b""
        number = 0
        try:
            step = next(steps)
            while True:
                fails = at is not None and number >= at and times != 0 and isinstance(step, Exchange)
                if fails:
                    self.steps.append(step)
                    times = None if times is None else times - 1
                came = failure if fails else self.do(step)
                step = steps.throw(came) if isinstance(came, BaseException) else steps.send(came)
                number += 1
        except StopIteration as end:
            return end.value

    def open(self, settings=SETTINGS, known=None, witness=None, replaces=0, **options):
        return self.run(opening(settings, known, witness or Witness(), replaces), **options)


def refusal(code):
    return Header(RecordType.REFUSED, 0, 1, code, 0, 0).pack().ljust(64, b"\0")


def busy_at(*numbers):
    """Answer these records as a device does whose handshake another client has ended."""
    return lambda number, record: refusal(Refusal.NO_HANDSHAKE) if number in numbers else record


def kinds(peer):
    """Return the types of the records that were sent."""
    return [read_header(step.data).type for step in peer.steps if isinstance(step, Exchange) and step.data]


def test_the_steps_are_greeting_hello_confirm():
    peer = Peer()
    opened = peer.open()
    facts = len(peer.relay.greeting) - PREFIX.size
    assert [len(step.data) for step in peer.steps] == [0, 0, HELLO_LINES * LINE_BYTES, 0, LINE_BYTES]
    assert [step.wanted for step in peer.steps] == [PREFIX.size, facts, *[LINE_BYTES] * 3]
    assert kinds(peer) == [RecordType.HELLO, RecordType.CONFIRM]
    assert [step.seconds for step in peer.steps] == [SILENCE_SECONDS, *[7.5] * 4]
    assert opened.greeting.params == TINY


def test_the_result_is_a_session_that_works():
    peer, witness = Peer(), Witness()
    talk = peer.open(witness=witness).conversation
    assert witness.map_id == talk.session.map_id
    answers = []
    for answer in peer.relay.exchange(seal(talk, Operation(Kind.PUT, b"keys", b"data"))):
        talk.feed(answer, answers)
    assert [read_responses(talk.codec, items) for items in answers] == [[Response(Status.OK)]]


def seal(talk, *operations):
    return talk.seal([operation_items(talk.codec, operations)], len(operations))


@pytest.mark.parametrize(("window", "effective"), [(50, 50), (64, 64), (1000, 506), (None, 506)])
def test_no_more_is_in_flight_than_window_and_rings_hold(window, effective):
    """The rings of 128 lines have room for two records of 253 operations."""
    talk, sent = Peer().open(replace(SETTINGS, window=window)).conversation, 0
    while count := talk.room():
        seal(talk, *[Operation(Kind.NOP)] * count)
        sent += count
    assert sent == talk.in_flight == effective


@pytest.mark.parametrize(("count", "window"), [(254, None), (5, 4)])
def test_records_of_a_constant_rate_must_fit_the_map_and_the_window(count, window):
    settings = replace(SETTINGS, rate=1.0, count=count, window=window)
    with pytest.raises(InputError, match=f"count is {count}; a record of the map at nowhere:1 has at most"):
        Peer().open(settings)
    assert Peer().open(replace(settings, count=count - 1)).conversation.room() == (window or 253)


@pytest.mark.parametrize("lines", [0, 3, 255])
@pytest.mark.parametrize("at", [0, 1])
def test_an_answer_of_other_lines_than_a_handshake_has_is_refused(at, lines):
    def change(number, record):
        return record[:2] + bytes([lines]) + record[3:] if number == at else record

    with pytest.raises(AlteredError, match=f"a record of {lines} lines came during set-up"):
        Peer(change).open()


def test_the_record_limit_goes_into_the_conversation():
    assert Peer().open(replace(SETTINGS, record_limit=9)).conversation.remaining == 9


def test_a_session_that_is_replaced_runs_nothing_more():
    peer = Peer()
    old = peer.open().conversation
    peer.open(replaces=old.session.session)
    (answer,) = peer.relay.exchange(seal(old, Operation(Kind.NOP)))
    assert read_header(answer).count == Refusal.UNKNOWN_SESSION


# -- time and attempts ------------------------------------------------------------------------------------------------


def test_sessions_opened_at_the_same_time_are_tried_again_after_pauses():
    peer = Peer(busy_at(1, 3, 5))
    peer.open()
    hello_confirm = [RecordType.HELLO, RecordType.CONFIRM]
    assert kinds(peer) == hello_confirm * 4
    pauses = [step.seconds for step in peer.steps if isinstance(step, Pause)]
    for attempt, pause in enumerate(pauses, 1):
        assert 0.5 * attempt <= pause / module.BUSY_SECONDS <= 1.5 * attempt
    assert len(pauses) == 3
    hellos = [step.data for step in peer.steps if isinstance(step, Exchange) and step.data[:1] == b"\1"]
    assert len(set(hellos)) == 4  # a fresh nonce each
    for one, other in pairwise(peer.steps):
        assert not (isinstance(one, Pause) and isinstance(other, Pause))


def test_attempts_have_an_end():
    peer = Peer(lambda number, record: refusal(Refusal.NO_HANDSHAKE))
    with pytest.raises(SessionError, match=f"at the same time, {module.HANDSHAKES} times: try again"):
        peer.open()
    assert kinds(peer) == [RecordType.HELLO] * module.HANDSHAKES


@pytest.mark.parametrize("at", range(5))
def test_a_step_that_takes_too_long_ends_the_opening(at):
    with pytest.raises(DeviceError, match=r"nowhere:1 let 7\.5 s pass without opening a session: .* without TLS"):
        Peer().open(failure=TimeoutError(), at=at)


def test_a_peer_that_is_silent_is_asked_who_it_is_and_then_waited_for():
    peer = Peer()
    peer.run(opening(SETTINGS, None, Witness(), 0), failure=TimeoutError(), at=0, times=1)
    first, knock, second = peer.steps[:3]
    assert isinstance(knock, Knock)
    assert (knock.settings, knock.data) == (SETTINGS, b"PING\r\n\r\n")
    assert (first.data, second.data, first.wanted, second.wanted) == (b"", b"", PREFIX.size, PREFIX.size)
    assert first.seconds + second.seconds == 7.5


@pytest.mark.parametrize("answer", [TimeoutError(), b"O", b"OMAP", b"OMAP\0\3"])
def test_a_relay_that_is_slow_is_no_stranger(answer):
    peer = Peer()
    peer.stranger = answer
    peer.run(opening(SETTINGS, None, Witness(), 0), failure=TimeoutError(), at=0, times=1)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"+PONG\r\n", "nowhere:1 is no omap relay: it speaks the Redis protocol, as `omap proxy` does"),
        (b"-NOAUTH Authentication required.\r\n", "it speaks the Redis protocol"),
        (b"HTTP/1.1 400 Bad Request\r\n", "it speaks HTTP, as the monitor of `omap serve` does"),
        (b"\x15\x03\x01\x00\x02\x02\x16", "it speaks TLS: give certificates to trust"),
        (b"", "nowhere:1 says nothing, and hangs up when it is asked who it is: .* TLS"),
        (b"220 mail\r\n", "what answers at this address is no omap relay: check host and port"),
    ],
)
def test_a_stranger_is_refused_at_once(answer, says):
    peer = Peer()
    peer.stranger = answer
    with pytest.raises(SessionError, match=says):
        peer.run(opening(SETTINGS, None, Witness(), 0), failure=TimeoutError(), at=0, times=1)
    assert [type(step) for step in peer.steps] == [Exchange, Knock]


def test_a_short_patience_asks_nobody():
    peer = Peer()
    with pytest.raises(DeviceError, match=r"let 0\.5 s pass"):
        peer.open(replace(SETTINGS, timeout=0.5), failure=TimeoutError(), at=0)
    assert [type(step) for step in peer.steps] == [Exchange]


def test_the_hint_about_tls_is_for_those_without():
    with pytest.raises(DeviceError, match=r"is the device running\?$"):
        Peer().open(replace(SETTINGS, tls=True), failure=TimeoutError(), at=0)


@pytest.mark.parametrize("failure", [EOFError(), ConnectionResetError(), BrokenPipeError()])
@pytest.mark.parametrize("at", range(5))
def test_a_connection_that_breaks_ends_the_opening(at, failure):
    with pytest.raises(
        SessionError, match="nowhere:1 hung up before a session was open: try again, or check the address"
    ):
        Peer().open(failure=failure, at=at)


@pytest.mark.parametrize("failure", [TimeoutError("late"), EOFError("gone"), ConnectionResetError("gone")])
@pytest.mark.parametrize("at", range(3))
def test_a_further_session_on_a_connection_leaves_such_errors_to_the_client(at, failure):
    greeting = Greeting(TINY, 128)
    with pytest.raises(type(failure)) as caught:
        Peer().run(new_session(SETTINGS, greeting, Witness(), 0), failure=failure, at=at)
    assert caught.value is failure


def test_a_further_session_takes_no_greeting():
    peer = Peer()
    talk = peer.run(new_session(SETTINGS, Greeting(TINY, 128), Witness(), 0))
    assert kinds(peer) == [RecordType.HELLO, RecordType.CONFIRM]
    assert len(peer.steps) == 3
    assert talk.in_flight == 0


# -- refusals ----------------------------------------------------------------------------------------------------------


def greet(relay, **changes):
    """Have a relay greet with other facts than its own."""
    facts = relay.greeting
    greeting = read_greeting(facts[: PREFIX.size], facts[PREFIX.size :])
    relay.greeting = replace(greeting, **changes).pack()


@pytest.mark.parametrize(
    ("changes", "settings", "known", "kind", "says"),
    [
        ({"refused": "it is full"}, SETTINGS, None, DeviceError, "the relay at nowhere:1 refuses: it is full"),
        ({}, replace(SETTINGS, params=preset("SMALL")), None, InputError, "parameters with digest .*: check the addr"),
        ({}, SETTINGS, Greeting(preset("SMALL"), 128), SessionError, "now speaks for another map"),
    ],
)
def test_a_greeting_that_does_not_do_is_not_answered(changes, settings, known, kind, says):
    peer = Peer()
    greet(peer.relay, **changes)
    with pytest.raises(kind, match=says):
        peer.open(settings, known)
    assert kinds(peer) == []


def test_the_map_of_before_is_taken_again():
    peer = Peer()
    known = peer.open(replace(SETTINGS, params=TINY)).greeting
    assert peer.open(known=known).greeting == known


def test_what_is_no_relay_is_told_after_the_first_bytes():
    peer = Peer()
    peer.relay.greeting = b"HTTP/1.1 400 Bad Request"
    with pytest.raises(SessionError, match="is no omap relay"):
        peer.open()
    assert len(peer.steps) == 1


@pytest.mark.parametrize("at", range(2))
def test_a_fault_of_the_device_is_told(at):
    peer = Peer(lambda number, record: refusal(Refusal.FAULT) if number == at else record)
    with pytest.raises(DeviceFaultError, match="has latched a fault and erased its keys"):
        peer.open()


def test_a_device_with_another_key_is_found_out():
    peer = Peer()
    with pytest.raises(WrongKeyError, match="check the key file"):
        peer.open(replace(SETTINGS, client=client_of(bytes(32))))


def test_another_map_than_the_witness_knows_is_refused():
    peer, witness = Peer(), Witness()
    peer.open(witness=witness)
    peer.relay.format()
    peer.steps.clear()
    with pytest.raises(MapChangedError, match="another was put in its place"):
        peer.open(witness=witness, replaces=1)
    assert kinds(peer) == [RecordType.HELLO, RecordType.CONFIRM]
    replaced, known = CONFIRM_FIELDS.unpack_from(peer.steps[-1].data, HEADER.size + CONFIRMATION_BYTES)
    assert replaced == 0  # no session is closed there, because the number was of the known map
    assert known == witness.map_id


def test_another_map_that_another_client_saw_meanwhile_is_asked_about_anew(tmp_path):
    peer, path = Peer(), tmp_path / "witness"
    witness = Witness(path)
    peer.open(witness=witness)
    first = witness.map_id
    peer.relay.format()
    path.unlink()
    peer.open(witness=Witness(path))  # another client has seen this map, and witnesses share the file
    peer.relay.format()
    peer.steps.clear()
    with pytest.raises(MapChangedError):
        peer.open(witness=witness)
    confirms = [step.data for step in peer.steps if isinstance(step, Exchange) and step.data[:1] == b"\2"]
    asked = [CONFIRM_FIELDS.unpack_from(data, HEADER.size + CONFIRMATION_BYTES)[1] for data in confirms]
    assert asked == [first, Witness(path).known()]
