"""Which client's records go into the ring next, and which client gets an answer. Does no input or output of its own.

The device answers commands in the order in which they were put into its ring, so the switch only remembers which client
each command came from. Clients take turns of at most ``quantum`` lines, and have at most ``in_flight`` lines in the
ring, but always one record. A record that does not fit into the ring waits for room, and nobody overtakes it. A HELLO
waits for its turn apart from all that, in :mod:`host.relay.handshakes`.

A record is looked at before it is copied: the switch answers a malformed one itself, and ends the connection. It
forwards a DATA record only in a session that was opened on the same connection. It refuses any other itself, because
the device would take such a record for an attack on its session, and would end that. Once the device has refused a
record, its session is over, and the switch forwards no more of it: a record of no open session costs the device, and so
all other clients, more time than a good one.

Records of one session and of one length that follow each other are moved together, and nothing is done for each
operation.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from host.device.driver import Driver
from host.records import COUNT_AT, LINES_AT, LOOK, TYPE_AT, Run, repeated
from host.relay.handshakes import Handshake, Handshakes
from host.relay.port import Limits, Numbers, Port
from omap.wire import (
    HEADER,
    HELLO_LINES,
    LINE_BYTES,
    PENDING_HANDSHAKES,
    Header,
    RecordType,
    Refusal,
    read_header,
    refusal,
)

REFUSED_AT_ONCE = 64
"""Records that the switch refuses before it looks at answers again. They take no room in the ring, so that without this
a crowd that sends nothing else would hold up all others."""

_HEAD = 8
"""Leading bytes of a header that all commands of a session have in common, but for lines and count."""

_WORDS = LINE_BYTES // _HEAD

# plain numbers: enumerations cost a microsecond a record
_DATA, _REFUSED = int(RecordType.DATA), int(RecordType.REFUSED)


def _number(head: bytes) -> int:
    """Return the leading bytes of a header as they are read from memory."""
    return int.from_bytes(head[:_HEAD], sys.byteorder)


_SAME = _number(Header(0xFF, 0xFF, 0, 0, 0xFFFFFFFF, 0).pack())
"""The bits of them that all commands of a session have in common."""


def _head(header: Header) -> int:
    """Return what the commands of a session begin with, as a number without lines and count."""
    return _number(header._replace(type=_DATA).pack()) & _SAME


@dataclass(slots=True)
class _Route:
    """The port of the next answers of the ring; or, with ``made``, an answer of the relay in their order.

    The answers belong to ``records`` commands of ``lines`` lines each. ``handshake`` is what a HELLO has begun;
    ``ends`` says why the connection ends after the answer.
    """

    port: Port | None
    lines: int
    records: int
    type: int = _DATA
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
    answers : callable, optional
        Returns the answers that may be delivered now. By default these are all that the device has written.
    """

    def __init__(
        self,
        driver: Driver,
        limits: Limits,
        numbers: Numbers,
        clock: Callable[[], float] = time.monotonic,
        answers: Callable[[], bytes] | None = None,
    ) -> None:
        self.driver = driver
        self._answers = answers or driver.take
        self.limits = limits
        self.numbers = numbers
        self._codec = driver.codec
        self._share = limits.share(driver.ring_lines)
        self._handshakes = Handshakes(PENDING_HANDSHAKES, limits, clock)
        self._active: deque[Port] = deque()
        self._refusals = 0  # since the pump began
        self._holders: dict[int, tuple[Port, int]] = {}  # whose the session is that was opened last at an index
        # commands of an earlier relay, whose clients are gone
        self._routes = deque(_Route(None, lines, records) for lines, records in driver.due)

    @property
    def idle(self) -> bool:
        """Whether no answer is due and no client has its turn."""
        return not self._routes and not self._active and not self._handshakes.waiting

    def activate(self, port: Port) -> None:
        """Give a port its turn if it has a record."""
        held = port.queued or port.waiting or port.blocked or port.ending or port.closed
        if not held and self._first(port):
            port.queued = True
            self._active.append(port)

    def _first(self, port: Port) -> int:
        """Return the lines of a port's first record, 1 if it is malformed; 0 if it is not there as a whole."""
        incoming = port.incoming
        if len(incoming) < HEADER.size:
            return 0
        lines = self._codec.command_lines(incoming[TYPE_AT], incoming[LINES_AT], incoming[COUNT_AT])
        return 0 if len(incoming) < lines * LINE_BYTES else lines or 1

    def forget(self, port: Port) -> None:
        """Take note that a port is closed. Answers that are due to it will be dropped."""
        port.closed = True
        port.incoming.clear()
        self._handshakes.forget(port)

    @property
    def deadline(self) -> float | None:
        """When to call :meth:`pump` although no answer comes, on the clock; None if nothing changes without one."""
        return self._handshakes.deadline if self.driver.room >= HELLO_LINES else None

    # -- to the device --------------------------------------------------------------------------------------------

    def pump(self) -> bool:
        """Put records of the ports into the ring, in turns, as long as there are records and room.

        Return whether it stopped earlier, to let others work, and is to be called again.
        """
        self._refusals = 0
        while self.driver.room >= HELLO_LINES and (self._greet() or self._take()):
            if self._refusals >= REFUSED_AT_ONCE:
                return True
        return False

    def _greet(self) -> bool:
        """Begin the handshake whose turn it is. Return whether there was one."""
        port = self._handshakes.next()
        if port is None:
            return False
        record = bytes(port.incoming[: HELLO_LINES * LINE_BYTES])
        del port.incoming[: len(record)]
        port.hellos += 1
        self._put(port, record, self._handshakes.begin(port))
        port.taken()
        self.activate(port)
        return True

    def _put(self, port: Port, record: bytes, handshake: Handshake | None = None) -> None:
        """Put a record of a handshake into the ring."""
        run = Run(len(record) // LINE_BYTES, 1)
        with memoryview(record) as view:
            self.driver.submit(view, [run])
        self._route(port, run, record[TYPE_AT], handshake)

    def _take(self) -> bool:
        """Put records of the port whose turn it is into the ring. Return whether another may have its turn."""
        if not self._active:
            return False
        port, room = self._active[0], self.driver.room
        lines = self._first(port)
        fits = not port.in_flight or port.in_flight + lines <= self._share
        willing = lines and fits and not (port.blocked or port.ending or port.closed)
        if willing and lines > room:
            return False
        self._active.popleft()
        port.queued = False
        if willing:
            turn = self.limits.quantum if self._active else room
            if self._forward(port, max(lines, min(turn, self._share - port.in_flight, room))):
                port.taken()
            self.activate(port)
        return True  # a port that was left out gets its turn again when records came or answers were delivered

    def _forward(self, port: Port, most: int) -> bool:
        """Take a first record of a port, and what follows it in one session, up to ``most`` lines.

        Return whether something was taken.
        """
        incoming = port.incoming
        with memoryview(incoming) as view:
            found = self._look(port, view, most)
            size = LINE_BYTES * sum([run.lines * run.records for run in found])
            if size:
                with view[:size] as records:
                    self.driver.submit(records, found)
        if not size:
            return self._single(port)
        for run in found:
            self._route(port, run)
        del incoming[:size]
        return True

    def _look(self, port: Port, view: memoryview, most: int) -> list[Run]:
        """Return which of the first records are DATA of open sessions of the port."""
        found: list[Run] = []
        total, at = len(view) // LINE_BYTES, 0
        with view[: total * LINE_BYTES] as whole, whole.cast("Q") as words:
            while at < total:
                head = words[at * _WORDS]
                if head & _SAME not in port.sessions:
                    break
                fields = head.to_bytes(_HEAD, sys.byteorder)
                lines, count = fields[LINES_AT], fields[COUNT_AT]
                # SEC_CM: RELAY.RECORD.CHECKED -- what the device would split up otherwise is not copied
                if not self._codec.command_lines(_DATA, lines, count):
                    break
                fit = min(min(total - at, most) // lines, LOOK)
                if not fit:
                    break
                records = repeated(words[at * _WORDS : (at + fit * lines) * _WORDS : lines * _WORDS].tolist())
                found.append(Run(lines, records))
                self.numbers.operations += records * count
                at, most = at + records * lines, most - records * lines
        return found

    def _route(self, port: Port, run: Run, type_: int = _DATA, handshake: Handshake | None = None) -> None:
        lines, records = run
        port.in_flight += lines * records
        self.numbers.records_in += records
        if type_ == _DATA and self._routes:
            last = self._routes[-1]
            if last.port is port and last.lines == lines and last.type == _DATA:
                last.records += records
                return
        self._routes.append(_Route(port, lines, records, type_, handshake=handshake))

    def _single(self, port: Port) -> bool:
        """Deal with a record that is no DATA of an open session. Return whether it was taken."""
        header = read_header(bytes(port.incoming[: HEADER.size]))
        lines = self._codec.command_lines(header.type, header.lines, header.count)
        match header.type:
            case _ if not lines:  # the peer is no client, or one of another version
                # SEC_CM: RELAY.RECORD.CHECKED -- nobody knows where the record after it begins
                return self._refuse(port, 1, header, Refusal.MALFORMED, "malformed")
            case RecordType.HELLO:
                if port.hellos < self.limits.hellos:
                    self._handshakes.wait(port)
                    return False
                return self._refuse(port, lines, header, Refusal.NO_HANDSHAKE, "hellos")
            case RecordType.CONFIRM if self._handshakes.confirm(port, header.session):
                self._put(port, bytes(port.incoming[: lines * LINE_BYTES]))
                del port.incoming[: lines * LINE_BYTES]
                return True
            case RecordType.CONFIRM:
                return self._refuse(port, lines, header, Refusal.NO_HANDSHAKE)
            case _:
                # SEC_CM: RELAY.SESSION.OWNED -- the records after it in that session would come out of order
                port.sessions.clear()
                port.over()
                return self._refuse(port, lines, header, Refusal.UNKNOWN_SESSION)

    def _refuse(self, port: Port, lines: int, header: Header, why: Refusal, ends: str = "") -> bool:
        """Answer a first record here, after the answers to those before it. ``ends`` ends the connection after that."""
        del port.incoming[: lines * LINE_BYTES]
        self.numbers.refused[why.name.lower()] += 1
        self._refusals += 1
        port.in_flight += 1
        self._routes.append(_Route(port, 1, 1, _REFUSED, refusal(header, why), ends=ends))
        port.ending = bool(ends)
        self._deliver_made()
        return True

    # -- from the device ------------------------------------------------------------------------------------------

    def collect(self) -> int:
        """Take the answers that are there, give them to their ports, and return how many lines they had."""
        answers = self._answers()
        view, start, at, port = memoryview(answers), 0, 0, None
        while at < len(answers):
            route = self._routes[0]
            if route.port is not port:
                _deliver(port, view[start:at])
                start, port = at, route.port
            at = self._settle(route, answers, at)
            if not route.records:
                self._routes.popleft()
                if self._routes and self._routes[0].made:
                    _deliver(port, view[start:at])
                    start = at
                    self._deliver_made()
        _deliver(port, view[start:at])
        return len(answers) // LINE_BYTES

    def _settle(self, route: _Route, answers: bytes, at: int) -> int:
        """Count answers of a route, from a place on; return the place of the first that was not counted."""
        size = route.lines * LINE_BYTES
        records = min(route.records, LOOK, (len(answers) - at) // size)
        before = answers[at : at + records * size : size].find(_REFUSED)  # a refusal has one line, whatever was refused
        refused = not before or not records
        if refused:
            records, size = 1, LINE_BYTES
        elif before > 0:
            records = before
        route.records -= records
        port = route.port
        if port is not None and route.type != _DATA:
            self._handshake_answered(port, route.handshake, read_header(answers[at : at + HEADER.size]))
        if port is None or port.closed:
            self.numbers.unwanted += records
        else:
            port.in_flight -= records * route.lines
            self.numbers.records_out += records
            if refused:
                # SEC_CM: RELAY.SESSION.OWNED -- nobody busies the device with records of a session that has ended
                _strike(port, _head(read_header(answers[at : at + HEADER.size])))
            self.activate(port)
        return at + records * size

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
            # SEC_CM: RELAY.CLIENTS.BOUNDED -- whose session made room for this one has no claim to its place any more
            if (before := self._holders.pop(header.session_index, None)) is not None:
                _strike(*before)
            if not port.closed:
                port.hellos = 0
                port.sessions[_head(header)] = None
                self._holders[header.session_index] = port, _head(header)
                port.opened()


def _strike(port: Port, head: int) -> None:
    """Take note that a session of a port is open no longer."""
    if port.sessions.pop(head, 0) is None and not port.sessions:
        port.over()


def _deliver(port: Port | None, records: memoryview) -> None:
    """Give answers to a port, if there are any and it is there."""
    if records and port is not None and not port.closed:
        port.deliver(records)
