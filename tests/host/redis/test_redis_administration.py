"""INFO, CLIENT and CONFIG, as tools ask for them."""

import asyncio
import fnmatch
import os
import pty
import re
import subprocess

import pytest
import redis

from host.redis.commands import SUBCOMMANDS
from host.redis.connection import RUN_BYTES, Connection
from tests.support.redis.support import ReferenceStore, answers, ask, command, program, shared


def test_info_tells_what_tools_ask_for(stack):
    client = redis.Redis(port=stack.port)
    client.flushall()
    client.config_resetstat()
    client.mset({"a": 1, "b": 2})
    client.set("c", 1, ex=1000)
    redis.Redis(port=stack.port, db=5).set("d", 1)
    client.execute_command("GET", "a")
    with pytest.raises(redis.ResponseError):
        client.execute_command("GET")
    client.dbsize()
    told = client.info("everything")
    assert told["db0"] == {"keys": 3, "expires": 1, "avg_ttl": 0}
    assert told["db5"] == {"keys": 1, "expires": 0, "avg_ttl": 0}
    assert "db1" not in told
    assert told["cmdstat_mset"]["calls"] == 1
    assert told["cmdstat_get"] == {"calls": 1, "rejected_calls": 1}
    assert told["used_memory_peak"] >= told["used_memory"] > 1 << 20
    assert told["total_commands_processed"] >= 5
    assert told["stale_cells"] >= 0
    assert told["role"] == "master"
    assert "cmdstat_mset" not in client.info()


def test_stale_cells_are_counted_until_their_room_is_used(stack):
    client = redis.Redis(port=stack.port)
    client.flushall()
    before = client.info("map")["stale_cells"]
    client.mset({"stale a": 1, "stale b": 2, "stale c": 3})
    client.flushdb()
    after = client.info("map")["stale_cells"]
    client.set("stale a", 1)
    client.delete("stale b")
    assert (after - before, client.info("map")["stale_cells"] - before) == (3, 1)


def test_the_continuous_statistics_of_redis_cli(stack):
    redis.Redis(port=stack.port).set("a", 1)
    mine, its = pty.openpty()  # into a pipe it writes only when it ends, and it goes on for ever
    line = [program("redis-cli"), "-p", str(stack.port), "--stat", "-i", "0.1"]
    process = subprocess.Popen(line, stdout=its)
    shown = ""
    while shown.count("\n") < 5:
        shown += os.read(mine, 4096).decode()
    process.kill()
    process.wait()
    assert "-9223372036854775808" not in shown
    assert re.search(r"\d+ +\d+\.\d+M +\d+ +\d+ +\d+ \(\+\d+\) +\d+", shown), shown


def test_replies_that_nobody_wants():
    stream = command("client", "reply", "off") + command("set", "a", 1) + command("get", "a") + command("nonsense")
    assert answers(stream + command("client", "reply", "on") + command("get", "a")) == [b"+OK\r\n$1\r\n1\r\n"]
    stream = command("client", "reply", "skip") + command("set", "a", 1) + command("get", "a")
    assert answers(stream) == [b"$1\r\n1\r\n"]
    assert answers(command("client", "reply", "skip"), command("get", "a"), command("ping")) == [b"", b"", b"+PONG\r\n"]


def test_the_list_of_clients(stack):
    mine = redis.Redis(port=stack.port, client_name="mine")
    other = redis.Redis(port=stack.port, db=3, client_name="other")
    other.get("a")
    told = {each["name"]: each for each in mine.client_list()}
    assert told["other"]["db"] == "3"
    assert told["other"]["cmd"] == "get"
    number = told["other"]["id"]
    assert [each["name"] for each in mine.client_list(client_id=[number])] == ["other"]
    assert mine.client_list(_type="pubsub") == []


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_help_names_every_subcommand(name):
    (found,) = answers(command(name, "help"))
    for part in SUBCOMMANDS[name]:
        assert part.upper().encode() in found


@pytest.mark.parametrize("words", [["client", "tracking", "on"], ["client", "kill", "x"], ["config", "rewrite"]])
def test_what_is_unknown_is_refused_as_by_a_redis_without_it(words):
    (found,) = answers(command(*words))
    assert found == f"-ERR unknown subcommand '{words[1]}'. Try {words[0].upper()} HELP.\r\n".encode()


def test_settings_that_are_so_already_may_be_set():
    assert answers(command("config", "set", "save", "", "appendonly", "no")) == [b"+OK\r\n"]
    (found,) = answers(command("config", "set", "maxmemory", "100mb"))
    assert found.startswith(b"-ERR CONFIG SET failed (possibly related to argument 'maxmemory') - ")
    (found,) = answers(command("config", "set", "nonsense", "1"))
    assert found == b"-ERR Unknown option or number of arguments for CONFIG SET - 'nonsense'\r\n"


@pytest.mark.parametrize("words", [["client", "setname"], ["hello", 3, "setname"]])
def test_a_name_is_no_longer_than_a_line(words):
    assert answers(command(*words, "n" * 1024), command("client", "getname"))[1] == b"$1024\r\n%b\r\n" % (b"n" * 1024)
    assert answers(command(*words, "n" * 1025))[0].startswith(b"-ERR Client names have at most 1024 characters")


def test_replies_that_are_known_at_once_are_sent_before_they_are_many():
    """Whoever asks a thousand times for a long list must not make the proxy hold a thousand of them."""

    async def main():
        common = shared(ReferenceStore())
        crowd = [Connection(common) for _ in range(100)]
        for each in crowd:
            await ask(each, command("client", "setname", "n" * 1024))
        sent = []

        async def send(data):
            sent.append(len(data))

        await crowd[0].handle(command("client", "list") * 500, send)
        found = await ask(crowd[0], command("multi") + command("client", "list") * 500 + command("exec"))
        return sent, found[-200:], await ask(crowd[0], command("client", "getname"))

    sent, refused, name = asyncio.run(main())
    assert sum(sent) > 50_000_000
    assert max(sent) < RUN_BYTES + 200_000
    assert refused.endswith(b"\r\n-ERR the replies to the transaction have more than 16 MiB, so nothing of it runs\r\n")
    assert name.startswith(b"$1024\r\n")


def test_patterns_of_config_are_not_kept():
    """Neither is a long one tried, nor does any stay in memory."""
    before = fnmatch._compile_pattern.cache_info().currsize
    answers(b"".join(command("config", "get", f"{n}*", "*" * n) for n in range(100)))
    assert fnmatch._compile_pattern.cache_info().currsize == before
    assert answers(command("config", "get", "*" * 65))[0] == b"*0\r\n"
    assert answers(command("config", "get", "[^x]ave"))[0] == b"*2\r\n$4\r\nsave\r\n$0\r\n\r\n"


def test_time_and_role():
    seconds, rest = re.fullmatch(rb"\*2\r\n\$\d+\r\n(\d+)\r\n\$\d\r\n(\d+)\r\n", answers(command("time"))[0]).groups()
    assert int(seconds) > 1_700_000_000
    assert int(rest) < 1_000_000
    assert answers(command("role"), command("wait", 0, 100)) == [b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n", b":0\r\n"]
