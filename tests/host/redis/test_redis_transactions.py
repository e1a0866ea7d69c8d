"""MULTI, EXEC, DISCARD and WATCH: all or nothing, in one piece, and with a number of operations that tells nothing."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.redis.connection import Connection
from host.redis.requests import REQUEST_LIMIT
from host.redis.rounds import IN_DOUBT, NOT_RUN
from omap.errors import DeviceError, UnknownFateError
from omap.operations import Kind, Response, Status
from tests.support.redis.support import PARAMS, ReferenceStore, answers, ask, command, shared

ABORT = b"-EXECABORT Transaction discarded because of previous errors.\r\n"


def sizes(store):
    return [len(batch) for batch in store.batches]


def run(store, script):
    """Run a coroutine function on two connections of one proxy."""

    async def main():
        common = shared(store)
        return await script(Connection(common), Connection(common))

    return asyncio.run(main())


def transaction(*commands):
    return command("multi") + b"".join(command(*words) for words in commands) + command("exec")


@pytest.mark.parametrize(
    "refused", [["hset", "h", "f", 1], ["get"], ["nonsense"], ["client", "nonsense"], ["keys", "*"]]
)
def test_nothing_of_a_refused_transaction_runs(refused):
    store = ReferenceStore()
    found = answers(transaction(["set", "p", 1], refused, ["incr", "p"]), command("get", "p"), store=store)
    assert found[0].endswith(b"+QUEUED\r\n" + ABORT)
    assert found[1] == b"$-1\r\n"
    assert sizes(store) == [1]


@pytest.mark.parametrize("name", ["exec", "discard", "multi", "watch", "reset", "unwatch"])
def test_a_command_with_wrong_words_ends_a_transaction_even_if_it_is_never_queued(name, real_redis):
    wrong = command(name) if name == "watch" else command(name, "x", "y")
    stream = command("multi") + command("incr", "a") + wrong + command("exec") + command("get", "a") + wrong
    real_redis.ask(command("flushall"))
    assert real_redis.agrees(real_redis.ask(stream), answers(stream)[0])


def test_the_reply_that_is_skipped_is_of_the_command_after_exec(real_redis):
    stream = transaction(["client", "reply", "skip"]) + b"".join(command("ping", text) for text in "xyz")
    assert real_redis.agrees(real_redis.ask(stream), answers(stream)[0])


def test_an_error_while_it_runs_does_not_stop_the_rest(real_redis):
    stream = transaction(["set", "text", "x"], ["incr", "text"], ["incrby", "text", "x"], ["get", "text"], ["ping"])
    real_redis.ask(command("flushall"))
    assert real_redis.agrees(real_redis.ask(stream), answers(stream)[0])


@pytest.mark.sec_cm("REDIS.OPS.FIXED")
def test_a_transaction_that_is_given_up_takes_as_many_operations():
    """Whoever watches the map must not learn that a watched key was changed."""
    seen = []
    for changed in (False, True):
        store = ReferenceStore()

        async def script(mine, other, changed=changed):
            await ask(mine, command("watch", "a") + command("multi") + command("incr", "a") + command("mget", "b", "c"))
            await ask(other, command("set", "a" if changed else "d", 5))
            return await ask(mine, command("exec"))

        found = run(store, script)
        assert found == (b"*-1\r\n" if changed else b"*2\r\n:1\r\n*2\r\n$-1\r\n$-1\r\n")
        seen.append(sizes(store))
        if changed:
            assert {operation.kind for operation in store.batches[-1]} == {Kind.NOP}
    assert seen == [[1, 3, 3]] * 2


CHANGES = [
    (["set", "a", 1], True),
    (["del", "a"], True),
    (["del", "b"], False),
    (["get", "a"], False),
    (["incr", "a"], True),
    (["setnx", "a", 1], False),
    (["expire", "a", 100], True),
    (["rename", "a", "b"], True),
    (["rename", "c", "a"], True),
    (["flushdb"], True),
    (["flushall"], True),
    (["mset", "b", 1, "c", 2], False),
    (["getex", "a", "persist"], False),
    (["getex", "a", "ex", 100], True),
    (["persist", "a"], False),
    (["setrange", "a", 0, ""], False),
]


@pytest.mark.parametrize(
    ("change", "breaks"), CHANGES, ids=lambda each: " ".join(map(str, each)) if each is list else ""
)
@pytest.mark.parametrize("own", [False, True])
def test_a_change_of_a_watched_key_gives_the_transaction_up(change, breaks, own):
    async def script(mine, other):
        await ask(other, command("mset", "a", 7, "c", 8))
        await ask(mine, command("watch", "x", "a"))
        await ask(mine if own else other, command(*change))
        return await ask(mine, command("multi") + command("ping") + command("exec") + transaction(["ping"]))

    found = run(ReferenceStore(), script)
    given_up = b"+OK\r\n+QUEUED\r\n*-1\r\n"
    ran = b"+OK\r\n+QUEUED\r\n*1\r\n+PONG\r\n"
    assert found == (given_up if breaks else ran) + ran


@pytest.mark.parametrize("words", [["del", "x"], ["unlink", "x"], ["getdel", "x"], ["getex", "x", "ex", 1]])
def test_what_was_not_there_was_not_changed(words):
    async def script(mine, other):
        await ask(mine, command("watch", "x"))
        await ask(other, command(*words) + transaction(words))
        return await ask(mine, transaction(["ping"]))

    assert run(ReferenceStore(), script).endswith(b"*1\r\n+PONG\r\n")


def test_a_key_is_watched_in_its_database_only():
    async def script(mine, other):
        await ask(mine, command("watch", "a"))
        await ask(other, command("select", 3) + command("set", "a", 1) + command("flushdb"))
        return await ask(mine, transaction(["ping"]))

    assert run(ReferenceStore(), script).endswith(b"*1\r\n+PONG\r\n")


def test_what_came_before_watch_in_one_pipeline_does_not_break_it():
    found = answers(command("set", "a", 1) + command("watch", "a") + transaction(["incr", "a"]))
    assert found == [b"+OK\r\n+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n:2\r\n"]


@pytest.mark.parametrize("ending", ["unwatch", "discard", "reset"])
def test_watching_ends(ending):
    async def script(mine, other):
        await ask(mine, command("watch", "a") + (command("multi") if ending == "discard" else b"") + command(ending))
        await ask(other, command("set", "a", 1))
        return await ask(mine, transaction(["ping"]))

    assert run(ReferenceStore(), script).endswith(b"*1\r\n+PONG\r\n")


def test_a_connection_that_is_gone_watches_nothing():
    async def script(mine, other):
        await ask(mine, command("watch", "a", "b"))
        assert len(mine.session.shared.scheduler.watches) == 2
        mine.end()
        return len(mine.session.shared.scheduler.watches), list(mine.session.shared.sessions.values())

    watched, sessions = run(ReferenceStore(), script)
    assert watched == 0
    assert len(sessions) == 1


def test_a_transaction_whose_connection_is_gone_does_not_run_on_what_was_changed():
    """It watches nothing any more while it waits for its round, so it is given up."""
    store = ReferenceStore()
    store.delay = 5

    async def script(mine, other):
        await ask(mine, command("watch", "a") + command("multi") + command("set", "a", "old"))
        round_before = asyncio.ensure_future(ask(other, command("incr", "b")))
        await asyncio.sleep(0)
        early = asyncio.ensure_future(ask(mine, command("exec")))
        await asyncio.sleep(0)
        early.cancel()
        await asyncio.gather(early, return_exceptions=True)
        mine.end()
        await ask(Connection(other.session.shared), command("set", "a", "new"))
        return await round_before + await ask(other, command("incr", "b") + command("get", "a"))

    assert run(store, script) == b":1\r\n:2\r\n$3\r\nnew\r\n"


def test_names_that_no_cell_holds_are_not_remembered():
    """A peer makes the proxy hold WATCH_LIMIT names, none longer than a cell."""

    async def script(mine, other):
        await ask(mine, command("watch", *("x" * length for length in (10, 100, 200, 1 << 20))))
        return [len(place[1]) for place in mine.session.watch.places]

    assert sorted(run(ReferenceStore(), script)) == [10, 100]


def test_optimistic_counting_on_many_connections_loses_nothing():
    """Each reads, then writes one more in a transaction, and tries again if it was given up."""
    store = ReferenceStore()
    store.delay = 2

    async def main():
        common = shared(store)

        async def one():
            connection, done = Connection(common), 0
            while done < 5:
                found = await ask(connection, command("watch", "n") + command("get", "n"))
                number = int(found.split(b"\r\n")[2] or 0) if b"$-1" not in found else 0
                answer = await ask(connection, transaction(["set", "n", number + 1]))
                done += answer.endswith(b"*1\r\n+OK\r\n")

        await asyncio.gather(*(one() for _ in range(6)))

    asyncio.run(main())
    assert answers(command("get", "n"), store=store) == [b"$2\r\n30\r\n"]


@settings(max_examples=40)
@given(
    st.lists(
        st.lists(st.sampled_from([["incr", "a"], ["incr", "b"], ["mget", "a", "b"]]), min_size=1, max_size=4),
        min_size=1,
        max_size=5,
    )
)
def test_transactions_of_many_connections_run_in_one_piece(scripts):
    """Two counters that are only raised together are the same whenever a transaction reads them."""
    store = ReferenceStore()
    store.delay = 1

    async def main():
        common = shared(store)
        both = transaction(["incr", "a"], ["incr", "b"])
        found = await asyncio.gather(
            *(ask(Connection(common), both + transaction(["mget", "a", "b"])) for _ in scripts),
            *(
                ask(Connection(common), transaction(*(words for words in some if words[0] == "mget")))
                for some in scripts
            ),
        )
        return b"".join(found)

    parts = asyncio.run(main()).split(b"*2\r\n$")[1:]
    for part in parts:
        numbers = [line for line in part.split(b"\r\n") if line.isdigit()][:4]
        if len(numbers) == 4:
            assert numbers[1] == numbers[3], part


def test_select_in_a_transaction_holds_for_what_follows(real_redis):
    stream = transaction(["set", "a", 0], ["select", 2], ["set", "a", 2]) + command("get", "a") + command("select", 0)
    stream += command("get", "a") + command("flushall")
    real_redis.ask(command("flushall"))
    assert real_redis.agrees(real_redis.ask(stream), answers(stream)[0])


def test_a_transaction_that_is_given_up_selects_nothing():
    async def script(mine, other):
        await ask(mine, command("watch", "a"))
        await ask(other, command("set", "a", 1))
        return await ask(mine, transaction(["select", 2]) + command("get", "a"))

    assert run(ReferenceStore(), script).endswith(b"*-1\r\n$1\r\n1\r\n")


@pytest.mark.parametrize("words", [["client", "reply", "off"], ["hello", 3], ["client", "setname", "x"]])
def test_a_transaction_that_is_given_up_leaves_its_connection_as_it_was(words):
    async def script(mine, other):
        await ask(mine, command("watch", "a"))
        await ask(other, command("set", "a", 1))
        return await ask(mine, transaction(words) + command("get", "b") + command("client", "getname"))

    assert run(ReferenceStore(), script).endswith(b"*-1\r\n$-1\r\n$-1\r\n")


def test_a_transaction_has_a_limit():
    found = answers(*[command("multi")] + [command("set", "a", "x" * 1_000_000)] * 20 + [command("exec")])
    assert found[-1] == ABORT
    assert any(b"the transaction has more than %d MiB" % (REQUEST_LIMIT >> 20) in answer for answer in found)


def test_in_a_full_map_a_command_of_a_transaction_is_refused_as_a_whole():
    fill = b"".join(command("set", n, n) for n in range(PARAMS.capacity - 1))
    found = answers(
        fill, transaction(["msetnx", "x", 1, "y", 2], ["del", 0], ["mset", "x", 1, "y", 2]), command("mget", "x", "y")
    )
    assert found[1].count(b"-OOM ") == 1
    assert found[1].endswith(b":1\r\n+OK\r\n")
    assert found[2] == b"*2\r\n$1\r\n1\r\n$1\r\n2\r\n"


@pytest.mark.parametrize("failure", [DeviceError("no"), UnknownFateError("broken")])
@pytest.mark.parametrize("place", [0, 1])
def test_after_a_break_the_whole_transaction_says_what_is_known(failure, place):
    if isinstance(failure, UnknownFateError):
        failure.answered, failure.in_doubt, failure.not_sent, failure.responses = 0, 2, 0, []
    store = ReferenceStore()
    store.failures = [None] * place + [failure]
    found = answers(transaction(["incr", "a"], ["incr", "b"]), store=store)[0].split(b"+QUEUED\r\n")[-1]
    if isinstance(failure, DeviceError):
        assert found == b"-ERR omap: no\r\n"
    else:
        assert found == b"-" + (IN_DOUBT if place else NOT_RUN).encode() + b"\r\n"


@pytest.mark.parametrize(
    ("answered", "in_doubt", "told"), [(0, 0, NOT_RUN), (1, 0, IN_DOUBT), (1, 1, IN_DOUBT), (0, 2, IN_DOUBT)]
)
def test_nothing_was_changed_is_said_only_if_no_command_ran(answered, in_doubt, told):
    failure = UnknownFateError("broken")
    failure.answered, failure.in_doubt, failure.not_sent = answered, in_doubt, 2 - answered - in_doubt
    failure.responses = [Response(Status.OK)] * answered
    store = ReferenceStore()
    store.failures = [None, failure]
    found = answers(transaction(["select", 1], ["set", "a", 1], ["set", "b", 2]), command("get", "a"), store=store)
    assert found[0].endswith(f"-{told}\r\n".encode())
    store.failures = [None, DeviceError("nothing was sent")]
    found = answers(transaction(["select", 1], ["set", "a", 1]) + command("client", "info"), store=store)[0]
    assert b" db=0 " in found
