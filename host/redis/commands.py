"""Commands about data, and the plan of each. COMMAND, the arity check and the docs use :data:`COMMANDS` too."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from host.redis import replies
from host.redis.plans import OUT_OF_ROOM, Change, Decide, Direct, Plan, Refused
from host.redis.replies import Encoder
from omap.cells import Cells
from omap.errors import InputError
from omap.operations import Kind, Operation, Response, Status

NOT_AN_INTEGER = "ERR value is not an integer or out of range"
SYNTAX = "ERR syntax error"
EXPIRY = "ERR expiry is not supported: an oblivious map keeps no times; SET takes NX, XX and GET"
_TIMES = (b"ex", b"px", b"exat", b"pxat")
_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,18}")
_LOWEST, _HIGHEST = -(1 << 63), (1 << 63) - 1


def parse_integer(data: bytes) -> int:
    """Return a 64-bit integer, read as strictly as Redis does: no sign ``+``, no leading zeros, no spaces."""
    number = int(data) if _INTEGER.fullmatch(data) else _HIGHEST + 1
    if not _LOWEST <= number <= _HIGHEST:
        raise Refused(NOT_AN_INTEGER)
    return number


def wrong_arity(name: str) -> Refused:
    """Return the error about a wrong number of arguments."""
    return Refused(f"ERR wrong number of arguments for '{name}' command")


class Data:
    """Plans for commands about data.

    Parameters
    ----------
    cells : Cells
        How names and values lie in the map.

    Reveals
        Of each command: how many operations it takes, and whether they are a change (:mod:`host.redis.plans`). This
        follows from the words of the command.
    """

    def __init__(self, cells: Cells) -> None:
        self.cells = cells

    # -- from names to operations, and back ---------------------------------------------------------------------

    def key(self, name: bytes) -> bytes:
        """Return the map's key for a name."""
        try:
            return self.cells.key(name)
        except InputError as problem:
            raise Refused(f"ERR key is too long: {problem}") from None

    def cell(self, name: bytes, value: bytes) -> bytes:
        """Return the cell of a value."""
        try:
            return self.cells.pack(name, value)
        except InputError:
            room = max(0, self.cells.room(name))
            raise Refused(f"ERR value is too long: {len(value)} bytes, and under this key {room} fit") from None

    def value(self, name: bytes, cell: bytes | None) -> bytes | None:
        """Return the value in a cell."""
        if cell is None:
            return None
        try:
            # SEC_CM: REDIS.KEY.VERIFIED -- a long key is looked up by its keyed image, and its cell names the key
            return self.cells.unpack(name, cell)
        except InputError as problem:
            raise Refused(f"ERR omap: {problem}") from None

    def _gets(self, names: list[bytes]) -> list[Operation]:
        return [Operation(Kind.GET, self.key(name)) for name in names]

    def _change(self, name: bytes, decide: Decide) -> Change:
        return Change(name, self.key(name), decide)

    def _put(self, name: bytes, value: bytes) -> Operation:
        return Operation(Kind.PUT, self.key(name), self.cell(name, value))

    def _values(self, names: list[bytes], answers: list[Response]) -> list[bytes | None]:
        return [self.value(name, answer.previous) for name, answer in zip(names, answers, strict=True)]

    # -- one operation a key ------------------------------------------------------------------------------------

    def get(self, words: list[bytes], form: Encoder) -> Plan:
        """``GET key``."""
        name = words[1]
        return Direct(self._gets([name]), lambda answers: form.bulk(self.value(name, answers[0].previous)))

    def mget(self, words: list[bytes], form: Encoder) -> Plan:
        """``MGET key ...``."""
        names = words[1:]
        return Direct(self._gets(names), lambda answers: form.bulks(self._values(names, answers)))

    def strlen(self, words: list[bytes], form: Encoder) -> Plan:
        """``STRLEN key``."""
        name = words[1]
        return Direct(
            self._gets([name]), lambda answers: replies.integer(len(self.value(name, answers[0].previous) or b""))
        )

    def exists(self, words: list[bytes], form: Encoder) -> Plan:
        """``EXISTS key ...``; a key given twice counts twice."""
        names = words[1:]
        return Direct(
            self._gets(names),
            lambda answers: replies.integer(sum(value is not None for value in self._values(names, answers))),
        )

    def delete(self, words: list[bytes], form: Encoder) -> Plan:
        """``DEL key ...``."""
        operations = [Operation(Kind.DELETE, self.key(name)) for name in words[1:]]
        return Direct(operations, lambda answers: replies.integer(sum(a.status == Status.OK for a in answers)))

    def getdel(self, words: list[bytes], form: Encoder) -> Plan:
        """``GETDEL key``."""
        name = words[1]
        operation = Operation(Kind.DELETE, self.key(name))
        return Direct([operation], lambda answers: form.bulk(self.value(name, answers[0].previous)))

    def getset(self, words: list[bytes], form: Encoder) -> Plan:
        """``GETSET key value``."""
        name = words[1]

        def reply(answers: list[Response]) -> bytes:
            _check_room(answers)
            return form.bulk(self.value(name, answers[0].previous))

        return Direct([self._put(name, words[2])], reply)

    def mset(self, words: list[bytes], form: Encoder) -> Plan:
        """``MSET key value ...``. If the map becomes full on the way, the values that found room stay."""
        if len(words) % 2 == 0:
            raise wrong_arity("mset")
        operations = [self._put(name, value) for name, value in zip(words[1::2], words[2::2], strict=True)]
        return Direct(operations, _stored)

    # -- GET, then PUT or NOP -----------------------------------------------------------------------------------

    def set(self, words: list[bytes], form: Encoder) -> Plan:
        """``SET key value [NX | XX] [GET]``: one operation, or two with NX or XX."""
        name, value = words[1], words[2]
        condition, previous = _set_options(words[3:])
        if condition is None:
            return self.getset(words, form) if previous else Direct([self._put(name, value)], _stored)
        self.cell(name, value)  # refuses a value that is too long, whatever is found

        def decide(found: bytes | None) -> tuple[bytes | None, bytes]:
            holds = (found is None) == (condition == b"nx")
            if previous:
                return (value if holds else None), form.bulk(found)
            return (value, replies.OK) if holds else (None, form.null)

        return self._change(name, decide)

    def setnx(self, words: list[bytes], form: Encoder) -> Plan:
        """``SETNX key value``."""
        value = words[2]
        self.cell(words[1], value)
        return self._change(
            words[1], lambda found: (value, replies.integer(1)) if found is None else (None, replies.integer(0))
        )

    def append(self, words: list[bytes], form: Encoder) -> Plan:
        """``APPEND key value``."""

        def decide(found: bytes | None) -> tuple[bytes | None, bytes]:
            value = (found or b"") + words[2]
            return value, replies.integer(len(value))

        return self._change(words[1], decide)

    def incr(self, words: list[bytes], form: Encoder) -> Plan:
        """``INCR key``."""
        return self._add(words[1], 1)

    def decr(self, words: list[bytes], form: Encoder) -> Plan:
        """``DECR key``."""
        return self._add(words[1], -1)

    def incrby(self, words: list[bytes], form: Encoder) -> Plan:
        """``INCRBY key increment``."""
        return self._add(words[1], parse_integer(words[2]))

    def decrby(self, words: list[bytes], form: Encoder) -> Plan:
        """``DECRBY key decrement``."""
        decrement = parse_integer(words[2])
        if decrement == _LOWEST:
            raise Refused("ERR decrement would overflow")
        return self._add(words[1], -decrement)

    def _add(self, name: bytes, increment: int) -> Plan:
        def decide(found: bytes | None) -> tuple[bytes | None, bytes]:
            number = (0 if found is None else parse_integer(found)) + increment
            if not _LOWEST <= number <= _HIGHEST:
                raise Refused("ERR increment or decrement would overflow")
            return b"%d" % number, replies.integer(number)

        return self._change(name, decide)


