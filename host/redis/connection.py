"""One connection: from bytes to replies, in order. Neighbouring commands of one kind run together."""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable

from host.redis import replies
from host.redis.administration import ADMINISTRATION, checked_name
from host.redis.calls import SYNTAX, Call, parse_integer
from host.redis.commands import COMMANDS, Command, check
from host.redis.direct import Direct, plan_direct
from host.redis.places import Refused
from host.redis.plans import Plan
from host.redis.replies import OK, RESP2, RESP3, Value
from host.redis.requests import ProtocolError, RequestReader
from host.redis.session import DIALECT, Session, Shared
from host.redis.transactions import TRANSACTIONS, UNQUEUED, Exec, queue
from omap.operations import Kind

RUN_LIMIT, RUN_BYTES = 1024, 1 << 20
"""Commands that are planned, and bytes of replies known by then, before they are sent: a connection's memory."""

_NAMES = {word.encode(): name for name in COMMANDS for word in (name, name.upper())}
"""Names by how nearly all clients write them."""

Planned = bytes | Plan | Direct | Exec
"""What becomes of a command: its reply, or what it wants from the map."""

_HELD = ("auth", "exec", "hello", "watch")

_ONCE, _COUNT, _TWICE, _TRANSACTION = "once", "count", "twice", "transaction"
_WAYS = {Kind.GET: _ONCE, Kind.PUT: _ONCE, Kind.DELETE: _ONCE, Kind.NOP: _COUNT, None: _TWICE}
"""How a plan runs. What counts keys runs by itself, so that it counts what was there at its turn."""

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
_LOST = "ERR the SELECT before failed, and nothing runs in another database than was asked for: SELECT one that exists"


