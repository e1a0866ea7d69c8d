"""Wrong passwords are slowed down: by address, whatever the connections, in bounded memory, and for nobody else."""

import asyncio
import random
from itertools import pairwise

import pytest

from host.redis import guesses
from host.redis.connection import Connection
from host.redis.guesses import Guesses
from host.redis.server import Endpoint, Proxy
from tests.support.redis.support import CLIENT, PARAMS, ReferenceStore, ask, command, shared

WRONG = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"
GUEST = "192.0.2.1"


class Clock:
    """A clock on which waiting is all that takes time."""

    def __init__(self):
        self.now = 1000.0
        self._waiting = []

    async def sleep(self, seconds):
        until = self.now + seconds
        self._waiting.append(until)
        for _ in range(20):  # whoever else is about to wait does so first
            await asyncio.sleep(0)
        while min(self._waiting) < until:
            await asyncio.sleep(0)
        self._waiting.remove(until)
        self.now = max(self.now, until)

    def guesses(self):
        return Guesses(lambda: self.now, self.sleep)


def proxy(clock, password="secret"):
    """Return what the connections of a proxy share, on a clock."""
    made = shared(ReferenceStore(), password=password)
    made.guesses = clock.guesses()
    return made


async def guess(connection, times, password="wrong", how="auth"):
    words = (how, password) if how == "auth" else (how, "2", "auth", "default", password)
    return await ask(connection, command(*words) * times)


@pytest.mark.sec_cm("REDIS.AUTH.SLOWED")
@pytest.mark.parametrize("how", ["auth", "hello"])
def test_each_wrong_password_makes_the_next_wait_longer(how):
    async def main():
        clock = Clock()
        connection = Connection(proxy(clock), group=GUEST)
        times = [clock.now]
        for _ in range(12):
            assert await guess(connection, 1, how=how) == WRONG
            times.append(clock.now)
        waits = [after - before for before, after in pairwise(times)]
        assert waits == pytest.approx([0, 0.1, 0.2, 0.4, 0.8, 1.6, *[2.0] * 6])

    asyncio.run(main())


@pytest.mark.sec_cm("REDIS.AUTH.SLOWED")
def test_a_pipeline_of_passwords_is_no_faster():
    async def main():
        clock = Clock()
        connection = Connection(proxy(clock), group=GUEST)
        start = clock.now
        assert await guess(connection, 100) == WRONG * 100
        assert clock.now - start == pytest.approx(0.1 + 0.2 + 0.4 + 0.8 + 1.6 + 94 * 2.0)

    asyncio.run(main())


@pytest.mark.sec_cm("REDIS.AUTH.SLOWED")
def test_many_connections_make_no_more_guesses_and_those_beyond_a_queue_are_not_looked_at():
    async def main():
        clock = Clock()
        made = proxy(clock)
        await guess(Connection(made, group=GUEST), 6)
        start = clock.now
        answers = await asyncio.gather(*(guess(Connection(made, group=GUEST), 1) for _ in range(200)))
        seen = answers.count(WRONG)
        assert seen == guesses.PATIENCE_SECONDS / guesses.LONGEST_SECONDS
        assert clock.now - start == pytest.approx(seen * guesses.LONGEST_SECONDS)
        assert all(b"-ERR too many wrong passwords" in answer for answer in answers if answer != WRONG)
        refused = next(place for place, answer in enumerate(answers) if answer != WRONG)
        assert refused >= 15

    asyncio.run(main())


def test_a_password_that_is_not_looked_at_lets_nobody_in():
    async def main():
        clock = Clock()
        made = proxy(clock)
        await guess(Connection(made, group=GUEST), 6)
        connections = [Connection(made, group=GUEST) for _ in range(40)]
        answers = await asyncio.gather(*(guess(each, 1, "secret") for each in connections))
        for connection, answer in zip(connections, answers, strict=True):
            assert connection.authenticated is (answer == b"+OK\r\n")
        assert 0 < answers.count(b"+OK\r\n") < 40

    asyncio.run(main())


