"""Time limits of the waits of one task, with one timer for all."""

import asyncio

import pytest

from host.redis.patience import Patience


def run(test):
    async def main():
        patience = Patience()
        async with asyncio.timeout(30):
            await test(patience)
        patience.stop()

    asyncio.run(main())


async def never():
    await asyncio.get_running_loop().create_future()


async def soon(value):
    for _ in range(3):
        await asyncio.sleep(0)
    return value


def test_a_wait_ends_with_its_work_or_with_its_time():
    async def test(patience):
        for seconds in (None, 100.0, 50.0, 0.01, 100.0):
            assert await patience.wait(soon(seconds), seconds) == seconds
        for seconds in (0.01, 0.0):
            with pytest.raises(TimeoutError):
                await patience.wait(never(), seconds)
            assert await patience.wait(soon("still alive"), 100.0) == "still alive"
        assert asyncio.current_task().cancelling() == 0

    run(test)


def test_a_timer_of_an_earlier_wait_ends_no_later_one():
    async def test(patience):
        await patience.wait(soon(1), 0.01)
        waiting = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.1, waiting.set_result, 2)  # by then that timer has run
        assert await patience.wait(waiting, 100.0) == 2
        await patience.wait(soon(1), 0.01)
        await asyncio.sleep(0.05)  # not a wait with a limit: nothing ends it
        with pytest.raises(TimeoutError):
            await patience.wait(never(), 0.01)

    run(test)


def test_who_cancels_the_task_is_not_told_of_a_time_limit():
    async def waiter():
        await Patience().wait(never(), 100.0)

    async def main():
        task = asyncio.create_task(waiter())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
