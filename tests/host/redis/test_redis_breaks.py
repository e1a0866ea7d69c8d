"""The connection to the map breaks in the middle of a batch: what is lost, what is said, and who is told of changes."""

import asyncio

import pytest

from host.redis.connection import Connection
from host.redis.places import OUT_OF_ROOM
from omap.errors import UnknownFateError
from omap.operations import Kind, Operation
from tests.support.redis.support import PARAMS, ReferenceStore, answers, ask, command, shared


class Cut(ReferenceStore):
    """Runs the first operations of one batch, says that it does not know how many, and is well again."""

    cut: tuple[int, int] | None = None  # of which batch, and after how many operations

    async def _later(self, batch, failure):
        if self.cut is not None and len(self.batches) == self.cut[0]:
            at, self.cut = self.cut[1], None
            await super()._later(batch[:at], None)
            failure = UnknownFateError("broken")
            failure.in_doubt = len(batch)
        return await super()._later(batch, failure)


@pytest.mark.parametrize("ran", range(3))
@pytest.mark.parametrize("words", [["rename", "a", "b"], ["renamenx", "a", "c"], ["move", "a", 1]])
def test_a_value_that_moves_is_never_lost(words, ran):
    store = Cut()
    answers(command("mset", "a", "kept", "b", 2), store=store)
    store.cut = len(store.batches) + 2, ran
    assert b"unknown fate" in answers(command(*words), store=store)[0]
    found = answers(command("mget", "a", "b", "c") + command("select", 1) + command("get", "a"), store=store)[0]
    assert b"kept" in found


def test_a_full_map_has_room_for_a_value_that_moves():
    store = ReferenceStore()
    fill = b"".join(command("set", n, n) for n in range(PARAMS.capacity))
    found = answers(fill, command("rename", 3, "new"), command("get", "new"), command("copy", "new", "c"), store=store)
    assert found[1:] == [b"+OK\r\n", b"$1\r\n3\r\n", f"-{OUT_OF_ROOM}\r\n".encode()]


@pytest.mark.parametrize("words", [["del", "a"], ["getdel", "a"], ["set", "a", 2]])
def test_what_is_perhaps_changed_breaks_a_watch(words):
    store = Cut()

    async def main():
        common = shared(store)
        mine, other = Connection(common), Connection(common)
        await ask(mine, command("set", "a", 1) + command("watch", "a"))
        store.cut = len(store.batches) + 1, 1
        assert b"unknown fate" in await ask(other, command(*words))
        return await ask(mine, command("multi") + command("exec"))

    assert asyncio.run(main()) == b"+OK\r\n*-1\r\n"


def test_what_an_mset_wrote_after_the_map_was_full_is_noted():
    """Values that replace others find room; they no longer expire, and count once."""
    store = ReferenceStore()
    fill = b"".join(command("set", n, n, "EX", 100) for n in range(PARAMS.capacity))

    async def main():
        common = shared(store)
        connection = Connection(common)
        await ask(connection, fill)
        found = await ask(connection, command("mset", "new", 1, 3, "three") + command("get", 3))
        return found, len(common.scheduler.expiries)

    found, expiring = asyncio.run(main())
    assert found == f"-{OUT_OF_ROOM}\r\n".encode() + b"$5\r\nthree\r\n"
    assert expiring == PARAMS.capacity - 1


def test_a_defect_in_a_round_does_not_stop_the_rounds_after_it():
    store = ReferenceStore()
    store.failures = [RuntimeError("a defect")]

    async def main():
        common = shared(store)
        first = asyncio.ensure_future(ask(Connection(common), command("incr", "a")))
        while not store.batches:
            await asyncio.sleep(0)
        second = asyncio.ensure_future(ask(Connection(common), command("incr", "a")))
        with pytest.raises(RuntimeError, match="a defect"):
            await first
        async with asyncio.timeout(10):
            return await second

    assert asyncio.run(main()) == b":1\r\n"


class Taken(ReferenceStore):
    """Another client takes the last room while a round is between its reading and its writing."""

    def submit(self, batch):
        if batch[0].kind == Kind.PUT and len(self.map) == PARAMS.capacity - 1:
            self.map.execute([Operation(Kind.PUT, b"theirs".ljust(16, b"\0"), bytes(PARAMS.value_bytes))])
        return super().submit(batch)


def test_a_flush_that_found_no_room_for_the_register_changed_nothing_and_takes_no_more_operations():
    store = Taken()
    fill = [command("set", n, n) for n in range(PARAMS.capacity - 1)]

    async def main():
        connection = Connection(shared(store))
        for request in fill:
            await ask(connection, request)
        before = len(store.batches)
        found = await ask(connection, command("flushall") + command("get", 3) + command("dbsize"))
        return found, [len(batch) for batch in store.batches[before:]]

    found, sizes = asyncio.run(main())
    assert found == f"-{OUT_OF_ROOM}\r\n$1\r\n3\r\n:{PARAMS.capacity}\r\n".encode()
    assert sizes == [1, 1, 1, 1]
