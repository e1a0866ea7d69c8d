"""One client's connection to the relay: its socket, its TLS, how much of it is read, and how long it may stall.

What a client sends beyond its share waits in its socket. If a client does not read its answers, the relay first takes
no more commands from it, and then ends its connection. A connection counts from the moment it is accepted, so that TLS
that is never set up holds a place no longer than a client that says nothing.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Protocol

from host.device.driver import Driver
from host.peers import peer_group
from host.relay.port import Limits, Port
from host.socketfile import peer_user
from omap.wire import LINE_BYTES

_TOLD_SECONDS = 2.0
"""How long a connection that is one too many may last, until it was told so."""


class Owner(Protocol):
    """What a connection asks of its relay.

    Attributes
    ----------
    driver : Driver
        The device.
    limits : Limits
        How much to do for clients.
    draining : bool
        Whether the relay is shutting down.
    """

    driver: Driver
    limits: Limits
    draining: bool

    def admit(self, connection: Connection) -> bool:
        """Count a connection that was accepted. Return whether it may go on."""

    def welcome(self, connection: Connection) -> None:
        """Greet a client that has connected."""

    def changed(self, connection: Connection) -> None:
        """Give a turn to a client that has sent something, or reads its answers again."""

    def ended(self, connection: Connection, reason: str) -> None:
        """Take note that the relay is ending a connection."""

    def lost(self, connection: Connection) -> None:
        """Forget a connection that is gone."""


class Connection(Port, asyncio.Protocol):
    """One client's connection.

    Parameters
    ----------
    relay : Owner
        The relay that takes the client.
    tls : ssl.SSLContext, optional
        For TLS.

    Attributes
    ----------
    number : int
        Rises from connection to connection.
    since : float
        When it was accepted, on the clock of the event loop.
    proven : bool
        Whether a session is open on it, so that its peer is a client of the device. If the device has given the place
        of its session to another, the connection goes on, but makes room for others if the relay is full.
    surplus : bool
        Whether it is one too many, and is told so.
    greeted : bool
        Whether records may be sent on it: TLS is set up, if it speaks TLS.
    """

    def __init__(self, relay: Owner, tls: ssl.SSLContext | None = None) -> None:
        super().__init__()
        self.number = 0
        self.since = 0.0
        self.proven = False
        self.surplus = False
        self.greeted = False
        self.blocked = True  # until it is greeted: what comes before that may wait, but not be answered
        self._relay = relay
        self._limits = relay.limits
        self._most_waiting = max(relay.limits.input_bytes, 2 * LINE_BYTES * relay.driver.codec.most_lines)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._reading = True
        self._transport: asyncio.Transport
        self._context = tls
        self._securing: asyncio.Task[None] | None = None

    # -- what asyncio calls ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Set up TLS, if there is to be any, and greet the client."""
        assert isinstance(transport, asyncio.Transport)
        loop = asyncio.get_running_loop()
        self._transport = transport
        self.since = loop.time()
        link = transport.get_extra_info("socket")
        local = link.family == socket.AF_UNIX
        self.group = peer_user(link) if local else peer_group(transport.get_extra_info("peername"))
        link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if not self._relay.admit(self):
            transport.abort()
            return
        self._start_timer("idle", _TOLD_SECONDS if self.surplus else self._limits.idle_seconds)
        if self._context is None:
            self._relay.welcome(self)
        else:
            self._securing = loop.create_task(self._secure(transport, self._context))

    async def _secure(self, transport: asyncio.Transport, context: ssl.SSLContext) -> None:
        """Speak TLS from here on, and greet the client; forget a client that does not."""
        secure = None
        try:
            secure = await asyncio.get_running_loop().start_tls(
                transport, self, context, server_side=True, ssl_handshake_timeout=self._limits.idle_seconds
            )
        except (OSError, asyncio.CancelledError):
            transport.abort()
        if secure is None or self.closed:  # asyncio reports the end of no connection whose TLS was not set up
            transport.abort()
            self.connection_lost(None)
            return
        self._transport = secure
        self._relay.welcome(self)

    def data_received(self, data: bytes) -> None:
        """Keep what came until the client has its turn."""
        if self.closed:
            return
        self.incoming += data
        if len(self.incoming) >= self._most_waiting:
            # SEC_CM: RELAY.INPUT.BOUNDED -- the rest stays in the client's socket
            self.read(False)
        self._relay.changed(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        self.closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._relay.lost(self)

    def pause_writing(self) -> None:
        """Take no more commands, because the client does not read its answers; end the connection if that lasts."""
        # SEC_CM: RELAY.INPUT.BOUNDED -- only answers to what is in flight can still be added
        self.blocked = True
        self._start_timer("slow", self._limits.slow_seconds)

    def resume_writing(self) -> None:
        """Take commands again, because the client reads its answers again."""
        self.blocked = False
        self._end_timer("slow")
        self._relay.changed(self)

    # -- what the switch and the relay call -----------------------------------------------------------------------

    @property
    def expectant(self) -> bool:
        """Whether the client waits for its first handshake."""
        return self.waiting and not self.hellos

    @property
    def peer(self) -> str:
        """Address of the client, or its user."""
        name = self._transport.get_extra_info("peername")
        return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else self.group

    def deliver(self, records: bytes | memoryview) -> None:
        """Send records."""
        # SEC_CM: RELAY.INPUT.BOUNDED -- a copy, so that what waits for a client keeps no answers of others
        self._transport.write(bytes(records))

    def greet(self, greeting: bytes) -> None:
        """Send the greeting and take what comes."""
        share = self._limits.share(self._relay.driver.ring_lines)
        self._transport.set_write_buffer_limits(high=share * LINE_BYTES)
        self._transport.write(greeting)
        self.greeted, self.blocked = True, False
        self._relay.changed(self)

    def opened(self) -> None:
        """Let the connection last, because a session is open."""
        self.proven = True
        self._end_timer("idle")

    def over(self) -> None:
        """Let the connection make room for others, because no session is open any more."""
        self.proven = False

    def taken(self) -> None:
        """Read the socket again if there is room."""
        if not self._reading and len(self.incoming) < self._most_waiting // 2:
            self.read(True)

    def read(self, on: bool) -> None:
        """Read the socket, or leave in it what comes."""
        if on is not self._reading and not self.closed and not (on and self._relay.draining):
            self._reading = on
            if on:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def disconnect(self, reason: str) -> None:
        """End the connection once all delivered records are sent, but wait no longer than for a slow client."""
        if not self.closed:
            self._relay.ended(self, reason)
            self._transport.close()
            self._start_timer(reason, self._limits.slow_seconds)

    def abort(self, reason: str) -> None:
        """End the connection at once."""
        if not self.closed:
            self._relay.ended(self, reason)
        if self._securing is not None:
            self._securing.cancel()
        self._transport.abort()

    def _start_timer(self, reason: str, seconds: float) -> None:
        self._end_timer(reason)
        self._timers[reason] = asyncio.get_running_loop().call_later(seconds, self.abort, reason)

    def _end_timer(self, reason: str) -> None:
        if (timer := self._timers.pop(reason, None)) is not None:
            timer.cancel()
