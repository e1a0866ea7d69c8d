"""Number, time and order of a command's operations depend neither on keys nor on what is found."""

import asyncio
import random
import re
from itertools import accumulate

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from host.redis.commands import COMMANDS
from host.redis.connection import Connection
from host.redis.rounds import IN_DOUBT, NOT_RUN
from host.redis.scheduler import BATCH_LIMIT
from omap.errors import AlteredError, DeviceError, UnknownFateError
from omap.operations import Kind, Operation, Response, Status
from tests.support.redis.support import PARAMS, ReferenceStore, answers, ask, command, shared

LONG = "a key of more than sixteen bytes"
STATES = {
    "nothing": b"",
    "a number": command("mset", "k", 5, LONG, 5),
    "no number": command("mset", "k", "five", LONG, "five"),
    "the highest number": command("mset", "k", (1 << 63) - 1, LONG, (1 << 63) - 1),
    "as long as it can be": command("mset", "k", "v" * (PARAMS.value_bytes - 2), LONG, "v" * 140),
    "a full map": b"".join(command("set", n, n) for n in range(PARAMS.capacity)),
}
REQUESTS = [
    ["get", "k"],
    ["set", "k", "v"],
    ["set", "k", "v", "GET"],
    ["set", "k", "v", "NX"],
    ["set", "k", "v", "XX"],
    ["set", LONG, "v", "NX", "GET"],
    ["set", "k", "v", "XX", "GET"],
    ["setnx", "k", "v"],
    ["setnx", LONG, "v"],
    ["getset", "k", "v"],
    ["getdel", "k"],
    ["del", "k"],
    ["del", "k", "k", LONG, "other"],
    ["exists", "k"],
    ["exists", "k", LONG],
    ["mget", "k", "k", "k"],
    ["mget", "k", LONG, "other"],
    ["mset", "k", 1, "k", 2],
    ["mset", "k", 1, LONG, 2],
    ["strlen", "k"],
    ["append", "k", "v"],
    ["append", LONG, "v" * 10],
    ["incr", "k"],
    ["incr", LONG],
    ["decr", "k"],
    ["incrby", "k", 3],
    ["decrby", "k", 3],
    ["dbsize"],
    ["set", "k", "v", "EX", 1000],
    ["set", "k", "v", "KEEPTTL"],
    ["setex", "k", 1000, "v"],
    ["psetex", LONG, 1000000, "v"],
    ["getex", "k"],
    ["getex", "k", "EX", 1000],
    ["getex", LONG, "PERSIST"],
    *([name, "k", 1000] for name in ("expire", "pexpire")),
    *([name, "k", 9_000_000_000] for name in ("expireat", "pexpireat")),
    ["expire", "k", -1],
    ["expire", LONG, 1000, "GT"],
    *([name, "k"] for name in ("ttl", "pttl", "expiretime", "pexpiretime", "persist", "type")),
    ["touch", "k", LONG],
    ["unlink", "k", "k"],
    ["msetnx", "k", 1, LONG, 2],
    ["msetnx", "k", 1, "k", 2],
    ["getrange", "k", 0, 2],
    ["substr", "k", 0, 2],
    ["setrange", "k", 2, "x"],
    ["setrange", LONG, 2, ""],
    ["incrbyfloat", "k", "0.5"],
    ["rename", "k", LONG],
    ["rename", "k", "k"],
    ["renamenx", "k", "other"],
    ["copy", "k", "other"],
    ["copy", "k", LONG, "DB", 3, "REPLACE"],
    ["move", "k", 2],
    ["flushdb"],
    ["flushall", "ASYNC"],
]


def sizes(batches):
    return [len(batch) for batch in batches]


