"""A real Redis server to compare with, and a proxy without sockets over the reference map."""

import asyncio
import re
import shutil
import socket
import subprocess
import time

import numpy as np
import pytest

from host.redis.connection import Connection
from host.redis.databases import Databases
from host.redis.scheduler import Scheduler
from host.redis.session import Shared
from omap import create
from omap.batch import refused_by
from omap.credentials import Right
from omap.operations import Kind, Operation, Response, Status
from omap.sizing import one_choice
from tests.support.host.keys import client_of

CLIENT = client_of(bytes(range(32)))
PARAMS = one_choice(capacity=60, key_bytes=16, value_bytes=192, page_bytes=1024)


def program(name):
    """Return the path of a program of Redis, or fail saying what to install."""
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"{name} is not installed; these tests compare with it: apt-get install redis-server redis-tools")
    return path


class RealRedis:
    """A Redis server on a socket in a directory of its own: on a port only if options give one."""

    def __init__(self, folder, *options):
        self.path = str(folder / "socket")
        line = [program("redis-server"), "--port", "0", "--unixsocket", self.path, "--save", "", "--databases", "16"]
        self.process = subprocess.Popen(
            [*line, "--dir", str(folder), "--loglevel", "warning", *options], stdout=subprocess.DEVNULL
        )
        try:
            # error texts are those of Redis 7.0; with another version only the kind of an error is compared
            self.exact = b"redis_version:7.0." in self.wait()
        except BaseException:
            self.process.kill()
            raise

    def wait(self):
        """Return what the server says of itself, once it runs."""
        for _ in range(500):
            try:
                return self.ask(command("info", "server"))
            except OSError:
                assert self.process.poll() is None, "redis-server does not start"
                time.sleep(0.02)
        raise AssertionError("redis-server does not answer")

    def ask(self, request):
        """Return all that a fresh connection answers to a request whose commands are all there."""
        mark = b"-ERR unknown command 'mark', with args beginning with: \r\n"
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(10)
            link.connect(self.path)
            link.sendall(request + b"*1\r\n$4\r\nmark\r\n")
            answer = b""
            while not answer.endswith(mark):
                try:
                    data = link.recv(1 << 16)
                except ConnectionResetError:
                    data = b""
                if not data:
                    break
                answer += data
        return answer.removesuffix(mark)

    def agrees(self, expected, found):
        """Whether two answers are the same."""
        if self.exact:
            return expected == found
        return [re.sub(rb"^-(\w+).*", rb"-\1", line) for line in expected.split(b"\r\n")] == [
            re.sub(rb"^-(\w+).*", rb"-\1", line) for line in found.split(b"\r\n")
        ]

    def close(self):
        self.process.terminate()
        self.process.wait(10)


class ReferenceStore:
    """The reference map behind what the proxy wants of a client. Notes every batch, and can fail or wait."""

    def __init__(self, params=PARAMS):
        self.map = create(params)
        self.batches = []
        self.failures = []
        self.trouble = None
        self.map_id = b"one map"
        self.delay = 0
        self._order = asyncio.Lock()

    def submit(self, batch):
        self.batches.append([Operation(*operation) for operation in batch])
        failure = self.failures.pop(0) if self.failures else None
        return asyncio.ensure_future(self._later(batch, failure))

    async def _later(self, batch, failure):
        async with self._order:  # in the order of the calls
            for _ in range(self.delay):
                await asyncio.sleep(0)
            if failure is not None:
                raise failure
            return self.map.execute(batch)

    @property
    def live_keys(self):
        return len(self.map)


class Clock:
    """A time that a test sets."""

    def __init__(self, seconds=1_800_000_000.0):
        self.seconds = seconds

    def __call__(self):
        return self.seconds


class GuardedStore(ReferenceStore):
    """A map that lets a client do what its credential allows, and tells it no more, as the device does."""

    def __init__(self, client, params=PARAMS):
        super().__init__(params)
        self.credential = client.credential

    async def _later(self, batch, failure):
        kinds = np.array([kind for kind, _, _ in batch], np.uint8)
        keys = [key.ljust(self.map.params.key_bytes, b"\0") for _, key, _ in batch]
        denied = refused_by(self.credential, kinds, np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), -1))
        allowed = [Operation(Kind.NOP) if no else each for each, no in zip(batch, denied, strict=True)]
        found = await super()._later(allowed, failure)
        if Right.READ not in self.credential.rights:
            found = [Response(Status.FULL if each.status == Status.FULL else Status.OK) for each in found]
        return [Response(Status.DENIED) if no else each for each, no in zip(found, denied, strict=True)]

    @property
    def live_keys(self):
        return len(self.map) if self.credential.sees_map else 0


def shared(store, params=PARAMS, password=None, report=lambda problem: None, clock=time.time, client=CLIENT):
    scheduler = Scheduler(Databases(params, client), store, report, clock)
    return Shared(scheduler, lambda: {"Server": {"redis_version": "7.0.0"}}, password)


async def ask(connection, data):
    """Return what a connection answers to some bytes."""
    out = bytearray()

    async def send(part):
        out.extend(part)

    await connection.handle(data, send)
    return bytes(out)


def command(*words):
    """Return a command as clients send it."""
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


def answers(*requests, store=None, params=PARAMS, password=None, clock=time.time, client=CLIENT):
    """Run requests on one connection to a fresh proxy without sockets; return what it answers to each."""

    async def main():
        common = shared(store or ReferenceStore(params), params, password, clock=clock, client=client)
        connection = Connection(common)
        try:
            return [await ask(connection, request) for request in requests]
        finally:
            await common.scripts.close()

    return asyncio.run(main())