@pytest.mark.sec_cm("REDIS.AUTH.SLOWED")
def test_other_addresses_and_the_right_password_wait_for_nothing():
    async def main():
        clock = Clock()
        made = proxy(clock)
        hostile = asyncio.create_task(guess(Connection(made, group=GUEST), 50))
        await asyncio.sleep(0)
        start = clock.now
        assert await guess(Connection(made, group="192.0.2.2"), 1, "secret") == b"+OK\r\n"
        assert clock.now == start
        await hostile
        clock.now += guesses.LONGEST_SECONDS
        start = clock.now
        for _ in range(20):  # the right one, from the same address, when its wait is over
            assert await guess(Connection(made, group=GUEST), 1, "secret") == b"+OK\r\n"
        assert clock.now == start

    asyncio.run(main())


def test_a_user_of_another_name_is_a_wrong_password():
    async def main():
        clock = Clock()
        connection = Connection(proxy(clock), group=GUEST)
        assert await ask(connection, command("auth", "other", "secret") * 3) == WRONG * 3
        assert clock.now > 1000.0

    asyncio.run(main())


def test_commands_around_a_password_run_in_their_order():
    async def main():
        connection = Connection(proxy(Clock()), group=GUEST)
        sent = [("get", "a"), ("auth", "wrong"), ("set", "a", "1"), ("auth", "secret"), ("set", "a", "2"), ("get", "a")]
        answer = await ask(connection, b"".join(command(*words) for words in sent))
        denied = b"-NOAUTH Authentication required.\r\n"
        assert answer == denied + WRONG + denied + b"+OK\r\n+OK\r\n$1\r\n2\r\n"

    asyncio.run(main())


def test_without_a_password_nothing_is_remembered():
    async def main():
        made = proxy(Clock(), password=None)
        await ask(
            Connection(made, group=GUEST), command("auth", "x") * 50 + command("hello", "3", "auth", "default", "x")
        )
        assert len(made.guesses) == 0

    asyncio.run(main())


def test_memory_is_bounded_and_old_addresses_begin_anew(monkeypatch):
    monkeypatch.setattr(guesses, "ADDRESSES", 10)
    clock = Clock()
    memory = clock.guesses()
    for number in range(100):
        memory.wrong(str(number))
        assert len(memory) <= 10
    for _ in range(5):
        memory.wrong("99")
    assert memory._suspects["99"].wrong == 6
    clock.now += guesses.FORGET_SECONDS + guesses.LONGEST_SECONDS + 1
    memory.wrong("99")
    assert memory._suspects["99"].wrong == 1
    assert memory._suspects["98"].wrong == 1


def test_who_gives_up_waiting_holds_up_nobody():
    async def main():
        clock = Clock()
        made = proxy(clock)
        await guess(Connection(made, group=GUEST), 3)
        waiting = [asyncio.create_task(guess(Connection(made, group=GUEST), 1)) for _ in range(5)]
        await asyncio.sleep(0)
        for task in waiting[:4]:
            task.cancel()
        assert await waiting[4] == WRONG
        assert made.guesses._suspects[GUEST].waiting == 0

    asyncio.run(main())


def test_over_a_socket_guesses_are_slow(capsys):
    """A figure, on the real clock: how many wrong passwords a peer gets in while another peer asks something."""
    password = f"{random.SystemRandom().randrange(1 << 64)}"

    async def main():
        async with Proxy(ReferenceStore(), PARAMS, CLIENT, Endpoint(port=0, password=password)) as running:
            reader, writer = await asyncio.open_connection(running.host, running.port)
            writer.write(command("auth", "wrong") * 10_000)
            assert await reader.readexactly(len(WRONG)) == WRONG
            other, asker = await asyncio.open_connection(running.host, running.port, local_addr=("127.0.0.2", 0))
            asker.write(command("auth", password) + command("ping") * 5000)
            assert await other.readline() == b"+OK\r\n"
            for _ in range(5000):
                assert await other.readline() == b"+PONG\r\n"
            writer.transport.abort()
            asker.close()
            answered = len(WRONG) + len(reader._buffer)
            print(f"{answered // len(WRONG)} of 10,000 wrong passwords were answered while a peer sent 5,000 PING")
            return answered // len(WRONG)

    assert asyncio.run(main()) < 10_000
