"""Which client's records go into the ring next, and which client gets an answer. Does no input or output of its own.

The device answers commands in the order in which they were put into its ring, so the switch only remembers which client
each command came from. Clients take turns of at most ``quantum`` records, and have at most ``in_flight`` records in the
ring. A HELLO waits for its turn apart from all that, in :mod:`host.relay.handshakes`.

The switch forwards a DATA record only in a session that was opened on the same connection. It refuses any other itself,
because the device would take such a record for an attack on its session, and would end that. Once the device has
refused a record, its session is over, and the switch forwards no more of it: a record of no open session costs the
device, and so all other clients, more time than a good one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from host.device.driver import Driver
from host.relay.handshakes import Handshake, Handshakes
from host.relay.port import Limits, Numbers, Port
from omap.wire import HEADER, PENDING_HANDSHAKES, SESSIONS, Header, RecordType, Refusal, read_header

_HEAD = 8
"""Leading bytes that all commands of a session have in common: type, session index, code, session."""


def _head(header: Header) -> int:
    """Return the leading bytes of the commands of a session, as a number."""
    with memoryview(Header(RecordType.DATA, header.session_index, 0, header.session, 0).pack()[:_HEAD]) as head:
        return int(head.cast("Q")[0])


@dataclass(slots=True)
class _Route:
    """The port of the next ``count`` answers of the ring; or, with ``made``, an answer of the relay in their order.

    ``handshake`` is what a HELLO has begun; ``ends`` says why the connection ends after the answer.
    """

    port: Port | None
    count: int
    type: int = RecordType.DATA
    made: bytes = b""
    handshake: Handshake | None = None
    ends: str = ""


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
    """

    def __init__(
        self, driver: Driver, limits: Limits, numbers: Numbers, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.driver = driver
        self.limits = limits
        self.numbers = numbers
        self._size = driver.record_bytes
        self._handshakes = Handshakes(PENDING_HANDSHAKES, limits, clock)
        self._active: deque[Port] = deque()
        self._routes: deque[_Route] = deque()
        if driver.in_flight:  # commands of an earlier relay, whose clients are gone
            self._routes.append(_Route(None, driver.in_flight))

    @property
    def idle(self) -> bool:
        """Whether no answer is due and no client has its turn."""
        return not self._routes and not self._active and not self._handshakes.waiting

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
        self._handshakes.forget(port)

    @property
    def deadline(self) -> float | None:
        """When to call :meth:`pump` although no answer comes, on the clock; None if nothing changes without one."""
        return self._handshakes.deadline if self.driver.room else None

    # -- to the device --------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Put records of the ports into the ring, in turns, as long as there are records and room."""
        while self.driver.room and (self._greet() or self._take()):
            pass

    def _greet(self) -> bool:
        """Begin the handshake whose turn it is. Return whether there was one."""
        port = self._handshakes.next()
        if port is None:
            return False
        record = bytes(port.incoming[: self._size])
        del port.incoming[: self._size]
        port.hellos += 1
        self.driver.put(record)
        self._route(port, 1, RecordType.HELLO, self._handshakes.begin(port))
        port.taken()
        self.activate(port)
        return True

    def _take(self) -> bool:
        """Put records of the port whose turn it is into the ring. Return whether there was one."""
        if not self._active:
            return False
        port = self._active.popleft()
        port.queued = False
        count = min(
            len(port.incoming) // self._size,
            self.limits.quantum,
            self.limits.in_flight - port.in_flight,
            self.driver.room,
        )
        if count > 0 and not (port.blocked or port.ending or port.closed):
            if self._forward(port, count):
                port.taken()
            self.activate(port)
        return True  # a port that was left out gets its turn again when records came or answers were delivered

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

    def _route(self, port: Port, count: int, type_: int = RecordType.DATA, handshake: Handshake | None = None) -> None:
        port.in_flight += count
        self.numbers.records_in += count
        last = self._routes[-1] if self._routes else None
        if last is not None and last.port is port and last.type == type_ == RecordType.DATA and not last.made:
            last.count += count
        else:
            self._routes.append(_Route(port, count, type_, handshake=handshake))

    def _single(self, port: Port, record: bytes) -> bool:
        """Deal with a record that is no DATA of an open session. Return whether it was taken."""
        header = read_header(record)
        match header.type:
            case RecordType.HELLO:
                if port.hellos < self.limits.hellos:
                    self._handshakes.wait(port)
                    return False
                self._refuse(port, header, Refusal.NO_HANDSHAKE, "hellos")
            case RecordType.CONFIRM if self._handshakes.confirm(port, header.session):
                self.driver.put(record)
                self._route(port, 1, header.type)
            case RecordType.CONFIRM:
                self._refuse(port, header, Refusal.NO_HANDSHAKE)
            case RecordType.DATA:
                # SEC_CM: RELAY.SESSION.OWNED -- the records after it in that session would come out of order
                port.sessions.clear()
                self._refuse(port, header, Refusal.UNKNOWN_SESSION)
            case _:  # the peer is no client
                self._refuse(port, header, Refusal.MALFORMED, "malformed")
        return True

    def _refuse(self, port: Port, header: Header, why: Refusal, ends: str = "") -> None:
        """Answer a record here, after the answers to the records before it. ``ends`` ends the connection after that."""
        self.numbers.refused[why.name.lower()] += 1
        port.in_flight += 1
        made = Header(RecordType.REFUSED, header.session_index, why, header.session, header.sequence).pack()
        self._routes.append(_Route(port, 0, RecordType.REFUSED, made.ljust(self._size, b"\0"), ends=ends))
        port.ending = bool(ends)
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
            self._handshake_answered(port, route.handshake, read_header(records))
        if port is None or port.closed:
            self.numbers.unwanted += count
            return
        port.in_flight -= count
        self.numbers.records_out += count
        if RecordType.REFUSED in bytes(records[:: self._size]):
            self._forget_sessions(port, records)
        port.deliver(records)
        self.activate(port)

    def _forget_sessions(self, port: Port, records: memoryview) -> None:
        """Forget the sessions of a port whose records the device has refused."""
        for at in range(0, len(records), self._size):
            header = read_header(records[at : at + HEADER.size])
            if header.type == RecordType.REFUSED:
                # SEC_CM: RELAY.SESSION.OWNED -- nobody busies the device with records of a session that has ended
                port.sessions.pop(_head(header), None)

    def _deliver_made(self) -> None:
        while self._routes and self._routes[0].made:
            route = self._routes.popleft()
            port = route.port
            assert port is not None
            if port.closed:
                continue
            port.in_flight -= 1
            port.deliver(route.made)
            if route.ends:
                port.disconnect(route.ends)
            else:
                self.activate(port)

    def _handshake_answered(self, port: Port, handshake: Handshake | None, header: Header) -> None:
        """Take note of the device's answer to a HELLO, which has begun a handshake, or to a CONFIRM."""
        if handshake is not None:
            self._handshakes.answered(handshake, header.session if header.type == RecordType.HELLO else 0)
        elif header.type == RecordType.CONFIRM:
            self.numbers.sessions += 1
            if not port.closed:
                port.hellos = 0
                port.sessions[_head(header)] = None
                while len(port.sessions) > SESSIONS:
                    del port.sessions[next(iter(port.sessions))]
                port.opened()
