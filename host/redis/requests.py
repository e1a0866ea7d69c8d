"""Commands from the bytes that a peer sends, with a bound on everything that the peer can announce.

A command is a RESP array of bulk strings, or a line of words ("inline"). :mod:`hiredis` decodes the arrays. hiredis has
no limits, however: it allocates whatever the header of an array announces (hiredis issue 1357), and it accepts replies
too. Therefore this module first checks that the bytes are an array of bulk strings within the limits, and only then
passes them on. Limits and messages follow Redis 7 (``networking.c``), with lower bounds.

To walk over each command takes longer than all else, so many short commands are decoded at once if their bytes hold
nothing that announces more than a short array, and are taken if they are as long as their words are in bulk strings.
"""

from __future__ import annotations

import re
from itertools import chain

import hiredis

LINE_LIMIT = 1 << 16
"""Bytes of an inline command, or of a header."""

BULK_LIMIT = 1 << 20
"""Bytes of one argument. The map's own limit is far lower, and has a clearer message."""

ARGUMENTS_LIMIT = 1 << 14
"""Arguments of one command."""

REQUEST_LIMIT = 1 << 24
"""Bytes of one command. A connection makes the proxy hold no more than this and one read."""

UNAUTHENTICATED_ARGUMENTS, UNAUTHENTICATED_BULK = 10, 16384
"""The same limits until a connection has given the password, as in Redis."""

_ARRAY = re.compile(rb"\*([1-9][0-9]{0,18})\r\n")
_BULK = re.compile(rb"\$(0|[1-9][0-9]{0,18})\r\n")
_NUMBER = re.compile(rb"0|-?[1-9][0-9]{0,18}")
_SPACE = b" \t\n\v\f\r"
_END = b" \t\n\r"  # of a word without quotes; between words Redis skips \v and \f as well
_ESCAPES = {ord("n"): 10, ord("r"): 13, ord("t"): 9, ord("b"): 8, ord("a"): 7}
_HEX = re.compile(rb"x[0-9a-fA-F]{2}")


AT_ONCE = 1 << 13
"""Bytes of commands that are decoded at once."""

_LONG_ARRAY = re.compile(rb"\*[0-9]{3,}\r\n")
_OTHER_TYPES = [(b"%c" % byte, re.compile(rb"[%c][0-9]+\r\n" % byte)) for byte in b"%=>|~"]
"""Headers of long arrays, and of replies that hiredis would take for something else, by their first bytes."""

_WORD_BYTES = [len(b"$%d\r\n" % length) + length + 2 for length in range(AT_ONCE)]
_HEADER_BYTES = [len(b"*%d\r\n" % count) for count in range(100)]
"""Bytes that an argument takes as a bulk string, by its length; and the header of an array, by its arguments."""

_LEAST_BYTES = _HEADER_BYTES[1] + _WORD_BYTES[0]
"""Bytes of the shortest command."""

_BROWSER = frozenset((b"post", b"host:"))
"""First words of a browser that a page sent here. Redis refuses them too."""


class ProtocolError(Exception):
    """What came is no command, so the connection must be closed. The text is the reply; empty for no reply."""


