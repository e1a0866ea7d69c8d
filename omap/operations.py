"""Operations and responses as plain values: what goes into a map, and what comes out."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Kind(IntEnum):
    """Kind of an operation, with its number in a command record."""

    NOP = 0
    GET = 1
    PUT = 2
    DELETE = 3


class Status(IntEnum):
    """Outcome of an operation, with its number in a response record."""

    OK = 0
    NOT_FOUND = 1
    FULL = 2
    DENIED = 3
    """The client's credential does not allow it. It ran as a NOP."""


class Operation(NamedTuple):
    """One operation. A NOP ignores its key, and only a PUT uses its value."""

    kind: Kind
    key: bytes = b""
    value: bytes = b""


class Response(NamedTuple):
    """Outcome of one operation, and the value that the key had before it (``None`` if it had none).

    A PUT of a new key answers ``OK`` with no previous value; GET and DELETE of an absent key answer ``NOT_FOUND``.
    """

    status: Status
    previous: bytes | None = None
