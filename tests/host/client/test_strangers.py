"""A client at the wrong port says at once what answers there, and waits for a relay that is slow."""

import asyncio
import contextlib
import socket
import threading

import pytest
from click.testing import CliRunner

import omap
from host.commands.serve import tls_context
from host.redis.server import Endpoint, Proxy
from host.testing import running_relay
from omap.cli import main
from omap.errors import SessionError
from omap.presets import preset
from tests.support.host.certificates import make_certificate
from tests.support.host.operators import monitored
from tests.support.redis.support import CLIENT, PARAMS, ReferenceStore

FOREVER = 1000
"""Seconds: an error that comes only after them makes a test too long."""


@contextlib.contextmanager
def looping():
    """Run an event loop in a thread; yield what runs a coroutine in it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield lambda work: asyncio.run_coroutine_threadsafe(work, loop).result(60)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextlib.contextmanager
def proxying(password):
    async def made():
        return await Proxy(ReferenceStore(), PARAMS, CLIENT, Endpoint(port=0, password=password)).__aenter__()

    with looping() as run:
        proxy = run(made())
        yield proxy.port
        run(proxy.__aexit__(None, None, None))


def refusals(port, **options):
    """Return what both clients say of a port."""
    options = {"client": CLIENT, "timeout": FOREVER} | options
    with pytest.raises(SessionError) as plain:
        omap.connect(f"omap://127.0.0.1:{port}", **options)
    with pytest.raises(SessionError) as awaited:
        asyncio.run(omap.connect_async(f"omap://127.0.0.1:{port}", **options))
    assert str(plain.value) == str(awaited.value)
    return str(plain.value)


@pytest.mark.parametrize("password", [None, "secret"])
def test_the_port_of_a_proxy_is_recognised(client_file, password):
    with proxying(password) as port:
        says = refusals(port)
        assert says.startswith(f"what answers at 127.0.0.1:{port} is no omap relay: it speaks the Redis protocol")
        options = ["--url", f"omap://127.0.0.1:{port}", "--key-file", str(client_file), "--timeout", str(FOREVER)]
        for command in (["status"], ["get", "name"], ["proxy", "--port", "0"]):
            result = CliRunner().invoke(main, [*command, *options])
            assert (result.exit_code, result.stderr.splitlines()[-1]) == (2, f"omap: {says}")


def test_the_monitor_is_recognised(key_file):
    with running_relay(preset("TINY"), key_file) as relay, monitored(relay) as monitor:
        assert "it speaks HTTP, as the monitor of `omap serve` does" in refusals(monitor.port)


def test_a_relay_that_speaks_tls_is_recognised(key_file, tmp_path):
    certificate = make_certificate(tmp_path)
    with running_relay(preset("TINY"), key_file, tls=tls_context(*certificate)) as relay:
        assert "hangs up when it is asked who it is: check host and port, and whether it speaks TLS" in refusals(
            relay.port
        )


def test_a_relay_that_is_slow_is_waited_for(key_file):
    """Its greeting comes after the question, in two pieces, the first of them before it."""
    with running_relay(preset("TINY"), key_file) as relay, socket.create_server(("127.0.0.1", 0)) as server:

        def forward():
            near, _ = server.accept()
            far = socket.create_connection(("127.0.0.1", relay.port))
            near.sendall(far.recv(5))
            other, _ = server.accept()
            assert other.recv(100) == b"PING\r\n\r\n"
            while data := far.recv(1 << 16):
                near.sendall(data)
                far.sendall(near.recv(1 << 16))

        def quiet():
            with contextlib.suppress(OSError):
                forward()

        thread = threading.Thread(target=quiet, daemon=True)
        thread.start()
        port = server.getsockname()[1]
        with omap.connect(f"omap://127.0.0.1:{port}", client=relay.client, timeout=FOREVER) as client:
            assert client.get(b"none") is None
