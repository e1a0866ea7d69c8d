"""What passes between the proxy and the process that runs Lua: lists of byte strings, each behind its length."""

from __future__ import annotations

import struct
from collections.abc import Sequence

LENGTH = struct.Struct(">I")

MESSAGE_LIMIT = 1 << 26
"""Most bytes of one message."""


def pack(parts: Sequence[bytes]) -> bytes:
    """Return the bytes of a message: its length, then its parts."""
    body = b"".join(LENGTH.pack(len(part)) + part for part in parts)
    return LENGTH.pack(len(body)) + body


def body_length(head: bytes) -> int:
    """Return the length of a message from its first four bytes.

    Raises
    ------
    ValueError
        If it is longer than :data:`MESSAGE_LIMIT`.
    """
    (length,) = LENGTH.unpack(head)
    if length > MESSAGE_LIMIT:
        raise ValueError(f"a message of {length} bytes, and at most {MESSAGE_LIMIT} are taken")
    return int(length)


def unpack(body: bytes) -> list[bytes]:
    """Return the parts of a message, from what follows its length.

    Raises
    ------
    ValueError
        If these bytes are no message.
    """
    parts, at = [], 0
    while at < len(body):
        start = at + LENGTH.size
        if start > len(body):
            raise ValueError("a message ends within a length")
        at = start + int(LENGTH.unpack_from(body, at)[0])
        if at > len(body):
            raise ValueError("a message ends within a part")
        parts.append(body[start:at])
    return parts
