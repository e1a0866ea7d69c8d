"""Commands about the connection and the server: they take no map operation."""

from __future__ import annotations

import fnmatch
import re
import time
from collections.abc import Callable

from host.redis import replies
from host.redis.calls import SYNTAX, parse_database, parse_integer, wrong_arity
from host.redis.commands import COMMANDS, SUBCOMMANDS, Command
from host.redis.places import Refused
from host.redis.replies import OK, Value
from host.redis.requests import BULK_LIMIT
from host.redis.session import Session

NAME_LIMIT = 1024
"""Bytes of a client's name."""

PATTERN_LIMIT = 64
"""Bytes of a pattern of CONFIG GET. No longer one is needed for the names that there are."""


def _ping(session: Session, words: list[bytes]) -> bytes:
    if len(words) > 2:
        raise wrong_arity("ping")
    if (trouble := session.shared.scheduler.trouble()) is not None:
        return trouble  # or those who ask whether the proxy is well would go on sending it work
    return session.form.bulk(words[1]) if len(words) == 2 else b"+PONG\r\n"


def _echo(session: Session, words: list[bytes]) -> bytes:
    return session.form.bulk(words[1])


def _quit(session: Session, words: list[bytes]) -> bytes:
    session.closed = True
    return OK


def _reset(session: Session, words: list[bytes]) -> bytes:
    session.reset()
    return b"+RESET\r\n"


def _select(session: Session, words: list[bytes]) -> bytes:
    # SEC_CM: REDIS.SELECT.OBEYED -- until a SELECT succeeds, nothing runs in a database that was not asked for
    session.database = None
    session.database = parse_database(words[1], session.shared.scheduler.databases.count)
    return OK


