"""Real clients against proxy, relay and device, compared with a real Redis server."""

import asyncio
import random
import subprocess
import sys

import pytest
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

import host.redis.commands
from tests.support.redis.support import program

COMMANDS = [name for name, entry in host.redis.commands.COMMANDS.items() if entry.operations != "0"]
KEYS = ["a", "b", "counter", "a longer key, which is hashed", "zero\0"]
VALUES = ["", "1", "-7", "word", "two words", "line\r\nbreak", "9223372036854775807", "\xe9\x00"]
NAMES = [*COMMANDS, "set", "set", "get", "wrong"]


def draw(source):
    """Draw a command that both ends must answer alike."""
    key, value = source.choice(KEYS), source.choice(VALUES)
    name = source.choice(NAMES)
    match name:
        case "get" | "getdel" | "strlen" | "incr" | "decr":
            return [name, key]
        case "set":
            return [name, key, value, *source.choice([[], [], ["NX"], ["XX"], ["GET"], ["XX", "GET"], ["NX", "XX"]])]
        case "setnx" | "getset":
            return [name, key, value]
        case "append":
            return [name, key, value[:3]] if source.random() < 0.5 else ["set", key, "short"]
        case "incrby" | "decrby":
            return [name, key, source.choice(["5", "-3", "x", "9223372036854775800"])]
        case "del" | "exists" | "mget":
            return [name, *source.choices(KEYS, k=source.randrange(1, 4))]
        case "mset":
            return [name, *(word for key in source.sample(KEYS, 2) for word in (key, source.choice(VALUES)))]
        case "dbsize":
            return [name]
    return source.choice([["get"], ["nonsense", key], ["set", key], ["mset", key], ["set", key, value, "NONSENSE"]])


def stream(seed, count):
    print("seed", seed)
    source = random.Random(seed)
    return [draw(source) for _ in range(count)]


def empty(client):
    """Remove whatever a test may have stored."""
    client.execute_command("DEL", *KEYS)


def ask(client, command):
    try:
        return client.execute_command(*command)
    except redis.ResponseError as error:
        return f"{type(error).__name__}: {error}"


def same(real_redis, expected, found):
    """Compare two answers; texts of errors only with a Redis of the version they are taken from."""
    if isinstance(expected, str) and not real_redis.exact:
        return isinstance(found, str)
    return expected == found


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def clients(request, real_redis, stack):
    """redis-py to the real server and to the proxy."""
    once = Retry(NoBackoff(), 0)  # a client that sends a command again by itself would hide what went wrong
    real = redis.Redis(unix_socket_path=real_redis.path, protocol=request.param, retry=once)
    ours = redis.Redis(port=stack.port, protocol=request.param, retry=once)
    real.flushall()
    ours.flushall()  # tests in other files leave what they like
    yield real, ours
    empty(ours)
    real.close()
    ours.close()


def test_redis_py_finds_no_difference(clients, real_redis):
    real, ours = clients
    for number, command in enumerate(stream(1, 250)):
        expected, found = ask(real, command), ask(ours, command)
        assert same(real_redis, expected, found), (number, command, expected, found)


def test_redis_py_pipelines_find_no_difference(clients, real_redis):
    real, ours = clients
    commands = stream(2, 400)
    while commands:
        batch, commands = commands[:40], commands[40:]
        answers = []
        for client in (real, ours):
            pipeline = client.pipeline(transaction=False)
            for command in batch:
                pipeline.execute_command(*command)
            answers.append(pipeline.execute(raise_on_error=False))
        for command, expected, found in zip(batch, *answers, strict=True):
            if isinstance(expected, redis.ResponseError):
                assert isinstance(found, redis.ResponseError), command
                assert not real_redis.exact or str(expected) == str(found), command
            else:
                assert expected == found, command


