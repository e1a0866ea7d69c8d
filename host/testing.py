"""A relay in a thread, for tests and for trials: ``with running_relay(params, key_file) as relay: ...``."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from host.device.driver import Driver
from host.device.transport import Transport, open_transport
from host.relay.port import Limits
from host.relay.relay import Relay
from omap.params import Params

if TYPE_CHECKING:
    from host.relay.keeper import Keeper
    from omap.credentials import ClientKey

T = TypeVar("T")


@dataclass
class RunningRelay:
    """A relay that runs in a thread, with its transport and its event loop.

    Parameters
    ----------
    relay : Relay
        The relay. Its methods belong to its event loop.
    transport : Transport
        The way to the device; ``transport.device`` is the device itself, if that runs in this process.
    key_file : path or None
        Root file of the device.
    loop : asyncio.AbstractEventLoop
        The relay's event loop.
    """

    relay: Relay
    transport: Transport
    key_file: str | os.PathLike[str] | None
    loop: asyncio.AbstractEventLoop

    @property
    def client(self) -> ClientKey:
        """A client that may do everything: ``omap.connect(relay.address, client=relay.client)``."""
        from host.keyfile import read_root_file  # here, because a relay needs none of this
        from omap.credentials import Credential, provision

        assert self.key_file is not None
        return provision(read_root_file(self.key_file), Credential())

    @property
    def host(self) -> str:
        """Where the relay listens."""
        assert self.relay.host is not None
        return self.relay.host

    @property
    def port(self) -> int:
        """Where the relay listens."""
        return self.relay.port

    @property
    def address(self) -> str:
        """Where the relay listens, as an ``omap://`` address."""
        return self.relay.address

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the relay's event loop and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def stop(self) -> None:
        """Shut the relay down after it has sent the answers that are due. The device goes on."""
        self.run(self.relay.stop())


# Many: transport, driver and relay each have some; all but two have defaults.
@contextmanager
def running_relay(
    params: Params,
    key_file: str | os.PathLike[str] | None,
    *,
    backend: str = "model",
    ring_lines: int = 256,
    limits: Limits | None = None,
    port: int = 0,
    transport: Transport | None = None,
    tls: ssl.SSLContext | None = None,
    unix: str | os.PathLike[str] | None = None,
    begin: Callable[[Driver], Keeper | None] = Driver.start,
    **options: Any,
) -> Iterator[RunningRelay]:
    """Run a relay on a loopback port, in a thread, until the end of the ``with`` block.

    There are more than six parameters, because transport, driver and relay each have some; all but two have defaults.

    Parameters
    ----------
    params : Params
        The map.
    key_file : path or None
        Root file of the device.
    backend : str
        Name of a transport, see :func:`host.device.transport.open_transport`.
    ring_lines : int
        Lines of each ring.
    limits : Limits, optional
        How much the relay does for clients.
    port : int
        TCP port; 0 for any.
    transport : Transport, optional
        An open transport in place of ``backend``. It stays open.
    tls : ssl.SSLContext, optional
        For TLS.
    unix : path, optional
        Socket file to listen at too.
    begin : callable
        Has the device hold a map, and returns what keeps it, if anything does.
    **options
        Options of the back end.

    Reveals
        As :class:`~host.relay.relay.Relay` does.
    """
    opened = transport or open_transport(backend, params, ring_lines=ring_lines, key_file=key_file, **options)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="omap-relay", daemon=True)
    thread.start()
    try:
        driver = Driver(opened, params)
        keeper = begin(driver)
        relay = Relay(driver, port=port, limits=limits, tls=tls, unix=unix, keeper=keeper)
        running = RunningRelay(relay, opened, key_file, loop)
        running.run(relay.start())
        try:
            yield running
        finally:
            running.stop()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        if transport is None:
            opened.close()
