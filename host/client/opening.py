"""How a client opens a session, as a generator that does no input or output. Both clients drive it.

The generator yields steps. The driver does each step and sends back what came, or throws into the generator what went
wrong: ``TimeoutError`` if a step took too long, ``EOFError`` or another ``OSError`` if the connection broke. The
generator knows the order of the messages, the time limits, the refusals and the errors that a user sees; a driver
knows sockets only.
"""

from __future__ import annotations

import random
from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

from host.client.conversation import Bounds, Conversation
from host.client.settings import Settings
from host.client.strangers import ANSWER_BYTES, QUESTION, SILENCE_SECONDS, check_answer
from host.client.witness import Witness
from host.framing import PREFIX, Greeting, facts_length, read_greeting
from omap.credentials import ClientKey
from omap.crypto import MAP_ID_BYTES
from omap.errors import AlteredError, DeviceError, DeviceFaultError, InputError, SessionError
from omap.lineage import NO_MAP
from omap.params import Params
from omap.session import NONCE_BYTES, ClientSession, refused
from omap.wire import HEADER, HELLO_LINES, LINE_BYTES, MOST_COUNT, RecordCodec, RecordType, Refusal, read_header

HANDSHAKES = 20
"""How often a client asks for a session while other clients open theirs at the same time."""

BUSY_SECONDS = 0.02
"""First pause between two such attempts. The next pauses are longer."""

_MAP_ID = slice(HEADER.size + NONCE_BYTES, HEADER.size + NONCE_BYTES + MAP_ID_BYTES)
"""Place of the map id in the answer to a HELLO."""

T = TypeVar("T")


@dataclass(frozen=True)
class Exchange:
    """Send some bytes, then take as many as are wanted. The driver sends these back to the generator.

    Parameters
    ----------
    data : bytes
        What to send; may be empty.
    wanted : int
        How many bytes to take: exactly so many.
    seconds : float
        How long both together may take.
    """

    data: bytes
    wanted: int
    seconds: float


@dataclass(frozen=True)
class Pause:
    """Wait. The driver sends ``b""`` back to the generator.

    Parameters
    ----------
    seconds : float
        How long.
    """

    seconds: float


@dataclass(frozen=True)
class Knock:
    """Ask on a connection of its own, and hang up. The driver sends the first bytes of the answer to the generator.

    If the peer hangs up, it sends ``b""``. If nothing comes, or no connection, it throws ``TimeoutError``.

    Parameters
    ----------
    settings : Settings
        Where and how.
    data : bytes
        What to send.
    wanted : int
        Most bytes to take.
    seconds : float
        How long all of it may take.
    """

    settings: Settings
    data: bytes
    wanted: int
    seconds: float


Steps = Generator[Exchange | Pause | Knock, bytes, T]
"""What a driver drives; the generator's return value is the result."""


@dataclass(frozen=True)
class Opened:
    """What an opening results in.

    Parameters
    ----------
    greeting : Greeting
        What the relay says. The handshake has proved the parameters in it, and nothing else.
    conversation : Conversation
        The open session.
    """

    greeting: Greeting
    conversation: Conversation


class Busy(Exception):  # noqa: N818 - not an error that anybody sees
    """Another session was being opened at the same time."""


def opening(settings: Settings, known: Greeting | None, witness: Witness, replaces: int) -> Steps[Opened]:
    """Take the relay's greeting and open a session, on a connection that was just made.

    Parameters
    ----------
    settings : Settings
        Where and how.
    known : Greeting or None
        Greeting of an earlier connection of this client, if there was one.
    witness : Witness
        What is known of the map.
    replaces : int
        Number of the session that the new one replaces; 0 for none.

    Reveals
        That a client opens a session, when, and how many attempts it took. To a peer that is silent for a second: that
        a client is there, on a connection of its own.

    Raises
    ------
    DeviceError
        The relay refuses, or nothing came in time.
    InputError
        The map is not the wanted one.
    SessionError
        What answers is no relay, or none of this version, hung up, or now speaks for another map.
    DeviceFaultError, WrongKeyError, AlteredError, MapChangedError
        As :func:`handshake` does.
    """
    try:
        prefix = yield from _prefix(settings)
        facts = yield Exchange(b"", facts_length(prefix), settings.timeout)
        greeting = read_greeting(prefix, facts)
        check_greeting(settings, known, greeting)
        conversation = yield from new_session(settings, greeting, witness, replaces)
    except TimeoutError:
        raise silent(settings) from None
    except (OSError, EOFError):
        raise SessionError(
            f"{settings.address} hung up before a session was open: try again, or check the address"
        ) from None
    return Opened(greeting, conversation)


def _prefix(settings: Settings) -> Steps[bytes]:
    """Take the first part of the greeting. If nothing comes for a while, find out who the peer is."""
    patience = min(SILENCE_SECONDS, settings.timeout)
    try:
        return (yield Exchange(b"", PREFIX.size, patience))
    except TimeoutError:
        if patience == settings.timeout:
            raise
    try:
        answer = yield Knock(settings, QUESTION, ANSWER_BYTES, patience)
    except TimeoutError:
        pass
    else:
        check_answer(settings, answer)
    return (yield Exchange(b"", PREFIX.size, settings.timeout - patience))


