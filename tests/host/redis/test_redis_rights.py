"""A proxy whose credential does not allow everything: it starts, does what it may, and says NOPERM to the rest."""

import asyncio

import pytest

from host.redis.connection import Connection
from host.redis.server import Endpoint, Proxy
from host.redis.upkeep import Upkeep
from omap.cells import Cells
from omap.credentials import Right
from omap.databases import register_key
from omap.errors import DeniedError
from omap.operations import Kind, Operation
from omap.sizing import one_choice
from tests.support.host.keys import client_of
from tests.support.redis.support import CLIENT, PARAMS, GuardedStore, answers, ask, command, shared

ROOT = bytes(range(32))
READER, WRITER = client_of(ROOT, Right.READ), client_of(ROOT, Right.WRITE)
HOME = client_of(ROOT, prefix=b"home", name=b"somebody")
SHORT = one_choice(capacity=60, key_bytes=8, value_bytes=32, page_bytes=1024)
NOPERM = b"-NOPERM the proxy's key does not allow this"


def reader_store():
    """Return a map that its owner has filled, and that a reader looks at."""
    store = GuardedStore(CLIENT)
    answers(
        command("set", "a", 1) + command("setex", "old", 1, 2) + command("mset", "b", 2, "c", "text"),
        store=store,
        clock=lambda: 1000.0,
    )
    store.credential = READER.credential
    store.batches.clear()
    return store


@pytest.mark.parametrize(
    "words",
    [
        ("set", "a", 9),
        ("sEt", "a", 9),
        ("del", "a"),
        ("del", "a", "b"),
        ("getdel", "a"),
        ("mset", "a", 9, "new", 9),
        ("set", "a", 9, "get"),
        ("incr", "a"),
        ("append", "a", 9),
        ("setnx", "new", 9),
        ("expire", "a", 99),
        ("rename", "a", "new"),
        ("flushall",),
        ("eval", "return redis.call('set', KEYS[1], 9)", 1, "a"),
    ],
)
def test_a_reader_changes_nothing(words):
    store = reader_store()
    before = len(store.map)
    refused, *found = answers(
        command(*words), command("mget", "a", "b", "new"), command("dbsize"), store=store, client=READER
    )
    assert refused.startswith(NOPERM)
    assert refused.count(b"\r\n") == 1
    assert found == [b"*3\r\n$1\r\n1\r\n$1\r\n2\r\n$-1\r\n", b":%d\r\n" % before]
    assert len(store.map) == before


def test_a_reader_reads():
    found = answers(
        command("get", "a"),
        command("mget", "a", "old"),
        command("strlen", "c"),
        command("setnx", "a", 9),  # writes nothing, because there is a value
        command("eval", "return redis.call('get', KEYS[1])", 1, "c"),
        command("multi") + command("get", "a") + command("get", "old") + command("set", "a", 2) + command("exec"),
        store=reader_store(),
        client=READER,
    )
    assert found[:5] == [b"$1\r\n1\r\n", b"*2\r\n$1\r\n1\r\n$-1\r\n", b":4\r\n", b":0\r\n", b"$4\r\ntext\r\n"]
    queued = b"+OK\r\n" + 3 * b"+QUEUED\r\n"
    assert found[5].startswith(queued + b"*3\r\n$1\r\n1\r\n$-1\r\n" + NOPERM)


def test_what_a_reader_may_not_do_takes_as_many_operations():
    for words in (("incr", "a"), ("eval", "return redis.call('set', KEYS[1], 9)", 1, "a"), ("get", "old")):
        counts = []
        for client in (CLIENT, READER):
            store = reader_store()
            store.credential = client.credential
            answers(command("multi") + command(*words) + command("exec"), store=store, client=client)
            counts.append([len(batch) for batch in store.batches])
        assert counts[0] == counts[1]


def test_a_proxy_of_a_reader_starts_and_ends_without_writing():
    store = reader_store()

    async def main():
        async with Proxy(store, PARAMS, READER, Endpoint(port=0)) as proxy:
            assert proxy.port
        assert [[operation.kind for operation in batch] for batch in store.batches] == [[Kind.GET]]

    asyncio.run(main())


