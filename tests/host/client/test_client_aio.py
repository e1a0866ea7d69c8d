"""The asyncio client against a model behind a relay of few lines."""

import asyncio
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import omap
from host.client.aio import AsyncClient, open_client
from host.client.pacing import Ticks
from host.client.settings import Settings
from omap.errors import DeviceError, FullError, InputError, RollbackError, SessionError, UnknownFateError
from omap.operations import Kind, Operation, Response, Status
from omap.presets import preset
from omap.wire import RecordType, read_header
from tests.support.host.rogue import KEY, RogueRelay
from tests.support.oracle import expected

TINY = preset("TINY")


@pytest.fixture
def relay():
    with RogueRelay() as relay:
        yield relay


@pytest.fixture(scope="module")
def shared():
    with RogueRelay() as relay:
        yield relay


def connect(relay, **options):
    return omap.connect_async(relay.url, **{"root_key": KEY, "timeout": 5} | options)


def key(number):
    return number.to_bytes(4, "big")


def puts(count):
    return [Operation(Kind.PUT, key(number % 8), key(number)) for number in range(count)]


def mixed(rng, count):
    return [Operation(Kind(rng.randrange(4)), key(rng.randrange(16)), rng.randbytes(4)) for _ in range(count)]


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.integers(0, 30), max_size=12),
    window=st.integers(1, 40),
    limit=st.integers(1, 60),
)
def test_tasks_share_a_connection_and_operations_run_in_the_order_of_submission(shared, seed, sizes, window, limit):
    async def run():
        shared.in_thread(shared.format)
        rng, oracle = random.Random(seed), {}
        async with await connect(shared, window=window, record_limit=limit) as client:
            batches = [mixed(rng, size) for size in sizes]
            futures = [client.submit(batch) for batch in batches]
            for batch, future in zip(batches, futures, strict=True):
                assert await future == [expected(oracle, TINY.capacity, operation) for operation in batch]
            assert await client.live() == len(oracle)

    asyncio.run(run())


def test_it_does_what_a_map_does(relay):
    async def run():
        async with await connect(relay) as client:
            assert isinstance(client, omap.AsyncMap)
            assert await client.put(key(1), b"data") is None
            assert await client.put(key(1), b"more") == b"data"
            assert await asyncio.gather(*(client.get(key(n)) for n in range(3))) == [None, b"more", None]
            assert await client.delete(key(1)) == b"more"
            assert await client.live() == 0
            assert await client.execute([]) == []
            assert client.greeting.params == client.params == TINY
            with pytest.raises(InputError, match="a key must be 4 bytes"):
                await client.get(b"12345")
            keys = np.arange(48, dtype=np.uint8).reshape(12, 4)
            told = []
            assert await client.put_many(keys, keys, progress=lambda done, total: told.append((done, total))) == 12
            assert told[-1] == (12, 12)
            values, found = await client.get_many(keys)
            assert found.all()
            assert (values == keys).all()
            with pytest.raises(FullError):
                await client.put(b"more", b"more")
            with pytest.raises(FullError):
                await client.put_many([b"more"], [b"more"])
        with pytest.raises(SessionError, match="was closed"):
            await client.get(key(1))

    asyncio.run(run())


def test_what_is_submitted_before_close_is_done_and_then_the_session_is_closed(relay):
    async def run():
        client = await connect(relay, window=3)
        future = client.submit(puts(20))
        await client.close()
        await client.close()
        assert len(future.result()) == 20
        assert not client._tasks

    asyncio.run(run())
    assert relay.in_thread(lambda: [entry is None for entry in relay.device._sessions._table]) == [True] * 16


def test_a_cancelled_batch_sends_no_more(relay):
    async def run():
        async with await connect(relay, window=4) as client:
            first, second, third = client.submit(puts(100)), client.submit(puts(50)), client.submit(puts(3))
            while not client._queue.flying:
                await asyncio.sleep(0)
            first.cancel()
            second.cancel()
            assert len(await third) == 3
            assert (await client.ping()).sequence < 20

    asyncio.run(run())