def new_session(settings: Settings, greeting: Greeting, witness: Witness, replaces: int) -> Steps[Conversation]:
    """Open a session on a connection whose greeting was taken. No operation may be in flight.

    Parameters
    ----------
    settings : Settings
        Where and how.
    greeting : Greeting
        What the relay said.
    witness : Witness
        What is known of the map.
    replaces : int
        Number of the session that the new one replaces; 0 for none.

    Reveals
        That a client opens a session, when, and how many attempts it took.

    Raises
    ------
    SessionError
        Other clients kept opening sessions, or the session was refused.
    DeviceFaultError, WrongKeyError, AlteredError, MapChangedError
        As :func:`handshake` does.
    TimeoutError, OSError, EOFError
        What the driver threw.
    """
    for attempt in range(1, HANDSHAKES + 1):
        steps = handshake(greeting.params, settings.client, witness, replaces)
        try:
            record = next(steps)
            while True:
                record = steps.send((yield from _exchange(record, settings.timeout)))
        except StopIteration as end:
            session: ClientSession = end.value
            bounds = Bounds(settings.record_limit, greeting.ring_lines, settings.window)
            return Conversation(session, witness, bounds)
        except Busy:
            # clients that met once must not meet again at the next attempt
            yield Pause(BUSY_SECONDS * attempt * (0.5 + random.random()))
    raise SessionError(f"other clients kept opening sessions at the same time, {HANDSHAKES} times: try again")


def _exchange(record: bytes, seconds: float) -> Steps[bytes]:
    """Send a record, and take the whole record that answers it."""
    answer = yield Exchange(record, LINE_BYTES, seconds)
    lines = read_header(answer).lines
    if not 0 < lines <= HELLO_LINES:
        raise AlteredError(f"a record of {lines} lines came during set-up; there it has 1 or {HELLO_LINES}")
    if lines > 1:
        answer += yield Exchange(b"", (lines - 1) * LINE_BYTES, seconds)
    return answer


def handshake(
    params: Params, client: ClientKey, witness: Witness, replaces: int
) -> Generator[bytes, bytes, ClientSession]:
    """Try once to open a session: yields records to send, takes the answers, returns the session.

    Parameters
    ----------
    params : Params
        The map's parameters.
    client : ClientKey
        Who the client is, and its key.
    witness : Witness
        What is known of the map.
    replaces : int
        Number of the session that the new one replaces; 0 for none.

    Reveals
        That a client opens a session, and when.

    Raises
    ------
    Busy
        If another session was being opened at the same time, or another client has seen another map meanwhile: try
        again after a pause.
    WrongKeyError, AlteredError, MapChangedError, SessionError
        As :class:`~omap.session.ClientSession` and :class:`~host.client.witness.Witness` do.
    DeviceFaultError
        If the device has latched a fault, as the relay says.
    """
    session, known = ClientSession(params, client, replaces=replaces), witness.known()
    answer = yield session.hello()
    _check_refusal(answer)
    session.replaces = witness.replaces(answer[_MAP_ID], replaces)
    answer = yield session.confirm(answer, known)
    _check_refusal(answer)
    session.opened(answer)  # the answers have proved which map it is, and what it holds of the known one
    witness.refused = session.map_id, session.session
    if not witness.session_opens(session.map_id, known, session.kept):
        raise Busy
    witness.refused = NO_MAP, 0
    return session


def _check_refusal(answer: bytes) -> None:
    header = read_header(answer)
    if header.type != RecordType.REFUSED:
        return
    if header.count == Refusal.NO_HANDSHAKE:
        raise Busy
    if header.count == Refusal.FAULT:
        raise DeviceFaultError(str(refused(header)))


def check_greeting(settings: Settings, known: Greeting | None, greeting: Greeting) -> None:
    """Refuse a relay that takes no client, and a map that is neither the wanted one nor the one known.

    Raises
    ------
    DeviceError
        The relay refuses.
    InputError
        The map is not the wanted one, or its records are shorter than the constant rate wants them.
    SessionError
        The map is not the one of the last connection.
    """
    digest = greeting.params.digest.hex()[:16]
    if greeting.refused:
        raise DeviceError(f"the relay at {settings.address} refuses: {greeting.refused}")
    if settings.params is not None and settings.params != greeting.params:
        raise InputError(
            f"the map at {settings.address} has parameters with digest {digest}, "
            f"not {settings.params.digest.hex()[:16]}: check the address"
        )
    most = min(RecordCodec(greeting.params).most_operations, settings.window or MOST_COUNT)
    if settings.rate is not None and settings.count > most:
        raise InputError(
            f"count is {settings.count}; a record of the map at {settings.address} has at most {most} operations, and "
            "no more than window may be in flight"
        )
    if known is not None and known.params != greeting.params:
        raise SessionError(
            f"the relay at {settings.address} now speaks for another map (digest {digest}, before "
            f"{known.params.digest.hex()[:16]}): if that was meant, connect anew, or start the proxy again"
        )


def silent(settings: Settings) -> DeviceError:
    """Return the error of a peer that did not open a session in time."""
    hint = "" if settings.tls else ", and does it speak without TLS"
    return DeviceError(
        f"{settings.address} let {settings.timeout:g} s pass without opening a session: is the device running{hint}?"
    )