def _check_room(answers: list[Response]) -> None:
    if any(answer.status == Status.FULL for answer in answers):
        raise Refused(OUT_OF_ROOM)


def _stored(answers: list[Response]) -> bytes:
    _check_room(answers)
    return replies.OK


def _set_options(options: list[bytes]) -> tuple[bytes | None, bool]:
    """Return the condition of a SET (``nx``, ``xx`` or None), and whether its reply is the previous value."""
    condition, previous, expiry = None, False, False
    rest = iter(options)
    for option in map(bytes.lower, rest):
        if option in (b"nx", b"xx") and condition in (None, option):
            condition = option
        elif option == b"get":
            previous = True
        elif (option == b"keepttl" and not expiry) or (
            option in _TIMES and not expiry and next(rest, None) is not None
        ):
            expiry = True
        else:
            raise Refused(SYNTAX)
    if expiry:
        raise Refused(EXPIRY)
    return condition, previous


@dataclass(frozen=True)
class Command:
    """One entry of the table.

    Parameters
    ----------
    plan : callable or None
        Method of :class:`Data`; None for a command about the connection or the server.
    arity : int
        Number of words, with the name; a negative number says that there may be more.
    operations : str
        Map operations that the command takes, for the docs.
    flags : tuple of str
        Flags that COMMAND reports.
    keys : tuple of int
        Place of the first key, of the last, and the step between them.
    """

    plan: Callable[[Data, list[bytes], Encoder], Plan] | None
    arity: int
    operations: str
    flags: tuple[str, ...] = ()
    keys: tuple[int, int, int] = (0, 0, 0)


