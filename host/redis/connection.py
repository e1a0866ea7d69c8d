"""One connection: from bytes to replies, in order. Neighbouring commands of one kind run together."""

from __future__ import annotations

import fnmatch
import hmac
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import count, groupby

from host.redis import replies
from host.redis.commands import COMMANDS, SYNTAX, Command, Data, parse_integer, unknown, wrong_arity
from host.redis.guesses import Guesses
from host.redis.plans import Change, Direct, Plan, Refused, Size
from host.redis.replies import OK, RESP2, RESP3, Encoder, Value
from host.redis.requests import BULK_LIMIT, ProtocolError, RequestReader
from host.redis.scheduler import Scheduler

RUN_LIMIT = 1024
"""Commands that are planned before their replies are sent. This bounds the memory of a connection."""

DIALECT = "7.0.0"
"""Version of Redis whose texts the proxy uses. Clients read it to choose among features."""

_NO_AUTH = "NOAUTH Authentication required."
_WRONG_PASSWORD = "WRONGPASS invalid username-password pair or user is disabled."
_NO_PASSWORD = (
    "ERR AUTH <password> called without any password configured for the default user. "
    "Are you sure your configuration is correct?"
)
_HELLO_FIRST = (
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> "
    "option can be used to authenticate the client and select the RESP protocol version at the same time"
)
_BEFORE_AUTH = ("auth", "hello", "quit", "reset")
_TOO_MANY = "ERR too many wrong passwords came from your address, and others wait before you: try again later"


@dataclass
class Shared:
    """What all connections of a proxy share.

    Parameters
    ----------
    data : Data
        Plans commands about data.
    scheduler : Scheduler
        Runs plans.
    info : callable
        Returns lines for INFO, by section.
    password : str or None
        What AUTH must give.
    max_clients : int
        Most connections at once.
    timeout : float
        Seconds after which a connection that does nothing is closed; 0 for never.
    numbers : iterator of int
        Gives each connection its number.
    guesses : Guesses
        Slows down wrong passwords.
    """

    data: Data
    scheduler: Scheduler
    info: Callable[[], dict[str, dict[str, object]]]
    password: str | None = field(default=None, repr=False)
    max_clients: int = 1000
    timeout: float = 0
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    guesses: Guesses = field(default_factory=Guesses)