def test_a_proxy_that_may_not_read_does_not_start():
    async def main():
        for params in (PARAMS, SHORT):  # without a register, too: a GETDEL would answer that there is nothing
            store = GuardedStore(WRITER, params)
            with pytest.raises(DeniedError, match="does not allow it to read"):
                await Proxy(store, params, WRITER, Endpoint(port=0)).start()
            assert store.batches == []

    asyncio.run(main())


@pytest.mark.parametrize("words", [("get", "a"), ("gEt", "a"), ("mget", "a", "b"), ("incr", "a"), ("rename", "a", "b")])
def test_what_can_not_be_read_is_not_absent(words):
    store = reader_store()
    store.credential = WRITER.credential
    (found,) = answers(command(*words), store=store, client=WRITER)
    assert found.startswith(NOPERM)
    assert all(operation.kind is Kind.GET for batch in store.batches for operation in batch)


def test_what_is_denied_against_expectation_is_not_done():
    """The map has the last word, whatever the proxy believes that it may do."""
    store = reader_store()
    found = answers(
        command("set", "a", 9) + command("del", "a") + command("getset", "a", 9),
        command("incr", "a"),
        command("flushdb"),
        command("get", "a"),
        store=store,
        client=CLIENT,
    )
    assert [part.startswith(b"NOPERM") for part in found[0].split(b"-")[1:]] == [True] * 3
    assert found[1].startswith(NOPERM)
    assert found[2].startswith(NOPERM)
    assert found[3] == b"$1\r\n1\r\n"


def test_a_denied_command_is_not_counted():
    store = reader_store()

    async def main():
        common = shared(store, client=READER)
        connection = Connection(common)
        before = common.scheduler.databases.state()
        await ask(connection, command("set", "new", 1) + command("incr", "n") + command("setex", "a", 5, 5))
        await ask(connection, command("multi") + command("set", "new", 1) + command("exec"))
        assert common.scheduler.databases.state() == before
        assert len(common.scheduler.expiries) == 0

    asyncio.run(main())


def test_with_a_prefix_keys_and_register_stand_under_it():
    async def main():
        store = GuardedStore(HOME)
        common = shared(store, client=HOME)
        upkeep = Upkeep(common.scheduler)
        await upkeep.start()
        connection = Connection(common)
        long = b"a name that is longer than a key"
        requests = command("set", "a", 1) + command("set", long, 2) + command("incr", "n") + command("get", long)
        assert await ask(connection, requests) == b"+OK\r\n+OK\r\n:1\r\n$1\r\n2\r\n"
        assert await ask(connection, command("select", 1) + command("set", "a", 3)) == b"+OK\r\n+OK\r\n"
        assert await ask(connection, command("flushdb") + command("get", "a")) == b"+OK\r\n$-1\r\n"
        # the map does not tell how many keys it holds, so the proxy counts its own
        assert await ask(connection, command("select", 0) + command("dbsize")) == b"+OK\r\n:3\r\n"
        await upkeep.stop()
        cells = Cells(PARAMS, HOME)
        wanted = [cells.key(name) for name in (b"a", long, b"n")] + [cells.key(b"a", 1), register_key(PARAMS, HOME)]
        assert all(key.startswith(b"home") and len(key) == PARAMS.key_bytes for key in wanted)
        found = store.map.execute([Operation(Kind.GET, key) for key in wanted])
        assert all(answer.previous is not None for answer in found)
        assert len(store.map) == len(wanted)

    asyncio.run(main())


def test_a_key_that_fits_without_the_prefix_alone_becomes_an_image():
    """``exactly16bytes!!`` is a key of 16 bytes, but not with a prefix of 4."""
    store = GuardedStore(HOME)
    name = b"exactly16bytes!!"
    assert answers(command("set", name, 1) + command("get", name), store=store, client=HOME) == [b"+OK\r\n$1\r\n1\r\n"]
    assert Cells(PARAMS, HOME).is_hashed(name)
