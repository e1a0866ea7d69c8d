"""The client's end of an open session, without the connection: bytes in, bytes out. Both clients use it.

A conversation seals operations, opens answers, and compares every answer with what was known before. It deals in
*items*, the packed form of operations and of answers (:mod:`omap.bodies`), so that arrays never become objects one by
one.

Two kinds of error can come. If only tampering explains what came, a :class:`~omap.errors.TamperedError` says what was
tampered with, and the client refuses all further work. If a crash explains it as well, or if a relay merely claims it,
the connection is broken (:class:`Broken`): the client tells its caller that the fate of operations is unknown, and may
open a new session, which ends the old one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from host.client.witness import Witness
from host.records import LINES_AT
from omap.bodies import Reply, command_text, reply_items
from omap.errors import AlteredError
from omap.session import RECORD_LIMIT, ClientSession, refused
from omap.wire import LINE_BYTES, RING_LINES, RecordType, read_header

CROWDED = 3 / 4
"""Part of what may be in flight from which on no more is sealed, so that records leave a few at a time."""


class Broken(Exception):  # noqa: N818 - not an error that anybody sees
    """The connection is of no use any more. The text says why."""


@dataclass(frozen=True)
class Bounds:
    """How much a conversation may carry.

    Parameters
    ----------
    records : int
        Records in all.
    lines : int
        Lines of commands in flight at once: as many as a ring of the device has.
    operations : int or None
        Operations in flight at once; None for as many as the lines hold.
    """

    records: int = RECORD_LIMIT
    lines: int = RING_LINES
    operations: int | None = None


class Conversation:
    """An open session: seals operations and opens their answers.

    Parameters
    ----------
    session : ClientSession
        The session, set up.
    witness : Witness
        What is known of the map.
    bounds : Bounds, optional
        How much it may carry.

    Attributes
    ----------
    in_flight : int
        Operations that were sealed and are not answered yet.
    half : int
        Half of what may be in flight. While the device works on one half, the client works on the other.
    """

    def __init__(self, session: ClientSession, witness: Witness, bounds: Bounds | None = None) -> None:
        bounds = bounds or Bounds()
        self.session = session
        self.codec = session.codec
        self.witness = witness
        self.in_flight = 0
        self._last: Reply | None = None
        self._limit = min(bounds.records, RECORD_LIMIT)
        self._most = self.codec.most_operations
        self._most_lines = self.codec.most_lines
        self._window = bounds.lines * LINE_BYTES if bounds.operations is None else bounds.operations
        self.half = -(-self._window // 2)
        self._ring_lines = bounds.lines
        self._lines = 0
        self._many, self._many_lines = int(CROWDED * self._window), int(CROWDED * self._ring_lines)
        self._sizes = self.codec.sizes
        self._rest = bytearray()

    @property
    def last(self) -> Reply | None:
        """The newest answer, without its items; None before the first."""
        return None if self._last is None else self._last._replace(text=b"")

    @property
    def live(self) -> int | None:
        """Live keys of the map as of the newest answer; None before the first."""
        return None if self._last is None else self._last.live

    @property
    def remaining(self) -> int:
        """Records that the session may still carry."""
        return self._limit - self.session.sent

    @property
    def exhausted(self) -> bool:
        """Whether a new session is needed: this one may carry no more records, and all are answered."""
        return self.session.received >= self._limit

    @property
    def crowded(self) -> bool:
        """Whether so much is in flight that answers will come soon."""
        return self.in_flight > self._many or self._lines > self._many_lines

    def room(self) -> int:
        """Return how many operations the next record may have; 0 if none may be sent now."""
        if self.session.sent >= self._limit:
            return 0
        count, free = self._window - self.in_flight, self._ring_lines - self._lines
        if free < self._most_lines:
            count = min(count, self.codec.operations(free))
        return min(count, self._most)

    def seal(self, items: Iterable[bytes | memoryview], count: int) -> bytes:
        """Return the record of the next ``count`` operations, of which there may be at most :meth:`room`."""
        self.in_flight += count
        self._lines += self._sizes[count]
        return self.session.seal_text(command_text(self.codec, items, count), count)

    def feed(self, data: bytes | memoryview, answers: list[memoryview]) -> None:
        """Take bytes that came, and append the items of every whole record to ``answers``.

        Raises
        ------
        TamperedError
            If a record is not the next answer. The answers before it are in ``answers``.
        Broken
            If the peer says that it refused a command.
        """
        rest, at = self._rest, 0
        if not rest and len(data) >= LINE_BYTES and len(data) == self._size(data[LINES_AT]):
            self._open(data, answers)  # one whole record, as a client gets that waits for each
            return
        view = memoryview(data)
        while rest and at < len(view):
            wanted = LINE_BYTES if len(rest) < LINE_BYTES else self._size(rest[LINES_AT])
            piece = view[at : at + wanted - len(rest)]
            rest += piece
            at += len(piece)
            if len(rest) >= LINE_BYTES and len(rest) == self._size(rest[LINES_AT]):
                record = bytes(rest)
                rest.clear()
                self._open(record, answers)
        while len(view) - at >= LINE_BYTES:
            end = at + self._size(view[at + LINES_AT])
            if end > len(view):
                break
            self._open(view[at:end], answers)
            at = end
        rest += view[at:]

    def _size(self, lines: int) -> int:
        if not 0 < lines <= self._most_lines:
            raise AlteredError(f"a record of {lines} lines came; records of this map have 1 to {self._most_lines}")
        return lines * LINE_BYTES

    def _open(self, record: bytes | memoryview, answers: list[memoryview]) -> None:
        if record[0] == RecordType.REFUSED:
            # SEC_CM: CLIENT.REFUSAL.DOUBTED -- anybody can write a refusal, so it proves nothing about what ran
            raise Broken(f"the peer says, without proof: {refused(read_header(record))}")
        reply = self.session.open(record)
        self.witness.note(reply.sequence, reply.count)
        self.in_flight -= reply.count
        self._lines -= self._sizes[reply.count]
        self._last = reply
        answers.append(reply_items(self.codec, reply))
