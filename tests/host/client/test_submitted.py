"""What was submitted to the asyncio client runs as it was, whatever the caller does with its own objects meanwhile."""

import asyncio

import numpy as np
import pytest

import omap
from omap.operations import Kind, Response, Status
from tests.support.host.clients import key, puts
from tests.support.host.rogue import CLIENT


def connect(relay):
    return omap.connect_async(relay.url, client=CLIENT, timeout=5)


def test_kinds_that_change_after_they_were_submitted_do_not_change_what_runs(relay):
    async def use():
        async with await connect(relay) as client:
            kinds, rows = np.full(8, Kind.PUT, np.uint8), [key(number) for number in range(8)]
            done = asyncio.ensure_future(client.execute_arrays(kinds, rows, rows))
            await asyncio.sleep(0)
            kinds[:] = 4  # would end the session
            assert not (await done).statuses.any()
            assert await client.get(key(7)) == key(7)

    asyncio.run(use())


@pytest.mark.parametrize("change", [list.clear, lambda batch: batch.extend(batch * 100), lambda batch: batch.reverse()])
def test_a_list_that_changes_after_it_was_submitted_does_not_change_what_runs(relay, change):
    async def use():
        async with await connect(relay) as client:
            batch = puts(8)
            done = client.submit(batch)
            change(batch)
            assert await done == [Response(Status.OK)] * 8
            assert [await client.get(key(number)) for number in range(8)] == [key(number) for number in range(8)]

    asyncio.run(use())
