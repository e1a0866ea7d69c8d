"""What a script can't do: reach anything but its keys, go on without end, fill the memory."""

import asyncio
import contextlib
import importlib.util
import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import lupa.lua51
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.redis.scripts import cache
from host.redis.scripts.cache import Cache
from host.redis.scripts.messages import MESSAGE_LIMIT, body_length, pack, unpack
from host.redis.scripts.runs import MISSING, OVER
from host.redis.server import Endpoint, Limits, Proxy
from tests.support.redis.scripts import proxy, script_answers
from tests.support.redis.support import CLIENT, PARAMS, ReferenceStore, answers, command

WITHOUT = ["python", "io", "require", "package", "module", "debug", "load", "loadstring", "dofile", "loadfile"]
WITHOUT += ["setfenv", "getfenv", "newproxy", "coroutine", "collectgarbage", "gcinfo", "print", "lupa"]
ESCAPES = [
    *(f"return {name}" for name in WITHOUT),
    *(f"return _G.{name}" for name in WITHOUT),
    *(f"return {call}" for call in ("os.execute('true')", "os.exit()", "os.getenv('HOME')", "os.remove('/tmp/x')")),
    "return string.dump(function() end)",
    "return getmetatable('').__index",
    "getmetatable('').__index = function() end",
    "getmetatable(_G).__index = function() end",
    "setmetatable(_G, {})",
    "return redis.call.__globals__",
    "return redis.call.__self__",
    "return getmetatable(redis.call).__index",
    "local _, problem = pcall(redis.sha1hex, {}, {}, {}) return problem.__traceback__.tb_frame",
    "local _, problem = pcall(math.random, {}) return problem.__class__.__mro__",
    "_G.redis = nil",
    "return cjson.null.__class__",
    "return getmetatable(cjson.null).__index",
    "return cjson.decode('{')",
    "return cjson.decode('[NaN]')",
    "return cjson.decode('')",
    "return cjson.decode({})",
    "return cjson.decode('\"\\\\ud800\"')",
    "return cjson.decode(string.rep('[', 100000))",
    "return bit.lshift(1)",
    "return bit.band()",
    "x = 1",
    lupa.lua51.LuaRuntime(encoding=None).execute(b"return string.dump(function() return 1 end)"),
    "redis.call('config', 'get', '*')",
    "redis.call('client', 'list')",
    "redis.call('auth', 'x')",
    "redis.call('select', 1)",
    "redis.call('get', 'secret')",
    "redis.call('GET', 'secret')",
    "redis.call('mget', KEYS[1], 'secret')",
    "redis.call('rename', 'secret', KEYS[1])",
    "redis.call('copy', 'secret', KEYS[1])",
    "redis.call('script', 'load', 'return 1')",
    "KEYS[1] = 'secret' return redis.call('get', KEYS[1])",
]


@pytest.mark.sec_cm("REDIS.SCRIPT.SANDBOXED")
def test_each_way_out_of_the_sandbox_is_an_error():
    async def main():
        async with proxy() as one:
            await one.ask(command("set", "secret", "do not show"))
            pid = None
            for text in ESCAPES:
                for attempt in (text, f"local function f() {text} end f()") if isinstance(text, str) else (text,):
                    answer = await one.run(attempt, "k")
                    assert answer.startswith(b"-ERR "), (attempt, answer)
                    assert b"do not show" not in answer
                assert pid in (None, one.common.scripts.process.pid), text  # it did not have to be killed
                pid = one.common.scripts.process.pid
            assert await one.run("return rawget(_G, 'python')") == b"$-1\r\n"

    asyncio.run(main())


