"""Every command compared with a real Redis server, byte for byte; then what that server does not have."""

import asyncio
import contextlib
import os
import re
from itertools import pairwise

import hiredis
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from host.redis.commands import COMMANDS
from host.redis.connection import RUN_LIMIT, Connection
from host.redis.missing import WHY_NOT
from host.redis.places import OUT_OF_ROOM
from omap.sizing import one_choice
from tests.support.redis.support import PARAMS, ReferenceStore, answers, ask, command, shared

keys = st.sampled_from([b"a", b"b", b"c", b"a key longer than sixteen bytes", b"zero\0", b"", b"\xff\0\r\n"])
numbers = [0, 1, -1, 7, 9223372036854775807, -9223372036854775808, 9223372036854775808, 9223372036854775800]
texts = st.one_of(
    st.sampled_from([b"", b"x", b"10", b"-3", b"-0", b"+1", b"01", b" 1", b"1.0", b"a\r\nb", b"\0"]),
    st.sampled_from(numbers).map(lambda number: b"%d" % number),
    st.binary(max_size=6),
)
options = st.lists(
    st.sampled_from(
        [b"NX", b"xx", b"GET", b"get", b"Nx", b"other", b"KEEPTTL", b"ex", b"PXAT", b"9000000000000", b"77"]
    ),
    max_size=4,
)
conditions = st.lists(st.sampled_from([b"NX", b"xx", b"gt", b"LT", b"other"]), max_size=2)
late = st.sampled_from([b"9000000000", b"9000000001", b"8999999999", b"0", b"-1", b"x", b"5"])
floats = st.sampled_from(
    # halves, which a machine adds as exactly as the proxy does
    [b"1.50", b"-3", b"1e3", b"5.0e-1", b"x", b" 1", b"nan", b"10.5", b".5", b"3.", b"-0.0", b"1e5000"]
)
places = st.sampled_from([b"0", b"1", b"-1", b"3", b"-3", b"-100", b"9", b"x"])


def words(name, *parts):
    return st.tuples(st.sampled_from([name.encode(), name.upper().encode()]), *parts).map(list)


def spread(name, parts, most=4):
    return st.lists(parts, min_size=1, max_size=most).map(lambda found: [name, *(w for part in found for w in part)])


STRANGE = ("info", "command", "quit", "hello", "time", "eval", "evalsha", "script")
"""Commands that answer something else than Redis, or end the stream, if they stand alone."""

