"""The constant-rate mode: the clock alone says when records are sent."""

import asyncio
import contextlib
import math

import pytest

import omap
from host.client.address import Address
from host.client.aio import AsyncClient
from host.client.pacing import Ticks
from host.client.settings import Settings
from host.records import split
from omap.errors import OmapError, SessionError
from omap.wire import RecordType, read_header
from tests.support.host.clients import key, puts
from tests.support.host.keys import client_of
from tests.support.host.rogue import CLIENT, RogueRelay


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
    """A peer without network: a model that answers at once, and notes when records and connections came.

    It breaks the connection at the first of the times ``away``, and takes no other until the second.
    """

    def __init__(self, clock, away):
        self.clock, self.relay, self.ticks = clock, RogueRelay(), []
        self.counts, self.connections, self.away = set(), [], away

    async def leave(self):
        await self.clock.sleep(self.away[0])
        self.close()

    def write(self, data):
        for record in split(bytes(data)):
            if record[0] == RecordType.DATA:
                self.ticks.append(self.clock.time)
                self.counts.add(read_header(record).count)
            for answer in self.relay.exchange(record):
                self.reader.feed_data(answer)

    def close(self):
        self.reader.feed_eof()

    async def connect(self, host, port, ssl=None):
        self.connections.append(self.clock.time)
        if self.away[0] <= self.clock.time < self.away[1]:
            raise ConnectionRefusedError
        self.reader = asyncio.StreamReader()
        self.reader.feed_data(self.relay.greeting)
        return self.reader, self


def paced(use, *, rate=10, until=12.0, away=(math.inf, math.inf), **options):
    """Run ``use(client, clock)`` against a peer without network and return when records were sent.

    If the peer was away, return when the client connected as well.
    """

    async def run():
        clock = Clock()
        device = Device(clock, away)
        patch.setattr(asyncio, "open_connection", device.connect)
        settings = Settings(where=Address("nowhere", 1), client=CLIENT, rate=rate, **options)
        client = AsyncClient(settings, now=clock.now, sleep=clock.sleep)
        await client.open()
        user, leaving = asyncio.ensure_future(use(client, clock)), asyncio.ensure_future(device.leave())
        await clock.advance(until)
        leaving.cancel()
        assert user.done()
        user.result()
        sent = list(device.ticks)
        closing = asyncio.ensure_future(client.close())
        await clock.advance(until + 5)
        await closing
        if rate is not None:
            assert device.counts == {options.get("count", 1)}
        return sent if away[0] > until else (sent, device.connections)

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


async def stubborn(client, clock):
    while clock.time < 10:
        with contextlib.suppress(OmapError):
            await client.put(key(1), key(2))
        await clock.sleep(0.3)


async def in_two_parts(client, clock):
    futures = [client.submit(puts(40)) for _ in range(2)]
    broken, _ = await asyncio.gather(*futures, return_exceptions=True)
    assert isinstance(broken, OmapError)


def test_without_work_a_client_asks_now_and_then_whether_the_map_is_there():
    assert paced(idle, rate=None) == []
    assert paced(idle, rate=None, idle=2.5) == pytest.approx([2.5, 5, 7.5, 10])
    assert paced(now_and_then, rate=None, idle=2.5)[5:] == pytest.approx([4 * 1.37 + 2.5, 4 * 1.37 + 5])


@pytest.mark.sec_cm("CLIENT.RATE.CONSTANT")
@pytest.mark.parametrize(("limit", "count"), [(2**32, 1), (25, 1), (2**32, 7), (25, 7)])
def test_when_records_leave_does_not_depend_on_use(limit, count):
    """Records are of one size, and leave by the clock."""
    uses = (idle, busy, now_and_then, too_much)
    seen = [paced(use, rate=10 * count, record_limit=limit, count=count) for use in uses]
    assert len(seen[0]) == 120
    assert seen[0] == pytest.approx([(tick + 1) / 10 for tick in range(120)])
    assert seen[1:] == seen[:1] * 3


@pytest.mark.sec_cm("CLIENT.RATE.CONSTANT")
@pytest.mark.parametrize("back", [3.04, 5.6])
def test_when_a_client_connects_again_does_not_depend_on_use(back):
    """A host that breaks the connection does not learn whether there is work."""
    seen = [paced(use, away=(3.04, back)) for use in (idle, stubborn, in_two_parts)]
    assert seen[0][1][:2] == pytest.approx([0, 4.04])
    assert seen[1:] == seen[:1] * 2


def test_a_constant_rate_over_a_network(relay):
    with omap.connect(relay.url, client=CLIENT, rate=500, timeout=5) as client:
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
        omap.connect(relay.url, client=client_of(bytes(32)), rate=10)


def test_a_constant_rate_goes_on_after_a_broken_connection(relay, monkeypatch):
    monkeypatch.setattr("host.client.aio.RETRY_SECONDS", 0.01)
    with omap.connect(relay.url, client=CLIENT, rate=200, timeout=5) as client:
        client.put(key(1), b"data")
        relay.in_thread(relay.cut)
        while relay.connections < 2:  # without a call of the user
            pass
        assert client.get(key(1)) == b"data"