@pytest.mark.sec_cm("REDIS.SCRIPT.SANDBOXED")
def test_one_script_leaves_nothing_to_the_next():
    leave = "rawset(_G, 'left', ARGV[1]) string.left = ARGV[1] redis.left = ARGV[1] math.random = nil return 1"
    look = "return {rawget(_G, 'left') or 'none', string.left or 'none', redis.left or 'none', type(math.random)}"
    found = script_answers(command("eval", leave, 0, "mine"), command("eval", look, 0))
    assert found == [b":1\r\n", b"*4\r\n" + b"$4\r\nnone\r\n" * 3 + b"$8\r\nfunction\r\n"]


@pytest.mark.sec_cm("REDIS.SCRIPT.SANDBOXED")
def test_the_process_of_scripts_has_nothing_of_the_proxy(monkeypatch):
    """No variable, no file, no right to open one; and it loads no code that knows a key or a cell."""
    monkeypatch.setenv("OMAP_PROXY_PASSWORD", "do not show")

    async def main():
        async with proxy() as one:
            await one.run("return 1")
            home = Path(f"/proc/{one.common.scripts.process.pid}")
            variables = {line.partition(b"=")[0] for line in home.joinpath("environ").read_bytes().split(b"\0")}
            limits = home.joinpath("limits").read_text()
            return variables - {b""}, limits, sorted(os.readlink(each) for each in home.joinpath("fd").iterdir())

    variables, limits, files = asyncio.run(main())
    assert variables == {b"PYTHONPATH"}
    for limit in ("open files", "core file size", "file size", "processes"):
        assert re.search(rf"Max {limit} +0 +0 ", limits), limits
    assert len(files) == 3
    assert all(name.startswith(("pipe:", "socket:", "/dev/null")) for name in files), files
    code = "import sys, host.redis.scripts.sandbox; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not [name for name in loaded if name.partition(".")[0] in ("omap", "cryptography", "numpy")]
    assert [name for name in loaded if name.startswith("host.")] == [
        "host.redis",
        "host.redis.scripts",
        "host.redis.scripts.libraries",
        "host.redis.scripts.messages",
        "host.redis.scripts.sandbox",
    ]


ENDLESS = [
    "while true do end",
    "for _ = 1, 1e12 do end",
    "repeat until false",
    "while true do pcall(function() end) end",
    "while true do pcall(function() while true do end end) end",
    "local function f() return pcall(f) end while true do pcall(f) end",
    "while true do xpcall(error, function() while true do end end) end",
    "local function f() return f() end f()",
    "setmetatable(KEYS, {__index = function() while true do end end}) return KEYS.x",
    "table.sort({3, 2, 1}, function() while true do end end)",
    "string.gsub('x', '.', function() while true do end end)",
    "while true do redis.pcall('incr') end",
]


@pytest.mark.sec_cm("REDIS.SCRIPT.BOUNDED")
@pytest.mark.parametrize("text", ENDLESS)
def test_a_script_that_does_not_end_is_ended_and_the_next_one_runs(text):
    over, fine = script_answers(command("eval", text, 0), command("eval", "return 1", 0), seconds=30)
    assert over == f"-{OVER}\r\n".encode()
    assert fine == b":1\r\n"


@pytest.mark.sec_cm("REDIS.SCRIPT.BOUNDED")
@pytest.mark.parametrize(
    "text", ["return string.rep('', 2e9)", "return string.find(string.rep('a', 50), string.rep('.-', 30) .. 'b')"]
)
def test_a_single_step_that_does_not_end_is_ended_by_the_clock(text):
    over, fine = script_answers(
        command("eval", "redis.call('set', KEYS[1], 1) " + text, 1, "k"), command("exists", "k"), seconds=1
    )
    assert over == b"-ERR the script did not end, because it ran for more than 1 seconds, so nothing was changed\r\n"
    assert fine == b":0\r\n"