one_key = st.tuples(keys)
streams = st.one_of(
    *(words(name, keys) for name in ("get", "getdel", "strlen", "incr", "decr", "exists", "del")),
    *(words(name, keys, texts) for name in ("getset", "setnx", "incrby", "decrby", "set")),
    words("append", keys, st.binary(max_size=5)),
    st.tuples(words("set", keys, texts), options).map(lambda parts: parts[0] + parts[1]),
    spread(b"mget", one_key),
    spread(b"exists", one_key),
    spread(b"del", one_key),
    spread(b"mset", st.tuples(keys, texts), 3),
    st.sampled_from(
        [[b"dbsize"], [b"ping"], [b"Ping", b"hi"], [b"select", b"0"], [b"select", b"1"], [b"select", b"15"]]
    ),
    *(words(name, keys) for name in ("ttl", "persist", "type", "getex")),  # points in time differ by a few milliseconds
    *(st.tuples(words(name, keys, late), conditions).map(lambda parts: parts[0] + parts[1]) for name in ("expireat",)),
    words("expire", keys, st.sampled_from([b"5000", b"0", b"-5", b"x", b"9223372036854775807"])),
    words("pexpire", keys, st.sampled_from([b"5000000", b"-5", b"9223372036854775807"])),
    words("pexpireat", keys, st.sampled_from([b"9000000000000", b"9000000000500", b"-1"])),
    words("setex", keys, st.sampled_from([b"100", b"0", b"-1", b"x"]), texts),
    words("psetex", keys, st.sampled_from([b"100000", b"0", b"9223372036854775807"]), texts),
    st.tuples(
        words("getex", keys), st.sampled_from([[b"PERSIST"], [b"EXAT", b"9000000000"], [b"pxat", b"5"], [b"wrong"]])
    ).map(lambda parts: parts[0] + parts[1]),
    words("incrbyfloat", keys, floats),
    words("getrange", keys, places, places),
    words("setrange", keys, st.sampled_from([b"0", b"2", b"7", b"-1", b"x"]), st.binary(max_size=3)),
    *(words(name, keys, keys) for name in ("rename", "renamenx", "copy")),
    words("copy", keys, keys, st.sampled_from([b"replace", b"REPLACE", b"db"])),
    words("copy", keys, keys, st.just(b"DB"), st.sampled_from([b"1", b"0", b"x", b"16"])),
    words("move", keys, st.sampled_from([b"1", b"0", b"x", b"16"])),
    spread(b"unlink", one_key),
    spread(b"touch", one_key),
    spread(b"msetnx", st.tuples(keys, texts), 3),
    spread(b"watch", one_key),
    st.sampled_from([[b"multi"], [b"MULTI"], [b"exec"], [b"Exec"], [b"discard"], [b"unwatch"]]),
    st.sampled_from([[b"flushdb"], [b"flushall"], [b"flushdb", b"async"], [b"flushall", b"now"], [b"role"]]),
    st.sampled_from(
        [[b"wait", b"0", b"0"], [b"wait", b"x", b"0"], [b"client", b"reply", b"on"], [b"client", b"reply"]]
    ),
    st.sampled_from([[b"client", b"reply", b"wrong"], [b"client", b"no-evict", b"on"]]),
    st.sampled_from([[b"client", b"no-evict", b"x"], [b"config", b"set", b"nonsense", b"1"]]),
    st.sampled_from(
        [[b"echo", b"e"], [b"client", b"getname"], [b"client", b"setname", b"me"], [b"reset"], [b"hello", b"9"]]
    ),
    st.sampled_from(
        [[b"client", b"setname", b"a b"], [b"config", b"get", b"save"], [b"auth", b"x"], [b"auth", b"no", b"x"]]
    ),
    st.tuples(st.sampled_from([n.encode() for n in COMMANDS if n not in STRANGE])).map(list),
    st.sampled_from(
        [[b"mset", b"a"], [b"get", b"a", b"b"], [b"ping", b"a", b"b"], [b"nonsense"], [b"Non\r\nsense", b"a", b"\0b"]]
    ),
    st.lists(st.binary(max_size=70), max_size=4).map(lambda rest: [b"nonsense", *rest]),
)


@settings(max_examples=250)
@example([[b"set", b"a", b"x"], [b"incr", b"a"], [b"get", b"a"], [b"dbsize"], [b"set", b"b", b"1"]], [2], 2)
@given(st.lists(streams, max_size=30), st.lists(st.integers(0, 29), max_size=4), st.sampled_from([2, 3]))
def test_a_stream_of_commands_is_answered_as_by_redis(real_redis, stream, places, version):
    """However it is cut into pipelines."""
    greeting = [[b"hello", b"3"]] if version == 3 else []
    real_redis.ask(command("flushall"))
    expected = real_redis.ask(b"".join(command(*one) for one in greeting + stream))
    pipelines, edges = [], [0, *sorted(places), len(stream)]
    for first, last in pairwise(edges):
        pipelines.append(b"".join(command(*one) for one in stream[first:last]))
    if version == 3:
        expected = expected[expected.index(b"modules\r\n*0\r\n") + 13 :]
        hello, *found = answers(command("hello", 3), *pipelines)
        assert b"proto\r\n:3\r\n" in hello
    else:
        found = answers(*pipelines)
    found = b"".join(found)
    assert real_redis.agrees(expected, found), (expected, found)


def test_inline_commands_and_quit(real_redis):
    request = b'set a "1 2"\r\n\r\nGET a\nget\r\nQUIT now\r\nget a\r\n'
    assert answers(request) == [b"+OK\r\n$3\r\n1 2\r\n-ERR wrong number of arguments for 'get' command\r\n+OK\r\n"]
    real_redis.ask(command("flushall"))
    assert real_redis.agrees(real_redis.ask(request), answers(request)[0])