class RequestReader:
    """Cuts the bytes of one connection into commands.

    Attributes
    ----------
    authenticated : bool
        Whether the higher limits hold.
    """

    def __init__(self, *, authenticated: bool = True) -> None:
        self.authenticated = authenticated
        self._buffer = bytearray()
        self._start = 0  # of the command that is being read
        self._walked = 0  # the command was checked up to here
        self._arguments = -1  # how many are still to come; -1 before the header
        self._decoder = hiredis.Reader()
        self._problem: ProtocolError | None = None

    def feed(self, data: bytes) -> None:
        """Append bytes that came."""
        if self._start:
            del self._buffer[: self._start]
            self._walked -= self._start
            self._start = 0
        self._buffer += data

    def take(self, limit: int) -> list[list[bytes]]:
        """Return the words of up to ``limit`` commands that have come whole. Empty commands are skipped.

        Raises
        ------
        ProtocolError
            As :meth:`next` does, once all commands before the error were returned.
        """
        commands = self._take_alike(limit)
        while not commands or (len(commands) < limit and self._problem is None):
            if self._problem is not None:
                raise self._problem
            try:
                words = self.next()
            except ProtocolError as problem:
                self._problem = problem
                continue
            if words is None:
                return commands
            commands.append(words)
        return commands

    def _take_alike(self, limit: int) -> list[list[bytes]]:
        """Return commands that come next if all are short arrays; else return none, and leave them to :meth:`next`."""
        start = self._start
        if start == len(self._buffer) or self._arguments >= 0 or self._problem is not None or not self.authenticated:
            return []
        chunk = bytes(memoryview(self._buffer)[start : start + min(AT_ONCE, limit * _LEAST_BYTES)])
        # SEC_CM: REDIS.INPUT.BOUNDED -- hiredis reserves memory for what is announced, so it sees no such thing
        if _announces_more(chunk):
            return []
        for end in (len(chunk), chunk.rfind(b"\r\n*") + 2):  # all, or all before what may be a part of a command
            if commands := decode(chunk[:end]):
                if not _BROWSER.isdisjoint([words[0].lower() for words in commands]):
                    return []
                self._next_from(start + end)
                return commands
        return []

    def next(self) -> list[bytes] | None:
        """Return the words of the next command, or None if some of it is still to come. Empty commands are skipped.

        Raises
        ------
        ProtocolError
            With the text for the peer. Nothing after this can be read.
        """
        buffer = self._buffer
        while self._start < len(buffer):
            if buffer[self._start] != 42:  # "*"
                words = self._inline()
            elif self._walk():
                self._decoder.feed(bytes(buffer[self._start : self._walked]))
                words = self._decoder.gets() or []  # an empty array is no command
                self._next_from(self._walked)
            else:
                return None
            if words is None:
                return None
            if words:
                if words[0].lower() in _BROWSER:
                    raise ProtocolError("")
                return words
        return None

    def _next_from(self, position: int) -> None:
        self._start = self._walked = position
        self._arguments = -1

    def _walk(self) -> bool:
        """Check the next part of an array. Return whether the array is complete."""
        buffer = self._buffer
        if self._arguments < 0:
            count = self._header("mbulk count", "multibulk length")
            if count is None:
                return False
            # SEC_CM: REDIS.INPUT.BOUNDED -- no memory is reserved for what is only announced
            if count > ARGUMENTS_LIMIT:
                raise ProtocolError("ERR Protocol error: invalid multibulk length")
            if count > UNAUTHENTICATED_ARGUMENTS and not self.authenticated:
                raise ProtocolError("ERR Protocol error: unauthenticated multibulk length")
            if count <= 0:
                # the decoder must not see *-1, which it takes for no array
                buffer[self._start : self._walked] = b"*0\r\n"
                self._walked = self._start + 4
            self._arguments = max(count, 0)
        limit = BULK_LIMIT if self.authenticated else UNAUTHENTICATED_BULK
        walked, have = self._walked, len(buffer)
        while self._arguments:
            found = _BULK.match(buffer, walked)
            if not found or (length := int(found[1])) > limit:
                self._walked = walked
                self._explain()
                return False
            after = found.end() + length + 2
            if after - self._start > REQUEST_LIMIT:
                raise ProtocolError("ERR Protocol error: too big request")
            if after > have:
                break
            walked = after
            self._arguments -= 1
        self._walked = walked
        return not self._arguments

    def _explain(self) -> None:
        """Raise for bytes that are no bulk string within the limits, unless more bytes could make it one."""
        buffer = self._buffer
        if self._walked >= len(buffer):
            return
        if buffer[self._walked] != 36:  # "$"
            came = chr(buffer[self._walked])
            raise ProtocolError(f"ERR Protocol error: expected '$', got '{came if came.isprintable() else '?'}'")
        length = self._header("bulk count", "bulk length")
        if length is not None and 0 <= length <= BULK_LIMIT:
            raise ProtocolError("ERR Protocol error: unauthenticated bulk length")
        if length is not None:
            raise ProtocolError("ERR Protocol error: invalid bulk length")

    def _header(self, name: str, number: str) -> int | None:
        """Read the header at this place and go past it. Return None if some of it is still to come."""
        end = self._buffer.find(b"\r\n", self._walked, self._walked + LINE_LIMIT)
        if end < 0:
            if len(self._buffer) - self._walked > LINE_LIMIT:
                raise ProtocolError(f"ERR Protocol error: too big {name} string")
            return None
        found = _NUMBER.fullmatch(self._buffer, self._walked + 1, end)
        if not found:
            raise ProtocolError(f"ERR Protocol error: invalid {number}")
        self._walked = end + 2
        return int(found[0])

    def _inline(self) -> list[bytes] | None:
        end = self._buffer.find(b"\n", self._start)
        if end < 0:
            if len(self._buffer) - self._start > LINE_LIMIT:
                raise ProtocolError("ERR Protocol error: too big inline request")
            return None
        line = bytes(self._buffer[self._start : end])
        self._next_from(end + 1)
        return split_words(line.removesuffix(b"\r"))


