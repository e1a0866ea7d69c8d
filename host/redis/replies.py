"""Replies in both versions of the Redis protocol: RESP2, and RESP3 after ``HELLO 3``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

OK = b"+OK\r\n"

_BULK_HEADS = [b"$%d\r\n" % length for length in range(1024)]
"""Heads of short bulk strings, because to look one up takes less time than to make it."""

Value = bytes | str | int | None | Sequence["Value"] | Mapping[str, "Value"]
"""What :meth:`Encoder.value` takes; a ``str`` becomes a simple string, ``bytes`` a bulk string."""


def error(text: str) -> bytes:
    """Return an error reply. Each line break becomes a space, because it would end the reply early."""
    return b"-" + text.replace("\r", " ").replace("\n", " ").encode("utf-8", "surrogateescape") + b"\r\n"


def integer(number: int) -> bytes:
    """Return an integer reply."""
    return b":%d\r\n" % number


class Encoder:
    """Replies whose form depends on the protocol version.

    Parameters
    ----------
    version : int
        2 or 3.
    """

    def __init__(self, version: int) -> None:
        self.version = version
        self.null = b"_\r\n" if version == 3 else b"$-1\r\n"
        self.null_array = b"_\r\n" if version == 3 else b"*-1\r\n"

    def bulk(self, data: bytes | None) -> bytes:
        """Return a bulk string, or the null of this protocol version."""
        if data is None:
            return self.null
        length = len(data)
        return (_BULK_HEADS[length] if length < len(_BULK_HEADS) else b"$%d\r\n" % length) + data + b"\r\n"

    def bulks(self, items: Iterable[bytes | None]) -> bytes:
        """Return an array of bulk strings."""
        parts = [self.bulk(item) for item in items]
        return b"*%d\r\n" % len(parts) + b"".join(parts)

    def text(self, text: str) -> bytes:
        """Return text for people: a verbatim string in RESP3, a bulk string in RESP2."""
        data = text.encode()
        return b"=%d\r\ntxt:%b\r\n" % (len(data) + 4, data) if self.version == 3 else self.bulk(data)

    def value(self, value: Value) -> bytes:
        """Return a nested value. A mapping is a flat array in RESP2."""
        match value:
            case None | bytes():
                return self.bulk(value)
            case str():
                return b"+%b\r\n" % value.encode()
            case int():
                return integer(value)
            case Mapping():
                head = b"%%%d\r\n" % len(value) if self.version == 3 else b"*%d\r\n" % (2 * len(value))
                return head + b"".join(self.bulk(name.encode()) + self.value(item) for name, item in value.items())
            case _:
                return b"*%d\r\n" % len(value) + b"".join(map(self.value, value))


RESP2 = Encoder(2)
RESP3 = Encoder(3)