@pytest.mark.parametrize(
    "request_",
    [[b"FOO", b"bar"], [b"get"], [b"get", b"a"], [b"hello", b"3"], [b"reset"], [b"quit"], [b"ping"], [b"auth", b"no"]],
)
def test_without_the_password_nothing_but_logging_in(request_, real_redis):
    real_redis.ask(command("config", "set", "requirepass", "secret"))
    try:
        expected = real_redis.ask(command(*request_))
    finally:
        real_redis.ask(command("auth", "secret") + command("config", "set", "requirepass", ""))
    (found,) = answers(command(*request_), password="secret")
    assert real_redis.agrees(expected, found), (expected, found)


def test_logging_in():
    long = command("set", "a", "x" * 100) + command("mset", *(["b", 1] * 9))
    for login in (["auth", "secret"], ["auth", "default", "secret"], ["hello", 2, "auth", "default", "secret"]):
        first = answers(command(*login) + long + command("get", "b"), password="secret")[0]
        assert first.endswith(b"+OK\r\n+OK\r\n$1\r\n1\r\n")
    found = answers(command("auth", "secret"), command("reset"), command("get", "a"), password="secret")
    assert found == [b"+OK\r\n", b"+RESET\r\n", b"-NOAUTH Authentication required.\r\n"]
    wrong = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"
    for login in (
        ["auth", "Secret"],
        ["auth", "other", "secret"],
        ["hello", 3, "auth", "default", ""],
        ["auth", "\xe9"],
    ):
        assert answers(command(*login), password="secret") == [wrong]
    assert answers(command("auth", "grün"), password="grün") == [b"+OK\r\n"]
    typed = os.fsdecode(b"gr\xfcn")  # as a variable or a command line that is no UTF-8 comes to a program
    assert answers(command("auth", b"gr\xfcn"), password=typed) == [b"+OK\r\n"]


@pytest.mark.sec_cm("REDIS.AUTH.CONST_TIME")
def test_passwords_are_compared_in_constant_time(monkeypatch):
    """Every comparison goes through compare_digest, which sees the whole of both."""
    seen = []

    def compare(given, wanted):
        seen.append((given, wanted))
        return given == wanted

    monkeypatch.setattr("hmac.compare_digest", compare)
    answers(command("auth", "wrong") + command("auth", "secret"), password="secret")
    assert seen == [(b"wrong", b"secret"), (b"secret", b"secret")]


def read_all(data):
    reader = hiredis.Reader()
    reader.feed(data)
    found = []
    while (value := reader.gets()) is not False:
        found.append(value)
    return found


@pytest.mark.parametrize("option", [["EX"], ["NX", "XX"], ["EX", 10, "other"]])
def test_but_a_wrong_syntax_is_a_wrong_syntax(option):
    assert answers(command("set", "a", 1, *option)) == [b"-ERR syntax error\r\n"]


@pytest.mark.parametrize("name", WHY_NOT)
def test_what_is_missing_says_why(name):
    (answer,) = answers(command(name, "a"))
    assert answer == f"-ERR unknown command '{name}': {WHY_NOT[name]}\r\n".encode()
    assert name not in COMMANDS


def test_lcs_is_not_refused_as_a_command_on_bits():
    assert "bits" not in WHY_NOT["lcs"]


def test_every_command_of_redis_works_or_says_why_not(real_redis):
    parts = real_redis.ask(command("command", "list")).split(b"\r\n")[2::2]
    names = {name.decode() for name in parts if b"|" not in name}
    assert {"get", "lpush"} <= names
    if real_redis.exact:  # a newer server has more
        assert names - COMMANDS.keys() - WHY_NOT.keys() == set()
    assert WHY_NOT.keys() - names == set()


@pytest.mark.parametrize("key", [b"k", b"k" * 16, b"k" * 17, b"k" * 100, b"zero\0"])
def test_values_as_long_as_they_fit_and_no_longer(key):
    beside = 2 if len(key) <= 16 and not key.endswith(b"\0") else 4 + len(key)
    room = PARAMS.value_bytes - beside
    fits, too_long = b"v" * room, b"v" * (room + 1)
    refused = b"-ERR value is too long: %d bytes, and under this key %d fit\r\n" % (room + 1, room)
    for name in ("set", "getset", "setnx"):
        assert answers(command(name, key, fits) + command("get", key))[0].endswith(b"\r\n" + fits + b"\r\n")
        assert answers(command(name, key, too_long), command("exists", key)) == [refused, b":0\r\n"]
    for change in (command("set", key, too_long, "XX"), command("mset", "other", 1, key, too_long)):
        assert answers(change, command("exists", key, "other")) == [refused, b":0\r\n"]
    found = answers(command("set", key, fits), command("append", key, "v"), command("strlen", key))
    assert found == [b"+OK\r\n", refused, b":%d\r\n" % room]