def _announces_more(chunk: bytes) -> bool:
    """Whether there may be anything in some bytes that announces more than a short array."""
    if _LONG_ARRAY.search(chunk):
        return True
    for byte, header in _OTHER_TYPES:  # noqa: SIM110 -- any() takes three times as long
        if byte in chunk and header.search(chunk):
            return True
    return False


def decode(chunk: bytes) -> list[list[bytes]]:
    """Return the words of commands, without empty ones, if short arrays of bulk strings are all there is; else none.

    Everything else that hiredis reads as ``bytes`` has fewer bytes than a bulk string, or is in :data:`_OTHER_TYPES`.
    """
    reader = hiredis.Reader()
    reader.feed(chunk)
    try:
        commands = list(iter(reader.gets, False))
    except hiredis.HiredisError:
        return []
    if set(map(type, commands)) != {list}:
        return []
    words = list(chain.from_iterable(commands))
    if set(map(type, words)) != {bytes}:
        return []
    headers = sum(map(_HEADER_BYTES.__getitem__, map(len, commands)))
    if headers + sum(map(_WORD_BYTES.__getitem__, map(len, words))) != len(chunk):
        return []
    return commands if all(commands) else [words for words in commands if words]


def split_words(line: bytes) -> list[bytes]:
    r"""Split an inline command into words as Redis does (``sdssplitargs``).

    Words are separated by white space; ``"..."`` takes ``\n``, ``\xff`` and the like, ``'...'`` only ``\'``.

    Raises
    ------
    ProtocolError
        If a quote is not closed, or a closing quote is followed by something else than white space.
    """
    line = line.partition(b"\0")[0]  # for Redis a string ends there
    words: list[bytes] = []
    at = 0
    while True:
        while at < len(line) and line[at] in _SPACE:
            at += 1
        if at == len(line):
            return words
        word = bytearray()
        while at < len(line) and line[at] not in _END:
            if line[at] in b"\"'":
                at = _quoted(line, at, word)
                if at < len(line) and line[at] not in _SPACE:
                    raise ProtocolError("ERR Protocol error: unbalanced quotes in request")
                break
            word.append(line[at])
            at += 1
        words.append(bytes(word))


def _quoted(line: bytes, at: int, word: bytearray) -> int:
    """Append the text in the quotes that open at ``at`` to ``word``. Return the place after the quotes."""
    quote = line[at]
    at += 1
    while at < len(line):
        if line[at] == quote:
            return at + 1
        if line[at] == 92 and at + 1 < len(line):  # backslash
            if quote == 34 and _HEX.match(line, at + 1):
                word.append(int(line[at + 2 : at + 4], 16))
                at += 4
                continue
            if quote == 34 or line[at + 1] == 39:
                word.append(_ESCAPES.get(line[at + 1], line[at + 1]) if quote == 34 else 39)
                at += 2
                continue
        word.append(line[at])
        at += 1
    raise ProtocolError("ERR Protocol error: unbalanced quotes in request")
