"""Records and rings: what client, relay and device exchange, byte by byte.

All records of a map have one size, whatever they carry: ``header (16) || body``. The header is
``type (8 bits) || session index (8) || code (16) || session (32) || sequence (64)``, big-endian, in the clear, and the
additional data of the body. The body of a ``DATA`` record is ``ciphertext || tag (16)``, AES-256-GCM, with the nonce
``direction (32) || sequence (64)``. Handshake bodies are described in :mod:`omap.session`.

The shared buffer is ``control block || command ring || response ring || pages``. Its counters only grow; entry n of a
ring is at place ``n % ring_entries``. Each command has one response, and responses come in the order of the commands.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

from omap.errors import ParamsError
from omap.operations import Kind, Operation, Response, Status
from omap.params import TAG_BYTES, Params

WIRE_VERSION = 1
"""Version of all that this module describes. Client, relay and device refuse any other."""

HEADER = struct.Struct(">BBHIQ")
SESSIONS = 16
"""Most sessions that a device keeps open at once."""

PENDING_HANDSHAKES = 16
"""Most handshakes that a device keeps pending at once. The handshake for session n is at place ``n % 16``."""

COMMAND_FIELDS = struct.Struct(">B7x")
"""First fields of the plaintext of a command: the kind. Key, value and zeros follow."""

RESPONSE_FIELDS = struct.Struct(">BB2xIQQ")
"""First fields of the plaintext of a response: status, whether there was a value, overruns, number of the operation,
live keys. The value and zeros follow."""

_STATUSES = tuple(Status)

CONTROL_BYTES = 4096
"""Bytes of the control block; the pages after the rings begin at a multiple of them."""


class RecordType(IntEnum):
    """Type of a record. A response has the type of its command, or is ``REFUSED``."""

    HELLO = 1
    CONFIRM = 2
    DATA = 3
    REFUSED = 4


class Direction(IntEnum):
    """First word of the nonce of a record."""

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


ENDS_SESSION = frozenset({Refusal.ALTERED, Refusal.OUT_OF_TURN})
"""Refusals after which the session is over: its record was tampered with on the way."""


CLOSE = 4
"""Kind of the last command of a session. It runs as a NOP, and then the device forgets the session."""


class Header(NamedTuple):
    """The clear part of a record."""

    type: int
    session_index: int
    code: int
    session: int
    sequence: int

    def pack(self) -> bytes:
        """Return the 16 bytes of the header."""
        return HEADER.pack(*self)


def read_header(record: bytes | memoryview) -> Header:
    """Return the header of a record."""
    return Header._make(HEADER.unpack_from(record))


class Reply(NamedTuple):
    """What a response record says."""

    response: Response
    sequence: int
    """Number of the operation since the map was formatted."""
    live: int
    """Live keys after the operation."""
    overruns: int
    """Events so far that departed later than their fixed offset; 0 in the model, which has no time."""


@dataclass(frozen=True)
class RecordCodec:
    """Layout of the records of one map.

    Parameters
    ----------
    params : Params
        The map.
    """

    params: Params

    @cached_property
    def record_bytes(self) -> int:
        """Bytes of every record: those of a command or of a response, whichever is longer, in whole 64-byte lines."""
        command = COMMAND_FIELDS.size + self.params.tuple_bytes
        response = RESPONSE_FIELDS.size + self.params.value_bytes
        return -(-(HEADER.size + max(command, response) + TAG_BYTES) // 64) * 64

    @cached_property
    def plaintext_bytes(self) -> int:
        """Bytes of plaintext that a DATA record seals."""
        return self.record_bytes - HEADER.size - TAG_BYTES

    def pack_command(self, operation: Operation) -> bytes:
        """Return the plaintext of a command; the operation must fit the map."""
        kind, key, value = operation
        if not kind or kind == CLOSE:  # key and value of a NOP never leave the client
            return COMMAND_FIELDS.pack(kind).ljust(self.plaintext_bytes, b"\0")
        if kind != Kind.PUT:
            value = b""
        return (COMMAND_FIELDS.pack(kind) + key + value).ljust(self.plaintext_bytes, b"\0")

    def unpack_command(self, plaintext: bytes) -> tuple[int, bytes, bytes]:
        """Return kind, key and value. A kind that does not exist reads as NOP."""
        at = COMMAND_FIELDS.size
        end = at + self.params.key_bytes
        kind = plaintext[0] if plaintext[0] <= CLOSE else Kind.NOP
        return kind, plaintext[at:end], plaintext[end : end + self.params.value_bytes]

    def pack_reply(self, reply: Reply) -> bytes:
        """Return the plaintext of a response."""
        status, previous = reply.response
        found = previous is not None
        fields = RESPONSE_FIELDS.pack(status, found, reply.overruns, reply.sequence, reply.live)
        return (fields + (previous or b"")).ljust(self.plaintext_bytes, b"\0")

    def unpack_reply(self, plaintext: bytes) -> Reply:
        """Return what a response's plaintext says."""
        status, found, overruns, sequence, live = RESPONSE_FIELDS.unpack_from(plaintext)
        previous = plaintext[RESPONSE_FIELDS.size :][: self.params.value_bytes] if found else None
        return Reply(Response(_STATUSES[status], previous), sequence, live, overruns)


