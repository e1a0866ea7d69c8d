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
import threading
import time

import pytest

import omap
from omap.errors import DeviceError, SessionError, UnknownFateError
from omap.operations import Kind, Operation
from tests.support.host.keys import client_file, root_file

KEYS = 4
"""Keys that a writer has for itself."""


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


class Writer(threading.Thread):
    """Writes values that never come again to keys of its own, and checks every answer against what it knows."""

    def __init__(self, server, number, seed, done):
        super().__init__(daemon=True)
        self.server, self.number, self.done, self.rng = server, number, done, random.Random(seed)
        self.known = {}
        self.written = self.doubts = self.acknowledged = self.sent = 0
        self.wrong = None

    def key(self, number):
        return bytes([self.number, number]) + bytes(6)

    def run(self):
        try:
            client = self.patiently(self.server.connect)
            while not self.done.is_set():
                self.write(client)
            client.close()
        except BaseException as error:
            self.wrong = error

    def patiently(self, work):
        """Try again while nobody is there: nothing has run then."""
        for _ in range(400):
            try:
                return work()
            except (DeviceError, SessionError) as error:
                if isinstance(error, UnknownFateError) and error.in_doubt + error.answered:
                    raise
                time.sleep(0.05)
        raise TimeoutError("the relay did not come back")

    def write(self, client):
        batch = []
        for _ in range(self.rng.randrange(1, 80)):
            kind = self.rng.choice([Kind.GET, Kind.PUT, Kind.PUT, Kind.DELETE])
            self.written += 1
            batch.append(Operation(kind, self.key(self.rng.randrange(KEYS)), self.written.to_bytes(8, "big")))
        self.sent += len(batch)
        try:
            answers = self.patiently(lambda: client.execute(batch))
        except UnknownFateError as error:
            self.check(batch, error.responses)
            self.doubts += 1
            self.settle(client, batch[error.answered :][: error.in_doubt])
        else:
            self.check(batch, answers)

    def check(self, batch, answers):
        self.acknowledged += len(answers)
        for (kind, key, value), answer in zip(batch, answers, strict=False):
            assert answer.previous == self.known.get(key)
            if kind is Kind.PUT:
                self.known[key] = value
            elif kind is Kind.DELETE:
                self.known.pop(key, None)

    def settle(self, client, doubtful):
        """Read what became of operations in doubt: the first so many of them ran, once, and no more will."""
        keys = [self.key(number) for number in range(KEYS)]
        reads = [Operation(Kind.GET, key) for key in keys]
        while True:
            try:
                found = self.patiently(lambda: client.execute(reads))
                break
            except UnknownFateError:  # reads can be repeated
                continue
        values = {key: answer.previous for key, answer in zip(keys, found, strict=True) if answer.previous is not None}
        state = dict(self.known)
        possible = [dict(state)]
        for kind, key, value in doubtful:
            if kind is Kind.PUT:
                state[key] = value
            elif kind is Kind.DELETE:
                state.pop(key, None)
            possible.append(dict(state))
        assert values in possible
        self.known = values


def storm(server, rounds, seed):
    print(f"seed {seed}")
    rng, done = random.Random(seed), threading.Event()
    writers = [Writer(server, number, seed + number, done) for number in range(3)]
    for writer in writers:
        writer.start()
    for _ in range(rounds):
        time.sleep(rng.uniform(0.05, 0.6))
        server.kill()
        server.start()
    time.sleep(0.3)
    done.set()
    for writer in writers:
        writer.join(60)
        assert not writer.is_alive()
        if writer.wrong is not None:
            raise writer.wrong
    return writers


def judge(server, writers):
    """Every key holds what its writer last knew, and the device ran no more operations than were ever sent."""
    with server.connect() as client:
        for writer in writers:
            for number in range(KEYS):
                assert client.get(writer.key(number)) == writer.known.get(writer.key(number))
        assert len(client) == sum(len(writer.known) for writer in writers)
    assert all(writer.acknowledged for writer in writers)


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