@pytest.mark.sec_cm("REDIS.OPS.FIXED")
@pytest.mark.parametrize("request_", REQUESTS, ids=lambda words: " ".join(map(str, words[:1] + words[3:])))
def test_the_number_of_operations_of_a_command_follows_from_its_words(request_):
    seen = {}
    for state, fill in STATES.items():
        store = ReferenceStore()
        answers(fill, store=store)
        before = len(store.batches)
        answers(command(*request_), store=store)
        seen[state] = sizes(store.batches[before:])
    assert len({tuple(found) for found in seen.values()}) == 1, seen
    (told,) = {sum(found) for found in seen.values()}
    operations = COMMANDS[request_[0]].operations
    if operations.endswith("a key"):
        keys = (len(request_) - 1) // (2 if request_[0].startswith("mset") else 1)
        keys = 2 if request_[0] in ("copy", "move", "rename", "renamenx") else keys
        assert told == keys * int(re.match(r"\d+", operations)[0])
    elif request_[0] == "set":
        assert told == (2 if {"NX", "XX", "KEEPTTL"} & set(request_) else 1)
        assert operations == "1; 2 with NX, XX or KEEPTTL"
    elif request_[0] == "getex":
        assert told == min(2, len(request_) - 1)
        assert operations == "1; 2 with an option"
    else:
        assert told == int(operations)


def test_every_command_about_data_is_in_that_test():
    about_data = {name for name, entry in COMMANDS.items() if entry.operations != "0"}
    scripts = {name for name in about_data if name.startswith("eval")}  # of these test_redis_scripts.py
    assert {request[0] for request in REQUESTS} == about_data - scripts


def test_commands_without_data_and_refused_ones_take_none():
    store = ReferenceStore()
    for name, entry in COMMANDS.items():
        answers(command(name), command(name, "x"), command(name, "a", "b", "c", "d"), store=store) if (
            entry.operations == "0"
        ) else None
    answers(command("set", "k", "v" * PARAMS.value_bytes), command("incrby", "k", "x"), command("keys"), store=store)
    assert store.batches == []


def test_a_pipeline_is_one_batch_and_a_round_two():
    store = ReferenceStore()
    simple = command("set", "a", 1) + command("ping") + command("get", "b") + command("mget", "a", "c")
    changes = command("incr", "a") + command("echo", "x") + command("setnx", "b", 1)
    answers(simple + changes + simple, store=store)
    assert sizes(store.batches) == [4, 2, 2, 4]
    assert [operation.kind for operation in store.batches[1]] == [Kind.GET, Kind.GET]


