"""Bare clients: one on a driver, one on a socket."""

import random
import socket
import ssl

import numpy as np

from host.client.conversation import Conversation
from host.framing import facts_length, read_greeting
from host.records import split
from omap.bodies import responses
from omap.operations import Kind, Operation, Response, Status
from omap.session import ClientSession
from omap.wire import LINE_BYTES, read_header
from tests.support.host.keys import client_of


def mixed(params, seed, count):
    """Draw operations on few keys."""
    rng = random.Random(seed)
    keys = [bytes([number]) * params.key_bytes for number in range(16)]
    return [
        Operation(Kind(rng.randrange(4)), rng.choice(keys), rng.randbytes(params.value_bytes)) for _ in range(count)
    ]


def at_most(count, room=Conversation.room):
    """Return a method ``room`` for conversations whose records have at most ``count`` operations."""
    return lambda conversation: min(count, room(conversation))


def key(number):
    """Return a key of 4 bytes."""
    return number.to_bytes(4, "big")


def puts(count):
    """Return PUTs on eight keys of 4 bytes, each with a value of its own."""
    return [Operation(Kind.PUT, key(number % 8), key(number)) for number in range(count)]


def parts(operations, count):
    """Return operations in parts of ``count``; the last may have fewer."""
    return [operations[first : first + count] for first in range(0, len(operations), count)]


def columns(batch, key_bytes=4, value_bytes=4):
    """Return a batch as arrays, with noise where keys and values do not count."""
    kinds = np.array([kind for kind, _, _ in batch], np.uint8)
    keys, values = ([row for _, row, _ in batch], [row for _, _, row in batch])
    noise = b"?" * max(key_bytes, value_bytes)
    return kinds, [(row + noise)[:key_bytes] for row in keys], [(row + noise)[:value_bytes] for row in values]


def listed(answers):
    """Return answers in arrays as responses."""
    statuses, found, previous = answers
    assert (statuses.dtype, found.dtype, previous.dtype) == (np.uint8, np.bool_, np.uint8)
    assert not previous[~found].any()
    rows = zip(statuses.tolist(), found.tolist(), previous, strict=True)
    return [Response(Status(status), value.tobytes() if there else None) for status, there, value in rows]


class DriverClient:
    """Opens a session over a driver, which nobody else may use. ``key`` is the root key, or what a client holds."""

    def __init__(self, driver, key, replaces=0):
        self.driver = driver
        self.session = ClientSession(driver.params, client_of(key), replaces=replaces)
        confirm = self.session.confirm(driver.exchange(self.session.hello()))
        self.session.opened(driver.exchange(confirm))

    def seal(self, operations, count=1):
        """Return records of ``count`` operations each."""
        return b"".join(map(self.session.seal, parts(operations, count)))

    def open(self, answers):
        """Return the responses in records."""
        replies = [self.session.open(record) for record in split(answers)]
        return [response for reply in replies for response in responses(self.session.codec, reply)]

    def run(self, operations, count=1):
        return self.open(self.driver.exchange(self.seal(operations, count)))


class RawClient:
    """Talks to a relay over a blocking socket, on TCP or at the socket file ``path``.

    ``key`` is the root key, or what a client holds.
    """

    def __init__(self, relay, key=None, timeout=20, tls=None, receive_bytes=None, path=None):
        self.socket = socket.socket() if path is None else socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        if receive_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        try:
            self.socket.connect((relay.host, relay.port) if path is None else str(path))
        except OSError:
            self.socket.close()
            raise
        if path is None:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        prefix = self.read(16)
        self.greeting = read_greeting(prefix, self.read(facts_length(prefix)))
        self.session = None
        if key is not None:
            self.open_session(key)

    def open_session(self, key, replaces=0):
        session = ClientSession(self.greeting.params, client_of(key), replaces=replaces)
        self.send(session.hello())
        self.send(session.confirm(self.record()))
        session.opened(self.record())
        self.session = session

    def send(self, data):
        self.socket.sendall(data)

    def read(self, count):
        data = bytearray()
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise EOFError(f"{len(data)} of {count} bytes")
            data += part
        return bytes(data)

    def record(self):
        first = self.read(LINE_BYTES)
        return first + self.read((read_header(first).lines - 1) * LINE_BYTES)

    def submit(self, operations, count=1):
        """Send records of ``count`` operations each."""
        self.send(b"".join(map(self.session.seal, parts(operations, count))))

    def replies(self, count):
        """Open so many records."""
        return [self.session.open(self.record()) for _ in range(count)]

    def answers(self, count):
        """Return so many responses."""
        found = []
        while len(found) < count:
            found += responses(self.session.codec, self.session.open(self.record()))
        assert len(found) == count
        return found

    def run(self, operations, count=1):
        self.submit(operations, count)
        return self.answers(len(operations))

    def ended(self):
        """Read to the end of the connection and return what came."""
        data = bytearray()
        while True:
            try:
                part = self.socket.recv(1 << 16)
            except (ConnectionError, ssl.SSLEOFError):
                part = b""
            if not part:
                return bytes(data)
            data += part

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def number_from(device, operation):
    """Have a device's answers say that this is the number of their operation, as after its map was put back."""
    sessions, seal = device._sessions, device._sessions.seal
    sessions.seal = lambda header, text: seal(header, operation.to_bytes(8, "big") + text[8:])
