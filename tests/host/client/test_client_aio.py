"""The asyncio client, connected to a model behind a small relay."""

import asyncio
import random
import time
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import omap
from host.client.aio import open_client
from host.client.conversation import Conversation
from host.client.settings import Settings
from omap.errors import (
    DeviceError,
    FullError,
    InputError,
    MapChangedError,
    RollbackError,
    SessionError,
    UnknownFateError,
)
from omap.operations import Kind, Operation, Response, Status
from omap.presets import preset
from tests.support.host.clients import at_most, columns, key, listed, number_from, puts
from tests.support.host.keys import client_of
from tests.support.host.rogue import CLIENT, trickle
from tests.support.oracle import expected

TINY = preset("TINY")


def connect(relay, **options):
    return omap.connect_async(relay.url, **{"client": CLIENT, "timeout": 5} | options)


def mixed(rng, count):
    return [Operation(Kind(rng.randrange(4)), key(rng.randrange(16)), rng.randbytes(4)) for _ in range(count)]


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.integers(0, 30), max_size=12),
    window=st.none() | st.integers(1, 40),
    limit=st.integers(1, 60),
    most=st.sampled_from([1, 3, 255]),
)
def test_tasks_share_a_connection_and_operations_run_in_the_order_of_submission(
    shared, seed, sizes, window, limit, most
):
    """Each second task gives arrays. One record may hold the work of several."""

    async def run():
        shared.in_thread(shared.format)
        rng, oracle = random.Random(seed), {}
        async with await connect(shared, window=window, record_limit=limit) as client:
            batches = [mixed(rng, size) for size in sizes]
            tasks = [
                asyncio.ensure_future(client.execute_arrays(*columns(batch)) if place % 2 else client.execute(batch))
                for place, batch in enumerate(batches)
            ]
            for batch, task in zip(batches, tasks, strict=True):
                came, wanted = await task, [expected(oracle, TINY.capacity, operation) for operation in batch]
                assert (came if isinstance(came, list) else listed(came)) == wanted
            assert await client.live() == len(oracle)

    with patch.object(Conversation, "room", at_most(most)):
        asyncio.run(run())


def test_it_takes_whatever_holds_bytes(relay):
    async def run():
        async with await connect(relay) as client:
            assert await client.put(bytearray(b"key!"), memoryview(b"abcd")) is None
            assert await client.get(memoryview(b"key!")) == b"abcd"
            assert await client.get(b"none", b"default") == b"default"
            with pytest.raises(InputError, match="operation 0: it must be an Operation"):
                await client.execute([("GET", b"key!")])

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


def test_a_cut_connection_fails_what_is_in_flight_and_the_rest_goes_on(relay, singles):
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


def test_a_batch_that_is_cut_in_two_says_what_it_knows(relay, singles):
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


def test_silence_breaks_the_connection(relay, singles):
    relay.response = lambda connection, number, record: [record] if connection or number < 2 + 3 else []

    async def run():
        async with await connect(relay, timeout=0.3) as client:
            with pytest.raises(UnknownFateError, match=r"no answer came for 0\.3 s; of 5 operations 3"):
                await client.execute(puts(5))
            assert (await client.ping()).sequence >= 5

    asyncio.run(run())


def test_a_peer_that_answers_a_byte_at_a_time_gets_no_longer(relay):
    relay.response = lambda connection, number, record: (
        [record] if connection or number < 2 else trickle(relay, record) or []
    )

    async def run():
        async with await connect(relay, timeout=0.3) as client:
            with pytest.raises(UnknownFateError, match=r"no answer came for 0\.3 s; of 1 operations 0 were answered"):
                await client.put(key(1), b"data")
            assert await client.get(key(1)) == b"data"

    asyncio.run(run())