class Connection:
    """State of one connection, without its socket.

    Parameters
    ----------
    shared : Shared
        What all connections share.
    address : str
        Address of the peer, for CLIENT LIST.
    group : str
        What stands for the owner of this address, see :func:`host.peers.peer_group`.
    """

    def __init__(self, shared: Shared, address: str = "", group: str = "local") -> None:
        self._shared = shared
        self.session = Session(shared, address, group)
        self._reader = RequestReader(authenticated=self.session.authenticated)
        shared.sessions[self.session.number] = self.session
        self._ahead: list[list[bytes]] = []  # commands that were read and not yet planned
        self._held: list[bytes] | None = None
        self._mute: list[int] = []  # places of plans whose replies nobody wants

    @property
    def number(self) -> int:
        """Rises from connection to connection."""
        return self.session.number

    @property
    def authenticated(self) -> bool:
        """Whether the peer has given the password, if there is one."""
        return self.session.authenticated

    @property
    def closed(self) -> bool:
        """Whether the socket must be closed after the replies."""
        return self.session.closed

    def end(self) -> None:
        """Forget the connection: it watches nothing any more."""
        self.session.leave_transaction()
        self._shared.sessions.pop(self.session.number, None)

    async def handle(self, data: bytes, send: Callable[[bytes], Awaitable[object]]) -> None:
        """Take bytes that came, and pass replies to ``send``: those to at most :data:`RUN_LIMIT` commands at a time.

        Reveals
            As :class:`~host.redis.scheduler.Scheduler` does.
        """
        self._reader.feed(data)
        self.session.last_seen = time.monotonic()
        more = True
        while more and not self.closed:
            plans: list[Planned] = []
            self._mute.clear()
            if self._held is not None:
                self._take(plans, await self._plan_held(self._held))
                self._held = None
            if not plans or not isinstance(plans[0], Exec):
                more = self._plan_ahead(plans)
            if plans and (answer := b"".join(await self._run(plans))):
                await send(answer)

    def _plan_ahead(self, plans: list[Planned]) -> bool:
        """Append the plans of commands that have come, up to one that waits for all before. Return if more may come."""
        told = 0  # a long reply that is asked for a thousand times is not held a thousand times
        session = self.session
        while len(plans) < RUN_LIMIT and told < RUN_BYTES and not self.closed:
            if not self._ahead:
                try:
                    # before the password each command is bounded by what the one before it made of the connection
                    self._ahead = self._reader.take(RUN_LIMIT if self.authenticated else 1)
                except ProtocolError as problem:
                    if str(problem):
                        plans.append(replies.error(str(problem)))
                    self.session.closed = True
                    break
                if not self._ahead:
                    return False
            if session.is_plain:
                self._plan_direct(plans)
                if not self._ahead or len(plans) >= RUN_LIMIT:
                    continue
            words = self._ahead.pop(0)
            name = _NAMES.get(words[0]) or words[0].lower().decode("latin-1")
            if name in _HELD and self._waits(name, words):
                self._held = words
                return True
            plan = self._plan(name, words)
            told += len(plan) if type(plan) is bytes else 0
            self._take(plans, plan)
        return not self.closed

    def _plan_direct(self, plans: list[Planned]) -> None:
        """Append the plans of commands that have come and are direct, up to one that is not."""
        session = self.session
        assert session.database is not None
        databases, room = self._shared.scheduler.databases, RUN_LIMIT - len(plans)
        ahead = self._ahead if len(self._ahead) <= room else self._ahead[:room]
        names, made = plan_direct(ahead, databases, session.database, session.form)
        if made:
            session.last = names[-1]
            self._shared.calls.update(names)
            plans += made
            del self._ahead[: len(made)]

    def _take(self, plans: list[Planned], plan: bytes | Plan | Exec) -> None:
        """Append a plan, and see whether its reply is wanted."""
        session = self.session
        if session.muted or session.skip:
            if session.muted or session.skip == 1:
                self._mute.append(len(plans))
            session.skip = max(0, session.skip - 1)
        plans.append(plan)

    def _waits(self, name: str, words: list[bytes]) -> bool:
        """Whether a command, one of those that may, is planned only when all before it are done."""
        if name in ("exec", "watch"):  # a key is watched after the commands before; what follows EXEC sees its SELECT
            return True
        return self._shared.password is not None and (name == "auth" or len(words) > 2)

    async def _plan_held(self, words: list[bytes]) -> bytes | Plan | Exec:
        """Plan a command that waited; one that gives a password, once it is the turn of the peer's address."""
        name = words[0].lower().decode("latin-1")
        if name in ("exec", "watch"):
            return self._plan(name, words)
        async with self._shared.guesses.turn(self.session.group) as seen:
            return self._plan(name, words) if seen else replies.error(_TOO_MANY)

    async def _run(self, plans: list[Planned]) -> list[bytes]:
        """Run plans and return their replies. Neighbours of one way run together."""
        alike = [plan for plan in plans if isinstance(plan, Direct)]
        if len(alike) == len(plans) and not self._mute:
            return await self._shared.scheduler.direct(alike)
        made: list[bytes] = []
        run: list[Plan | Direct] = []
        places: list[int] = []
        way = ""
        for place, plan in enumerate(plans):
            if isinstance(plan, bytes):
                made.append(plan)
                continue
            now = _TRANSACTION if isinstance(plan, Exec) else _WAYS[plan.once]
            if now != way and run:
                await self._run_alike(way, run, places, made)
                run, places = [], []
            way = now
            made.append(b"")
            if isinstance(plan, Exec):
                made[place] = await plan.run(self.session, self._plan_queued)
            else:
                run.append(plan)
                places.append(place)
        if run:
            await self._run_alike(way, run, places, made)
        for place in self._mute:
            made[place] = b""
        return made

    async def _run_alike(self, way: str, run: list[Plan | Direct], places: list[int], made: list[bytes]) -> None:
        """Run neighbouring plans of one way, and put their replies into their places."""
        scheduler = self._shared.scheduler
        if way == _TWICE:
            answers = await scheduler.change([plan for plan in run if isinstance(plan, Plan)])
        else:
            answers = await scheduler.direct(run)
        for place, reply in zip(places, answers, strict=True):
            made[place] = reply

    # -- one command --------------------------------------------------------------------------------------------

    def _plan(self, name: str, words: list[bytes]) -> bytes | Plan | Exec:
        session = self.session
        session.last = name if name in COMMANDS else "NULL"
        try:
            command = self._command(name, words)
        except Refused as refused:
            return self._reject(name, refused)
        try:
            if session.queue is not None and name not in UNQUEUED:
                if command.plan is not None and session.database is None:
                    raise Refused(_LOST)
                return queue(session, words)
            return self._begin(name, command, words)
        except Refused as refused:
            if session.queue is not None and name not in UNQUEUED:
                session.spoilt = True
            self._shared.refusals[session.last] += 1
            return replies.error(str(refused))

    def _reject(self, name: str, refused: Refused) -> bytes:
        """Return the reply to a command that did not begin: it ends a transaction, even if it would not be queued."""
        session = self.session
        self._shared.refusals[session.last] += 1
        session.spoilt = session.queue is not None
        if name != "exec":
            return replies.error(str(refused))
        session.leave_transaction()
        return replies.error(f"EXECABORT Transaction discarded because of: {str(refused).removeprefix('ERR ')}")

    def _command(self, name: str, words: list[bytes]) -> Command:
        """Return the entry of a command, or refuse it."""
        command = check(name, words)
        if not self.session.authenticated and name not in _BEFORE_AUTH:
            raise Refused(_NO_AUTH)
        self._shared.calls[name] += 1
        return command

    def _begin(self, name: str, command: Command, words: list[bytes]) -> bytes | Plan | Exec:
        session = self.session
        if (command.plan is not None or name == "watch") and session.database is None:
            raise Refused(_LOST)
        if command.plan is not None:
            scheduler = self._shared.scheduler
            assert session.database is not None
            about = scheduler.databases, session.database, scheduler.now(), self._shared.scripts
            return command.plan(Call(words, session.form, *about))
        if name in TRANSACTIONS:
            return TRANSACTIONS[name](session, words)
        if name in ADMINISTRATION:
            reply = ADMINISTRATION[name](session, words)
            self._reader.authenticated = session.authenticated
            return reply
        return self._hello(words) if name == "hello" else self._auth(words)

    def _plan_queued(self, words: list[bytes]) -> bytes | Plan:
        """Plan a command of a transaction, now that it runs."""
        name = words[0].lower().decode("latin-1")
        if name == "unwatch":
            return OK
        try:
            plan = self._begin(name, COMMANDS[name], words)
        except Refused as refused:
            return replies.error(str(refused))
        assert not isinstance(plan, Exec)
        return plan

    # -- who it is ----------------------------------------------------------------------------------------------

    def _auth(self, words: list[bytes]) -> bytes:
        if len(words) > 3:
            raise Refused(SYNTAX)
        if len(words) == 2 and self._shared.password is None:
            raise Refused(_NO_PASSWORD)
        self._authenticate(words[1] if len(words) == 3 else b"default", words[-1])
        return OK

    def _authenticate(self, user: bytes, password: bytes) -> None:
        wanted = self._shared.password
        # SEC_CM: REDIS.AUTH.CONST_TIME -- the time does not show how much of a guess is right
        right = wanted is None or hmac.compare_digest(password, wanted.encode("utf-8", "surrogateescape"))
        if not right or user != b"default":
            self._shared.guesses.wrong(self.session.group)
            raise Refused(_WRONG_PASSWORD)
        self._reader.authenticated = self.session.authenticated = True

    def _hello(self, words: list[bytes]) -> bytes:
        form, name = self.session.form, self.session.name
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
                name, rest = checked_name(rest[1]), rest[2:]
            else:
                raise Refused(f"ERR Syntax error in HELLO option '{rest[0].decode('utf-8', 'surrogateescape')}'")
        if login is not None:
            self._authenticate(*login)
        if not self.session.authenticated:
            raise Refused(_HELLO_FIRST)
        self.session.form, self.session.name = form, name
        told: dict[str, Value] = {"server": b"redis", "version": DIALECT.encode(), "proto": form.version}
        told |= {"id": self.number, "mode": b"standalone", "role": b"master", "modules": []}
        return form.value(told)
