"""``python -m tests.support.host.hostile HOST PORT CONNECTIONS ADDRESSES``: many connections that keep others out.

A third sends HELLO every 0.4 s; a third, staggered, sends one and says nothing; a third goes on with half a CONFIRM
that never ends. They come from addresses 127.1.x.y. A connection that the relay ends comes again.
"""

import asyncio
import contextlib
import sys

from host.framing import PREFIX, facts_length
from omap.credentials import Credential
from omap.wire import HELLO_LINES, LINE_BYTES, Header, RecordType, read_header

OWNER = bytes(16) + Credential().pack()
"""Body of a HELLO that a device takes."""


async def one(host, port, number, addresses):
    """One hostile connection after the other."""
    owner = number % addresses
    source = f"127.1.{owner // 250}.{owner % 250 + 1}"
    await asyncio.sleep(number * 0.0015)
    while True:
        with contextlib.suppress(OSError, EOFError, TimeoutError):
            reader, writer = await asyncio.open_connection(host, port, local_addr=(source, 0))
            try:
                prefix = await reader.readexactly(PREFIX.size)
                await reader.readexactly(facts_length(prefix))
                await attack(reader, writer, number % 3)
            finally:
                writer.transport.abort()
        await asyncio.sleep(0.1)


async def attack(reader, writer, kind):
    """Do what a kind of connection does, until the relay ends it."""
    hello = (Header(RecordType.HELLO, 0, HELLO_LINES, 0, 0, 0).pack() + OWNER).ljust(HELLO_LINES * LINE_BYTES, b"\0")
    writer.write(hello)
    if kind == 0:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.4):
                    while await reader.read(4096):
                        pass
                    return
            writer.write(hello)
    if kind == 1:
        await asyncio.sleep(1.5)
        return
    session = read_header(await reader.readexactly(len(hello))).session
    writer.write(Header(RecordType.CONFIRM, 0, 1, 0, session, 0).pack() + bytes(LINE_BYTES // 2))
    await reader.read()


async def main(host, port, connections, addresses):
    """Attack until the process is ended."""
    tasks = [asyncio.create_task(one(host, port, number, addresses)) for number in range(connections)]
    await asyncio.sleep(connections * 0.0015 + 1)
    print("attacking", flush=True)
    await asyncio.gather(*tasks)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