def test_redis_py_methods(clients):
    _, ours = clients
    for client in clients:
        assert client.set("a", "1", nx=True)
        assert client.set("a", "2", nx=True) is None
        assert client.incr("a", 5) == 6
        assert client.mset({"b": "x", "counter": b"\0\xff"})
        assert client.mget("a", "b", "counter", "zero\0") == [b"6", b"x", b"\0\xff", None]
        assert client.getdel("b") == b"x"
        assert client.exists("a", "b") == 1
        assert client.append("counter", "!") == 3
        assert client.dbsize() == 2
        assert client.ping()
        client.client_setname("tester")
        assert client.client_getname() in ("tester", b"tester")
    assert ours.info()["redis_mode"] == "standalone"
    with pytest.raises(redis.ResponseError, match=r"unknown command 'KEYS': .*docs/use/redis.md"):
        ours.keys()


def quoted(word):
    return '"' + "".join(c if c.isalnum() or c in " ,-" else f"\\x{b:02x}" for c in word for b in c.encode()) + '"'


@pytest.mark.parametrize("options", [["--no-raw"], ["--no-raw", "-3"], ["--raw"]], ids=" ".join)
def test_redis_cli_shows_the_same(options, real_redis, stack):
    commands = [command for command in stream(3, 300) if all(word.isascii() for word in command)]
    script = "".join(" ".join(map(quoted, command)) + "\n" for command in commands)
    shown = []
    for where in (["-s", real_redis.path], ["-p", str(stack.port)]):
        wipe = " ".join(["del", *map(quoted, KEYS)]) + "\n"
        run = subprocess.run(
            [program("redis-cli"), *where, *options],
            input=wipe + script + wipe,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert run.returncode == 0, run.stderr
        shown.append(run.stdout.splitlines()[1:-1])
    if not real_redis.exact:
        shown = [[line for line in lines if "ERR" not in line] for lines in shown]
    assert shown[0] == shown[1]
    assert len(shown[0]) > 200


def test_redis_cli_starts_quietly_and_knows_our_commands(stack):
    run = subprocess.run(
        [program("redis-cli"), "-p", str(stack.port), "command", "docs", "get"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (run.stdout.split("\n")[:3], run.stderr) == (["get", "summary", "map operations: 1"], "")


def test_redis_benchmark_runs(stack):
    command = [program("redis-benchmark"), "-p", str(stack.port), "-c", "10", "-P", "8", "-n", "400", "-r", "100"]
    run = subprocess.run(
        [*command, "-t", "ping,set,get,incr,mset", "--csv"], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    tests = [line.split(",")[0].strip('"') for line in run.stdout.splitlines()]
    assert tests == ["test", "PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET (10 keys)"]
    assert "rror" not in run.stdout + run.stderr
    client = redis.Redis(port=stack.port)
    client.delete("counter:__rand_int__", "mylist", *(f"key:{n:012}" for n in range(100)))
    client.delete(*(f"counter:{n:012}" for n in range(100)))


def test_many_connections_count_together(stack):
    async def main():
        async with redis.asyncio.Redis(port=stack.port, max_connections=20) as client:
            await client.delete("counter", "a")

            async def work():
                for _ in range(5):
                    await client.incr("counter")
                    await client.append("a", "x")

            await asyncio.gather(*(work() for _ in range(16)))
            found = await client.get("counter"), await client.strlen("a")
            await client.delete("counter", "a")
            return found

    assert asyncio.run(main()) == (b"80", 80)


def test_what_the_proxy_stores_the_command_line_reads_and_back(stack):
    client = redis.Redis(port=stack.port)
    where = ["--url", stack.url, "--key-file", str(stack.client_file)]
    for key in ("a", "a longer key, which is hashed"):
        client.set(key, "from the proxy")
        get = [sys.executable, "-m", "omap.cli", "get", key, *where]
        assert subprocess.run(get, capture_output=True, text=True, timeout=60).stdout == "from the proxy"
        put = [sys.executable, "-m", "omap.cli", "put", key, "from the command line", *where]
        subprocess.run(put, check=True, capture_output=True, timeout=60)
        assert client.getdel(key) == b"from the command line"
