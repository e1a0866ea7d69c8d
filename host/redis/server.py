"""The proxy's server: takes connections up to a limit, and ends without losing replies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, field

from host.listening import cannot_listen
from host.peers import peer_group, who_makes_room
from host.redis import replies
from host.redis.connection import Connection
from host.redis.databases import Databases
from host.redis.information import Running, Sections, sections
from host.redis.patience import Patience
from host.redis.scheduler import Scheduler
from host.redis.scripts.runs import KEYS as SCRIPT_KEYS
from host.redis.scripts.runs import Scripts
from host.redis.session import Shared
from host.redis.store import Store
from host.redis.upkeep import Upkeep
from omap.credentials import ClientKey
from omap.errors import InputError, OmapError
from omap.params import Params

LOG = logging.getLogger("omap.redis")

DEFAULT_PORT = 6390
"""TCP port of the proxy: not 6379, where a Redis server may be running."""

READ_BYTES = 1 << 16
"""Most bytes taken from a connection before its commands are run."""

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much a proxy does for its clients.

    Parameters
    ----------
    clients : int
        Connections at once.
    timeout : float
        Seconds after which a connection that does nothing, or takes no replies, is closed; 0 for never.
    login_seconds : float
        Seconds for which a connection may last without giving the password, if there is one.
    drain_seconds : float
        How long the end of the proxy waits for commands under way, and for clients that take their replies slowly.
    script_keys : int
        Keys that one script may name.
    """

    clients: int = 1000
    timeout: float = 300.0
    login_seconds: float = 30.0
    drain_seconds: float = 10.0
    script_keys: int = SCRIPT_KEYS


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a proxy listens, and who may use it.

    Parameters
    ----------
    host : str
        Address to listen at.
    port : int
        TCP port; 0 for any.
    password : str, optional
        What clients must give to AUTH. Without it the address must be one that other machines can't reach.

    Raises
    ------
    InputError
        An address that others can reach, without a password; or an empty password.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.password is None and self.host not in LOOPBACK:
            # SEC_CM: REDIS.LISTEN.GUARDED -- no other machine reads the map through the proxy by accident
            raise InputError(
                f"the proxy would let everybody who can reach {self.host} read and change the map: give a password, "
                "or listen at 127.0.0.1 (--password and --host of `omap proxy`)"
            )
        if self.password == "":
            raise InputError("the password is empty: give one, or none to listen at 127.0.0.1 without")


@dataclass(frozen=True)
class _Guest:
    """A connection, as :func:`host.peers.who_makes_room` sees it."""

    connection: Connection
    group: str
    since: float
    writer: asyncio.StreamWriter

    @property
    def number(self) -> int:
        """Rises from connection to connection."""
        return self.connection.number

    @property
    def proven(self) -> bool:
        """Whether the peer has given the password, if there is one."""
        return self.connection.authenticated

    @property
    def expectant(self) -> bool:
        """Whether the proxy owes it a turn: no, because it waits for its own wrong passwords alone."""
        return False


