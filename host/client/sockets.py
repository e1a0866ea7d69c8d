"""The connection of the synchronous client: makes it, and drives an opening over it."""

from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import replace
from typing import TypeVar

from host.client.address import Address
from host.client.opening import Knock, Pause, Steps
from host.client.settings import Settings, unreachable
from omap.errors import OmapError

T = TypeVar("T")


def connect(settings: Settings) -> socket.socket:
    """Return a new connection, with TLS if the settings say so.

    Reveals
        That a client connected, and when.

    Raises
    ------
    DeviceError
        If nothing answers there, or not in time.
    InputError
        If the certificates can't be read.
    """
    context = settings.context
    try:
        sock = _reach(settings.where, settings.timeout)
        return sock if context is None else context.wrap_socket(sock, server_hostname=settings.where.host)
    except OSError as error:
        raise unreachable(settings, error) from None


def _reach(where: Address, timeout: float) -> socket.socket:
    if not where.path:
        sock = socket.create_connection((where.host, where.port), timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(timeout)
        sock.connect(where.path)
    except OSError:
        sock.close()
        raise
    return sock


def drive(sock: socket.socket, steps: Steps[T]) -> T:
    """Do the steps of an opening, and return its result. Raises what the opening raises.

    The socket blocks, with a time limit, until this is done; after it the socket does not block.
    """
    early = bytearray()
    try:
        step = next(steps)
        while True:
            came = b""
            try:
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                elif isinstance(step, Knock):
                    came = _knock(step)
                else:
                    end = time.monotonic() + step.seconds
                    sock.settimeout(step.seconds)
                    sock.sendall(step.data)
                    came = _read_exactly(sock, step.wanted, end, early)
            except (OSError, EOFError) as error:
                step = steps.throw(error)
            else:
                step = steps.send(came)
    except StopIteration as finish:
        result: T = finish.value
    sock.setblocking(False)
    return result


def _read_exactly(sock: socket.socket, count: int, end: float, early: bytearray) -> bytes:
    """Return ``count`` bytes. What came before the time was over stays in ``early``, for the next call."""
    while len(early) < count:
        # the limit is for all of it: a peer that sends a byte at a time gets no longer
        sock.settimeout(max(1e-3, end - time.monotonic()))
        piece = sock.recv(count - len(early))
        if not piece:
            raise EOFError
        early += piece
    data = bytes(early)
    early.clear()
    return data


def _knock(step: Knock) -> bytes:
    try:
        sock = connect(replace(step.settings, timeout=step.seconds))
    except OmapError:
        raise TimeoutError from None
    with sock, contextlib.suppress(ConnectionError):
        sock.sendall(step.data)
        return sock.recv(step.wanted)
    return b""
