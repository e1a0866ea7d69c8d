"""Direct plans do what the plans that they stand for do: the same operations, the same replies, the same counts.

A name that is written in an odd mix of letters, as ``gEt``, is never planned directly.
"""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.redis.connection import Connection
from host.redis.direct import plan_direct
from host.redis.replies import RESP2, RESP3
from omap.operations import Kind
from tests.support.redis.support import (
    PARAMS,
    Clock,
    ReferenceStore,
    answers,
    ask,
    command,
    shared,
)

NAMES = [b"a", b"b", b"", b"zero\0", b"exactly16bytes!!", b"a name that is longer than a key", b"x" * 400]
VALUES = [b"", b"1", b"x" * 150, b"y" * 190, b"too long " * 99]

DIRECT = ("get", "set", "del", "unlink")


def odd(word):
    """Return a name in letters that nobody writes."""
    return word[0] + word[1:].upper()


names = st.sampled_from(NAMES)
plain = st.one_of(
    st.tuples(st.sampled_from(["get", "del", "unlink"]), names),
    st.tuples(st.just("set"), names, st.sampled_from(VALUES)),
)
others = st.sampled_from(
    [
        ("setex", "a", 5, "soon"),
        ("set", "b", "soon", "px", 1),
        ("mset", "a", 1, "b", 2),
        ("incr", "a"),
        ("flushdb",),
        ("select", 0),
        ("select", 1),
        ("select", 99),
        ("select", 0),
        ("get",),
        ("set", "a"),
        ("del", "a", "b", "a"),
        ("client", "reply", "off"),
        ("client", "reply", "on"),
        ("multi",),
        ("exec",),
        ("watch", "a"),
        ("hello", 3),
        ("ping",),
        ("tick",),
    ]
)


def run(words, *, is_direct, in_one=False):
    """Run commands on a fresh proxy; return its replies, the operations, and what it knows after them."""

    async def main():
        clock, store = Clock(), ReferenceStore()
        common = shared(store, clock=clock)
        connection, watching = Connection(common), Connection(common)
        replies = [await ask(watching, command("watch", "a", b"zero\0"))]
        streams = [command(odd(name) if name in DIRECT and not is_direct else name, *rest) for name, *rest in words]
        for (name, *_), stream in zip(words, streams, strict=True):
            if in_one:
                break
            if name == "tick":
                clock.seconds += 1
            replies.append(await ask(connection, stream))
        if in_one:
            replies.append(await ask(connection, b"".join(streams)))
        scheduler = common.scheduler
        state = scheduler.databases.state(), len(scheduler.expiries), watching.session.watch.broken
        calls = common.calls, common.refusals, connection.session.last
        return replies, store.batches, state, calls, scheduler.databases.size(0)

    return asyncio.run(main())


@given(st.lists(st.one_of(plain, plain, others), max_size=12), st.booleans())
def test_direct_plans_do_what_others_do(words, in_one):
    assert run(words, is_direct=True, in_one=in_one) == run(words, is_direct=False, in_one=in_one)


def test_what_is_direct():
    databases = shared(ReferenceStore()).scheduler.databases
    for line, kind in (
        (b"GET a", Kind.GET),
        (b"get a", Kind.GET),
        (b"SET a b", Kind.PUT),
        (b"DEL a", Kind.DELETE),
        (b"unlink a", Kind.DELETE),
    ):
        (name,), (plan,) = plan_direct([line.split()], databases, 0, RESP2)
        assert (name, plan.once) == (line.split()[0].lower().decode(), kind)
        assert plan.places == ((0, b"a"),)
    for line in (b"gEt a", b"GET", b"GET a b", b"SET a b NX", b"DEL a b", b"INCR a"):
        assert plan_direct([line.split(), [b"GET", b"a"]], databases, 0, RESP2) == ([], [])


@pytest.mark.parametrize(("form", "null"), [(RESP2, b"$-1\r\n"), (RESP3, b"_\r\n")])
def test_a_key_that_is_not_there_has_the_null_of_the_protocol(form, null):
    hello = command("hello", form.version)
    assert answers(hello, command("get", "a"))[1] == null


def test_a_full_map_refuses_a_new_key_and_takes_an_old_one():
    fill = b"".join(command("set", n, n) for n in range(PARAMS.capacity))
    full, old, found = answers(fill + command("set", "new", 1), command("set", 1, "x"), command("get", 1))
    assert full.startswith(b"+OK\r\n" * PARAMS.capacity + b"-OOM command not allowed")
    assert (old, found) == (b"+OK\r\n", b"$1\r\nx\r\n")


def test_direct_plans_of_several_connections_share_a_batch():
    async def main():
        store = ReferenceStore()
        common = shared(store)
        requests = [command("set", n, n) + command("get", n) for n in range(10)]
        found = await asyncio.gather(*[ask(Connection(common), request) for request in requests])
        assert found == [b"+OK\r\n$1\r\n%d\r\n" % n for n in range(10)]
        assert len(store.batches) == 1

    asyncio.run(main())
