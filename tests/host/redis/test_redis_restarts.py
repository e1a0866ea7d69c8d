"""Proxy and relay are killed under load: no acknowledged write is lost, none runs twice, no answer is wrong."""

import random
import threading
import time

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.redis.stack import Stack

NOT_RUN = ("nothing was changed", "(nothing was sent)", "nothing listens", "try again")


class Writer(threading.Thread):
    """Counts up and writes values that never come again, under keys of its own; knows what each must be."""

    def __init__(self, port, number, seed, done):
        super().__init__(daemon=True)
        self.port, self.number, self.done, self.rng = port, number, done, random.Random(seed)
        self.client = redis.Redis(port=port, retry=Retry(NoBackoff(), 0), socket_timeout=30)
        self.counter = 0
        self.text = None
        self.acknowledged = self.doubts = self.written = 0
        self.wrong = None

    def run(self):
        try:
            while not self.done.is_set():
                if self.rng.random() < 0.5:
                    self.count()
                else:
                    self.write()
            assert self.read() == (self.counter, self.text)
        except BaseException as error:
            self.wrong = error

    def read(self):
        """Read both values; a read can be repeated."""
        for _ in range(400):
            try:
                counter, text = self.client.mget(f"{self.number}:counter", f"{self.number}: text under a long key")
                return int(counter or 0), text
            except redis.RedisError:
                time.sleep(0.05)
        raise TimeoutError("the proxy did not come back")

    def change(self, work, after):
        """Do one change; whatever happens, know afterwards what is stored."""
        before = self.counter, self.text
        try:
            answer = work()
        except redis.RedisError as error:
            found = self.read()
            told = str(error)
            if any(part in told for part in NOT_RUN) or isinstance(error.__cause__, ConnectionRefusedError):
                assert found == before, told
            else:
                self.doubts += 1
                assert found in (before, after), told
            self.counter, self.text = found
            return None
        self.acknowledged += 1
        self.counter, self.text = after
        return answer

    def count(self):
        after = self.counter + 1
        answer = self.change(lambda: self.client.incr(f"{self.number}:counter"), (after, self.text))
        assert answer in (None, after)

    def write(self):
        self.written += 1
        text = b"%d" % self.written
        before = self.text
        key = f"{self.number}: text under a long key"
        answer = self.change(lambda: self.client.execute_command("GETSET", key, text), (self.counter, text))
        assert answer in (None, before)


@pytest.mark.parametrize("victim", ["proxy", "relay"])
def test_no_acknowledged_write_is_lost_and_none_runs_twice(victim, tmp_path):
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    stack = Stack(tmp_path)
    try:
        done = threading.Event()
        writers = [Writer(stack.port, number, rng.random(), done) for number in range(4)]
        for writer in writers:
            writer.start()
        for _ in range(3):
            before = sum(writer.acknowledged for writer in writers)
            for _ in range(400):
                if sum(writer.acknowledged for writer in writers) > before + 20:
                    break
                time.sleep(0.02)
            time.sleep(rng.random() / 10)
            stack.kill(getattr(stack, victim))
            getattr(stack, f"start_{victim}")()
        done.set()
        for writer in writers:
            writer.join(60)
        assert [writer.wrong for writer in writers] == [None] * 4
        assert all(writer.acknowledged >= 20 for writer in writers)
        client = redis.Redis(port=stack.port)
        for writer in writers:
            assert int(client.get(f"{writer.number}:counter") or 0) == writer.counter
    finally:
        stack.stop()
