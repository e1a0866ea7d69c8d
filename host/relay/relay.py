"""The relay: moves records between clients and the rings of a device. It is untrusted and holds no key.

Every client gets a greeting (:mod:`host.framing`), then one record in answer to each of its own, in the order in which
it sent them (:mod:`host.relay.switch`). :mod:`host.relay.connection` deals with one client's socket. When the device
has latched a fault, every client gets a REFUSED record that says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import ssl
import time
from collections.abc import Coroutine
from typing import Any, Self

from host.device.driver import Driver
from host.framing import DEFAULT_PORT, socket_url
from host.listening import cannot_listen, cannot_listen_at
from host.peers import who_makes_room
from host.relay.connection import Connection
from host.relay.keeper import Keeper
from host.relay.port import Limits, Numbers
from host.relay.switch import Switch
from host.socketfile import SocketFile
from omap.errors import DeviceError, DeviceFaultError, InputError, OmapError
from omap.wire import Header, RecordType, Refusal, refusal

LOG = logging.getLogger("omap.relay")

_SPIN_SECONDS = 2e-3
"""How long after its last progress a device without a doorbell is polled without a pause."""

_POLL_SECONDS = 1e-3
"""How long the pauses between polls are after that."""

_HEARTBEAT_SECONDS = 0.25
"""How often a relay checks the device although nothing happens."""

_BACKLOG = 1024
"""Connections that the operating system may hold until the relay takes them."""

_TOLD = 16
"""Most connections beyond the limit, which are told why they must go."""


class Relay:
    """A server in front of a driver, on TCP, at a socket file, or both. Lives in one event loop.

    Parameters
    ----------
    driver : Driver
        The device, ready. Nobody else may use it meanwhile. The relay does not close it.
    host : str or None
        Address to listen at; None for no TCP.
    port : int
        TCP port; 0 for any.
    limits : Limits, optional
        How much to do for clients.
    tls : ssl.SSLContext, optional
        For TLS on TCP, which hides records from the network. The secrecy of their contents does not depend on it.
    unix : path, optional
        Socket file for clients on this machine.
    keeper : Keeper, optional
        What keeps the map on disk.

    Attributes
    ----------
    numbers : Numbers
        What the relay has counted.
    failure : OmapError or None
        Why the device does no more work; None as long as it works.
    connections : set of Connection
        Which clients are connected.
    draining : bool
        Whether the relay is shutting down.

    Reveals
        To whoever runs the relay: who connects, when, and how many records come and go; not what is in them.
    """

    # Many: places to listen at, limits and the disk are each a matter of their own; all but one have defaults.
    def __init__(
        self,
        driver: Driver,
        host: str | None = "127.0.0.1",
        port: int = DEFAULT_PORT,
        *,
        limits: Limits | None = None,
        tls: ssl.SSLContext | None = None,
        unix: str | os.PathLike[str] | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        self.driver, self.keeper = driver, keeper
        self._source = keeper or driver
        self.host, self.port = host, port
        self.limits = limits or Limits()
        self.numbers = Numbers()
        self.failure: OmapError | None = None
        self.connections: set[Connection] = set()
        self.draining = False
        self._tls, self._unix = tls, unix
        self._switch = Switch(driver, self.limits, self.numbers, answers=self._source.take)
        self._servers: list[asyncio.Server] = []
        self._file: SocketFile | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._bell: int | None = None
        self._due = False
        self._timer: asyncio.TimerHandle | None = None
        self._progress = 0.0

    @property
    def addresses(self) -> list[str]:
        """Addresses that clients connect to: on TCP, and at the socket file."""
        found = []
        if self.host is not None:
            host = f"[{self.host}]" if ":" in self.host else self.host
            found.append(f"omap://{host}:{self.port}")
        if self._file is not None:
            found.append(socket_url(self._file.path))
        return found

    @property
    def address(self) -> str:
        """The first of the addresses that clients connect to."""
        return self.addresses[0]

    # -- start and stop -------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen.

        Reveals
            That a relay listens at these addresses.

        Raises
        ------
        DeviceError, DeviceFaultError
            If the device is not ready.
        InputError
            If an address can't be used, or there is none.
        """
        self.driver.check()
        loop = asyncio.get_running_loop()
        if self.host is None and self._unix is None:
            raise InputError("a relay needs a place to listen at: TCP, a socket file, or both")
        try:
            await self._listen()
        except OmapError:
            self._stop_listening()
            raise
        self._bell = self.driver.transport.fileno()
        if self._bell is not None:
            loop.add_reader(self._bell, self._rung)
        self._keep(self._heartbeat())
        if self.keeper is not None:
            self.keeper.wake = self._turn_soon
            self.keeper.start()
        self._turn_soon()
        LOG.info("listening", extra={"address": " ".join(self.addresses), "inherited": self.driver.in_flight})

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        if self.host is not None:
            try:
                server = await loop.create_server(
                    lambda: Connection(self, self._tls), self.host, self.port, backlog=_BACKLOG
                )
            except OSError as error:
                raise cannot_listen(self.host, self.port, error) from None
            self._servers.append(server)
            self.host, self.port = server.sockets[0].getsockname()[:2]
        if self._unix is not None:
            try:
                self._file = SocketFile(self._unix)
            except OSError as error:
                raise cannot_listen_at(self._unix, error) from None
            self._servers.append(
                await loop.create_unix_server(lambda: Connection(self), sock=self._file.socket, backlog=_BACKLOG)
            )

    def _stop_listening(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()
        if self._file is not None:
            self._file.close()

    async def stop(self) -> None:
        """Take no more clients, read nothing more, wait for the answers that are due, send them, and end.

        Reveals
            To every client: that the relay ends.
        """
        if not self._servers:
            return
        LOG.info("draining", extra={"clients": len(self.connections), "in_flight": self.driver.in_flight})
        self.draining = True
        self._stop_listening()
        for connection in self.connections:
            connection.read(False)
        end = time.monotonic() + self.limits.drain_seconds
        while not self._switch.idle and self.failure is None and time.monotonic() < end:
            await asyncio.sleep(0.005)
        for connection in list(self.connections):
            connection.disconnect("shutdown")
        while self.connections and time.monotonic() < end:
            await asyncio.sleep(0.005)
        for connection in list(self.connections):
            connection.abort("shutdown")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.keeper is not None:
            await self.keeper.stop()
        self._forget_bell()
        if self._timer is not None:
            self._timer.cancel()
        LOG.info("stopped", extra={"records_in": self.numbers.records_in, "records_out": self.numbers.records_out})

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- connections ----------------------------------------------------------------------------------------------

    def admit(self, connection: Connection) -> bool:
        """Count a connection that was accepted. Return whether it may go on.

        If the relay is full, another connection may have to make room, see :func:`host.peers.who_makes_room`.
        """
        self.numbers.connections += 1
        connection.number = self.numbers.connections
        # SEC_CM: RELAY.CLIENTS.BOUNDED -- a connection counts before its TLS is set up, and whatever becomes of it
        if len(self.connections) >= self.limits.clients:
            connection.surplus = True
            taken = [each for each in self.connections if not each.surplus]
            if len(taken) < self.limits.clients:
                connection.surplus = False
            elif (guest := who_makes_room(taken, connection.group, connection.since)) is not None:
                guest.abort("crowded")
                self.connections.discard(guest)
                connection.surplus = False
            elif len(self.connections) >= self.limits.clients + _TOLD:
                self.numbers.disconnected["full"] += 1
                connection.closed = True
                return False
        self.connections.add(connection)
        LOG.info("client connected", extra={"client": connection.number, "peer": connection.peer})
        return True

    def welcome(self, connection: Connection) -> None:
        """Greet a client, or say why the relay does not take it."""
        if connection.surplus or self.draining:
            reason = "shutdown" if self.draining else "full"
            refused = "it is shutting down" if self.draining else f"{self.limits.clients} clients are its limit"
            connection.greet(self._greeting(f"{refused}: try again later"))
            connection.disconnect(reason)
            return
        if self.keeper is not None and self.keeper.trouble:
            connection.greet(self._greeting(self.keeper.trouble))
            connection.disconnect("disk")
            return
        connection.greet(self._greeting())
        if self.failure is not None:
            self._end_failed(connection)

    def _greeting(self, refused: str = "") -> bytes:
        return self.driver.greeting(refused, None if self.keeper is None else self.keeper.facts()).pack()

    def changed(self, connection: Connection) -> None:
        """Give a turn to a client that has sent something, or reads its answers again."""
        self._switch.activate(connection)
        self._turn_soon()

    def ended(self, connection: Connection, reason: str) -> None:
        """Take note that the relay is ending a connection."""
        self.numbers.disconnected[reason] += 1
        LOG.info("client disconnected", extra={"client": connection.number, "reason": reason})
        self._switch.forget(connection)
        self._turn_soon()

    def lost(self, connection: Connection) -> None:
        """Forget a connection that is gone."""
        if connection in self.connections:
            self.connections.remove(connection)
            LOG.info("client gone", extra={"client": connection.number, "in_flight": connection.in_flight})
        self._switch.forget(connection)
        self._turn_soon()

    # -- work -----------------------------------------------------------------------------------------------------

    def _turn_soon(self) -> None:
        if not self._due and self.failure is None:
            self._due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self, rung: bool = False) -> None:
        """Move all records that can be moved, then arrange the next turn."""
        self._due = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.failure is not None:
            return
        try:
            moved = self._switch.collect()
            if rung and not moved:  # it rang without an answer: it may have failed
                self.driver.check()
            if self._switch.pump():
                self._turn_soon()
            if self.driver.in_flight or (self.keeper is not None and self.keeper.exporting):
                self.driver.transport.arm()
                self._wait(moved)
        except OmapError as error:
            self._fail(error)
            return
        except Exception as error:  # otherwise clients would wait for ever
            LOG.exception("defect")
            self._fail(DeviceError(f"the relay has a defect, see its log: {type(error).__name__}"))
            return
        if self._timer is None and self._switch.deadline is not None:
            self._turn_in(max(0.0, self._switch.deadline - time.monotonic()))

    def _wait(self, moved: int) -> None:
        if self._source.answered:
            self._turn_soon()
        elif self._bell is None:
            now = time.monotonic()
            if moved:
                self._progress = now
            else:
                self.driver.transport.wait(0.0)  # a simulated device runs only while somebody waits
            if now - self._progress < _SPIN_SECONDS:
                self._turn_soon()
            else:
                self._turn_in(_POLL_SECONDS)

    def _turn_in(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._turn)

    def _rung(self) -> None:
        self.driver.transport.rest()
        if self.driver.transport.fileno() is None:
            self._forget_bell()
        self._turn(rung=True)

    def _forget_bell(self) -> None:
        if self._bell is not None:
            asyncio.get_running_loop().remove_reader(self._bell)
            self._bell = None

    async def _heartbeat(self) -> None:
        while self.failure is None:
            await asyncio.sleep(_HEARTBEAT_SECONDS)
            self._turn(rung=True)

    # -- the device's end -----------------------------------------------------------------------------------------

    def _fail(self, error: OmapError) -> None:
        """Give up on the device: deliver the answers that are there, tell all clients, and end their connections."""
        if self.failure is not None:
            return
        self.failure = error
        with contextlib.suppress(Exception):  # there may be none, or no way to them
            self._switch.collect()
        LOG.error("device failed", extra={"error": str(error)})
        for connection in list(self.connections):
            if connection.greeted:
                self._end_failed(connection)

    def _end_failed(self, connection: Connection) -> None:
        if connection.closed:
            return
        if isinstance(self.failure, DeviceFaultError):
            connection.deliver(refusal(Header(RecordType.REFUSED, 0, 1, 0, 0, 0), Refusal.FAULT))
            connection.disconnect("fault")
        else:
            connection.disconnect("device")
