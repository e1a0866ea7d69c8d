"""The steps of the README's "Use it from your application" run as they are written, but at free ports."""

import re
import shlex
import signal
import subprocess
import sys
import time
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


def answers_of(lines, proxy_port, check=True):
    answers = []
    for line in lines:
        redis_cli, *rest = shlex.split(line)
        assert rest[:2] == ["-p", str(PROXY_PORT)]
        run = [program(redis_cli), "-p", str(proxy_port), *rest[2:]]
        answers.append(subprocess.run(run, capture_output=True, text=True, timeout=60, check=check).stdout)
    return answers


class Steps:
    """Runs the lines of a terminal each, at free ports, in a folder."""

    def __init__(self, folder):
        self.folder, self.running = folder, {}
        self.relay_port, self.proxy_port = free_port(), free_port()
        self.url = f"omap://127.0.0.1:{self.relay_port}"

    def start(self, line):
        omap, command, *rest = shlex.split(line)
        assert omap == "omap"
        elsewhere = {
            "serve": ["--port", str(self.relay_port)],
            "proxy": ["--url", self.url, "--port", str(self.proxy_port)],
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "omap.cli", command, *rest, *elsewhere.get(command, [])],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout.readline(), line  # it says that it is ready
        if command == "provision":
            self.end(process)
        else:
            self.running[command] = process

    def end(self, process, number=0):
        if number:
            process.send_signal(number)
        code = process.wait(60)
        process.stdout.close()
        assert code == (-number if number == signal.SIGKILL else 0)

    def read(self, lines):
        answers = []
        for line in lines:
            _, *rest = shlex.split(line)
            run = [sys.executable, "-m", "omap.cli", *rest, "--url", self.url]
            done = subprocess.run(run, cwd=self.folder, capture_output=True, text=True, timeout=60, check=True)
            answers.append(done.stdout)
        # greeting, visits, colour, and what the proxy keeps beside them
        assert int(re.search(r"^live keys +(\d+)$", answers[2], re.MULTILINE)[1]) >= 3
        return answers[:2]


def test_the_steps_do_what_they_say_and_a_restart_keeps_everything(tmp_path):
    steps = Steps(tmp_path)
    setting_up, using, reading = blocks()
    assert len(setting_up) == 4
    try:
        for line in setting_up:
            steps.start(line)
        assert answers_of(using, steps.proxy_port) == ["OK\n", "hello, world\n", "1\n"]
        assert steps.read(reading) == ["hello, world", "inserted\n"]
        for number, visits in ((signal.SIGTERM, "2\n"), (signal.SIGKILL, "3\n")):
            steps.end(steps.running.pop("serve"), number)
            steps.start(next(line for line in setting_up if " serve " in line))
            patiently(lambda: answers_of(using[1:2], steps.proxy_port, check=False) == ["hello, world\n"])
            assert answers_of(using, steps.proxy_port) == ["OK\n", "hello, world\n", visits]
            assert steps.read(reading) == ["hello, world", "overwritten\n"]
    finally:
        for process in reversed(steps.running.values()):
            steps.end(process, signal.SIGTERM)


def patiently(done):
    """Wait until the proxy has noticed that the server is there again."""
    for _ in range(100):
        if done():
            return
        time.sleep(0.1)
    raise AssertionError("the proxy does not go on")


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
