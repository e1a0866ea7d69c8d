"""Values that expire: absent when their time has passed, deleted then by the proxy, and absent after its restart."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.redis.connection import Connection
from host.redis.expiries import Expiries
from host.redis.upkeep import Upkeep
from omap.errors import DeviceError, UnknownFateError
from omap.operations import Kind, Response, Status
from tests.support.redis.support import PARAMS, Clock, ReferenceStore, answers, ask, command, shared

LONG = "a key of more than sixteen bytes"


def alive(store, clock, requests):
    """Ask one connection of a proxy that deletes what expires; a number among the requests lets seconds pass."""

    async def main():
        common = shared(store, clock=clock)
        upkeep, connection, found = Upkeep(common.scheduler), Connection(common), []
        await upkeep.start()
        for request in requests:
            if isinstance(request, bytes):
                found.append(await ask(connection, request))
            else:
                clock.seconds += request
                common.scheduler.expiries._news.set()
                for _ in range(20):
                    await asyncio.sleep(0.002)
        await upkeep.stop()
        return found

    return asyncio.run(main())


@pytest.mark.parametrize("key", ["k", LONG])
@pytest.mark.parametrize(
    "setting",
    [
        ["set", "k", "v", "EX", 10],
        ["set", "k", "v", "PX", 10_000],
        ["set", "k", "v", "EXAT", 1_800_000_010],
        ["set", "k", "v", "PXAT", 1_800_000_010_000],
        ["setex", "k", 10, "v"],
        ["psetex", "k", 10_000, "v"],
        ["set", "k", "v", "NX", "EX", 10],
    ],
)
def test_a_value_is_absent_after_its_time(setting, key):
    store, clock = ReferenceStore(), Clock()
    setting = [key if word == "k" else word for word in setting]
    assert answers(command(*setting), store=store, clock=clock) == [b"+OK\r\n"]
    clock.seconds += 10
    found = answers(command("get", key), command("ttl", key), command("expiretime", key), store=store, clock=clock)
    assert found == [b"$1\r\nv\r\n", b":0\r\n", b":1800000010\r\n"]
    clock.seconds += 0.002
    reads = [["get", key], ["exists", key], ["strlen", key], ["type", key], ["ttl", key], ["mget", key], ["getex", key]]
    expected = [b"$-1\r\n", b":0\r\n", b":0\r\n", b"+none\r\n", b":-2\r\n", b"*1\r\n$-1\r\n", b"$-1\r\n"]
    assert answers(*(command(*words) for words in reads), store=store, clock=clock) == expected
    changes = [["del", key], ["getdel", key], ["persist", key], ["expire", key, 5], ["set", key, "w", "XX"]]
    for change, reply in zip(changes, [b":0\r\n", b"$-1\r\n", b":0\r\n", b":0\r\n", b"$-1\r\n"], strict=True):
        store, clock = ReferenceStore(), Clock()
        answers(command(*setting), store=store, clock=clock)
        clock.seconds += 11
        assert answers(command(*change), store=store, clock=clock) == [reply], change
        assert len(store.map) == 0, change  # whoever deletes or changes frees the room


def test_what_keeps_and_what_ends_an_expiry(real_redis):
    stream = b""
    for change in (
        ["set", "k", "v"],
        ["set", "k", "v", "KEEPTTL"],
        ["getset", "k", "v"],
        ["append", "k", "1"],
        ["incr", "k"],
        ["incrbyfloat", "k", "1.5"],
        ["setrange", "k", 0, "5"],
        ["getex", "k", "PERSIST"],
        ["getex", "k", "EXAT", 8_000_000_000],
        ["persist", "k"],
        ["mset", "k", 1],
        ["rename", "k", "other"],
        ["copy", "k", "other"],
        ["expireat", "k", 7_000_000_000, "GT"],
        ["expireat", "k", 7_000_000_000, "LT"],
    ):
        stream += command("set", "k", "7", "EXAT", 9_000_000_000) + command(*change)
        stream += command("expiretime", "k") + command("expiretime", "other")
    real_redis.ask(command("flushall"))
    assert real_redis.agrees(real_redis.ask(stream), answers(stream)[0])


@pytest.mark.parametrize("time", ["0", "-1", "9223372036854775807", "281474976710656", "x"])
def test_times_that_can_not_be(time, real_redis):
    for request in (["set", "a", 1, "EX", time], ["setex", "a", time, 1], ["psetex", "a", time, 1]):
        (found,) = answers(command(*request))
        assert (
            found.startswith((b"-ERR invalid expire time in '", b"-ERR value is not an integer"))
            or time == "281474976710656"
        )
        if time != "281474976710656":  # Redis keeps times beyond the year 10889
            assert real_redis.agrees(real_redis.ask(command(*request)), found)
    assert answers(command("expire", "a", "281474976710656"))[0].startswith(b"-ERR invalid expire time in 'expire'")


def test_the_proxy_deletes_what_has_expired_as_ordinary_operations():
    store, clock = ReferenceStore(), Clock()
    found = alive(
        store,
        clock,
        [
            command("set", "a", 1, "EX", 10) + command("set", LONG, 1, "EX", 10) + command("set", "b", 1),
            command("set", "c", 1, "EX", 10) + command("set", "c", 2),
            command("dbsize"),
            10.5,
            command("dbsize"),
            command("mget", "a", "b", "c"),
        ],
    )
    assert found[2:] == [b":4\r\n", b":2\r\n", b"*3\r\n$-1\r\n$1\r\n1\r\n$1\r\n2\r\n"]
    assert len(store.map) == 3  # two, and the register
    kinds = [[operation.kind for operation in batch] for batch in store.batches]
    at = kinds.index([Kind.DELETE] * 2)
    assert kinds[at - 1] == [Kind.GET] * 2


def test_a_key_that_was_given_more_time_is_not_deleted():
    store, clock = ReferenceStore(), Clock()
    found = alive(
        store,
        clock,
        [
            command("set", "a", 1, "EX", 10),
            command("expire", "a", 100),
            50,
            command("get", "a"),
            60,
            command("get", "a"),
        ],
    )
    assert found[2:] == [b"$1\r\n1\r\n", b"$-1\r\n"]
    assert len(store.map) == 1


def test_another_clients_value_is_not_deleted_when_the_time_of_the_old_one_comes():
    store, clock = ReferenceStore(), Clock()

    async def main():
        common = shared(store, clock=clock)
        upkeep = Upkeep(common.scheduler)
        await upkeep.start()
        await ask(Connection(common), command("set", "a", 1, "EX", 10))
        answers_of_other = await ask(Connection(shared(store, clock=clock)), command("set", "a", 2))
        clock.seconds += 11
        common.scheduler.expiries._news.set()
        await asyncio.sleep(0.02)
        found = await ask(Connection(common), command("get", "a"))
        await upkeep.stop()
        return answers_of_other, found

    assert asyncio.run(main()) == (b"+OK\r\n", b"$1\r\n2\r\n")


def test_deletions_are_tried_again_while_the_map_is_away(monkeypatch):
    monkeypatch.setattr("host.redis.upkeep.AGAIN_SECONDS", 0.001)
    store, clock = ReferenceStore(), Clock()

    async def main():
        common = shared(store, clock=clock)
        upkeep = Upkeep(common.scheduler)
        await upkeep.start()
        await ask(Connection(common), command("set", "a", 1, "EX", 10))
        store.failures = [DeviceError("away")] * 3
        clock.seconds += 11
        common.scheduler.expiries._news.set()
        for _ in range(200):
            await asyncio.sleep(0.005)
            if len(store.map) == 1:
                break
        await upkeep.stop()

    asyncio.run(main())
    assert len(store.map) == 1
    assert store.failures == []


@pytest.mark.parametrize("sweeps", [False, True])
@pytest.mark.parametrize(("watched_after", "ran"), [(0, False), (11, True)])
def test_a_watched_key_that_expires_gives_the_transaction_up(sweeps, watched_after, ran):
    """As in Redis: unless it was expired already when it was watched."""
    store, clock = ReferenceStore(), Clock()

    async def main():
        common = shared(store, clock=clock)
        upkeep, connection = Upkeep(common.scheduler), Connection(common)
        await ask(connection, command("set", "a", 1, "EX", 10))
        clock.seconds += watched_after
        await ask(connection, command("watch", "a"))
        clock.seconds += 11 - watched_after
        if sweeps:
            await upkeep.start()
            for _ in range(200):
                await asyncio.sleep(0.005)
                if not common.scheduler.expiries:
                    break
        found = await ask(connection, command("multi") + command("set", "b", 1) + command("exec"))
        found += await ask(connection, command("multi") + command("exec"))
        await upkeep.stop()
        return found

    first = b"*1\r\n+OK\r\n" if ran else b"*-1\r\n"
    assert asyncio.run(main()) == b"+OK\r\n+QUEUED\r\n" + first + b"+OK\r\n*0\r\n"


def test_of_a_deletion_that_broke_on_the_way_the_rest_is_tried_again(monkeypatch):
    monkeypatch.setattr("host.redis.upkeep.AGAIN_SECONDS", 0.001)
    store, clock = ReferenceStore(), Clock()
    broken = UnknownFateError("broken")
    broken.answered, broken.in_doubt, broken.not_sent = 1, 0, 2
    broken.responses = [Response(Status.OK)]

    async def main():
        common = shared(store, clock=clock)
        upkeep = Upkeep(common.scheduler)
        await ask(Connection(common), b"".join(command("set", name, 1, "EX", 10) for name in "abc"))
        clock.seconds += 11
        store.failures = [None] * 4 + [broken]  # of the register, of the round that writes it, and of a round
        await upkeep.start()
        for _ in range(200):
            await asyncio.sleep(0.005)
            if len(store.map) <= 2:
                break
        await upkeep.stop()

    asyncio.run(main())
    assert len(store.map) == 2  # the register, and the key that the broken batch never deleted here


def test_room_of_expired_values_after_a_restart():
    """A restarted proxy does not know them: they are absent, and their room is used again by the same key."""
    store, clock = ReferenceStore(), Clock()
    fill = b"".join(command("set", n, n, "EX", 10) for n in range(PARAMS.capacity))
    answers(fill, store=store, clock=clock)
    clock.seconds += 11
    found = answers(command("set", "new", 1), command("set", 7, 1), command("setnx", 8, 1), store=store, clock=clock)
    assert found[0].startswith(b"-OOM ")
    assert found[1:] == [b"+OK\r\n", b":1\r\n"]
    found = answers(
        command("incr", 9),
        command("ttl", 10),
        command("expire", 11, 5),
        command("set", "new", 1),
        store=store,
        clock=clock,
    )
    assert found == [b":1\r\n", b":-2\r\n", b":0\r\n", b"+OK\r\n"]


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.one_of(st.none(), st.integers(0, 50))), max_size=30))
def test_expiries_give_what_is_due_once(notes):
    expiries, when = Expiries(), {}
    for name, time in notes:
        expiries.note((0, name.encode()), time)
        when[name] = time
    expected = {name for name, time in when.items() if time is not None and time < 25}
    assert {place[1].decode() for place, _ in expiries.take(25, 100)} == expected
    assert expiries.take(25, 100) == []
    assert len(expiries) == sum(time is not None for time in when.values()) - len(expected)
    assert expiries.count(0) == len(expiries)


def test_what_expiries_hold_is_bounded_by_the_number_of_keys():
    expiries = Expiries()
    for time in range(100_000):
        expiries.note((0, b"one key"), time)
    assert len(expiries._queue) < 3000


@pytest.mark.parametrize("options", [["EX", 10, "EX", 20], ["PX", 10_000, "PX", 20_000], ["EX", 10, "PX", 20], ["EX"]])
def test_a_time_given_twice(options, real_redis):
    real_redis.ask(command("flushall"))
    stream = command("set", "a", 1, *options) + command("ttl", "a")
    assert real_redis.agrees(real_redis.ask(stream), answers(stream)[0])
