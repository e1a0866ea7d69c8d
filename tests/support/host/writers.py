"""Clients that write all the time, while servers are killed, and that know what must be there at the end."""

import random
import threading
import time

from omap.errors import DeviceError, SessionError, UnknownFateError
from omap.operations import Kind, Operation

KEYS = 4
"""Keys that a writer has for itself."""


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


def storm(server, rounds, seed, kill=None):
    """Have writers at work while a server is killed, by ``kill(rng)``, and started again; return the writers."""
    kill = kill or (lambda rng: server.kill())
    print(f"seed {seed}")
    rng, done = random.Random(seed), threading.Event()
    writers = [Writer(server, number, seed + number, done) for number in range(3)]
    for writer in writers:
        writer.start()
    for _ in range(rounds):
        time.sleep(rng.uniform(0.05, 0.6))
        kill(rng)
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
