"""Records and rings: what client, relay and device exchange, byte by byte.

A record carries one or many operations of a session. It fills whole lines of 64 bytes: ``header (16) || sealed body ||
tag (16)``. The header is ``type (8 bits) || session index (8) || lines (8) || count (8) || session (32) || sequence
(64)``, big-endian, in the clear, and the additional data of the body. ``count`` is the number of operations of a
``DATA`` record, and the refusal code of a ``REFUSED`` one. The cipher is AES-256-GCM with the nonce ``direction (32) ||
sequence (64)``. :mod:`omap.bodies` describes what a ``DATA`` record seals, :mod:`omap.session` the bodies of
handshakes.

The size of a record follows from its type and the number of its operations alone. An operation takes one *item*, whose
size is the same in commands and in responses, whatever the operation is. So a response has as many lines as its
command, unless it is a refusal, which has one. A command whose lines do not fit its type and count is malformed: it
counts as one line, and is refused.

The shared buffer is ``control block || command ring || response ring || journal ring || pages``. Rings consist of
lines, and their counters count lines and only grow; line n of a ring is at place ``n % ring_lines``. A record lies in
consecutive lines of a ring. Each command has one response, and responses come in the order of the commands.

A device that writes a journal puts records of its own into the journal ring: what commands changed
(:mod:`omap.journal`), and snapshots of the whole map (:mod:`omap.snapshot`). While it restores a map, the host gives
them back to it through the command ring (:mod:`omap.restore`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

from omap.errors import ParamsError
from omap.params import TAG_BYTES, Params

WIRE_VERSION = 2
"""Version of all that this module describes. Client, relay and device refuse any other."""

LINE_BYTES = 64
"""Bytes of a line."""

HEADER = struct.Struct(">BBBBIQ")
SEQUENCE = struct.Struct(">Q")
"""The last field of a header."""
SEQUENCE_AT = HEADER.size - SEQUENCE.size
"""Where it stands. Records of one session and of as many operations differ in it alone, and in what is sealed."""
SESSIONS = 16
"""Most sessions that a device keeps open at once."""

PENDING_HANDSHAKES = 16
"""Most handshakes that a device keeps pending at once. The handshake for session n is at place ``n % 16``."""

ITEM_ALIGNMENT = 16
"""Items are multiples of so many bytes: a block of AES."""

PREAMBLE_BYTES = 16
"""Bytes of a body before its items."""

_AROUND_ITEMS = HEADER.size + PREAMBLE_BYTES + TAG_BYTES

MOST_LINES = 64
"""Most lines of a record, unless a single operation needs more."""

MOST_COUNT = 255
"""Most operations of a record, because the count has 8 bits."""

HELLO_LINES = 2
"""Lines of a HELLO and of its answer. The second line is zeros: room for a key exchange to come."""

SOURCE_LINES = 2
"""Lines of a SOURCE."""

MOST_ANCESTORS = 16
"""Most ancestors of a map that are remembered; ``count`` of a START says how many there are."""

START_BYTES, ANCESTOR_BYTES = 80, 32
"""Bytes that a START seals, and as many more for each ancestor."""

CONTROL_BYTES = 4096
"""Bytes of the control block; the pages after the rings begin at a multiple of them."""


class RecordType(IntEnum):
    """Type of a record. A response has the type of its command, or is ``REFUSED``."""

    HELLO = 1
    CONFIRM = 2
    DATA = 3
    REFUSED = 4
    JOURNAL = 5
    """What a DATA record changed."""
    SNAPSHOT = 6
    """A part of all slots of a map."""
    START = 7
    """Record 0 of the journal of a map, and the end of a snapshot: which map it is, and its ancestors."""
    SOURCE = 8
    """In the clear: which map or snapshot the records after it belong to."""
    END = 9
    """The host has nothing more to restore."""


class Direction(IntEnum):
    """First word of the nonce of a record of a session. Journals and snapshots have the type of the record there."""

    COMMAND = 0
    RESPONSE = 1


class Refusal(IntEnum):
    """Code of a ``REFUSED`` record: why a command did not run. It is in the clear and not authenticated."""

    UNKNOWN_SESSION = 1
    NO_HANDSHAKE = 2
    WRONG_KEY = 3
    MALFORMED = 4
    REKEY = 5
    FAULT = 6
    ALTERED = 7
    OUT_OF_TURN = 8
    CREDENTIAL = 9
    RESTORING = 10
    RESTORE_FAILED = 11


ENDS_SESSION = frozenset({Refusal.ALTERED, Refusal.OUT_OF_TURN})
"""Refusals after which the session is over: its record was tampered with on the way."""


CLOSE = 4
"""Kind of an operation that ends its session. It runs as a NOP, and the device forgets the session after its record."""


class Header(NamedTuple):
    """The clear part of a record. ``count`` of a REFUSED record is the refusal code."""

    type: int
    session_index: int
    lines: int
    count: int  # type: ignore[assignment]  # nobody counts the fields of a header
    session: int
    sequence: int

    def pack(self) -> bytes:
        """Return the 16 bytes of the header."""
        return HEADER.pack(*self)


def read_header(record: bytes | memoryview) -> Header:
    """Return the header of a record."""
    return Header._make(HEADER.unpack_from(record))


def refusal(header: Header, why: Refusal) -> bytes:
    """Return the REFUSED record, of one line, that answers the command with ``header``."""
    head = Header(RecordType.REFUSED, header.session_index, 1, why, header.session, header.sequence)
    return head.pack().ljust(LINE_BYTES, b"\0")


@dataclass(frozen=True)
class RecordCodec:
    """Sizes of the records of one map.

    Parameters
    ----------
    params : Params
        The map.
    """

    params: Params

    @cached_property
    def item_bytes(self) -> int:
        """Bytes of an item: kind, key and value, in whole blocks of 16 bytes."""
        return -(-(1 + self.params.tuple_bytes) // ITEM_ALIGNMENT) * ITEM_ALIGNMENT

    @cached_property
    def most_lines(self) -> int:
        """Lines of the longest record."""
        return max(MOST_LINES, self.lines(1))

    @cached_property
    def most_operations(self) -> int:
        """Most operations of a record."""
        return min(self.operations(self.most_lines), MOST_COUNT)

    def operations(self, lines: int) -> int:
        """Return how many operations ``lines`` lines have room for; 0 if there are too few for one."""
        return max(0, LINE_BYTES * lines - _AROUND_ITEMS) // self.item_bytes

    def lines(self, count: int) -> int:
        """Return the lines of a DATA record of ``count`` operations."""
        return (_AROUND_ITEMS + count * self.item_bytes + LINE_BYTES - 1) // LINE_BYTES

    def text_bytes(self, count: int) -> int:
        """Return the bytes that a DATA record of ``count`` operations seals."""
        return LINE_BYTES * self.sizes[count] - HEADER.size - TAG_BYTES

    @property
    def bytes_each_way(self) -> float:
        """Bytes that an operation takes in a full record, in commands and as many in responses."""
        return LINE_BYTES * self.lines(self.most_operations) / self.most_operations

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Lines of a DATA record, by the number of its operations; 0 for none, because there is no such record."""
        return (0, *(self.lines(count) for count in range(1, self.most_operations + 1)))

    def command_lines(self, type_: int, lines: int, count: int) -> int:
        """Return the lines of a command with this type, lines and count in its header; 0 if it is malformed."""
        if type_ == RecordType.DATA:
            fits = self._fits(lines, count)
        else:
            wanted = HELLO_LINES if type_ == RecordType.HELLO else 1 if type_ == RecordType.CONFIRM else 0
            fits = lines == wanted and count == 0
        return lines if fits else 0

    def _fits(self, lines: int, count: int) -> bool:
        """Whether a record of ``count`` operations has ``lines`` lines."""
        return 0 < count < len(self.sizes) and lines == self.sizes[count]

    # -- journals and snapshots -----------------------------------------------------------------------------------

    @cached_property
    def chunk_lines(self) -> int:
        """Lines of a SNAPSHOT record, which has as many operations as a record can have."""
        return self.lines(self.most_operations)

    @cached_property
    def chunks(self) -> int:
        """SNAPSHOT records of a snapshot: one operation for each slot of the map, in full records."""
        return -(-self.params.slots // self.most_operations)

    def restore_lines(self, type_: int, lines: int, count: int) -> int:
        """Return the lines of a record that restores a map, as :meth:`command_lines` does; 0 if it is malformed."""
        if type_ == RecordType.JOURNAL:
            fits = self._fits(lines, count)
        elif type_ == RecordType.SNAPSHOT:
            fits = (lines, count) == (self.chunk_lines, self.most_operations)
        elif type_ == RecordType.START:
            fits = count <= MOST_ANCESTORS and lines == start_lines(count)
        else:
            wanted = SOURCE_LINES if type_ == RecordType.SOURCE else 1 if type_ == RecordType.END else 0
            fits = lines == wanted and count == 0
        return lines if fits else 0


def start_lines(ancestors: int) -> int:
    """Return the lines of a START with so many ancestors."""
    return -(-(HEADER.size + START_BYTES + ancestors * ANCESTOR_BYTES + TAG_BYTES) // LINE_BYTES)


class Counter(IntEnum):
    """Byte offsets of the counters in the control block. A counter has 64 bits, little-endian.

    Those that the host writes have one line, and those that the device writes have another.
    """

    COMMANDS_WRITTEN = 0x000
    """Written by the host: lines ever put into the command ring. It rises after their bytes are there."""
    RESPONSES_TAKEN = 0x008
    """Written by the host: lines ever taken out of the response ring."""
    COMMANDS_SETTLED = 0x010
    """Written by the host, and read by no device: lines of commands whose responses were taken out, modulo 2**32, in
    the upper half, and lines of these responses, modulo 2**32, in the lower half. A driver that follows another finds
    there which responses are due. It is written before RESPONSES_TAKEN, in one store, so that both halves fit together.
    A host keeps the commands after it, and so there is room for their responses."""
    JOURNAL_TAKEN = 0x018
    """Written by the host: lines ever taken out of the journal ring."""
    COMMANDS_FETCHED = 0x040
    """Written by the device: lines ever fetched from the command ring. Their places are free again."""
    RESPONSES_WRITTEN = 0x048
    """Written by the device: lines of whole records ever put into the response ring, after their bytes are there."""
    JOURNAL_WRITTEN = 0x050
    """Written by the device: lines of whole records ever put into the journal ring, after their bytes are there. It
    rises before the responses to the commands that are journalled there."""
    REQUESTS = 0x200
    """Written by a host that can't write REQUEST: a new number is a request, and its lowest 8 bits say which."""
    REQUESTS_DONE = 0x240
    """Written by the device: the last number of REQUESTS that it has served."""


def read_counter(buffer: bytearray | memoryview, counter: Counter) -> int:
    """Return a counter of the control block."""
    # one load here and one store below: struct moves single bytes and clears first, which the other side could see
    return memoryview(buffer)[counter : counter + 8].cast("Q")[0]


def write_counter(buffer: bytearray | memoryview, counter: Counter, value: int) -> None:
    """Set a counter of the control block."""
    memoryview(buffer)[counter : counter + 8].cast("Q")[0] = value


LEAST_RING_LINES, MAX_RING_LINES = 1 << 7, 1 << 16
"""Fewest and most lines of a ring. The fewest hold the longest record of any map."""

RINGS = 3
"""Rings of a buffer. All have the same length."""

RING_LINES = 1 << 12
"""Lines of a ring unless somebody asks for others."""


@dataclass(frozen=True)
class BufferLayout:
    """Where the parts of the buffer lie that host and device share.

    Parameters
    ----------
    params : Params
        The map.
    ring_lines : int
        Lines of each ring, a power of two.

    Raises
    ------
    ParamsError
        If ``ring_lines`` is no power of two from 128 to 65536.
    """

    params: Params
    ring_lines: int = RING_LINES

    def __post_init__(self) -> None:
        lines = self.ring_lines
        if not LEAST_RING_LINES <= lines <= MAX_RING_LINES or lines & (lines - 1):
            raise ParamsError(
                f"ring_lines is {lines}; it must be a power of two from {LEAST_RING_LINES} to {MAX_RING_LINES}"
            )

    @classmethod
    def largest(cls, params: Params) -> BufferLayout:
        """Return the layout with the longest rings. It must fit, because users may ask for any rings later."""
        return cls(params, MAX_RING_LINES)

    @cached_property
    def ring_bytes(self) -> int:
        """Bytes of a ring."""
        return self.ring_lines * LINE_BYTES

    @cached_property
    def commands(self) -> int:
        """Offset of the command ring."""
        return CONTROL_BYTES

    @cached_property
    def responses(self) -> int:
        """Offset of the response ring."""
        return self.commands + self.ring_bytes

    @cached_property
    def journal(self) -> int:
        """Offset of the journal ring. It stays empty if the device writes no journal."""
        return self.responses + self.ring_bytes

    @cached_property
    def pages(self) -> int:
        """Offset of page 0."""
        return -(-(self.commands + RINGS * self.ring_bytes) // CONTROL_BYTES) * CONTROL_BYTES

    @cached_property
    def size(self) -> int:
        """Bytes of the whole buffer."""
        return self.pages + self.params.host_bytes

    def read_lines(self, buffer: memoryview, ring: int, first: int, count: int) -> bytes:
        """Return ``count`` lines, from number ``first`` on, of the ring at offset ``ring``."""
        at = (first % self.ring_lines) * LINE_BYTES
        end = at + count * LINE_BYTES
        if end <= self.ring_bytes:
            return bytes(buffer[ring + at : ring + end])
        return bytes(buffer[ring + at : ring + self.ring_bytes]) + bytes(buffer[ring : ring + end - self.ring_bytes])

    def write_lines(self, buffer: memoryview, ring: int, first: int, data: bytes | bytearray | memoryview) -> None:
        """Put whole lines into the ring at offset ``ring``, from number ``first`` on."""
        at = (first % self.ring_lines) * LINE_BYTES
        end = at + len(data)
        if end <= self.ring_bytes:
            buffer[ring + at : ring + end] = data
            return
        with memoryview(data) as view:
            here = self.ring_bytes - at
            buffer[ring + at : ring + self.ring_bytes] = view[:here]
            buffer[ring : ring + end - self.ring_bytes] = view[here:]