class Connection:
    """State of one connection, without its socket.

    Parameters
    ----------
    shared : Shared
        What all connections share.
    address : str
        Address of the peer, for CLIENT INFO.
    group : str
        What stands for the owner of this address, see :func:`host.peers.peer_group`.
    """

    def __init__(self, shared: Shared, address: str = "", group: str = "local") -> None:
        self._shared = shared
        self._address = address
        self._group = group
        self._form: Encoder = RESP2
        self._name = b""
        self._authenticated = shared.password is None
        self._reader = RequestReader(authenticated=self._authenticated)
        self.number = next(shared.numbers)
        self.closed = False
        """Whether the socket must be closed after the replies."""
        self._login: list[bytes] | None = None

    @property
    def authenticated(self) -> bool:
        """Whether the peer has given the password, if there is one."""
        return self._authenticated

    async def handle(self, data: bytes, send: Callable[[bytes], Awaitable[object]]) -> None:
        """Take bytes that came, and pass replies to ``send``: those to at most :data:`RUN_LIMIT` commands at a time.

        Reveals
            As :class:`~host.redis.scheduler.Scheduler` does.
        """
        self._reader.feed(data)
        more = True
        while more and not self.closed:
            plans: list[Plan] = []
            if self._login is not None:
                plans.append(await self._log_in(self._login))
                self._login = None
            more = self._plan_ahead(plans)
            if plans:
                await send(b"".join(await self._run(plans)))

    def _plan_ahead(self, plans: list[Plan]) -> bool:
        """Append the plans of commands that have come, up to one that gives a password. Return if there may be more."""
        while len(plans) < RUN_LIMIT and not self.closed:
            try:
                words = self._reader.next()
            except ProtocolError as problem:
                if str(problem):
                    plans.append(replies.error(str(problem)))
                self.closed = True
                break
            if words is None:
                return False
            if self._gives_password(words):
                self._login = words
                return True
            plans.append(self._plan(words))
        return not self.closed

    def _gives_password(self, words: list[bytes]) -> bool:
        name = words[0].lower()
        return self._shared.password is not None and (name == b"auth" or (name == b"hello" and len(words) > 2))

    async def _log_in(self, words: list[bytes]) -> Plan:
        """Plan a command that gives a password, once it is the turn of the peer's address."""
        async with self._shared.guesses.turn(self._group) as seen:
            return self._plan(words) if seen else replies.error(_TOO_MANY)

    async def _run(self, plans: list[Plan]) -> list[bytes]:
        made: list[bytes] = [plan if isinstance(plan, bytes) else b"" for plan in plans]
        places = [place for place, plan in enumerate(plans) if not isinstance(plan, bytes)]
        for kind, group in groupby(places, lambda place: type(plans[place])):
            run = list(group)
            if kind is Direct:
                answers = await self._shared.scheduler.direct([p for n in run if isinstance(p := plans[n], Direct)])
            elif kind is Change:
                answers = await self._shared.scheduler.change([p for n in run if isinstance(p := plans[n], Change)])
            else:
                answers = [await self._shared.scheduler.size() for _ in run]
            for place, reply in zip(run, answers, strict=True):
                made[place] = reply
        return made

    def _plan(self, words: list[bytes]) -> Plan:
        name = words[0].lower().decode("latin-1")
        try:
            command = COMMANDS.get(name)
            if command is None:
                raise unknown(words)
            if len(words) != command.arity if command.arity > 0 else len(words) < -command.arity:
                raise wrong_arity(name)
            if not self._authenticated and name not in _BEFORE_AUTH:
                raise Refused(_NO_AUTH)
            if command.plan is not None:
                return command.plan(self._shared.data, words, self._form)
            plan: Plan = getattr(self, f"_do_{name}")(words)
            return plan
        except Refused as refused:
            return replies.error(str(refused))

    # -- the connection -----------------------------------------------------------------------------------------

    def _do_ping(self, words: list[bytes]) -> bytes:
        if len(words) > 2:
            raise wrong_arity("ping")
        if (trouble := self._shared.scheduler.trouble()) is not None:
            return trouble  # or those who ask whether the proxy is well would go on sending it work
        return self._form.bulk(words[1]) if len(words) == 2 else b"+PONG\r\n"

    def _do_echo(self, words: list[bytes]) -> bytes:
        return self._form.bulk(words[1])

    def _do_quit(self, words: list[bytes]) -> bytes:
        self.closed = True
        return OK

    def _do_reset(self, words: list[bytes]) -> bytes:
        self._form, self._name = RESP2, b""
        self._reader.authenticated = self._authenticated = self._shared.password is None
        return b"+RESET\r\n"

    def _do_select(self, words: list[bytes]) -> bytes:
        if parse_integer(words[1]) != 0:
            raise Refused("ERR DB index is out of range")
        return OK

    def _do_auth(self, words: list[bytes]) -> bytes:
        if len(words) > 3:
            raise Refused(SYNTAX)
        if len(words) == 2 and self._shared.password is None:
            raise Refused(_NO_PASSWORD)
        self._authenticate(words[1] if len(words) == 3 else b"default", words[-1])
        return OK

    def _authenticate(self, user: bytes, password: bytes) -> None:
        wanted = self._shared.password
        # SEC_CM: REDIS.AUTH.CONST_TIME -- the time does not show how much of a guess is right
        right = wanted is None or hmac.compare_digest(password, wanted.encode())
        if not right or user != b"default":
            self._shared.guesses.wrong(self._group)
            raise Refused(_WRONG_PASSWORD)
        self._reader.authenticated = self._authenticated = True

    def _do_hello(self, words: list[bytes]) -> bytes:
        form, name = self._form, self._name
        if len(words) > 1:
            try:
                version = parse_integer(words[1])
            except Refused:
                raise Refused("ERR Protocol version is not an integer or out of range") from None
            if version not in (2, 3):
                raise Refused("NOPROTO unsupported protocol version")
            form = RESP3 if version == 3 else RESP2
        rest, login = words[2:], None
        while rest:
            option = rest[0].lower()
            if option == b"auth" and len(rest) >= 3:
                login, rest = (rest[1], rest[2]), rest[3:]
            elif option == b"setname" and len(rest) >= 2:
                name, rest = _checked_name(rest[1]), rest[2:]
            else:
                raise Refused(f"ERR Syntax error in HELLO option '{rest[0].decode('utf-8', 'surrogateescape')}'")
        if login is not None:
            self._authenticate(*login)
        if not self._authenticated:
            raise Refused(_HELLO_FIRST)
        self._form, self._name = form, name
        told: dict[str, Value] = {"server": b"redis", "version": DIALECT.encode(), "proto": form.version}
        told |= {"id": self.number, "mode": b"standalone", "role": b"master", "modules": []}
        return form.value(told)

    def _do_client(self, words: list[bytes]) -> bytes:
        subcommand = words[1].lower()
        match subcommand, len(words):
            case b"id", 2:
                return replies.integer(self.number)
            case b"getname", 2:
                return self._form.bulk(self._name or None)
            case b"setname", 3:
                self._name = _checked_name(words[2])
                return OK
            case b"setinfo", 4:
                if words[2].lower() not in (b"lib-name", b"lib-ver"):
                    raise Refused(f"ERR Unrecognized option '{words[2].decode('utf-8', 'surrogateescape')}'")
                return OK
            case b"info", 2:
                name = self._name.decode()
                return self._form.text(f"id={self.number} addr={self._address} name={name} db=0\n")
            case ((b"id" | b"getname" | b"setname" | b"setinfo" | b"info"), _):
                raise wrong_arity(f"client|{subcommand.decode()}")
        raise _unknown_subcommand(words)

    # -- the server ---------------------------------------------------------------------------------------------

    def _do_dbsize(self, words: list[bytes]) -> Plan:
        return Size()

    def _do_info(self, words: list[bytes]) -> bytes:
        wanted = {word.lower().decode("latin-1") for word in words[1:]} or {"default"}
        parts = []
        for title, lines in self._shared.info().items():
            if title.lower() in wanted or wanted & {"default", "all", "everything"}:
                parts.append(f"# {title}\r\n" + "".join(f"{name}:{value}\r\n" for name, value in lines.items()))
        return self._form.text("\r\n".join(parts))

    def _do_config(self, words: list[bytes]) -> bytes:
        if words[1].lower() != b"get":
            raise _unknown_subcommand(words)
        if len(words) < 3:
            raise wrong_arity("config|get")
        known = {
            "appendonly": "no",
            "databases": "1",
            "maxclients": str(self._shared.max_clients),
            "maxmemory": "0",
            "proto-max-bulk-len": str(BULK_LIMIT),
            "save": "",
            "timeout": f"{self._shared.timeout:g}",
        }
        patterns = [word.decode("latin-1").lower() for word in words[2:]]
        told = {n: v for n, v in known.items() if any(fnmatch.fnmatchcase(n, pattern) for pattern in patterns)}
        return self._form.value({name: value.encode() for name, value in told.items()})

    def _do_command(self, words: list[bytes]) -> bytes:
        match words[1].lower() if len(words) > 1 else b"":
            case b"":
                return self._form.value([_told(name, command) for name, command in COMMANDS.items()])
            case b"count" if len(words) == 2:
                return replies.integer(len(COMMANDS))
            case b"list" if len(words) == 2:
                return self._form.bulks(name.encode() for name in COMMANDS)
            case b"docs":
                names = [word.lower().decode("latin-1") for word in words[2:]] or list(COMMANDS)
                docs = {name: {"summary": _summary(name)} for name in names if name in COMMANDS}
                return self._form.value(docs)
            case b"info":
                if len(words) == 2:
                    return self._form.value([_told(name, command) for name, command in COMMANDS.items()])
                names = [word.lower().decode("latin-1") for word in words[2:]]
                return self._form.value([_told(n, COMMANDS[n]) if n in COMMANDS else None for n in names])
            case b"count" | b"list":
                raise wrong_arity(f"command|{words[1].lower().decode()}")
        raise _unknown_subcommand(words)


def _checked_name(name: bytes) -> bytes:
    if any(not 33 <= byte <= 126 for byte in name):
        raise Refused("ERR Client names cannot contain spaces, newlines or special characters.")
    return name


def _unknown_subcommand(words: list[bytes]) -> Refused:
    subcommand = words[1].partition(b"\0")[0][:128].decode("utf-8", "surrogateescape")
    return Refused(f"ERR unknown subcommand '{subcommand}'. Try {words[0].upper().decode()} HELP.")


def _told(name: str, command: Command) -> Value:
    return [name.encode(), command.arity, command.flags, *command.keys, [], [], [], []]


def _summary(name: str) -> bytes:
    return f"map operations: {COMMANDS[name].operations}".encode()
