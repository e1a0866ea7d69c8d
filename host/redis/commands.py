"""The table of commands: what plans each, and what it takes. COMMAND, the arity check and the docs use it too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from host.redis import replies, strings, times
from host.redis.calls import SYNTAX, Call, wrong_arity
from host.redis.missing import WHY_NOT
from host.redis.places import NOWHERE, REGISTER, Refused
from host.redis.plans import Plan
from host.redis.scripts import plans as scripts
from host.redis.view import View
from omap.operations import Kind


def dbsize(call: Call) -> Plan:
    """``DBSIZE``; expired keys count until they are deleted, as in Redis."""
    return Plan(lambda view: replies.integer(view.databases.size(call.database)), (NOWHERE,), Kind.NOP)


def flush(call: Call) -> Plan:
    """``FLUSHDB [ASYNC | SYNC]`` and ``FLUSHALL [ASYNC | SYNC]``: one cell is written, whatever is in the map."""
    options = [option.lower() for option in call.words[1:]]
    if len(options) > 1 or any(option not in (b"async", b"sync") for option in options):
        raise Refused(SYNTAX)
    emptied = [call.database] if call.name == "flushdb" else list(range(call.databases.count))
    call.databases.after_flush(emptied, None)

    def apply(view: View) -> bytes:
        view.flush(emptied)
        return replies.OK

    return Plan(apply, (REGISTER,))


@dataclass(frozen=True)
class Command:
    """One entry of the table.

    Parameters
    ----------
    plan : callable or None
        Makes the plan; None for a command about the connection or the server.
    arity : int
        Number of words, with the name; a negative number says that there may be more.
    operations : str
        Map operations that the command takes outside a transaction, for the docs.
    flags : tuple of str
        Flags that COMMAND reports.
    keys : tuple of int
        Place of the first key, of the last, and the step between them.
    """

    plan: Callable[[Call], Plan] | None
    arity: int
    operations: str
    flags: tuple[str, ...] = ()
    keys: tuple[int, int, int] = (0, 0, 0)


_READ, _WRITE, _OTHER = ("readonly", "fast"), ("write", "denyoom"), ("fast", "loading", "stale")
_FREE, _SCRIPT = ("write", "fast"), ("noscript", "loading", "stale", "fast")
_LUA = ("noscript", "stale", "no_mandatory_keys", "movablekeys")
_ONE, _ALL, _PAIRS, _TWO = (1, 1, 1), (1, -1, 1), (1, -1, 2), (1, 2, 1)

# SEC_CM: REDIS.OPS.FIXED -- the column `operations` follows from the words of a command, never from what is found
COMMANDS: dict[str, Command] = {
    "append": Command(strings.append, 3, "2", _WRITE, _ONE),
    "auth": Command(None, -2, "0", (*_OTHER, "no_auth")),
    "client": Command(None, -2, "0", _OTHER),
    "command": Command(None, -1, "0", _OTHER),
    "config": Command(None, -2, "0", _OTHER),
    "copy": Command(strings.copy, -3, "2 a key", _WRITE, _TWO),
    "dbsize": Command(dbsize, 1, "1", _READ),
    "decr": Command(strings.decr, 2, "2", _WRITE, _ONE),
    "decrby": Command(strings.decrby, 3, "2", _WRITE, _ONE),
    "del": Command(strings.delete, -2, "1 a key", ("write",), _ALL),
    "discard": Command(None, 1, "0", _SCRIPT),
    "echo": Command(None, 2, "0", _OTHER),
    "eval": Command(scripts.evaluate, -3, "2 a key", _LUA),
    "eval_ro": Command(scripts.evaluate, -3, "2 a key", _LUA),
    "evalsha": Command(scripts.evaluate_known, -3, "2 a key", _LUA),
    "evalsha_ro": Command(scripts.evaluate_known, -3, "2 a key", _LUA),
    "exec": Command(None, 1, "0", _SCRIPT),
    "exists": Command(strings.exists, -2, "1 a key", _READ, _ALL),
    "expire": Command(times.expire, -3, "2", _FREE, _ONE),
    "expireat": Command(times.expire, -3, "2", _FREE, _ONE),
    "expiretime": Command(times.ttl, 2, "1", _READ, _ONE),
    "flushall": Command(flush, -1, "2", ("write",)),
    "flushdb": Command(flush, -1, "2", ("write",)),
    "get": Command(strings.get, 2, "1", _READ, _ONE),
    "getdel": Command(strings.getdel, 2, "1", _FREE, _ONE),
    "getex": Command(times.getex, -2, "1; 2 with an option", _FREE, _ONE),
    "getrange": Command(strings.getrange, 4, "1", ("readonly",), _ONE),
    "getset": Command(strings.getset, 3, "1", _WRITE, _ONE),
    "hello": Command(None, -1, "0", (*_OTHER, "no_auth")),
    "incr": Command(strings.incr, 2, "2", _WRITE, _ONE),
    "incrby": Command(strings.incrby, 3, "2", _WRITE, _ONE),
    "incrbyfloat": Command(strings.incrbyfloat, 3, "2", _WRITE, _ONE),
    "info": Command(None, -1, "0", _OTHER),
    "mget": Command(strings.mget, -2, "1 a key", _READ, _ALL),
    "move": Command(strings.move, 3, "2 a key", _FREE, _ONE),
    "mset": Command(strings.mset, -3, "1 a key", _WRITE, _PAIRS),
    "msetnx": Command(strings.msetnx, -3, "2 a key", _WRITE, _PAIRS),
    "multi": Command(None, 1, "0", _SCRIPT),
    "persist": Command(times.persist, 2, "2", _FREE, _ONE),
    "pexpire": Command(times.expire, -3, "2", _FREE, _ONE),
    "pexpireat": Command(times.expire, -3, "2", _FREE, _ONE),
    "pexpiretime": Command(times.ttl, 2, "1", _READ, _ONE),
    "ping": Command(None, -1, "0", _OTHER),
    "psetex": Command(strings.setex, 4, "1", _WRITE, _ONE),
    "pttl": Command(times.ttl, 2, "1", _READ, _ONE),
    "quit": Command(None, -1, "0", (*_OTHER, "no_auth")),
    "rename": Command(strings.rename, 3, "2 a key", ("write",), _TWO),
    "renamenx": Command(strings.rename, 3, "2 a key", _FREE, _TWO),
    "reset": Command(None, 1, "0", (*_OTHER, "no_auth")),
    "role": Command(None, 1, "0", _OTHER),
    "script": Command(scripts.script, -2, "0", ("noscript",)),
    "select": Command(None, 2, "0", _OTHER),
    "set": Command(strings.set_value, -3, "1; 2 with NX, XX or KEEPTTL", _WRITE, _ONE),
    "setex": Command(strings.setex, 4, "1", _WRITE, _ONE),
    "setnx": Command(strings.setnx, 3, "2", _WRITE, _ONE),
    "setrange": Command(strings.setrange, 4, "2", _WRITE, _ONE),
    "strlen": Command(strings.strlen, 2, "1", _READ, _ONE),
    "substr": Command(strings.getrange, 4, "1", ("readonly",), _ONE),
    "time": Command(None, 1, "0", _OTHER),
    "touch": Command(strings.exists, -2, "1 a key", _READ, _ALL),
    "ttl": Command(times.ttl, 2, "1", _READ, _ONE),
    "type": Command(strings.type_of, 2, "1", _READ, _ONE),
    "unlink": Command(strings.delete, -2, "1 a key", _FREE, _ALL),
    "unwatch": Command(None, 1, "0", _SCRIPT),
    "wait": Command(None, 3, "0", ("noscript",)),
    "watch": Command(None, -2, "0", _SCRIPT, _ALL),
}


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


SUBCOMMANDS: dict[str, dict[str, int]] = {
    "client": {"getname": 2, "help": 2, "id": 2, "info": 2, "list": -2, "no-evict": 3, "no-touch": 3, "reply": 3}
    | {"setinfo": 4, "setname": 3},
    "command": {"count": 2, "docs": -2, "help": 2, "info": -2, "list": -2},
    "config": {"get": -3, "help": 2, "resetstat": 2, "set": -4},
    "script": {"exists": -3, "flush": -2, "help": 2, "load": 3},
}
"""Subcommands, and the arity of each."""


def check(name: str, words: list[bytes]) -> Command:
    """Return the entry of a command, whose name in small letters is its first word.

    Raises
    ------
    Refused
        If there is no such command or subcommand, or the number of words is wrong.
    """
    command = COMMANDS.get(name)
    if command is None:
        raise unknown(words)
    if not _fits(command.arity, words):
        raise wrong_arity(name)
    if name in SUBCOMMANDS and len(words) > 1:
        part = words[1].lower().decode("latin-1")
        if part not in SUBCOMMANDS[name]:
            raise Refused(f"ERR unknown subcommand '{_text(words[1][:128])}'. Try {name.upper()} HELP.")
        if not _fits(SUBCOMMANDS[name][part], words):
            raise wrong_arity(f"{name}|{part}")
    return command


def _fits(arity: int, words: list[bytes]) -> bool:
    return len(words) == arity if arity > 0 else len(words) >= -arity