def test_a_progress_callback_that_fails_ends_its_own_work_alone(relay):
    async def run():
        async with await connect(relay, window=4) as client:
            keys = [key(n) for n in range(10)]
            with pytest.raises(ZeroDivisionError):
                await client.put_many(keys, keys, progress=lambda done, total: 1 // 0)
            assert await client.get(key(0)) == key(0)

    asyncio.run(run())


# -- faults -----------------------------------------------------------------------------------------------------------


def test_a_cut_connection_fails_what_is_in_flight_and_the_rest_goes_on(relay):
    def cut_at_10(connection, number, record):
        if (connection, number) == (0, 2 + 10):
            relay.cut()
            return []
        return [record]

    relay.response = cut_at_10

    async def run():
        async with await connect(relay, window=8) as client:
            futures = [client.submit([operation]) for operation in puts(40)]
            outcomes = await asyncio.gather(*futures, return_exceptions=True)
            kinds = [type(outcome) for outcome in outcomes]
            assert kinds[:10] == [list] * 10
            failed = kinds.count(UnknownFateError)
            assert 1 <= failed <= 8
            assert kinds[10 : 10 + failed] == [UnknownFateError] * failed
            assert kinds[10 + failed :] == [list] * (30 - failed)
            assert (outcomes[10].answered, outcomes[10].in_doubt, outcomes[10].not_sent) == (0, 1, 0)
            ran = (await client.ping()).sequence
            assert 40 - failed <= ran <= 40  # none ran twice

    asyncio.run(run())
    assert relay.connections == 2


def test_a_batch_that_is_cut_in_two_says_what_it_knows(relay):
    def cut_at_10(connection, number, record):
        if (connection, number) == (0, 2 + 10):
            relay.cut()
            return []
        return [record]

    relay.response = cut_at_10

    async def run():
        async with await connect(relay, window=8) as client:
            with pytest.raises(UnknownFateError, match="of 100 operations 10 were answered") as caught:
                await client.execute(puts(100))
            assert caught.value.responses[9] == Response(Status.OK, key(1))
            assert caught.value.answered + caught.value.in_doubt + caught.value.not_sent == 100
            assert await client.get(key(0)) is not None

    asyncio.run(run())


def test_silence_breaks_the_connection(relay):
    relay.response = lambda connection, number, record: [record] if connection or number < 2 + 3 else []

    async def run():
        async with await connect(relay, timeout=0.3) as client:
            with pytest.raises(UnknownFateError, match=r"no answer came for 0\.3 s; of 5 operations 3"):
                await client.execute(puts(5))
            assert (await client.ping()).sequence >= 5

    asyncio.run(run())


def test_nobody_there_any_more(relay):
    async def run():
        client = await connect(relay)
        relay.end()
        for _ in range(2):
            with pytest.raises((UnknownFateError, DeviceError)):
                await client.get(key(1))
        with pytest.raises(DeviceError, match=r"nothing listens at 127.0.0.1:\d+: .* \(nothing was sent\)"):
            await client.get(key(1))
        await client.close()

    asyncio.run(run())


@pytest.mark.sec_cm("CLIENT.FAULT.LATCH")
def test_after_tampering_everything_fails(relay):
    relay.response = lambda connection, number, record: [record[:-1] + bytes([record[-1] ^ (number == 2 + 4)])]

    async def run():
        async with await connect(relay, window=4) as client:
            futures = [client.submit([operation]) for operation in puts(20)]
            outcomes = await asyncio.gather(*futures, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [list] * 4 + [omap.AlteredError] * 16
            assert (outcomes[4].in_doubt, outcomes[19].in_doubt, outcomes[19].not_sent) == (1, 0, 1)
            assert "response 4 failed authentication" in str(outcomes[4])
            with pytest.raises(omap.AlteredError, match="dead since it noticed tampering"):
                await client.get(key(1))

    asyncio.run(run())
    assert relay.connections == 1


def test_another_map_and_an_earlier_state_are_noticed(relay):
    async def run():
        async with await connect(relay) as client:
            await client.execute(puts(5))
            relay.in_thread(lambda: setattr(relay.device._map, "sequence", 3))
            with pytest.raises(RollbackError, match="operation 3 after 4"):
                await client.get(key(1))
        async with await connect(relay) as client:
            relay.in_thread(relay.format)
            with pytest.raises(UnknownFateError):
                await client.get(key(1))
            for _ in range(2):
                with pytest.raises(RollbackError, match="another was put in its place"):
                    await client.get(key(1))

    asyncio.run(run())


def test_the_witness_file_is_kept_while_working(relay, tmp_path, monkeypatch):
    monkeypatch.setattr("host.client.aio.SAVE_SECONDS", 0.01)

    async def run():
        async with await connect(relay, witness=tmp_path / "witness") as client:
            await client.execute(puts(5))
            for _ in range(500):
                if '"operation": 4' in (tmp_path / "witness").read_text():
                    return
                await asyncio.sleep(0.01)
        pytest.fail("the file was not written")

    asyncio.run(run())


# -- constant rate ----------------------------------------------------------------------------------------------------


def test_ticks_follow_the_clock_alone():
    now = 100.0
    ticks = Ticks(8, lambda: now)
    assert ticks.wait() == 0.125
    now += 0.1
    assert ticks.due() == 0
    now += 0.4
    assert [ticks.due(), ticks.due()] == [4, 0]
    assert ticks.wait() == pytest.approx(0.125)
    now += 100
    assert ticks.due() == 800  # a late call loses none
    assert ticks.wait() == pytest.approx(0.125)


class Clock:
    """A clock that moves when told to; sleepers wake in its order."""

    def __init__(self):
        self.time, self.sleepers = 0.0, []

    def now(self):
        return self.time

    async def sleep(self, seconds):
        woken = asyncio.get_running_loop().create_future()
        self.sleepers.append((self.time + seconds, woken))
        await woken

    async def advance(self, until):
        while self.time < until:
            await settle()
            due = min((at for at, woken in self.sleepers if not woken.done()), default=until)
            self.time = max(self.time, min(due, until))
            for at, woken in self.sleepers:
                if at <= self.time and not woken.done():
                    woken.set_result(None)
            self.sleepers = [(at, woken) for at, woken in self.sleepers if not woken.done()]
        await settle()


async def settle():
    for _ in range(20):
        await asyncio.sleep(0)


class Device:
    """A peer without network: a model that answers at once, and notes when records came."""

    def __init__(self, clock):
        self.clock, self.relay, self.ticks = clock, RogueRelay(), []

    def write(self, data):
        size = self.relay.layout.record_bytes
        for at in range(0, len(data), size):
            record = bytes(data[at : at + size])
            if record[0] == RecordType.DATA:
                self.ticks.append(self.clock.time)
            for answer in self.relay.exchange(record):
                self.reader.feed_data(answer)

    def close(self):
        self.reader.feed_eof()

    async def connect(self, host, port, ssl=None):
        self.reader = asyncio.StreamReader()
        self.reader.feed_data(self.relay.greeting)
        return self.reader, self


def paced(use, *, rate=10, until=12.0, **options):
    """Run ``use(client, clock)`` against a peer without network and return when records were sent."""

    async def run():
        clock = Clock()
        device = Device(clock)
        patch.setattr(asyncio, "open_connection", device.connect)
        settings = Settings(host="nowhere", port=1, root_key=KEY, rate=rate, **options)
        client = AsyncClient(settings, now=clock.now, sleep=clock.sleep)
        await client.open()
        user = asyncio.ensure_future(use(client, clock))
        await clock.advance(until)
        assert user.done()
        user.result()
        sent = list(device.ticks)
        closing = asyncio.ensure_future(client.close())
        await clock.advance(until + 5)
        await closing
        return sent

    with pytest.MonkeyPatch.context() as patch:
        return asyncio.run(run())


async def idle(client, clock):
    pass


async def busy(client, clock):
    answers = await client.execute(puts(70))
    assert len(answers) == 70
    assert await client.get(key(1)) == key(65)


async def now_and_then(client, clock):
    for number in range(5):
        await client.put(key(number), key(number))
        await clock.sleep(1.37)


async def too_much(client, clock):
    future = client.submit(puts(1000))
    await clock.sleep(3)
    future.cancel()


@pytest.mark.sec_cm("CLIENT.RATE.CONSTANT")
@pytest.mark.parametrize("limit", [2**32, 25])
def test_when_records_leave_does_not_depend_on_use(limit):
    seen = [paced(use, record_limit=limit) for use in (idle, busy, now_and_then, too_much)]
    assert len(seen[0]) == 120
    assert seen[0] == pytest.approx([(tick + 1) / 10 for tick in range(120)])
    assert seen[1:] == seen[:1] * 3


def test_a_constant_rate_over_a_network(relay):
    with omap.connect(relay.url, root_key=KEY, rate=500, timeout=5) as client:
        assert client.put(key(1), b"data") is None
        assert client[key(1)] == b"data"
        assert client.put_many([key(2), key(3)], [b"more", b"data"]) == 2
        assert client.get_many([key(3)])[1].all()
        assert len(client) == 3
        while client.ping().sequence < 60:
            pass
    with pytest.raises(SessionError, match="was closed"):
        client.get(key(1))
    assert sum(read_header(record).type == RecordType.DATA for record in relay.commands) > 60


def test_a_constant_rate_client_reports_why_it_could_not_connect():
    with pytest.raises(omap.WrongKeyError), RogueRelay() as relay:
        omap.connect(relay.url, root_key=bytes(32), rate=10)


def test_a_constant_rate_goes_on_after_a_broken_connection(relay, monkeypatch):
    monkeypatch.setattr("host.client.aio.RETRY_SECONDS", 0.01)
    with omap.connect(relay.url, root_key=KEY, rate=200, timeout=5) as client:
        client.put(key(1), b"data")
        relay.in_thread(relay.cut)
        while relay.connections < 2:  # without any call
            pass
        assert client.get(key(1)) == b"data"


def test_open_client_closes_what_it_could_not_open(relay):
    async def run():
        with pytest.raises(omap.WrongKeyError):
            await open_client(Settings.from_url(relay.url, root_key=bytes(32)))
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
