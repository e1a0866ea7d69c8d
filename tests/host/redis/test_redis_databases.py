"""Databases: name spaces of one map, emptied by a generation that every cell holds."""

import asyncio
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.redis.connection import Connection
from host.redis.places import OUT_OF_ROOM
from host.redis.upkeep import Upkeep
from omap.cells import Cells
from omap.databases import Register, database_count, has_register, register_key
from omap.errors import DeviceError, InputError, UnknownFateError
from omap.operations import Kind, Operation, Response, Status
from omap.sizing import one_choice
from tests.support.redis.support import CLIENT, PARAMS, ReferenceStore, answers, ask, command, shared

LONG = "a key of more than sixteen bytes"
SHORT = one_choice(capacity=20, key_bytes=8, value_bytes=16, page_bytes=128)
NARROW = one_choice(capacity=20, key_bytes=16, value_bytes=32, page_bytes=256)
LOST = b"-ERR the SELECT before failed, and nothing runs in another database than was asked for"


def with_upkeep(store, *requests):
    async def main():
        common = shared(store)
        upkeep = Upkeep(common.scheduler)
        await upkeep.start()
        found = [await ask(Connection(common), request) for request in requests]
        await upkeep.stop()
        return found

    return asyncio.run(main())


@pytest.mark.sec_cm("REDIS.SELECT.OBEYED")
@pytest.mark.parametrize("number", ["16", "-1", "x", "9223372036854775808"])
@pytest.mark.parametrize(
    "follower", [["set", "a", 1], ["get", "a"], ["incr", "a"], ["flushdb"], ["dbsize"], ["watch", "a"]]
)
def test_after_a_select_that_failed_nothing_runs(number, follower):
    store = ReferenceStore()
    found = answers(command("select", number) + command(*follower), command("ping"), store=store)
    assert found[0].startswith((b"-ERR DB index is out of range\r\n", b"-ERR value is not an integer"))
    assert LOST in found[0]
    assert found[1] == b"+PONG\r\n"
    assert store.batches == []
    found = answers(command("select", number), command("multi") + command(*follower) + command("exec"), store=store)
    if follower[0] != "watch":
        assert found[1].endswith(b"-EXECABORT Transaction discarded because of previous errors.\r\n")
    assert store.batches == []
    assert answers(command("select", number) + command("select", 1) + command("get", "a"))[0].endswith(
        b"+OK\r\n$-1\r\n"
    )


@settings(max_examples=80)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 15),
            st.sampled_from(["set", "del", "incr", "flushdb", "flushall", "setnx"]),
            st.sampled_from(["a", "b", LONG]),
        ),
        max_size=20,
    )
)
def test_databases_are_as_those_of_redis(real_redis, script):
    stream = b""
    for database, name, key in script:
        words = {"set": [key, 1], "setnx": [key, 2]}.get(name, [] if name.startswith("flush") else [key])
        stream += command("select", database) + command(name, *words)
    for database in range(16):
        stream += command("select", database) + command("mget", "a", "b", LONG) + command("dbsize")
    real_redis.ask(command("flushall"))
    assert real_redis.agrees(real_redis.ask(stream), answers(stream)[0])


def test_a_flush_takes_as_many_operations_whatever_is_there():
    for fill in ([], range(5), range(PARAMS.capacity - 1)):
        store = ReferenceStore()
        answers(b"".join(command("set", n, n) for n in fill), store=store)
        before = len(store.batches)
        assert answers(command("flushall"), command("flushdb"), store=store) == [b"+OK\r\n"] * 2
        assert [len(batch) for batch in store.batches[before:]] == [1] * 4


def test_a_full_map_can_be_emptied_and_its_keys_set_again():
    store = ReferenceStore()
    fill = [command("set", n, n) for n in range(PARAMS.capacity - 1)]
    found = with_upkeep(store, b"".join(fill), command("set", "new", 1), command("flushall"), command("dbsize"))
    assert found[1:] == [f"-{OUT_OF_ROOM}\r\n".encode(), b"+OK\r\n", b":0\r\n"]
    found = with_upkeep(store, command("get", 3), command("set", "new", 1), command("incr", 3), command("dbsize"))
    assert found == [b"$-1\r\n", f"-{OUT_OF_ROOM}\r\n".encode(), b":1\r\n", b":1\r\n"]
    found = with_upkeep(
        store, command("del", 4), command("set", "new", 1), command("mget", 3, "new"), command("dbsize")
    )
    assert found == [b":0\r\n", b"+OK\r\n", b"*2\r\n$1\r\n1\r\n$1\r\n1\r\n", b":2\r\n"]