@pytest.mark.sec_cm("REDIS.SCRIPT.BOUNDED")
@pytest.mark.parametrize(
    "text",
    [
        "return string.rep('x', 1e9)",
        "local s = 'x' while true do s = s .. s end",
        "local t = {} while true do t[#t + 1] = {} end",
    ],
)
def test_a_script_that_wants_too_much_memory_fails(text):
    async def main():
        async with proxy(seconds=30) as one:
            await one.run("return 1")
            pid = one.common.scripts.process.pid
            answer = await one.run(text)
            assert one.common.scripts.process.pid == pid  # an error within Lua, and not the end of the process
            return answer

    assert asyncio.run(main()) in (
        b"-ERR not enough memory\r\n",
        b"-ERR the script ran out of memory\r\n",
    )


@pytest.mark.sec_cm("REDIS.SCRIPT.BOUNDED")
def test_the_keys_of_a_script_are_bounded():
    names = [f"key {n}" for n in range(17)]
    text = "for _, key in ipairs(KEYS) do redis.call('incr', key) end return #KEYS"
    store = ReferenceStore()
    most, more = answers(command("eval", text, 16, *names[:16]), command("eval", text, 17, *names), store=store)
    assert most == b":16\r\n"
    assert more == b"-ERR a script of this proxy names at most 16 keys: see omap proxy --script-keys\r\n"
    assert [len(batch) for batch in store.batches] == [16, 16]
    assert script_answers(command("eval", text, 1, "k"), keys=0)[0].startswith(b"-ERR a script of this proxy names at ")


@pytest.mark.sec_cm("REDIS.SCRIPT.BOUNDED")
def test_the_scripts_that_are_remembered_are_bounded(monkeypatch):
    """The one that nobody used longest is forgotten."""
    scripts = Cache()
    texts = [b"return %d" % n for n in range(cache.COUNT_LIMIT + 1)]
    names = [scripts.add(text).name for text in texts[:-1]]
    assert scripts.get(names[0]).text == texts[0]
    scripts.add(texts[-1])
    assert len(scripts) == cache.COUNT_LIMIT
    assert scripts.get(names[0]) is not None
    assert scripts.get(names[1]) is None
    monkeypatch.setattr(cache, "BYTES_LIMIT", 3000)
    scripts.clear()
    names = [scripts.add(b"%d" % n * 1000).name for n in range(9)]
    assert [scripts.get(name) is not None for name in names] == [False] * 6 + [True] * 3
    scripts.discard(scripts.get(names[-1]))
    scripts.add(b"x" * 1000)
    assert len(scripts) == 3
    assert scripts.add(b"x" * 3001).name not in [one.name for one in map(scripts.get, names) if one]
    assert len(scripts) == 0  # one that alone is too long runs, and is sent again


def test_a_reply_has_a_bound():
    text = "local part = string.rep('x', 1000000) local t = {} for n = 1, 20 do t[n] = part end return t"
    (answer,) = script_answers(command("eval", text, 0))
    assert answer == b"-ERR the script's reply is too long: at most 16777216 bytes\r\n"


def test_a_process_that_dies_is_told_and_another_one_comes(monkeypatch):
    """Between two scripts nobody notices."""

    async def main():
        async with proxy() as one:
            process = one.common.scripts.process

            def die(run, words):
                os.kill(process.pid, signal.SIGKILL)
                return [b"+OK\r\n"]

            await one.run("return 1")
            with monkeypatch.context() as patch:
                patch.setattr("host.redis.scripts.runs.Run.answer", die)
                answer = await one.run("return redis.call('set', KEYS[1], 1)", "k")
            assert answer == b"-ERR the script did not end, because its process died, so nothing was changed\r\n"
            assert await one.run("return redis.call('exists', KEYS[1])", "k") == b":0\r\n"
            os.kill(process.pid, signal.SIGKILL)
            while process.running:
                await asyncio.sleep(0.01)
            return await one.run("return 2")

    assert asyncio.run(main()) == b":2\r\n"


