"""The steps of the README's "Use it from your application" run as they are written, but at free ports."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

from host.framing import DEFAULT_PORT as RELAY_PORT
from host.redis.commands import COMMANDS
from host.redis.server import DEFAULT_PORT as PROXY_PORT
from tests.support.redis.stack import free_port
from tests.support.redis.support import program

README = Path(__file__).parents[2] / "README.md"


def section():
    text = README.read_text("utf-8")
    return re.search(r"^## Use it from your application\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)[1]


def blocks():
    return [block.splitlines() for block in re.findall(r"^```sh\n(.*?)^```", section(), re.MULTILINE | re.DOTALL)]


def test_the_steps_do_what_they_say(tmp_path):
    relay_port, proxy_port = free_port(), free_port()
    elsewhere = {
        "serve": ["--port", str(relay_port)],
        "proxy": ["--url", f"omap://127.0.0.1:{relay_port}", "--port", str(proxy_port)],
    }
    setting_up, using, reading = blocks()
    assert len(setting_up) == 4
    running = []
    try:
        for line in setting_up:
            omap, command, *rest = shlex.split(line)
            assert omap == "omap"
            process = subprocess.Popen(
                [sys.executable, "-m", "omap.cli", command, *rest, *elsewhere.get(command, [])],
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                text=True,
            )
            running.append(process)
            assert process.stdout.readline(), line  # it says that it is ready
            if command == "provision":
                assert process.wait(60) == 0
        answers = []
        for line in using:
            redis_cli, *rest = shlex.split(line)
            assert rest[:2] == ["-p", str(PROXY_PORT)]
            run = [program(redis_cli), "-p", str(proxy_port), *rest[2:]]
            answers.append(subprocess.run(run, capture_output=True, text=True, timeout=60, check=True).stdout)
        assert answers == ["OK\n", "hello, world\n", "1\n"]
        answers = []
        for line in reading:
            omap, *rest = shlex.split(line)
            run = [sys.executable, "-m", "omap.cli", *rest, "--url", f"omap://127.0.0.1:{relay_port}"]
            answers.append(
                subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True).stdout
            )
        assert answers[:2] == ["hello, world", "inserted\n"]
        # greeting, visits, colour, and what the proxy keeps beside them
        assert int(re.search(r"^live keys +(\d+)$", answers[2], re.MULTILINE)[1]) >= 3
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait(60)
            process.stdout.close()
    assert [process.returncode for process in running] == [0, 0, 0, 0]


def test_what_of_redis_works_is_what_the_proxy_has():
    told = re.search(r"^An application may speak the Redis protocol.*?\n\n", README.read_text("utf-8"), re.M | re.S)[0]
    works, does_not = told.split("Lists, hashes")
    words = [re.findall(r"`([A-Z]+)`", text) for text in (works, does_not)]
    assert len(words[0]) > 5
    assert len(words[1]) > 5
    assert [word for word in words[0] if word.lower() not in COMMANDS] == []
    assert [word for word in words[1] if word.lower() in COMMANDS] == []


def test_what_the_steps_leave_out_is_the_default():
    """The proxy finds the relay, and redis-cli the proxy, without being told where."""
    from host.client.address import Address

    _, _, serve, proxy = (shlex.split(line) for line in blocks()[0])
    assert "--port" not in serve + proxy
    assert "--url" not in proxy
    assert Address.parse("omap://127.0.0.1") == Address("127.0.0.1", RELAY_PORT)
    assert all(f"-p {PROXY_PORT} " in line for line in blocks()[1])