class Counter(IntEnum):
    """Byte offsets of the counters in the control block. A counter has 64 bits, little-endian, and its own line."""

    COMMANDS_WRITTEN = 0x000
    """Written by the host: commands ever put into the ring. It rises after their bytes are there."""
    RESPONSES_TAKEN = 0x040
    """Written by the host: responses ever taken out. The device runs at most ``ring_entries`` ahead."""
    COMMANDS_FETCHED = 0x080
    """Written by the device: commands ever fetched. Their places are free again."""
    RESPONSES_WRITTEN = 0x0C0
    """Written by the device: responses ever put into the ring. It rises after their bytes are there."""
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


MAX_RING_ENTRIES = 1 << 16
"""Most records in a ring."""


@dataclass(frozen=True)
class BufferLayout:
    """Where the parts of the buffer lie that host and device share.

    Parameters
    ----------
    params : Params
        The map.
    ring_entries : int
        Records in each ring, a power of two.

    Raises
    ------
    ParamsError
        If ``ring_entries`` is no power of two from 2 to 65536.
    """

    params: Params
    ring_entries: int = 1024

    def __post_init__(self) -> None:
        if self.ring_entries not in {1 << n for n in range(1, MAX_RING_ENTRIES.bit_length())}:
            raise ParamsError(
                f"ring_entries is {self.ring_entries}; it must be a power of two from 2 to {MAX_RING_ENTRIES}"
            )

    @classmethod
    def largest(cls, params: Params) -> BufferLayout:
        """Return the layout with the longest rings. It must fit, because users may ask for any rings later."""
        return cls(params, MAX_RING_ENTRIES)

    @cached_property
    def record_bytes(self) -> int:
        """Bytes of a ring entry."""
        return RecordCodec(self.params).record_bytes

    @cached_property
    def commands(self) -> int:
        """Offset of the command ring."""
        return CONTROL_BYTES

    @cached_property
    def responses(self) -> int:
        """Offset of the response ring."""
        return self.commands + self.ring_entries * self.record_bytes

    @cached_property
    def pages(self) -> int:
        """Offset of page 0."""
        return -(-(self.responses + self.ring_entries * self.record_bytes) // CONTROL_BYTES) * CONTROL_BYTES

    @cached_property
    def size(self) -> int:
        """Bytes of the whole buffer."""
        return self.pages + self.params.host_bytes

    def entry(self, ring: int, number: int) -> slice:
        """Return where entry ``number`` of the ring at offset ``ring`` lies."""
        at = ring + number % self.ring_entries * self.record_bytes
        return slice(at, at + self.record_bytes)

    def entries_at(self, ring: int, first: int, count: int) -> list[slice]:
        """Return where the ``count`` entries from number ``first`` on lie."""
        size, last = self.record_bytes, self.ring_entries - 1
        starts = [ring + (number & last) * size for number in range(first, first + count)]
        return [slice(at, at + size) for at in starts]
