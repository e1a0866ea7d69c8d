"""Relay, driver and clients are killed at random under load. Acknowledged writes stay, and nothing runs twice.

The device is a process that outlives its drivers, as a card does. Killing `omap serve` kills relay and driver.
"""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time

import pytest

import omap
from tests.support.host.keys import client_file, root_file
from tests.support.host.writers import judge, storm


class Server:
    """A device in one process, relay and driver in another that can be killed and started again on its port."""

    def __init__(self, folder):
        self.key_file, self.socket = root_file(folder / "root.key"), folder / "device"
        self.client_file = client_file(folder / "client.key", self.key_file)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"omap://127.0.0.1:{self.port}"
        device = [
            sys.executable,
            "-m",
            "host.model.model_process",
            "--listen",
            self.socket,
            "--key-file",
            self.key_file,
        ]
        self.device = subprocess.Popen([*device, "--preset", "SMALL"], stdout=subprocess.DEVNULL)
        for _ in range(600):
            if self.socket.exists():
                break
            time.sleep(0.05)
        self.start()

    def start(self):
        arguments = ["serve", "--preset", "SMALL", "--attach", self.socket, "--port", self.port, "--json"]
        command = [sys.executable, "-m", "omap.cli", *map(str, arguments)]
        self.relay = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self.relay.stdout.readline(), "the relay did not start"

    def kill(self):
        self.relay.send_signal(signal.SIGKILL)
        self.relay.wait()
        self.relay.stdout.close()

    def stop(self):
        self.kill()
        self.device.terminate()
        self.device.wait(10)

    def connect(self, **options):
        return omap.connect(self.url, **{"key_file": self.client_file, "timeout": 20} | options)


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path)
    yield server
    server.stop()


@pytest.mark.parametrize("rounds", [3, pytest.param(25, marks=pytest.mark.long)])
def test_relay_and_driver_are_killed_under_load(server, rounds):
    seed = int.from_bytes(os.urandom(4), "big")
    writers = storm(server, rounds, seed)
    assert sum(writer.doubts for writer in writers) > 0, "nothing was in flight when they were killed"
    judge(server, writers)


CLIENT = """
import json, random, sys
import omap
from omap.operations import Kind, Operation
url, key_file, first = sys.argv[1], sys.argv[2], int(sys.argv[3])
rng = random.Random(first)
with omap.connect(url, key_file=key_file) as client:
    while True:
        batch = []
        for _ in range(rng.randrange(1, 400)):
            first += 1
            batch.append((rng.randrange(4), first))
        print(json.dumps(batch), flush=True)  # what is about to be sent
        operations = [Operation(Kind.PUT, bytes([9, key]) + bytes(6), value.to_bytes(8, "big")) for key, value in batch]
        client.execute(operations)
        print("done", flush=True)
"""


def test_a_client_is_killed_under_load(server):
    """Its last batch ran up to some point, in order; what it was told stays."""
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    rng, known, first = random.Random(seed), {}, 0
    for _ in range(3):
        command = [sys.executable, "-c", CLIENT, server.url, server.client_file, str(first)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        head = child.stdout.readline()
        time.sleep(rng.uniform(0.05, 0.4))
        child.kill()
        lines = (head + child.communicate()[0]).splitlines()
        batches = [json.loads(line) for line in lines if line.startswith("[") and line.endswith("]")]
        acknowledged = lines.count("done")
        assert len(batches) - acknowledged in (0, 1)
        for batch in batches[:acknowledged]:
            known.update(batch)
        with server.connect() as client:
            found = [client.get(bytes([9, key]) + bytes(6)) for key in range(4)]
        values = {key: int.from_bytes(value, "big") for key, value in enumerate(found) if value is not None}
        possible = [dict(known)]
        for key, value in batches[acknowledged] if len(batches) > acknowledged else []:
            possible.append(possible[-1] | {key: value})
        assert values in possible
        known, first = values, batches[-1][-1][1]
