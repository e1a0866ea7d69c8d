"""Who may stay connected to the proxy: idle peers, peers without the password, peers that take no replies."""

import asyncio
import socket

import pytest

from host.redis.server import Endpoint, Limits, Proxy
from tests.support.redis.support import CLIENT, PARAMS, ReferenceStore, command

PONG = b"+PONG\r\n"
NEVER = 3600.0


def run(test, *, password=None, **limits):
    """Run ``await test(proxy)`` with a proxy at a free port."""

    async def main():
        endpoint = Endpoint(port=0, password=password)
        async with Proxy(ReferenceStore(), PARAMS, CLIENT, endpoint, limits=Limits(**limits)) as proxy:
            task = asyncio.create_task(test(proxy))
            assert (await asyncio.wait({task}, timeout=30))[0], "a peer that had to go is still there"
            return task.result()

    return asyncio.run(main())


async def connect(proxy, address="127.0.0.1"):
    return await asyncio.open_connection(proxy.host, proxy.port, local_addr=(address, 0))


async def ended(reader):
    """Read to the end, and return what came."""
    try:
        return await reader.read()
    except ConnectionError:
        return b""


@pytest.mark.sec_cm("REDIS.IDLE.CLOSED")
@pytest.mark.parametrize("sent", [b"", b"*2\r\n$4\r\necho\r\n$5\r\nhal"])
def test_a_client_that_does_nothing_is_hung_up(sent):
    async def test(proxy):
        reader, writer = await connect(proxy)
        writer.write(command("ping") + sent)
        assert await ended(reader) == PONG
        assert not proxy._tasks

    run(test, timeout=0.2)


@pytest.mark.sec_cm("REDIS.IDLE.CLOSED")
def test_a_client_that_takes_no_replies_is_hung_up():
    async def test(proxy):
        reader, writer = await connect(proxy)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader._transport.pause_reading()
        while proxy._tasks or not proxy._accepted:
            writer.write(command("echo", "x" * 10_000) * 10)
            await asyncio.sleep(0.01)
        writer.transport.abort()

    run(test, timeout=0.2)


def test_without_a_timeout_a_client_may_stay_for_ever():
    async def test(proxy):
        reader, writer = await connect(proxy)
        for _ in range(2):
            writer.write(command("ping") + command("config", "get", "timeout"))
            assert await reader.readexactly(len(PONG)) == PONG
            assert (await reader.readuntil(b"timeout\r\n")).startswith(b"*2")
            assert await reader.readuntil(b"0\r\n") == b"$1\r\n0\r\n"
            await asyncio.sleep(0.05)
        writer.close()

    run(test, timeout=0)


@pytest.mark.sec_cm("REDIS.IDLE.CLOSED")
def test_a_client_without_the_password_is_hung_up_whatever_it_sends():
    async def test(proxy):
        reader, writer = await connect(proxy)
        told = asyncio.create_task(ended(reader))
        while not told.done():
            writer.write(command("quix"))
            await asyncio.sleep(0.01)
        assert not proxy._tasks
        assert proxy._accepted == 1

    run(test, password="secret", timeout=NEVER, login_seconds=0.3)


def test_reset_gives_time_to_log_in_again():
    async def test(proxy):
        reader, writer = await connect(proxy)
        for _ in range(3):
            writer.write(command("auth", "secret") + command("ping"))
            assert await reader.readexactly(5 + len(PONG)) == b"+OK\r\n" + PONG
            await asyncio.sleep(0.4)
        writer.write(command("reset"))
        assert await reader.readexactly(8) == b"+RESET\r\n"
        assert await ended(reader) == b""

    run(test, password="secret", timeout=NEVER, login_seconds=0.3)


@pytest.mark.sec_cm("REDIS.IDLE.CLOSED")
def test_peers_without_the_password_make_room_for_one_of_another_address():
    async def test(proxy):
        inside, insider = await connect(proxy)
        insider.write(command("auth", "secret"))
        assert await inside.readexactly(5) == b"+OK\r\n"
        crowd = [await connect(proxy, "127.0.0.2") for _ in range(3)]
        while len(proxy._tasks) < 4:
            await asyncio.sleep(0.01)
        more, _ = await connect(proxy, "127.0.0.2")
        assert await ended(more) == b"-ERR max number of clients reached\r\n"
        reader, writer = await connect(proxy)
        writer.write(command("auth", "secret") + command("ping"))
        assert await reader.readexactly(5 + len(PONG)) == b"+OK\r\n" + PONG
        assert await ended(crowd[0][0]) == b""
        insider.write(command("ping"))
        assert await inside.readexactly(len(PONG)) == PONG
        assert len(proxy._tasks) == 4

    run(test, password="secret", clients=4)
