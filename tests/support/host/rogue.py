"""A small relay around a device model, in a thread, which does with records and rings what a test tells it."""

import asyncio
import threading

from host.framing import Greeting
from host.records import split
from omap.device import DeviceModel, read_counter, write_counter
from omap.presets import preset
from omap.regmap import Request, State
from omap.wire import LEAST_RING_LINES, LINE_BYTES, BufferLayout, Counter, read_header
from tests.support.host.keys import client_of

KEY = bytes(range(32))
CLIENT = client_of(KEY)


class RogueRelay:
    """Serves one device model on a free port of this machine.

    ``command`` and ``response`` are called with the number of the connection, the number of the record on it (from 0,
    HELLO and CONFIRM included) and the record. They return the records that go on in its place. A response that is
    shorter than it was ends the connection. ``ring`` is called with the relay before each step of the device;
    ``records`` counts those that were put into the ring.
    """

    def __init__(self, params=None, *, ring_lines=LEAST_RING_LINES, key=KEY, observer=None, greeting=None):
        self.params = params or preset("TINY")
        self.layout = BufferLayout(self.params, ring_lines)
        self.key, self.observer, self.ring_lines = key, observer, ring_lines
        self.mode = {"hbm_private": False, "attested": False, "hardware": False}
        self.greeting = greeting or Greeting(self.params, ring_lines, self.mode).pack()
        self.command = self.response = lambda connection, number, record: [record]
        self.ring = lambda relay: None
        self.connections = self.records = 0
        self.commands, self.answers = [], []
        self.restart_device()

    def restart_device(self):
        """Put a new device in the place of the old one."""
        self.buffer = bytearray(self.layout.size)
        self.device = DeviceModel(
            self.params, self.key, self.buffer, ring_lines=self.ring_lines, observer=self.observer
        )
        self.format()

    def format(self):
        self.device.registers.write("REQUEST", Request.FORMAT)
        self.device.step()

    # -- server ---------------------------------------------------------------------------------------------------

    def __enter__(self):
        started = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._main(started)), daemon=True)
        self.thread.start()
        started.wait(10)
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        """Stop serving."""
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.stop.set)
            self.thread.join(10)

    @property
    def url(self):
        return f"omap://127.0.0.1:{self.port}"

    async def _main(self, started):
        self.loop, self.stop, self.writers = asyncio.get_running_loop(), asyncio.Event(), set()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await self.stop.wait()
        server.close()
        self.cut()
        await asyncio.sleep(0)

    def cut(self):
        """Close all connections (in the relay's thread)."""
        for writer in list(self.writers):
            writer.transport.abort()

    def in_thread(self, work):
        """Run ``work()`` in the relay's thread and wait for it."""

        async def run():
            return work()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(10)

    async def _serve(self, reader, writer):
        connection, self.connections = self.connections, self.connections + 1
        self.writers.add(writer)
        sent = came = 0
        try:
            writer.write(self.greeting)
            while True:
                record = await read_record(reader)
                self.commands.append(record)
                for changed in self.command(connection, sent, record):
                    for answer in self.exchange(changed):
                        for told in self.response(connection, came, answer):
                            self.answers.append(told)
                            writer.write(told)
                            if len(told) < len(answer):
                                return
                        came += 1
                sent += 1
                if self.device.state is not State.READY:
                    break
        except (EOFError, OSError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    def exchange(self, record):
        """Put a record into the ring, let the device work, and return all new answers.

        What is no whole number of lines is filled up with zeros.
        """
        layout, buffer = self.layout, memoryview(self.buffer)
        record += bytes(-len(record) % LINE_BYTES)
        self.records += 1
        written = read_counter(buffer, Counter.COMMANDS_WRITTEN)
        layout.write_lines(buffer, layout.commands, written, record)
        write_counter(buffer, Counter.COMMANDS_WRITTEN, written + len(record) // LINE_BYTES)
        self.ring(self)
        self.device.step()
        first, end = (read_counter(buffer, counter) for counter in (Counter.RESPONSES_TAKEN, Counter.RESPONSES_WRITTEN))
        write_counter(buffer, Counter.RESPONSES_TAKEN, end)
        return split(layout.read_lines(buffer, layout.responses, first, end - first))


def trickle(relay, record, seconds=0.02):
    """Send the only client of a relay a record, a byte at a time. Call it in the relay's thread."""
    (writer,) = relay.writers
    for at in range(len(record)):
        relay.loop.call_later(seconds * at, writer.write, record[at : at + 1])


async def read_record(reader):
    """Return the next whole record of a stream; a single line if it says that it has none."""
    first = await reader.readexactly(LINE_BYTES)
    return first + await reader.readexactly(max(0, read_header(first).lines - 1) * LINE_BYTES)
