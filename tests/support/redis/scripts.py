"""A proxy without sockets that runs scripts, and its process for many requests."""

import asyncio
import contextlib

from host.redis.connection import Connection
from host.redis.scripts.runs import Scripts
from tests.support.redis.support import ReferenceStore, ask, command, shared


class Proxy:
    """A proxy without sockets, and its process for scripts, for many requests."""

    def __init__(self, common):
        self.common = common
        self.connection = Connection(common)

    async def ask(self, *requests):
        return await ask(self.connection, b"".join(requests))

    async def run(self, text, *keys, values=(), name="eval"):
        return await self.ask(command(name, text, len(keys), *keys, *values))

    @property
    def batches(self):
        return self.common.scheduler.store.batches


@contextlib.asynccontextmanager
async def proxy(**options):
    common = shared(ReferenceStore())
    common.scripts = Scripts(**options)
    try:
        yield Proxy(common)
    finally:
        await common.scripts.close()


def script_answers(*requests, **options):
    async def main():
        async with proxy(**options) as one:
            return [await one.ask(request) for request in requests]

    return asyncio.run(main())