def test_generations_and_counts_outlive_the_proxy():
    store = ReferenceStore()
    with_upkeep(
        store,
        command("set", "a", 1) + command("select", 3) + command("mset", "a", 1, "b", 2) + command("flushdb"),
        command("select", 3) + command("set", "c", 1) + command("select", 5) + command("set", "d", 1),
    )
    counts = command("dbsize") + b"".join(command("select", n) + command("dbsize") for n in (3, 5, 6))
    found = with_upkeep(store, counts, command("select", 3) + command("mget", "a", "b", "c"))
    assert found == [b":1\r\n+OK\r\n:1\r\n+OK\r\n:1\r\n+OK\r\n:0\r\n", b"+OK\r\n*3\r\n$-1\r\n$-1\r\n$1\r\n1\r\n"]


def test_a_flush_by_another_proxy_is_noticed_when_its_cells_are_met():
    store = ReferenceStore()

    async def main():
        both = shared(store), shared(store)
        for common in both:
            await Upkeep(common.scheduler).start()
        one, other = map(Connection, both)
        await ask(one, command("mset", "a", 1, "b", 2))
        await ask(other, command("flushdb") + command("set", "a", 3))
        return await ask(one, command("get", "a") + command("get", "b"))

    assert asyncio.run(main()) == b"$1\r\n3\r\n$-1\r\n"


def test_a_raw_value_empties_no_database():
    store = ReferenceStore()
    raw = Operation(Kind.PUT, b"raw".ljust(16, b"\0"), struct.pack(">24d", *[2.5] * 24))

    async def main():
        connection = Connection(shared(store))
        await ask(connection, command("set", "a", 1))
        await store.submit([raw])
        return await ask(connection, command("get", "raw") + command("get", "a"))

    assert asyncio.run(main()).endswith(b"it was written without omap.cells\r\n$1\r\n1\r\n")


def test_maps_that_are_too_small_for_databases_say_so():
    for params in (SHORT, NARROW):
        found = answers(command("select", 5), command("config", "get", "databases"), params=params)
        assert found[0] == b"-ERR DB index is out of range: this map has %d\r\n" % database_count(params)
    (found,) = answers(command("flushall"), params=SHORT)
    assert found.startswith(b"-ERR a map with keys of fewer than 16 bytes")
    assert answers(command("set", "a", 1) + command("flushall") + command("get", "a"), params=NARROW) == [
        b"+OK\r\n+OK\r\n$-1\r\n"
    ]


@given(st.data())
def test_the_register_comes_back(data):
    params = data.draw(st.sampled_from([PARAMS, NARROW]))
    numbers = st.lists(st.integers(0, (1 << 28) - 1), min_size=database_count(params), max_size=database_count(params))
    register = Register(data.draw(numbers), data.draw(numbers), data.draw(st.integers(0, 1 << 31)))
    assert Register.read(params, register.pack(params)) == register
    assert len(register.pack(params)) == params.value_bytes
    assert len(register_key(PARAMS, CLIENT)) == 16
    with pytest.raises(InputError, match="another length"):
        Register.read(params, Cells(params, CLIENT).pack(b"name", b"value"))
    assert not has_register(SHORT)


def test_another_map_has_its_own_register():
    """Whoever tells the proxy to accept another map must not find it emptied, or its keys expiring."""
    store, other = ReferenceStore(), ReferenceStore()
    with_upkeep(other, command("set", "a", "kept"))

    async def main():
        common = shared(store)
        upkeep, connection = Upkeep(common.scheduler), Connection(common)
        await upkeep.start()
        await ask(connection, command("flushall") + command("set", "a", 1, "EX", 100) + command("watch", "a"))
        store.map, store.map_id = other.map, b"another"
        store.batches.clear()
        found = await ask(connection, command("multi") + command("exec") + command("get", "a"))
        assert len(common.scheduler.expiries) == 0
        return found, [len(batch) for batch in store.batches], await ask(connection, command("dbsize"))

    found, batches, size = asyncio.run(main())
    assert found == b"+OK\r\n*-1\r\n$4\r\nkept\r\n"
    assert batches == [1, 1]
    assert size == b":1\r\n"


