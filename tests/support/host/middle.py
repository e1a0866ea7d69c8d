"""A man in the middle: a TCP proxy between client and relay, which does with records what a test tells it."""

import asyncio
import threading

from host.framing import PREFIX
from tests.support.host.rogue import read_record


class Middle:
    """Forwards connections to a relay. ``command`` and ``response`` are those of ``RogueRelay`` in
    :mod:`tests.support.host.rogue`; ``greeting`` is called with the bytes of a greeting and returns what the client
    gets. A record that is shorter than it was ends the connection.
    """

    def __init__(self, port):
        self.to = port
        self.command = self.response = lambda connection, number, record: [record]
        self.greeting = lambda data: data
        self.connections = 0
        self.commands, self.answers = [], []

    def __enter__(self):
        started = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._main(started)), daemon=True)
        self.thread.start()
        started.wait(10)
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join(10)

    @property
    def url(self):
        return f"omap://127.0.0.1:{self.port}"

    def cut(self):
        """Close all connections (in the proxy's thread)."""
        for writer in list(self.writers):
            writer.transport.abort()

    async def _main(self, started):
        self.loop, self.stop, self.writers = asyncio.get_running_loop(), asyncio.Event(), set()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await self.stop.wait()
        server.close()
        self.cut()
        await asyncio.sleep(0)

    async def _serve(self, reader, writer):
        connection, self.connections = self.connections, self.connections + 1
        there, back = await asyncio.open_connection("127.0.0.1", self.to)
        self.writers |= {writer, back}
        try:
            prefix = await there.readexactly(PREFIX.size)
            length = PREFIX.unpack(prefix)[-1]
            writer.write(self.greeting(prefix + await there.readexactly(length)))
            commands = self._pass(connection, reader, back, "command", self.commands)
            answers = self._pass(connection, there, writer, "response", self.answers)
            await asyncio.wait(map(asyncio.ensure_future, (commands, answers)), return_when=asyncio.FIRST_COMPLETED)
        except (EOFError, OSError):
            pass
        finally:
            for end in (writer, back):
                self.writers.discard(end)
                end.close()

    async def _pass(self, connection, reader, writer, hook, kept):
        number = 0
        try:
            while True:
                record = await read_record(reader)
                kept.append(record)
                for changed in getattr(self, hook)(connection, number, record):
                    writer.write(changed)
                    if len(changed) < len(record):
                        await writer.drain()
                        return
                number += 1
        except (EOFError, OSError):
            pass