@pytest.mark.parametrize("connections", [5, 50])
def test_connections_share_batches_of_some_plans(connections):
    store = ReferenceStore()
    scripts = [[command("set", f"k{number}", number) + command("get", f"k{number}")] for number in range(connections)]
    assert run_together(store, scripts) == [[b"+OK\r\n$%d\r\n%d\r\n" % (len(str(n)), n)] for n in range(connections)]
    assert sum(sizes(store.batches)) == 2 * connections
    assert len(store.batches) == -(-2 * connections // BATCH_LIMIT)


class Watched(ReferenceStore):
    """Notes for every batch its size and when it came, in turns of the event loop: all that can be seen of it."""

    def __init__(self):
        super().__init__()
        self.delay = 5
        self.seen = []
        self.turn = 0
        self._ticking = None

    def submit(self, batch):
        if self._ticking is None:
            self._ticking = asyncio.get_running_loop().call_soon(self._tick)
        self.seen.append((len(batch), self.turn))
        return super().submit(batch)

    def _tick(self):
        self.turn += 1
        self._ticking = asyncio.get_running_loop().call_soon(self._tick)


KINDS = {
    "get": lambda key: command("get", key),
    "set": lambda key: command("set", key, 7),
    "del": lambda key: command("del", key),
    "mget": lambda key: command("mget", key, "other"),
    "incr": lambda key: command("incr", key),
    "setnx": lambda key: command("setnx", key, "x"),
    "append": lambda key: command("append", key, "x"),
    "xx": lambda key: command("set", key, 1, "XX"),
}
KINDS |= {
    f"{name} in a transaction": lambda key, name=name: command("multi") + KINDS[name](key) + command("exec")
    for name in ("incr", "setnx", "get", "set", "del")
}
CLASSES = {
    "simple": ["get", "set", "del", "setex", "ttl"],
    "change": ["incr", "setnx", "append", "xx", "expire"],
    "transaction": [name for name in KINDS if name.endswith("transaction")],
}
KINDS |= {
    "setex": lambda key: command("setex", key, 1000, 7),
    "ttl": lambda key: command("ttl", key),
    "expire": lambda key: command("expire", key, 1000),
}


def run_together(store, scripts):
    """Run one list of requests on each of some connections at once; return the answers of each."""

    async def main():
        common = shared(store)

        async def one(requests):
            connection = Connection(common)
            return [await ask(connection, request) for request in requests]

        return await asyncio.gather(*map(one, scripts))

    return asyncio.run(main())


plans = st.lists(st.lists(st.lists(st.sampled_from(list(CLASSES)), min_size=1, max_size=3), max_size=3), max_size=4)


@pytest.mark.sec_cm("REDIS.WAIT.KEYLESS")
@settings(max_examples=80)
@example([[["change"]] * 3, [["simple"] * 3] * 3, [["simple"] * 3] * 2], random.Random(1))
@example([[["transaction"]] * 3, [["simple"] * 3] * 3, [["simple"] * 3] * 2], random.Random(2))
@given(plans, st.randoms(use_true_random=False))
def test_the_schedule_knows_no_keys(plan, source):
    """Same classes of commands at the same times: the same batches at the same times, whatever keys and kinds."""

    def watched(keys):
        store = Watched()
        scripts = [
            [
                b"".join(KINDS[source.choice(CLASSES[kind])](source.choice(keys)) for kind in pipeline)
                for pipeline in connection
            ]
            for connection in plan
        ]
        run_together(store, scripts)
        return store.seen

    assert watched(["same"]) == watched(["a", "b", "c", "d", LONG, "x" * 99])


def test_increments_on_many_connections_are_all_counted():
    store = ReferenceStore()
    store.delay = 3
    scripts = [
        [command("incr", "n") * 4, command("incr", "n"), command("get", "n") + command("incr", "n")] for _ in range(7)
    ]
    found = run_together(store, scripts)
    numbers = [int(n) for answer in found for part in answer for n in re.findall(rb":(\d+)\r\n", part)]
    assert sorted(numbers) == list(range(1, 7 * 6 + 1))
    assert answers(command("get", "n"), store=store) == [b"$2\r\n42\r\n"]
    for answer in found:  # a connection sees its own commands in order
        mine = [int(n) for part in answer for n in re.findall(rb"(\d+)\r\n(?=[:$]|$)", part)]
        assert mine == sorted(mine)


@pytest.mark.parametrize("pause", range(9))
@pytest.mark.parametrize(("first", "second"), [("incr", "set"), ("set", "incr")])
def test_a_write_is_never_lost_between_reading_and_writing(first, second, pause):
    """INCR and SET of one key at nearly the same time: the result is that of one order or the other."""
    store = ReferenceStore()
    store.delay = 3

    async def main():
        common = shared(store)
        requests = {"incr": command("incr", "n"), "set": command("set", "n", 100)}
        early = asyncio.ensure_future(ask(Connection(common), requests[first]))
        for _ in range(pause):
            await asyncio.sleep(0)
        late = await ask(Connection(common), requests[second])
        return {first: await early, second: late}

    found = asyncio.run(main())
    increments_first = found["incr"] == b":1\r\n"
    assert increments_first or found["incr"] == b":101\r\n"
    assert answers(command("get", "n"), store=store) == [b"$3\r\n100\r\n" if increments_first else b"$3\r\n101\r\n"]


def test_many_keys_are_read_and_written_at_once():
    store = ReferenceStore()
    store.delay = 2
    writers = [[command("mset", "a", n, "b", n, "c", n) for _ in range(5)] for n in range(4)]
    readers = [[command("mget", "a", "b", "c") for _ in range(8)] for _ in range(3)]
    for answer in run_together(store, writers + readers)[4:]:
        for part in answer:
            assert len(set(re.findall(rb"\$1?-?\d\r\n(?:\d\r\n)?", part))) == 1, part


def test_simple_commands_are_not_starved_by_changes():
    store = Watched()
    changing = [[command("incr", "n")] * 20 for _ in range(3)]
    run_together(store, [*changing, [command("get", "n")] * 5])
    gets = [n for n, (size, _) in enumerate(store.seen) if size == 1]
    assert len(gets) >= 5
    assert gets[4] < len(store.seen) - 10


@settings(max_examples=60)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.data())
def test_after_a_break_each_command_says_what_is_known(key_counts, data):
    total = sum(key_counts)
    answered = data.draw(st.integers(0, total))
    in_doubt = data.draw(st.integers(0, total - answered))
    error = UnknownFateError("the peer hung up")
    error.answered, error.in_doubt, error.not_sent = answered, in_doubt, total - answered - in_doubt
    error.responses = [Response(Status.NOT_FOUND)] * answered
    store = ReferenceStore()
    store.failures = [error]
    request = b"".join(command("mget", *"k" * count) for count in key_counts)
    found = answers(request, command("get", "k"), store=store)
    expected = b""
    for count, end in zip(key_counts, accumulate(key_counts), strict=True):
        if end <= answered:
            expected += b"*%d\r\n" % count + b"$-1\r\n" * count
        else:
            expected += b"-%b\r\n" % (IN_DOUBT if end - count < answered + in_doubt else NOT_RUN).encode()
    assert found == [expected, b"$-1\r\n"]  # the next command is tried again
    assert sizes(store.batches) == [total, 1]


