"""The proxy's sockets: limits, slow and broken peers, its end, and what it logs."""

import asyncio
import contextlib
import logging
import socket

import pytest

from host.redis.server import Endpoint, Limits, Proxy
from omap.errors import DeviceError, InputError
from tests.support.redis.support import CLIENT, PARAMS, ReferenceStore, command


def run(test, store=None, *, password=None, limits=None):
    """Run ``await test(proxy, store)`` with a proxy at a free port."""
    store = store or ReferenceStore()

    async def main():
        async with Proxy(store, PARAMS, CLIENT, Endpoint(port=0, password=password), limits=limits) as proxy:
            return await asyncio.wait_for(test(proxy, store), 30)

    return asyncio.run(main())


async def exchange(proxy, data, count):
    """Send bytes on a connection of its own and return the first ``count`` of the answer."""
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    writer.write(data)
    answer = await reader.readexactly(count)
    writer.close()
    return answer


def test_many_connections_at_once():
    async def one(proxy):
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        writer.write(command("incr", "n") * 3)
        return [int((await reader.readline())[1:]) for _ in range(3)]

    async def test(proxy, store):
        return await asyncio.gather(*(one(proxy) for _ in range(30)))

    assert sorted(number for numbers in run(test) for number in numbers) == list(range(1, 91))


def test_no_more_clients_than_the_limit():
    async def test(proxy, store):
        links = [await asyncio.open_connection(proxy.host, proxy.port) for _ in range(2)]
        for reader, writer in links:
            writer.write(command("ping"))
            assert await reader.readexactly(7) == b"+PONG\r\n"
        reader, _ = await asyncio.open_connection(proxy.host, proxy.port)
        assert await reader.read() == b"-ERR max number of clients reached\r\n"
        links[0][1].close()
        answer = b""
        while b"connected_clients:2" not in answer:  # until the server has noticed the end
            with contextlib.suppress(asyncio.IncompleteReadError):
                answer = await exchange(proxy, command("info", "clients"), 40)

    run(test, limits=Limits(clients=2))


def test_a_protocol_error_and_quit_close_the_connection():
    async def test(proxy, store):
        for last, answer in (
            (b"*x\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
            (b"QUIT\r\n", b"+OK\r\n"),
        ):
            reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
            writer.write(command("set", "a", 1) + last + command("set", "a", 2))
            assert await reader.read() == b"+OK\r\n" + answer
        assert await exchange(proxy, command("get", "a"), 7) == b"$1\r\n1\r\n"

    run(test)


def test_what_came_before_the_end_of_a_stream_is_run():
    async def test(proxy, store):
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        writer.write(command("set", "a", 1) + b"*2\r\n$3\r\nGET")
        writer.write_eof()
        assert await reader.read() == b"+OK\r\n"

    run(test)


def test_who_does_not_read_is_not_read_and_disturbs_nobody():
    """A pipeline of large answers that nobody takes: the proxy holds no more than one run of them."""

    async def test(proxy, store):
        await exchange(proxy, command("set", "a", "v" * 180), 5)
        slow, writer = await asyncio.open_connection(proxy.host, proxy.port, limit=1)
        slow._transport.pause_reading()
        link = writer.get_extra_info("socket")
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 50_000_000:
                writer.write(command("get", "a") * 5000)
                sent += 5000 * len(command("get", "a"))
                await asyncio.wait_for(writer.drain(), 0.5)
        assert sent < 50_000_000
        before = len(store.batches)
        assert await exchange(proxy, command("get", "a"), 6) == b"$180\r\n"
        assert len(store.batches) == before + 1
        writer.transport.abort()

    run(test, limits=Limits(drain_seconds=0.2))


def test_the_end_finishes_what_is_under_way():
    class Slow(ReferenceStore):
        async def _later(self, batch, failure):
            await asyncio.sleep(0.3)
            return await super()._later(batch, failure)

    async def main():
        store = Slow()
        proxy = Proxy(store, PARAMS, CLIENT, Endpoint(port=0), limits=Limits(drain_seconds=1000))
        await proxy.start()
        idle, _ = await asyncio.open_connection(proxy.host, proxy.port)
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        writer.write(command("incr", "n") + command("get", "n"))
        while len(store.batches) < 4:  # three are about the register
            await asyncio.sleep(0.01)
        await asyncio.wait_for(proxy.stop(), 30)
        assert await reader.read() == b":1\r\n$1\r\n1\r\n"
        assert await idle.read() == b""
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(proxy.host, proxy.port)
        await proxy.stop()  # a second call does nothing

    asyncio.run(main())


@pytest.mark.sec_cm("REDIS.LISTEN.GUARDED")
def test_without_a_password_it_listens_for_its_own_machine_only():
    async def at(host, **options):
        Proxy(ReferenceStore(), PARAMS, CLIENT, Endpoint(host=host, port=0, **options))

    for host in ("0.0.0.0", "192.0.2.1", "::", ""):
        with pytest.raises(InputError, match=r"give a password, or listen at 127\.0\.0\.1"):
            asyncio.run(at(host))
        asyncio.run(at(host, password="secret"))
    with pytest.raises(InputError, match="password is empty"):
        asyncio.run(at("0.0.0.0", password=""))


def test_a_port_in_use_is_said_in_one_line():
    async def test(proxy, store):
        with pytest.raises(InputError, match=f"can't listen at 127.0.0.1:{proxy.port}: another program"):
            await Proxy(store, PARAMS, CLIENT, Endpoint(port=proxy.port)).start()

    run(test)


def test_logs_tell_of_trouble_once_and_never_of_keys_or_values(caplog):
    caplog.set_level(logging.DEBUG, logger="omap.redis")

    async def test(proxy, store):
        store.failures = [DeviceError("nothing listens at 127.0.0.1:1")] * 3
        data = command("set", "my key", "my value") + command("auth", "my password") + command("my command", "my word")
        await exchange(proxy, data * 2 + command("incr", "my key"), 20)
        store.submit = None  # a defect
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        writer.write(command("get", "my key"))
        assert await reader.read() == b""
        del store.submit

    run(test)
    told = [(record.levelname, record.getMessage(), vars(record)) for record in caplog.records]
    assert [line[1] for line in told if line[0] == "ERROR"] == ["the map does not answer", "a connection failed"]
    assert "my " not in repr(told)


def test_an_endless_command_is_cut_off():
    async def test(proxy, store):
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        with contextlib.suppress(ConnectionError):
            for _ in range(40):
                writer.write(b"*9999\r\n" if not _ else b"$1000000\r\n" + bytes(1_000_002))
                await writer.drain()
        with contextlib.suppress(ConnectionError):
            assert await reader.read() in (b"-ERR Protocol error: too big request\r\n", b"")

    run(test)
