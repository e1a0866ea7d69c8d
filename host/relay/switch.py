"""Which client's records go into the ring next, and which client gets an answer. Does no input or output of its own.

The device answers commands in the order in which they were put into its ring, so the switch only remembers which client
each command came from. Clients take turns of at most ``quantum`` records, and have at most ``in_flight`` records in the
ring. One handshake goes on at a time: a HELLO waits until the handshake before it is over.

The switch forwards a DATA record only in a session that was opened on the same connection. It refuses any other itself,
because the device would take such a record for an attack on a session, and would erase everybody's map.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from host.device.driver import Driver
from omap.wire import SESSIONS, Header, RecordType, Refusal, read_header

_HEAD = 8
"""Leading bytes that all commands of a session have in common: type, session index, code, session."""


@dataclass(frozen=True)
class Limits:
    """How much a relay does for its clients.

    Parameters
    ----------
    clients : int
        Connections at once.
    in_flight : int
        Records of one client in the ring.
    quantum : int
        Records of one client that go into the ring before it is the turn of another client.
    input_bytes : int
        Bytes of one client that may wait for the ring. While so many wait, its socket is not read.
    handshake_seconds : float
        How long a handshake may take while another client waits for a handshake.
    idle_seconds : float
        How long a connection may last without opening a session.
    slow_seconds : float
        How long a client may leave answers unread.
    drain_seconds : float
        How long a shutdown waits for answers.
    """

    clients: int = 64
    in_flight: int = 512
    quantum: int = 128
    input_bytes: int = 1 << 17
    handshake_seconds: float = 1.0
    idle_seconds: float = 30.0
    slow_seconds: float = 30.0
    drain_seconds: float = 10.0


@dataclass
class Numbers:
    """What a relay counts since its start. All of it is public.

    Parameters
    ----------
    connections : int
        Accepted.
    sessions : int
        Opened through it.
    records_in, records_out : int
        Records put into the ring for clients, and sent to them.
    unwanted : int
        Answers whose client was gone.
    refused : collections.Counter
        Records that the relay itself refused, by reason.
    disconnected : collections.Counter
        Connections that the relay ended, by reason.
    """

    connections: int = 0
    sessions: int = 0
    records_in: int = 0
    records_out: int = 0
    unwanted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    disconnected: Counter[str] = field(default_factory=Counter)


class Port(ABC):
    """A client as the switch sees it.

    Attributes
    ----------
    incoming : bytearray
        What came from the client and was not taken yet.
    in_flight : int
        Records taken whose answers were not delivered.
    sessions : dict
        First words of the commands of the client's open sessions, oldest first.
    closed : bool
        Nothing is taken from the client any more, and nothing is delivered.
    blocked : bool
        Nothing is taken from the client for now.
    ending : bool
        Nothing is taken from the client any more; answers that are due are delivered.
    """

    def __init__(self) -> None:
        self.incoming = bytearray()
        self.in_flight = 0
        self.sessions: dict[int, None] = {}
        self.closed = False
        self.blocked = False
        self.ending = False
        self.queued = False
        self.waiting = False

    @abstractmethod
    def deliver(self, records: bytes | memoryview) -> None:
        """Send records to the client, in order."""

    @abstractmethod
    def opened(self) -> None:
        """Take note that a session of the client is open."""

    @abstractmethod
    def taken(self) -> None:
        """Take note that some of ``incoming`` was taken."""

    @abstractmethod
    def disconnect(self, reason: str) -> None:
        """End the connection once all that was delivered is sent."""


@dataclass(slots=True)
class _Route:
    """The port of the next ``count`` answers of the ring; or, with ``made``, an answer of the relay in their order."""

    port: Port | None
    count: int
    type: int = RecordType.DATA
    made: bytes = b""


class Switch:
    """Puts the records of many ports into one ring, and gives each its answers.

    Parameters
    ----------
    driver : Driver
        The device.
    limits : Limits
        How much to do for a client.
    numbers : Numbers
        Where to count.
    clock : callable, optional
        Seconds, monotonic.

    Attributes
    ----------
    deadline : float or None
        When to call :meth:`expire`, on the clock; None if nobody waits for a handshake to end.
    """

    def __init__(
        self, driver: Driver, limits: Limits, numbers: Numbers, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.driver = driver
        self.limits = limits
        self.numbers = numbers
        self._size = driver.record_bytes
        self._clock = clock
        self._active: deque[Port] = deque()
        self._routes: deque[_Route] = deque()
        self._holder: Port | None = None
        self._expires: float | None = None
        self._waiting: deque[Port] = deque()
        if driver.in_flight:  # commands of an earlier relay, whose clients are gone
            self._routes.append(_Route(None, driver.in_flight))

    @property
    def idle(self) -> bool:
        """Whether no answer is due and no client has its turn."""
        return not self._routes and not self._active and not self._waiting

    def activate(self, port: Port) -> None:
        """Give a port its turn if it has a record."""
        held = port.queued or port.waiting or port.blocked or port.ending or port.closed
        if not held and len(port.incoming) >= self._size:
            port.queued = True
            self._active.append(port)

    def forget(self, port: Port) -> None:
        """Take note that a port is closed. Answers that are due to it will be dropped."""
        port.closed = True
        port.incoming.clear()
        if port.waiting:
            port.waiting = False
            self._waiting.remove(port)
        if port is self._holder:
            self._release()

    # -- to the device --------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Put records of the ports into the ring, in turns, as long as there are records and room."""
        while self._active and (room := self.driver.room):
            port = self._active.popleft()
            port.queued = False
            count = min(
                len(port.incoming) // self._size, self.limits.quantum, self.limits.in_flight - port.in_flight, room
            )
            if count <= 0 or port.blocked or port.ending or port.closed:
                continue  # it gets its turn again when records came or answers were delivered
            if self._forward(port, count):
                port.taken()
            self.activate(port)

    def _forward(self, port: Port, count: int) -> int:
        """Take up to ``count`` records of a port and return how many."""
        with memoryview(port.incoming) as view:
            run = self._run(port, view, count)
            if run:
                with view[: run * self._size] as records:
                    self.driver.put(records)
                self._route(port, run)
            else:
                record = bytes(view[: self._size])
        if not run:
            if not self._single(port, record):
                return 0
            run = 1
        if not port.closed:
            del port.incoming[: run * self._size]
        return run

    def _run(self, port: Port, view: memoryview, count: int) -> int:
        """Return how many of the first records belong to one session of the port."""
        with view[: count * self._size].cast("Q") as words:
            heads = words[:: self._size // _HEAD].tolist()
        first = heads[0]
        if first not in port.sessions:
            return 0
        if heads.count(first) == count:
            return count
        return next(place for place, head in enumerate(heads) if head != first)

    def _route(self, port: Port, count: int, type_: int = RecordType.DATA) -> None:
        port.in_flight += count
        self.numbers.records_in += count
        last = self._routes[-1] if self._routes else None
        if last is not None and last.port is port and last.type == type_ == RecordType.DATA and not last.made:
            last.count += count
        else:
            self._routes.append(_Route(port, count, type_))

    def _single(self, port: Port, record: bytes) -> bool:
        """Deal with a record that is no DATA of an open session. Return whether it was taken."""
        header = read_header(record)
        match header.type:
            case RecordType.HELLO:
                if self._holder not in (None, port):
                    port.waiting = True
                    self._waiting.append(port)
                    return False
                self._holder, self._expires = port, None
                self.driver.put(record)
                self._route(port, 1, header.type)
            case RecordType.CONFIRM if self._holder is port:
                self.driver.put(record)
                self._route(port, 1, header.type)
            case RecordType.CONFIRM:
                self._refuse(port, header, Refusal.NO_HANDSHAKE)
            case RecordType.DATA:
                # SEC_CM: RELAY.SESSION.OWNED -- the records after it in that session would come out of order
                port.sessions.clear()
                self._refuse(port, header, Refusal.UNKNOWN_SESSION)
            case _:
                self._refuse(port, header, Refusal.MALFORMED)
        return True

    def _refuse(self, port: Port, header: Header, why: Refusal) -> None:
        """Answer a record here, after the answers to the records before it."""
        self.numbers.refused[why.name.lower()] += 1
        port.in_flight += 1
        made = Header(RecordType.REFUSED, header.session_index, why, header.session, header.sequence).pack()
        self._routes.append(_Route(port, 0, RecordType.REFUSED, made.ljust(self._size, b"\0")))
        if why is Refusal.MALFORMED:  # the peer is no client
            port.ending = True
        self._deliver_made()

    # -- from the device ------------------------------------------------------------------------------------------

    def collect(self) -> int:
        """Take the answers that are there, give them to their ports, and return how many there were."""
        answers = self.driver.take()
        count = len(answers) // self._size
        view, at = memoryview(answers), 0
        while at < len(answers):
            route = self._routes[0]
            number = min(route.count, (len(answers) - at) // self._size)
            end = at + number * self._size
            self._deliver(route, view[at:end], number)
            at = end
            route.count -= number
            if not route.count:
                self._routes.popleft()
                self._deliver_made()
        return count

    def _deliver(self, route: _Route, records: memoryview, count: int) -> None:
        port = route.port
        if port is not None and route.type != RecordType.DATA:
            self._handshake_answered(port, read_header(records))
        if port is None or port.closed:
            self.numbers.unwanted += count
            return
        port.in_flight -= count
        self.numbers.records_out += count
        port.deliver(records)
        self.activate(port)

    def _deliver_made(self) -> None:
        while self._routes and self._routes[0].made:
            route = self._routes.popleft()
            port = route.port
            assert port is not None
            if port.closed:
                continue
            port.in_flight -= 1
            port.deliver(route.made)
            if read_header(route.made).code == Refusal.MALFORMED:
                port.disconnect("malformed")
            else:
                self.activate(port)

    # -- handshakes -----------------------------------------------------------------------------------------------

    def _handshake_answered(self, port: Port, header: Header) -> None:
        if header.type == RecordType.CONFIRM:
            self.numbers.sessions += 1
            if not port.closed:
                head = Header(RecordType.DATA, header.session_index, 0, header.session, 0).pack()[:_HEAD]
                with memoryview(head).cast("Q") as word:
                    port.sessions[word[0]] = None
                while len(port.sessions) > SESSIONS:
                    del port.sessions[next(iter(port.sessions))]
                port.opened()
        if port is self._holder:
            if header.type == RecordType.HELLO:
                self._expires = self._clock() + self.limits.handshake_seconds
            else:
                self._release()

    def _release(self) -> None:
        """Let the next handshake begin."""
        self._holder, self._expires = None, None
        if self._waiting:
            port = self._holder = self._waiting.popleft()
            port.waiting = False
            self.activate(port)

    @property
    def deadline(self) -> float | None:
        """When to call :meth:`expire`, on the clock; None if nobody waits for a handshake to end."""
        return self._expires if self._waiting else None

    def expire(self) -> None:
        """End a handshake that takes too long while others wait. Its CONFIRM will be refused."""
        if self.deadline is not None and self._clock() >= self.deadline:
            self._release()