def broken(answered, in_doubt, not_sent):
    error = UnknownFateError("the peer hung up")
    error.answered, error.in_doubt, error.not_sent = answered, in_doubt, not_sent
    error.responses = [Response(Status.OK)] * answered
    return error


def test_a_break_while_a_round_reads_changes_nothing_and_says_so():
    store = ReferenceStore()
    store.failures = [broken(0, 2, 0)]
    found = answers(command("incr", "a") + command("incr", "b"), command("mget", "a", "b"), store=store)
    assert found == [f"-{NOT_RUN}\r\n".encode() * 2, b"*2\r\n$-1\r\n$-1\r\n"]


def test_a_break_while_a_round_writes_leaves_doubt_and_nothing_is_repeated():
    store = ReferenceStore()
    store.failures = [None, broken(1, 1, 1)]
    request = command("incr", "a") + command("incr", "b") + command("incr", "c")
    assert answers(request, store=store) == [f":1\r\n-{IN_DOUBT}\r\n-{NOT_RUN}\r\n".encode()]
    assert sizes(store.batches) == [3, 3]


@pytest.mark.parametrize("request_", [["get", "a"], ["set", "a", 1], ["incr", "a"], ["dbsize"], ["mget", "a", "b"]])
@pytest.mark.parametrize("problem", [DeviceError("nothing listens there"), AlteredError("response 5 was altered")])
def test_what_the_map_says_is_said_again_in_one_line(request_, problem):
    store = ReferenceStore()
    store.failures = [problem, None]
    reported = []

    async def main():
        connection = Connection(shared(store, report=reported.append))
        return await ask(connection, command(*request_)), await ask(connection, command("ping"))

    first, second = asyncio.run(main())
    assert first == f"-ERR omap: {problem}\r\n".encode()
    assert second == b"+PONG\r\n"
    assert reported == [problem]


def test_a_defect_in_a_round_reaches_those_who_wait_and_no_others():
    store = ReferenceStore()
    store.failures = [RuntimeError("a defect")]

    async def main():
        common = shared(store)
        with pytest.raises(RuntimeError, match="a defect"):
            await ask(Connection(common), command("incr", "a"))
        return await ask(Connection(common), command("incr", "a") + command("get", "a"))

    assert asyncio.run(main()) == b":1\r\n$1\r\n1\r\n"


def test_a_connection_that_is_gone_does_not_stop_a_round():
    store = ReferenceStore()
    store.delay = 10

    async def main():
        common = shared(store)
        first = asyncio.ensure_future(ask(Connection(common), command("incr", "a")))
        second = asyncio.ensure_future(ask(Connection(common), command("incr", "a")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
        return await second

    assert asyncio.run(main()) == b":2\r\n"


def test_operations_are_what_the_map_takes():
    store = ReferenceStore()
    answers(command("incr", "n"), store=store)
    ((get,), (put,)) = store.batches
    assert get == Operation(Kind.GET, b"n".ljust(16, b"\0"))
    assert put == Operation(Kind.PUT, get.key, b"\0\x011".ljust(PARAMS.value_bytes, b"\0"))