class Proxy:
    """A server that speaks the Redis protocol, in front of a map. Made and used in one event loop.

    Parameters
    ----------
    store : Store
        Runs operations on the map. The proxy does not close it.
    params : Params
        The map's parameters.
    client : ClientKey
        Who the proxy is for the map; long names are hashed under its names key.
    endpoint : Endpoint, optional
        Where to listen, and the password.
    limits : Limits, optional
        How much to do for clients.

    Attributes
    ----------
    host, port
        Where it listens, once started.

    Reveals
        As :class:`~host.redis.scheduler.Scheduler` does, to whoever watches the map. The proxy does not encrypt the
        connections of its own clients: whoever watches those sees everything.
    """

    def __init__(
        self,
        store: Store,
        params: Params,
        client: ClientKey,
        endpoint: Endpoint | None = None,
        *,
        limits: Limits | None = None,
    ) -> None:
        endpoint = endpoint or Endpoint()
        self.host, self.port = endpoint.host, endpoint.port
        self.limits = limits or Limits()
        self._params = params
        self._store = store
        scheduler = Scheduler(Databases(params, client), store, self._report)
        self._upkeep = Upkeep(scheduler)
        self._scripts = Scripts(self.limits.script_keys)
        self._shared = Shared(
            scheduler,
            self._info,
            endpoint.password,
            self.limits.clients,
            self.limits.timeout,
            scripts=self._scripts,
        )
        self._server: asyncio.Server | None = None
        self._tasks: dict[asyncio.Task[None], _Guest] = {}
        self._idle: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._started = time.monotonic()
        self._accepted = self._rejected = 0
        self._trouble = ""

    @property
    def address(self) -> str:
        """Host and port where it listens."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    async def start(self) -> None:
        """Listen.

        Reveals
            That a proxy listens at this address. To whoever watches the map: three operations.

        Raises
        ------
        InputError
            If the address can't be used.
        OmapError
            If the map does not answer.
        """
        await self._upkeep.start()
        try:
            self._server = await asyncio.start_server(self._accept, self.host, self.port, limit=READ_BYTES)
        except OSError as error:
            raise cannot_listen(self.host, self.port, error) from None
        self.host, self.port = self._server.sockets[0].getsockname()[:2]
        LOG.info("listening", extra={"host": self.host, "port": self.port})

    async def stop(self) -> None:
        """Take no more connections and commands, finish the commands under way, and hang up.

        Reveals
            To its clients: that the proxy ends. To whoever watches the map: two operations.
        """
        if self._server is None:
            return
        LOG.info("stopping", extra={"clients": len(self._tasks)})
        self._stopping = True
        self._server.close()
        for task in list(self._idle):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self.limits.drain_seconds)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._scripts.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.limits.drain_seconds):
                await self._upkeep.stop()
        with contextlib.suppress(TimeoutError):  # a peer that takes nothing any more must not hold up the end
            async with asyncio.timeout(self.limits.drain_seconds):
                await self._server.wait_closed()
        self._server = None
        LOG.info("stopped", extra={"connections": self._accepted})

    async def __aenter__(self) -> Proxy:
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            if self._stopping:
                return
            group = peer_group(writer.get_extra_info("peername"))
            if not self._has_room(group):
                self._rejected += 1
                writer.write(replies.error("ERR max number of clients reached"))
                return
            connection = Connection(self._shared, _address(writer), group)
            self._tasks[task] = _Guest(connection, group, time.monotonic(), writer)
            try:
                await self._serve(connection, reader, writer, task)
            finally:
                connection.end()
        except ConnectionError:
            pass  # the peer is gone, so nobody would read an error
        except TimeoutError:
            # SEC_CM: REDIS.IDLE.CLOSED -- not by closing, which would wait for a peer that takes nothing
            writer.transport.abort()
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            if writer.transport.get_write_buffer_size():
                writer.transport.abort()
        except Exception as error:
            LOG.error("a connection failed", extra={"kind": type(error).__name__})  # never its text: it may hold data
        finally:
            self._tasks.pop(task, None)
            self._idle.discard(task)
            writer.close()

    async def _serve(
        self,
        connection: Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        task: asyncio.Task[None],
    ) -> None:
        self._accepted += 1
        since = time.monotonic()
        LOG.debug("client connected", extra={"client": connection.number})

        patience = Patience()

        async def send(data: bytes) -> None:
            writer.write(data)
            if writer.transport.get_write_buffer_size():  # a peer that does not read its replies is not read either
                await patience.wait(writer.drain(), self.limits.timeout or None)

        try:
            while not (connection.closed or self._stopping):
                self._idle.add(task)
                data = await patience.wait(reader.read(READ_BYTES), self._patience(connection, since))
                self._idle.discard(task)
                if not data:
                    break
                await connection.handle(data, send)
                if connection.authenticated:
                    since = time.monotonic()
        finally:
            patience.stop()
            LOG.debug("client gone", extra={"client": connection.number})

    def _patience(self, connection: Connection, since: float) -> float | None:
        """Return for how many seconds more to wait for bytes of a connection; None for ever.

        ``since`` is when it came, or when the peer was last known by its password.
        """
        if connection.authenticated:
            return self.limits.timeout or None
        return max(0.0, since + self.limits.login_seconds - time.monotonic())

    def _has_room(self, group: str) -> bool:
        """Whether a peer may come in. If the proxy is full, somebody who has not given the password may have to go."""
        guests = self._tasks.values()
        if len(guests) < self.limits.clients:
            return True
        guest = who_makes_room(guests, group, time.monotonic())
        if guest is None:
            return False
        guest.writer.transport.abort()
        self._tasks = {task: each for task, each in self._tasks.items() if each is not guest}
        return True

    def _report(self, problem: OmapError) -> None:
        """Log an error of the map, unless it is the same as the last."""
        text = f"{type(problem).__name__}: {problem}"
        if text != self._trouble:
            self._trouble = text
            LOG.error("the map does not answer", extra={"kind": type(problem).__name__, "why": str(problem)})

    def _info(self) -> Sections:
        running = Running(
            self.port, self._started, len(self._tasks), self.limits.clients, self._accepted, self._rejected
        )
        return sections(self._shared, running, self._trouble.partition(":")[0])


def _address(writer: asyncio.StreamWriter) -> str:
    with contextlib.suppress(TypeError, ValueError):
        host, port = writer.get_extra_info("peername")[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return ""