def test_a_key_that_leaves_no_room_can_be_asked_for_but_not_set():
    key = b"k" * 500
    found = answers(command("get", key), command("del", key), command("incr", key), command("set", key, ""))
    assert found[:2] == [b"$-1\r\n", b":0\r\n"]
    assert all(answer.startswith(b"-ERR key is too long: the key has 500 bytes") for answer in found[2:])
    nearly = b"k" * (PARAMS.value_bytes - 4)
    assert answers(command("set", nearly, ""), command("get", nearly)) == [b"+OK\r\n", b"$0\r\n\r\n"]
    assert answers(command("set", nearly, "1")) == [b"-ERR value is too long: 1 bytes, and under this key 0 fit\r\n"]


def test_a_map_with_short_keys_takes_short_keys():
    params = one_choice(capacity=20, key_bytes=8, value_bytes=16, page_bytes=128)
    requests = [command("set", "12345678", "v" * 14), command("get", "12345678"), command("incr", "n")]
    assert answers(*requests, params=params) == [b"+OK\r\n", b"$14\r\n" + b"v" * 14 + b"\r\n", b":1\r\n"]
    for request in (["get", "123456789"], ["incr", "123456789"], ["mset", "a", 1, "123456789", 1], ["del", "a\0"]):
        (answer,) = answers(command(*request), params=params)
        assert answer.startswith(b"-ERR key is too long: the key ")
        assert b"16-byte keys" in answer


@pytest.mark.sec_cm("REDIS.KEY.VERIFIED")
def test_two_keys_in_one_place_are_an_error_and_never_a_wrong_value(monkeypatch):
    """Two long keys with the same image do not happen; if they did, the key in the cell would tell."""
    monkeypatch.setattr("omap.cells.image", lambda secret, name: bytes(16))
    one, other = b"one key of more than 16 bytes", b"another of more than 16 bytes"
    reads = [
        ["get", other],
        ["mget", other],
        ["strlen", other],
        ["exists", other],
        ["incr", other],
        ["append", other, "x"],
    ]
    changes = [
        ["setnx", other, "x"],
        ["set", other, "x", "XX"],
        ["set", other, "x", "NX"],
        ["getdel", other],
        ["set", other, "x", "GET"],
    ]
    for request in reads + changes:
        _, answer = answers(command("set", one, "secret"), command(*request))
        assert answer.startswith(b"-ERR omap: the value was stored for another key"), request
        assert b"secret" not in answer
    assert answers(command("set", one, 1), command("set", other, 2), command("get", other))[2] == b"$1\r\n2\r\n"


def test_a_value_that_was_stored_raw_is_an_error():
    store = ReferenceStore()
    store.map.put(b"raw".ljust(16, b"\0"), b"\xff" * PARAMS.value_bytes)
    found = answers(
        command("get", "raw"), command("incr", "raw"), command("set", "raw", 1), command("get", "raw"), store=store
    )
    assert found[0].startswith(b"-ERR omap: no length stands before the value")
    assert found[1] == found[0]
    assert found[2:] == [b"+OK\r\n", b"$1\r\n1\r\n"]


