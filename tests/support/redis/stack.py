"""Device, relay and proxy as processes of their own, which can be killed and started again."""

import contextlib
import json
import random
import socket
import subprocess
import sys
import time

from omap.sizing import one_choice
from tests.support.host.keys import client_file, root_file

PARAMS = one_choice(capacity=500, key_bytes=16, value_bytes=192, page_bytes=1024)


def free_port():
    """Return a free port that no system gives to outgoing connections: it stays free while its server is down."""
    source = random.SystemRandom()
    for _ in range(100):
        port = source.randrange(15000, 32000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")


class Stack:
    """A device that outlives its drivers, `omap serve` attached to it, and `omap proxy` in front, with its options."""

    def __init__(self, folder, params=PARAMS, *, options=()):
        self.folder, self.options = folder, options
        self.key_file, self.socket, self.params_file = folder / "root.key", folder / "device", folder / "params.json"
        root_file(self.key_file)
        self.client_file = client_file(folder / "client.key", self.key_file)
        self.params_file.write_text(json.dumps(params.to_dict()))
        self.relay_port, self.port = free_port(), free_port()
        self.url = f"omap://127.0.0.1:{self.relay_port}"
        self.devices = [self.start_device(self.socket)]
        self.start_relay()
        self.start_proxy()

    def start_device(self, path):
        """Start a device with a map of its own, which drivers reach at a socket file."""
        where = ["--listen", path, "--key-file", self.key_file, "--params", self.params_file]
        line = [sys.executable, "-m", "host.model.model_process", *map(str, where)]
        device = subprocess.Popen(line, stdout=subprocess.DEVNULL)
        for _ in range(600):
            if path.exists():
                break
            time.sleep(0.05)
        return device

    def _start(self, *arguments):
        command = [sys.executable, "-m", "omap.cli", *map(str, arguments), "--json"]
        log = self.folder / f"{arguments[0]}.log"
        with log.open("w") as file:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file)
        assert process.stdout.readline(), f"omap {arguments[0]} did not start: {log.read_text()}"
        return process

    def start_relay(self, device=None):
        where = ["--params", self.params_file, "--attach", device or self.socket]
        self.relay = self._start("serve", *where, "--port", self.relay_port)

    def start_proxy(self):
        where = ["--url", self.url, "--key-file", self.client_file, *self.options]
        self.proxy = self._start("proxy", *where, "--port", self.port)

    @staticmethod
    def kill(process):
        process.kill()
        process.wait()
        process.stdout.close()

    def stop(self):
        self.proxy.terminate()
        self.proxy.wait(30)
        self.proxy.stdout.close()
        self.kill(self.relay)
        for device in self.devices:
            device.terminate()
            device.wait(30)
