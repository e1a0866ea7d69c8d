"""``omap proxy``: what it prints, and what it says when it can't start."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time

import pytest
import redis
from click.testing import CliRunner

from host.commands.proxy import PASSWORD_VARIABLE
from host.testing import running_relay
from omap.cli import main
from omap.credentials import Right
from tests.support.host.keys import client_file, root_file
from tests.support.redis.support import PARAMS


@pytest.fixture
def running(tmp_path):
    with running_relay(PARAMS, root_file(tmp_path / "root.key")) as relay:
        relay.client_file = client_file(tmp_path / "client.key", relay.key_file)
        yield relay


def refusal(*arguments, **options):
    """Return the one line with which ``omap proxy`` ends."""
    result = CliRunner().invoke(main, ["proxy", *map(str, arguments)], **options)
    assert result.exit_code == 2, result.output
    lines = [line for line in result.output.splitlines() if line.startswith(("omap: ", "Error: "))]
    assert len(lines) == 1, result.output
    assert "Traceback" not in result.output
    return lines[0]


def test_what_stops_it_is_said_in_one_line(running, tmp_path):
    where = ["--url", running.address, "--key-file", running.client_file]
    assert "`omap provision --client NAME --root ROOT_FILE FILE` writes one" in refusal(
        "--key-file", tmp_path / "no.key"
    )
    other = client_file(tmp_path / "other.key", bytes(32))
    assert "check the key file" in refusal("--url", running.address, "--key-file", other)
    assert "is no address of a relay" in refusal("--url", "redis://x", "--key-file", running.client_file)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert "another program uses this port" in refusal(*where, "--port", port)
    assert "start `omap serve` there" in refusal("--url", f"omap://127.0.0.1:{port}", "--key-file", running.client_file)
    assert "--password" in refusal(*where, "--host", "0.0.0.0", "--port", 0)
    assert "it must be more than 0" in refusal(*where, "--rate", 0)
    assert refusal(*where, "--count", 2) == "omap: --count is for --rate: give a rate, or leave --count out"


def start(running, *options, **environment):
    command = [sys.executable, "-m", "omap.cli", "proxy", "--url", running.address, "--key-file", running.client_file]
    process = subprocess.Popen(
        [*command, "--port", "0", "--json", "--json-log", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment or None,
    )
    told = ""
    while not told.endswith("\n}\n"):
        line = process.stdout.readline()
        assert line, process.stderr.read()
        told += line
    return process, json.loads(told)


def end(process, number):
    process.send_signal(number)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    return [json.loads(line) for line in log.splitlines()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_is_and_ends_in_order(running, number):
    process, facts = start(running, **{PASSWORD_VARIABLE: "not to be logged"})
    assert facts["params"] == PARAMS.to_dict()
    client = redis.Redis.from_url(facts["address"], password="not to be logged")
    assert client.set("my key", "my value")
    with pytest.raises(redis.AuthenticationError):
        redis.Redis.from_url(facts["address"]).get("my key")
    log = end(process, number)
    assert [line["event"] for line in log] == ["listening", "stopping", "stopped"]
    assert "not to be logged" not in repr(log)
    assert "my " not in repr(log)


def test_at_a_constant_rate_records_leave_without_any_command(running):
    process, facts = start(running, "--rate", "200")
    client = redis.Redis.from_url(facts["address"])
    before = running.relay.numbers.records_in
    for _ in range(600):
        if running.relay.numbers.records_in > before + 20:
            break
        time.sleep(0.05)
    assert running.relay.numbers.records_in > before + 20
    assert client.incr("n") == 1
    end(process, signal.SIGTERM)


def test_the_relay_sees_as_many_operations_and_records_whatever_is_found(running):
    process, facts = start(running)
    client = redis.Redis.from_url(facts["address"])
    commands = [
        ["get", "a"],
        ["incr", "a"],
        ["mget", "a", "b", "a"],
        ["set", "b", "x", "NX"],
        ["append", "b", "x"],
        ["dbsize"],
    ]
    seen = []
    for setting in (["del", "a", "b"], ["mset", "a", "5", "b", "x"], ["mset", "a", "no number", "b", "v" * 190]):
        client.execute_command(*setting)
        numbers = running.relay.numbers
        before = numbers.operations, numbers.records_in
        for command in commands:
            with contextlib.suppress(redis.ResponseError):
                client.execute_command(*command)
        seen.append((numbers.operations - before[0], numbers.records_in - before[1]))
    assert seen == [(1 + 2 + 3 + 2 + 2 + 1, 1 + 2 + 1 + 2 + 2 + 1)] * 3
    end(process, signal.SIGTERM)


def test_proxies_with_other_rights_and_prefixes_share_a_map(running, tmp_path):
    owner, facts = start(running)
    redis.Redis.from_url(facts["address"]).set("a", "1")
    root = running.key_file
    running.client_file = client_file(tmp_path / "reader.key", root, rights=Right.READ)
    reader, facts = start(running)
    client = redis.Redis.from_url(facts["address"])
    assert client.get("a") == b"1"
    for command in (["set", "a", "2"], ["del", "a"], ["incr", "a"], ["eval", "redis.call('del', KEYS[1])", 1, "a"]):
        with pytest.raises(redis.exceptions.NoPermissionError, match="file of a client that may do it"):
            client.execute_command(*command)
    with pytest.raises(redis.exceptions.NoPermissionError):
        client.pipeline().get("a").set("a", "2").execute()
    assert client.get("a") == b"1"
    running.client_file = client_file(tmp_path / "home.key", root, prefix=b"home", name=b"home")
    home, facts = start(running)
    client = redis.Redis.from_url(facts["address"])
    assert client.get("a") is None
    assert client.set("a", "3")
    assert client.incr("a") == 4
    assert (client.dbsize(), client.flushall(), client.get("a")) == (1, True, None)
    running.client_file = client_file(tmp_path / "writer.key", root, rights=Right.WRITE)
    where = ["--url", running.address, "--key-file", running.client_file, "--port", 0]
    assert "does not allow it to read" in refusal(*where)
    for process in (home, reader, owner):
        end(process, signal.SIGTERM)


def test_tampering_is_said_and_nothing_is_believed_afterwards(running):
    process, facts = start(running)
    client = redis.Redis.from_url(facts["address"])
    client.set("a", "1")
    device = running.transport.device
    pages = device.layout.pages
    for at in range(pages, pages + PARAMS.host_bytes):
        device.buffer[at] ^= 1
    for _ in range(2):
        with pytest.raises(redis.ResponseError, match=r"omap: .*(latched a fault|unknown fate)"):
            client.get("a")
    end(process, signal.SIGTERM)