@pytest.mark.parametrize(
    "says",
    [
        "exit 1",
        "printf '\\377\\377\\377\\377'",
        "printf '\\0\\0\\0\\11\\0\\0\\0\\5readyx'",
        "printf '\\0\\0\\0\\11\\0\\0\\0\\5ready'; printf '\\0\\0\\0\\4\\0\\0\\1\\0'; cat",
        "printf '\\0\\0\\0\\11\\0\\0\\0\\5ready'; sleep 600 & sleep 0.2; printf '\\377\\377\\377\\377'; cat",
        "printf '\\0\\0\\0\\11\\0\\0\\0\\5ready'; printf '\\1\\0\\0'",
    ],
    ids=["nothing", "a long message", "another greeting", "a long part", "a child that stays", "a part of a message"],
)
def test_a_process_that_breaks_the_rules_is_not_believed(says, tmp_path, monkeypatch):
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{says}\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    answer, after = script_answers(command("eval", "return 1", 1, "k"), command("set", "k", 1))
    assert answer == b"-ERR the script did not end, because its process died, so nothing was changed\r\n"
    assert after == b"+OK\r\n"


def test_the_process_is_started_when_it_is_needed_and_ends_with_the_proxy():
    async def main():
        async with proxy() as one:
            await one.ask(command("get", "k"), command("evalsha", "x", 0))
            assert one.common.scripts.process.pid is None
            await one.run("return 1")
            pid = one.common.scripts.process.pid
            os.kill(pid, 0)
        return pid

    with pytest.raises(ProcessLookupError):
        os.kill(asyncio.run(main()), 0)


def test_without_lupa_a_script_is_refused_and_takes_no_operation(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    store = ReferenceStore()
    missing = f"-{MISSING}\r\n".encode()
    requests = [command("eval", "return 1", 1, "k"), command("script", "load", "return 1")]
    assert answers(*requests, command("get", "k"), store=store) == [missing, missing, b"$-1\r\n"]
    assert len(store.batches) == 1


@given(st.lists(st.binary(max_size=20), max_size=5), st.integers(0, 40))
def test_messages_are_read_as_they_were_written_or_not_at_all(parts, cut):
    message = pack(parts)
    assert body_length(message[:4]) == len(message) - 4
    assert unpack(message[4:]) == parts
    with contextlib.suppress(ValueError):
        assert unpack(message[4 : 4 + cut]) == parts[: len(unpack(message[4 : 4 + cut]))]


def test_a_message_that_is_too_long_is_not_read():
    with pytest.raises(ValueError, match="at most"):
        body_length((MESSAGE_LIMIT + 1).to_bytes(4, "big"))
    for wrong in (b"\0\0", b"\0\0\0\x05four"):
        with pytest.raises(ValueError, match="ends within"):
            unpack(wrong)


def processes():
    """Return the processes of scripts that this one has started."""
    children = [pid for each in Path("/proc/self/task").iterdir() for pid in (each / "children").read_text().split()]
    return [pid for pid in children if b"host.redis.scripts.sandbox" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.parametrize("text", ["return redis.call('set', KEYS[1], ARGV[1])", "return string.rep('', 2e9)"])
def test_a_server_ends_the_process_and_logs_nothing_of_scripts(text, caplog):
    """Also if a script is still running."""
    caplog.set_level(logging.DEBUG)

    async def main():
        async with Proxy(
            ReferenceStore(), PARAMS, CLIENT, Endpoint(port=0), limits=Limits(script_keys=1, drain_seconds=0.2)
        ) as server:
            reader, writer = await asyncio.open_connection(server.host, server.port)
            writer.write(command("eval", text, 2, "a", "b"))
            assert b"at most 1 keys" in await reader.readline()
            writer.write(command("eval", text, 1, "one key", "one value"))
            while not processes():
                await asyncio.sleep(0.01)
            if "set" in text:
                assert await reader.readline() == b"+OK\r\n"
        assert not processes()
        writer.close()

    asyncio.run(main())
    assert "one key" not in caplog.text
    assert "one value" not in caplog.text
    assert "redis.call" not in caplog.text
