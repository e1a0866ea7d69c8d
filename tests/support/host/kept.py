"""``omap serve`` with a data folder, in a process that tests end and start again."""

import os
import signal
import subprocess
import sys

import omap
from tests.support.host.keys import client_file, root_file
from tests.support.host.processes import children_of
from tests.support.redis.stack import free_port


class Kept:
    """`omap serve` with a data folder, on one port, whatever happens to it."""

    def __init__(self, folder, *options):
        self.prepare(folder, *options)
        self.start()

    def prepare(self, folder, *options):
        self.folder, self.options = folder, options
        self.key_file, self.data = root_file(folder / "root.key"), folder / "data"
        self.client_file = client_file(folder / "client.key", self.key_file)
        self.port = free_port()
        self.url = f"omap://127.0.0.1:{self.port}"
        self.process = None

    def serve(self):
        where = ["--preset", "SMALL", "--port", self.port, "--json", *self.options]
        where += [] if "--attach" in self.options else ["--key-file", self.key_file]
        where += [] if self.data is None else ["--data-dir", self.data]
        return self.run("serve", *where)

    def start(self):
        if self.process is not None and self.process.poll() is None:
            return
        self.process = self.serve()
        self.facts = self.process.stdout.readline()
        assert self.facts, f"omap serve did not start: {self.said}"

    def program(self, command):
        """Return what runs ``omap``."""
        return [sys.executable, "-m", "omap.cli"]

    def run(self, command, *arguments):
        line = [*self.program(command), command, *map(str, arguments)]
        with (self.folder / f"{command}.log").open("a") as log:
            return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=log, text=True)

    def ask(self, command, *arguments):
        """Run another command to its end, and return what it printed."""
        process = self.run(command, *arguments)
        said = process.communicate(timeout=60)[0]
        assert process.returncode == 0, (self.folder / f"{command}.log").read_text()
        return said

    @property
    def said(self):
        return (self.folder / "serve.log").read_text()

    def end(self, number):
        self.process.send_signal(number)
        self.process.wait(60)
        self.process.stdout.close()

    def kill(self):
        self.end(signal.SIGKILL)

    def kill_device(self):
        (device,) = children_of(self.process.pid)
        os.kill(device, signal.SIGKILL)
        self.process.wait(60)
        self.process.stdout.close()

    def connect(self, **options):
        return omap.connect(self.url, **{"key_file": self.client_file, "timeout": 20} | options)


class CardedServer(Kept):
    """The same with a stand-in for a card, see :mod:`tests.support.host.carded`. It is not started at once."""

    def __init__(self, backend, folder):
        self.backend, self.journal = backend, True
        self.prepare(folder)

    def program(self, command):
        if command != "serve":
            return super().program(command)
        place = [self.key_file, self.folder, int(self.journal)]
        return [sys.executable, "-m", "tests.support.host.carded", self.backend, "SMALL", *map(str, place)]

    def serve(self):
        where = ["--preset", "SMALL", "--port", self.port, "--json", *self.options, "--data-dir", self.data]
        return self.run("serve", *where)
