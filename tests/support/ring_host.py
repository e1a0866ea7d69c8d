"""A host on the rings of a device model in the same process."""

from typing import Any

from omap.bodies import Reply, responses
from omap.credentials import ClientKey
from omap.device import DeviceModel
from omap.operations import Operation, Response
from omap.params import Params
from omap.presets import preset
from omap.regmap import Fault, Request, State
from omap.session import ClientSession
from omap.wire import LINE_BYTES, BufferLayout, Counter, read_counter, read_header, write_counter
from tests.support.sessions import ROOT_KEY, holder


class RingHost:
    """A host that puts command records into one ring and takes responses out of the other.

    Parameters
    ----------
    ring_lines : int
        Lines of each ring.
    params : Params, optional
        The map, TINY by default.
    options
        As for :class:`DeviceModel`.
    """

    def __init__(self, ring_lines: int = 128, params: Params | None = None, **options: Any) -> None:
        params = params or preset("TINY")
        self.layout = BufferLayout(params, ring_lines)
        self.buffer = bytearray(self.layout.size)
        self.device = DeviceModel(params, ROOT_KEY, self.buffer, ring_lines=ring_lines, **options)
        self.request(Request.FORMAT)

    def request(self, request: Request) -> None:
        """Have the device serve a request by register."""
        self.device.registers.write("REQUEST", request)
        self.device.step()
        assert self.device.registers.read("REQUEST") == Request.NONE

    def counter(self, counter: Counter) -> int:
        """Return a counter of the control block."""
        return read_counter(self.buffer, counter)

    def put(self, record: bytes) -> None:
        """Put a command, or some whole lines of it, into the ring."""
        written = self.counter(Counter.COMMANDS_WRITTEN)
        with memoryview(self.buffer) as view:
            self.layout.write_lines(view, self.layout.commands, written, record)
        write_counter(self.buffer, Counter.COMMANDS_WRITTEN, written + len(record) // LINE_BYTES)

    def take(self) -> bytes:
        """Return the next response, which must be there as a whole."""
        taken, written = self.counter(Counter.RESPONSES_TAKEN), self.counter(Counter.RESPONSES_WRITTEN)
        assert taken < written
        with memoryview(self.buffer) as view:
            lines = read_header(self.layout.read_lines(view, self.layout.responses, taken, 1)).lines
            assert taken + lines <= written
            record = self.layout.read_lines(view, self.layout.responses, taken, lines)
        write_counter(self.buffer, Counter.RESPONSES_TAKEN, taken + lines)
        return record

    def exchange(self, *records: bytes) -> list[bytes]:
        """Put commands, let the device work, and return the response to each."""
        for record in records:
            self.put(record)
        while self.device.step():
            pass
        answers = [self.take() for _ in records]
        assert self.counter(Counter.RESPONSES_TAKEN) == self.counter(Counter.RESPONSES_WRITTEN)
        return answers

    def connect(self, client: ClientKey | None = None, replaces: int = 0) -> ClientSession:
        """Return the client's end of a session that has been opened."""
        session = ClientSession(self.layout.params, client or holder(), replaces=replaces)
        session.opened(self.exchange(session.confirm(self.exchange(session.hello())[0]))[0])
        return session

    def run(self, client: ClientSession, *operations: Operation) -> tuple[Reply, list[Response]]:
        """Run operations as one record."""
        reply = client.open(self.exchange(client.seal(operations))[0])
        return reply, responses(client.codec, reply)

    @property
    def fault(self) -> Fault:
        """The fault that the device has latched."""
        assert self.device.state is State.FAULT
        return Fault(self.device.registers.read("FAULT"))