def test_what_is_in_flight_when_a_close_runs_out_of_time_has_an_unknown_fate(relay, singles):
    def slowly(connection, number, record):
        if number >= 2:
            time.sleep(0.2)  # each answer comes in time, all of them together do not
        return [record]

    relay.response = slowly

    async def run():
        client = await connect(relay, timeout=0.3)
        flying = client.submit(puts(20))
        await client.close()
        with pytest.raises(UnknownFateError, match="the client was closed; of 20 operations"):
            await asyncio.wait_for(flying, 10)

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
def test_after_tampering_everything_fails(relay, singles):
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
            relay.in_thread(lambda: number_from(relay.device, 3))
            with pytest.raises(RollbackError, match="operation 3 after 4"):
                await client.get(key(1))
        async with await connect(relay) as client:
            relay.in_thread(relay.format)
            with pytest.raises(UnknownFateError):
                await client.get(key(1))
            for _ in range(2):
                with pytest.raises(MapChangedError, match="another was put in its place"):
                    await client.get(key(1))

    asyncio.run(run())


async def until(condition):
    """Let the loop turn until something holds; what runs this has a time limit."""
    while not condition():
        await asyncio.sleep(0.005)


def test_a_broken_connection_is_opened_again_without_any_work(relay, monkeypatch):
    monkeypatch.setattr("host.client.aio.RETRY_SECONDS", 0.01)

    async def run():
        async with await connect(relay) as client:
            assert client.trouble is None
            relay.command = lambda connection, number, record: relay.cut() or []  # no session can be opened
            relay.in_thread(relay.cut)
            await until(lambda: "hung up before a session was open" in str(client.trouble))
            before = relay.connections
            await until(lambda: relay.connections > before + 3)
            relay.command = lambda connection, number, record: [record]
            await until(lambda: client.trouble is None)
            assert (await client.ping()).sequence == 0  # nothing was sent by itself

    asyncio.run(asyncio.wait_for(run(), 60))


def test_the_known_map_is_awaited_and_another_left_alone(relay, monkeypatch):
    monkeypatch.setattr("host.client.aio.RETRY_SECONDS", 0.01)

    async def run():
        async with await connect(relay) as client:
            await client.put(key(1), b"data")
            first = relay.device, relay.buffer
            relay.in_thread(lambda: (relay.restart_device(), relay.cut()))
            await until(lambda: isinstance(client.trouble, MapChangedError))
            with pytest.raises(MapChangedError, match=r"\(nothing was sent\)") as caught:
                await client.put(key(1), b"lost")
            assert caught.value.map_id == relay.device._map.map_id.hex()
            other = relay.device
            relay.device, relay.buffer = first
            await until(lambda: client.trouble is None)
            assert await client.get(key(1)) == b"data"
            assert other._map.sequence == 0

    asyncio.run(asyncio.wait_for(run(), 60))


@pytest.mark.parametrize("limit", [2**32, 4])
def test_what_waited_for_one_map_does_not_run_on_another(relay, singles, limit):
    """Whoever submitted it may have read in the first map what it writes."""

    async def run():
        async with await connect(relay, accept="any", window=4, record_limit=limit) as client:

            def exchange(connection, number, record):
                if (connection, number) != (0, 2 + 3):
                    return [record]
                relay.restart_device()
                return [record] if limit == 4 else relay.cut() or []

            before = client.map_id
            relay.response = exchange
            flying, waiting = client.submit(puts(7)), client.submit(puts(2))
            await asyncio.wait([flying, waiting])
            assert type(flying.exception()) is (UnknownFateError if limit > 4 else MapChangedError)
            assert type(waiting.exception()) is MapChangedError
            assert waiting.exception().not_sent == 2
            assert before != client.map_id == relay.device._map.map_id
            assert await client.live() == 0

    asyncio.run(asyncio.wait_for(run(), 60))


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


def test_open_client_closes_what_it_could_not_open(relay):
    async def run():
        with pytest.raises(omap.WrongKeyError):
            await open_client(Settings.from_url(relay.url, client=client_of(bytes(32))))
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