class Exchanged(ReferenceStore):
    """Another map takes the place of the first after so many batches, and is accepted."""

    def __init__(self, other, after):
        super().__init__()
        self.other, self.after = other, after

    async def _later(self, batch, failure):
        answers = await super()._later(batch, failure)
        self.after -= 1
        if self.after == 0:
            self.map, self.map_id = self.other.map, b"another"
        return answers


@pytest.mark.parametrize("request_", [command("incr", "n"), command("multi") + command("incr", "n") + command("exec")])
def test_what_was_read_in_one_map_is_not_written_to_another(request_):
    other = ReferenceStore()
    with_upkeep(other, command("set", "n", 1))

    async def main():
        store = Exchanged(other, after=5)  # the register is read, read and written, then SET, then the reading of INCR
        common = shared(store)
        await Upkeep(common.scheduler).start()
        connection = Connection(common)
        await ask(connection, command("set", "n", 41))
        return [await ask(connection, each) for each in (request_, command("get", "n"), command("incr", "n"))]

    told, found, after = asyncio.run(main())
    assert b"nothing was changed, send it again" in told
    assert (found, after) == (b"$1\r\n1\r\n", b":2\r\n")


@pytest.mark.parametrize("pause", range(6))
def test_nothing_comes_into_a_round_although_another_map_is_met(pause):
    """A plan that looked at the register of another map waits for a round that began meanwhile."""
    store, other = ReferenceStore(), ReferenceStore()
    with_upkeep(other, command("set", "n", 1))

    async def main():
        common = shared(store)
        await Upkeep(common.scheduler).start()
        store.map, store.map_id, store.delay = other.map, b"another", 4
        store.batches.clear()
        early = asyncio.ensure_future(ask(Connection(common), command("incr", "n")))
        for _ in range(pause):
            await asyncio.sleep(0)
        return await ask(Connection(common), command("set", "k", 1)), await early

    assert asyncio.run(main()) == (b"+OK\r\n", b":2\r\n")
    names = [batch[0].key.rstrip(b"\0") for batch in store.batches]
    assert names.count(b"n") == 2
    assert names[names.index(b"n") + 1] == b"n"


def broken(answered, in_doubt, not_sent):
    error = UnknownFateError("broken")
    error.answered, error.in_doubt, error.not_sent = answered, in_doubt, not_sent
    error.responses = [Response(Status.OK)] * answered
    return error


class Breaking(ReferenceStore):
    """Fails one batch of writes of the register, which it runs, or does not."""

    def __init__(self, failure, *, runs):
        super().__init__()
        self.failure, self.runs, self.delay = failure, runs, 3

    async def _later(self, batch, failure):
        if self.failure is not None and batch[0].kind == Kind.PUT and batch[0].key == register_key(PARAMS, CLIENT):
            failure, self.failure = self.failure, None
            if self.runs:
                await super()._later(batch, None)
        return await super()._later(batch, failure)