_READ, _WRITE, _OTHER = ("readonly", "fast"), ("write", "denyoom"), ("fast", "loading", "stale")
_ONE, _ALL, _PAIRS = (1, 1, 1), (1, -1, 1), (1, -1, 2)

# SEC_CM: REDIS.OPS.FIXED -- the column `operations` follows from the words of a command, never from what is found
COMMANDS: dict[str, Command] = {
    "append": Command(Data.append, 3, "2", _WRITE, _ONE),
    "auth": Command(None, -2, "0", (*_OTHER, "no_auth")),
    "client": Command(None, -2, "0", _OTHER),
    "command": Command(None, -1, "0", _OTHER),
    "config": Command(None, -2, "0", _OTHER),
    "dbsize": Command(None, 1, "1", _READ),
    "decr": Command(Data.decr, 2, "2", _WRITE, _ONE),
    "decrby": Command(Data.decrby, 3, "2", _WRITE, _ONE),
    "del": Command(Data.delete, -2, "1 a key", ("write",), _ALL),
    "echo": Command(None, 2, "0", _OTHER),
    "exists": Command(Data.exists, -2, "1 a key", _READ, _ALL),
    "get": Command(Data.get, 2, "1", _READ, _ONE),
    "getdel": Command(Data.getdel, 2, "1", ("write", "fast"), _ONE),
    "getset": Command(Data.getset, 3, "1", _WRITE, _ONE),
    "hello": Command(None, -1, "0", (*_OTHER, "no_auth")),
    "incr": Command(Data.incr, 2, "2", _WRITE, _ONE),
    "incrby": Command(Data.incrby, 3, "2", _WRITE, _ONE),
    "info": Command(None, -1, "0", _OTHER),
    "mget": Command(Data.mget, -2, "1 a key", _READ, _ALL),
    "mset": Command(Data.mset, -3, "1 a key", _WRITE, _PAIRS),
    "ping": Command(None, -1, "0", _OTHER),
    "quit": Command(None, -1, "0", (*_OTHER, "no_auth")),
    "reset": Command(None, 1, "0", (*_OTHER, "no_auth")),
    "select": Command(None, 2, "0", _OTHER),
    "set": Command(Data.set, -3, "1; 2 with NX or XX", _WRITE, _ONE),
    "setnx": Command(Data.setnx, 3, "2", _WRITE, _ONE),
    "strlen": Command(Data.strlen, 2, "1", _READ, _ONE),
}

_NO_LIST, _NO_EXPIRY = "an oblivious map can't list its keys", "an oblivious map keeps no times"
_NO_GROUP = "send MSET or a plain pipeline (transaction=False in redis-py)"
WHY_NOT: dict[str, str] = {
    **dict.fromkeys(("keys", "scan", "randomkey"), _NO_LIST),
    **dict.fromkeys(("expire", "pexpire", "expireat", "pexpireat", "ttl", "pttl", "persist"), _NO_EXPIRY),
    **dict.fromkeys(("setex", "psetex", "getex"), _NO_EXPIRY),
    **dict.fromkeys(("multi", "exec", "watch", "unwatch", "discard"), _NO_GROUP),
    **dict.fromkeys(("flushall", "flushdb"), "to empty the map, format it where it is served"),
}
"""Commands of Redis that the proxy does not have, and why."""


def unknown(words: list[bytes]) -> Refused:
    """Return the error about a command that is not in the table."""
    name = _text(words[0][:128])
    why = WHY_NOT.get(name.lower())
    if why:
        return Refused(f"ERR unknown command '{name}': {why}")
    arguments = b""
    for word in words[1:]:
        if len(arguments) >= 128:
            break
        arguments += b"'%b' " % word.partition(b"\0")[0][: 128 - len(arguments)]
    return Refused(f"ERR unknown command '{name}', with args beginning with: {_text(arguments)}")


def _text(word: bytes) -> str:
    """Return the part of a word that Redis repeats in an error message."""
    return word.partition(b"\0")[0].decode("utf-8", "surrogateescape")