def test_a_full_map_says_what_a_full_redis_says():
    fill = b"".join(command("set", n, n) for n in range(PARAMS.capacity))
    oom = f"-{OUT_OF_ROOM}\r\n".encode()
    for request in (
        ["set", "x", 1],
        ["incr", "x"],
        ["append", "x", "y"],
        ["setnx", "x", 1],
        ["set", "x", 1, "NX"],
        ["getset", "x", 1],
    ):
        found = answers(fill, command(*request), command("get", "x"), command("incr", "7"), command("dbsize"))
        assert found[1:] == [oom, b"$-1\r\n", b":8\r\n", b":%d\r\n" % PARAMS.capacity], request
    found = answers(
        fill, command("mset", 3, "new", "x", 1), command("mget", 3, "x"), command("del", 4), command("incr", "x")
    )
    assert found[1:] == [oom, b"*2\r\n$3\r\nnew\r\n$-1\r\n", b":1\r\n", b":1\r\n"]


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "0", "1"]), st.sampled_from(["incr", "setnx", "append", "nx", "xx"])),
        max_size=12,
    )
)
def test_a_pipeline_of_changes_in_a_full_map_is_as_if_each_came_alone(changes):
    """What one change was refused is not there for the next, also within one round."""

    def request(key, kind):
        if kind in ("nx", "xx"):
            return command("set", key, 5, kind)
        return command(kind, key) if kind == "incr" else command(kind, key, 5)

    fill = b"".join(command("set", n, n) for n in range(PARAMS.capacity - 1))
    alone = answers(fill, *(request(*change) for change in changes), command("mget", "a", "b", "0", "1"))
    together = answers(fill, b"".join(request(*change) for change in changes), command("mget", "a", "b", "0", "1"))
    assert b"".join(alone) == b"".join(together)


def test_more_commands_at_once_than_are_planned_ahead():
    pipeline = command("incr", "n") * (2 * RUN_LIMIT + 10)
    numbers = b"".join(b":%d\r\n" % n for n in range(1, 2 * RUN_LIMIT + 11))
    assert answers(pipeline) == [numbers]


def test_what_tools_ask_at_their_start():
    count, docs, info, config, listed = answers(
        command("command", "count"),
        command("command", "docs"),
        command("command", "info", "get", "nope"),
        command("config", "get", "*o*"),
        command("command", "list"),
    )
    assert count == b":%d\r\n" % len(COMMANDS)
    (docs,) = read_all(docs)
    assert docs[docs.index(b"get") + 1] == [b"summary", b"map operations: 1"]
    assert read_all(info) == [[[b"get", 2, [b"readonly", b"fast"], 1, 1, 1, [], [], [], []], None]]
    assert read_all(config)[0][::2] == [
        b"appendonly",
        b"maxmemory",
        b"maxmemory-policy",
        b"notify-keyspace-events",
        b"proto-max-bulk-len",
        b"timeout",
    ]
    assert read_all(listed) == [[name.encode() for name in COMMANDS]]
    (whole,) = read_all(answers(command("command"))[0])
    assert len(whole) == len(COMMANDS)
    assert read_all(answers(command("hello", 3) + command("command", "docs", "get", "no"))[0])[1] == {
        b"get": {b"summary": b"map operations: 1"}
    }
    assert read_all(answers(command("info", "server"))[0]) == [b"# Server\r\nredis_version:7.0.0\r\n"]
    assert read_all(answers(command("info", "keyspace"))[0]) == [b""]


def test_the_connection_speaks_of_itself():
    found = answers(
        command("client", "setname", "me"), command("client", "info"), command("client", "setinfo", "lib-name", "x")
    )
    assert found[0] == found[2] == b"+OK\r\n"
    assert re.search(rb"id=1 addr= name=me age=0 idle=0 db=0 ", found[1])
    assert answers(command("client", "setinfo", "x", "y"))[0].startswith(b"-ERR Unrecognized option 'x'")
    assert answers(command("client", "id", "x")) == [b"-ERR wrong number of arguments for 'client|id' command\r\n"]
    assert answers(command("client", "kill")) == [b"-ERR unknown subcommand 'kill'. Try CLIENT HELP.\r\n"]


def test_a_stream_that_breaks_is_answered_up_to_there_and_closed():
    async def main():
        connection = Connection(shared(ReferenceStore()))
        answer = await ask(connection, command("set", "a", 1) + b"*1\r\n:1\r\n" + command("get", "a"))
        return answer, connection.closed

    assert asyncio.run(main()) == (b"+OK\r\n-ERR Protocol error: expected '$', got ':'\r\n", True)


@settings(max_examples=100)
@given(st.lists(st.one_of(st.binary(max_size=40), streams.map(lambda one: command(*one))), max_size=8))
def test_no_bytes_make_a_connection_fail(pieces):
    """Whatever comes is answered or waited for; what an answer is not, is a connection closed."""

    async def main():
        connection = Connection(shared(ReferenceStore()))
        for piece in pieces:
            with contextlib.suppress(UnicodeError):
                read_all(await ask(connection, piece))

    asyncio.run(main())