def _time(session: Session, words: list[bytes]) -> bytes:
    seconds, rest = divmod(time.time_ns() // 1000, 1_000_000)
    return session.form.bulks([b"%d" % seconds, b"%d" % rest])


def _role(session: Session, words: list[bytes]) -> bytes:
    return session.form.value([b"master", 0, []])


def _wait(session: Session, words: list[bytes]) -> bytes:
    """Answer at once that no replica has the writes, because there is none."""
    parse_integer(words[1])
    if parse_integer(words[2], "ERR timeout is not an integer or out of range") < 0:
        raise Refused("ERR timeout is negative")
    return replies.integer(0)


# -- CLIENT -----------------------------------------------------------------------------------------------------------


def _client(session: Session, words: list[bytes]) -> bytes:
    form = session.form
    match words[1].lower():
        case b"id":
            return replies.integer(session.number)
        case b"getname":
            return form.bulk(session.name or None)
        case b"setname":
            session.name = checked_name(words[2])
            return OK
        case b"setinfo":
            if words[2].lower() not in (b"lib-name", b"lib-ver"):
                raise Refused(f"ERR Unrecognized option '{words[2].decode('utf-8', 'surrogateescape')}'")
            return OK
        case b"info":
            return form.text(session.line())
        case b"list":
            return _client_list(session, words[2:])
        case b"reply":
            return _client_reply(session, words[2].lower())
        case b"help":
            return _help(session, "client")
    if words[2].lower() not in (b"on", b"off"):  # NO-EVICT and NO-TOUCH, which change nothing here
        raise Refused(SYNTAX)
    return OK


def _client_list(session: Session, options: list[bytes]) -> bytes:
    chosen = list(session.shared.sessions.values())
    match [option.lower() for option in options[:1]]:
        case []:
            pass
        case [b"id"] if len(options) > 1:
            numbers = {parse_integer(word, "ERR Invalid client ID") for word in options[1:]}
            chosen = [one for one in chosen if one.number in numbers]
        case [b"type"] if len(options) == 2:
            kind = options[1].lower()
            if kind not in (b"normal", b"master", b"replica", b"slave", b"pubsub"):
                raise Refused(f"ERR Unknown client type '{options[1].decode('utf-8', 'surrogateescape')}'")
            chosen = chosen if kind == b"normal" else []
        case _:
            raise Refused(SYNTAX)
    return session.form.text("".join(one.line() for one in chosen))


def _client_reply(session: Session, mode: bytes) -> bytes:
    match mode:
        case b"on":
            session.muted, session.skip = False, 0
            return OK
        case b"off":
            session.muted = True
        case b"skip":
            session.skip = 2
        case _:
            raise Refused(SYNTAX)
    return b""


def checked_name(name: bytes) -> bytes:
    """Return a client's name, or refuse it."""
    if len(name) > NAME_LIMIT:
        raise Refused(f"ERR Client names have at most {NAME_LIMIT} characters, because CLIENT LIST repeats them.")
    if any(not 33 <= byte <= 126 for byte in name):
        raise Refused("ERR Client names cannot contain spaces, newlines or special characters.")
    return name


# -- CONFIG, INFO, COMMAND ------------------------------------------------------------------------------------------


def _settings(session: Session) -> dict[str, str]:
    shared = session.shared
    return {
        "appendonly": "no",
        "databases": str(shared.scheduler.databases.count),
        "maxclients": str(shared.max_clients),
        "maxmemory": "0",
        "maxmemory-policy": "noeviction",
        "notify-keyspace-events": "",
        "proto-max-bulk-len": str(BULK_LIMIT),
        "save": "",
        "timeout": f"{shared.timeout:g}",
    }


def _config(session: Session, words: list[bytes]) -> bytes:
    match words[1].lower():
        case b"get":
            return _config_get(session, words)
        case b"set":
            return _config_set(session, words)
        case b"help":
            return _help(session, "config")
    session.shared.calls.clear()
    session.shared.refusals.clear()
    return OK


def _config_get(session: Session, words: list[bytes]) -> bytes:
    wanted = {word.decode("latin-1").lower().replace("[^", "[!") for word in words[2:] if len(word) <= PATTERN_LIMIT}
    patterns = [re.compile(fnmatch.translate(each)) for each in wanted]  # not by fnmatch, which keeps 32,768 of them
    told = {n: v for n, v in _settings(session).items() if any(pattern.match(n) for pattern in patterns)}
    return session.form.value({name: value.encode() for name, value in told.items()})


def _config_set(session: Session, words: list[bytes]) -> bytes:
    """Take settings that are what they are anyway, and refuse all others."""
    if len(words) % 2:
        raise wrong_arity("config|set")
    known = _settings(session)
    for name, value in zip(words[2::2], words[3::2], strict=True):
        text = name.decode("utf-8", "surrogateescape")
        if text.lower() not in known:
            raise Refused(f"ERR Unknown option or number of arguments for CONFIG SET - '{text}'")
        if value != known[text.lower()].encode():
            raise Refused(
                f"ERR CONFIG SET failed (possibly related to argument '{text}') - the proxy can't change it while it "
                "runs; docs/use/redis.md says what options it has"
            )
    return OK


def _info(session: Session, words: list[bytes]) -> bytes:
    wanted = {word.lower().decode("latin-1") for word in words[1:]} or {"default"}
    parts = []
    for title, lines in session.shared.info().items():
        whole = {"all", "everything"} if title == "Commandstats" else {"default", "all", "everything"}
        if title.lower() in wanted or wanted & whole:
            parts.append(f"# {title}\r\n" + "".join(f"{name}:{value}\r\n" for name, value in lines.items()))
    return session.form.text("\r\n".join(parts))


def _command(session: Session, words: list[bytes]) -> bytes:
    form = session.form
    names = [word.lower().decode("latin-1") for word in words[2:]]
    match words[1].lower() if len(words) > 1 else b"info":
        case b"count":
            return replies.integer(len(COMMANDS))
        case b"list":
            return form.bulks(name.encode() for name in COMMANDS)
        case b"docs":
            return form.value({name: {"summary": _summary(name)} for name in names or COMMANDS if name in COMMANDS})
        case b"help":
            return _help(session, "command")
    return form.value([_told(name, COMMANDS[name]) if name in COMMANDS else None for name in names or COMMANDS])


def _help(session: Session, name: str) -> bytes:
    known = ", ".join(part.upper() for part in SUBCOMMANDS[name])
    return session.form.value([f"{name.upper()} <subcommand> [<arg> ...]. Subcommands are:", known])


def _told(name: str, command: Command) -> Value:
    return [name.encode(), command.arity, command.flags, *command.keys, [], [], [], []]


def _summary(name: str) -> bytes:
    return f"map operations: {COMMANDS[name].operations}".encode()


ADMINISTRATION: dict[str, Callable[[Session, list[bytes]], bytes]] = {
    "client": _client,
    "command": _command,
    "config": _config,
    "echo": _echo,
    "info": _info,
    "ping": _ping,
    "quit": _quit,
    "reset": _reset,
    "role": _role,
    "select": _select,
    "time": _time,
    "wait": _wait,
}
"""Commands that are answered from what the proxy knows."""