@pytest.mark.parametrize(
    ("failure", "runs"),
    [
        (broken(0, 1, 0), True),
        (broken(0, 1, 0), False),
        (broken(0, 0, 1), False),
        (DeviceError("nothing was sent"), False),
    ],
    ids=["it ran", "it did not run", "it was not sent", "the map was away"],
)
def test_a_flush_that_broke_ran_as_a_whole_or_not_at_all(failure, runs):
    """For this proxy, for what others write meanwhile, and for the next proxy."""

    async def main():
        store = Breaking(failure, runs=runs)
        common = shared(store)
        await ask(Connection(common), command("mset", "a", 1, "b", 2) + command("select", 3) + command("set", "c", 3))
        flush = asyncio.ensure_future(ask(Connection(common), command("flushall")))
        written = [asyncio.ensure_future(ask(Connection(common), command("set", f"new {n}", 1))) for n in range(3)]
        for n in range(3, 20):
            written.append(asyncio.ensure_future(ask(Connection(common), command("set", f"new {n}", 1))))
            await asyncio.sleep(0)
        told = await flush
        assert set(await asyncio.gather(*written)) == {b"+OK\r\n"}
        look = command("mget", "a", "b", *(f"new {n}" for n in range(20)))
        look += command("dbsize") + command("select", 3) + command("get", "c") + command("dbsize")
        return (
            told,
            await ask(Connection(common), look),
            await ask(Connection(shared(store)), command("get", "a")),
            [
                await ask(Connection(common), command("set", "after", 1)),
                await ask(Connection(common), command("get", "after")),
            ],
        )

    told, mine, others, after = asyncio.run(main())
    assert told.startswith(b"-ERR omap: ")
    old = b"$-1\r\n$-1\r\n" if runs else b"$1\r\n1\r\n$1\r\n2\r\n"
    assert mine.startswith(b"*22\r\n" + old)
    values, _, rest = mine.rpartition(b":")[0].partition(b"+OK\r\n")
    assert rest == (b"$-1\r\n" if runs else b"$1\r\n3\r\n")
    assert mine.endswith(b":0\r\n" if runs else b":1\r\n")
    kept = values.count(b"$1\r\n1\r\n") - (0 if runs else 1)
    assert kept <= 20 if runs else kept == 20
    assert int(values.rpartition(b":")[2]) == kept + (0 if runs else 2)
    assert after == [b"+OK\r\n", b"$1\r\n1\r\n"]
    assert runs or others == b"$1\r\n1\r\n"


def test_nothing_is_written_in_a_generation_before_it_is_known_to_have_begun():
    store = ReferenceStore()
    store.delay = 5

    async def main():
        common = shared(store)
        flush = asyncio.ensure_future(ask(Connection(common), command("flushdb")))
        while len(store.batches) < 2:
            await asyncio.sleep(0)
        late = asyncio.ensure_future(ask(Connection(common), command("set", "a", 1)))
        for _ in range(4):
            await asyncio.sleep(0)
        assert len(store.batches) == 2
        assert await flush == await late == b"+OK\r\n"

    asyncio.run(main())


@pytest.mark.parametrize("by", ["flushdb", "stop"])
def test_a_proxy_keeps_what_another_wrote_to_the_register(by):
    store = ReferenceStore()
    one_after = [command("select", 5) + command("get", "a")]

    async def main():
        first, second = shared(store), shared(store)
        mine, other = Upkeep(first.scheduler), Upkeep(second.scheduler)
        await mine.start()
        await other.start()
        await ask(Connection(second), command("select", 5) + command("set", "a", 1) + command("flushdb"))
        if by == "flushdb":
            await ask(Connection(first), command("flushdb"))
        else:
            await mine.stop()
        return await ask(Connection(second), command("select", 5) + command("set", "b", 1))

    asyncio.run(main())
    assert with_upkeep(store, *one_after) == [b"+OK\r\n$-1\r\n"]


def test_after_the_map_could_not_be_met_the_next_commands_are_answered():
    """A batch that failed before it was submitted must not gather any more plans."""
    store = ReferenceStore()

    async def main():
        common = shared(store)
        await Upkeep(common.scheduler).start()
        store.map_id = b"another"
        store.failures = [DeviceError("away")]
        connection = Connection(common)
        failed = await ask(connection, command("get", "a"))
        async with asyncio.timeout(10):
            return failed, await ask(connection, command("get", "a"))

    assert asyncio.run(main()) == (b"-ERR omap: away\r\n", b"$-1\r\n")


def test_a_map_without_a_register_is_known_by_its_id():
    store = ReferenceStore(SHORT)

    async def main():
        common = shared(store, SHORT)
        await Upkeep(common.scheduler).start()
        connection = Connection(common)
        await ask(connection, command("set", "a", 1) + command("watch", "a"))
        store.map, store.map_id = ReferenceStore(SHORT).map, b"another"
        return await ask(connection, command("multi") + command("set", "a", 2) + command("exec"))

    assert asyncio.run(main()).endswith(b"*-1\r\n")
