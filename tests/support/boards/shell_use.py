"""What a host does with a card under cocotb, by the driver that users have; and the model that says what must come.

What blocks here runs in a thread of :func:`cocotb.task.bridge`: the simulation goes on where the host would wait.
"""

import itertools
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from unittest.mock import patch

from cocotb.task import resume

import host.device.driver
import host.device.transport
import host.device.xrt
from host.device.driver import Driver
from host.device.transport import Transport
from host.records import split
from omap.fresh import NO_DEVICE_ID
from omap.operations import Kind, Status
from omap.regmap import BY_NAME, MIRROR, REGISTER_BYTES, RegisterFile, Request, State
from omap.wire import LEAST_RING_LINES, LINE_BYTES, BufferLayout, Counter, read_counter, write_counter
from sim.device.client import open_all, open_session, responses_of, seal_all
from sim.device.map_bench import WORD_BYTES
from tests.support.boards.top_run import KEY
from tests.support.rtl.engines import TIGHT, operations
from tests.support.rtl.prediction import Prediction

PARAMS = TIGHT.params
RING = LEAST_RING_LINES
LAYOUT = BufferLayout(PARAMS, RING)
START, DONE, IDLE, READY = (1 << field.low for field in BY_NAME["CTRL"].fields)
ENDED = DONE | IDLE | READY
KEYS = 12

SETTLED = 1500
"""Cycles in which whatever still is under way ends: pages are written after their replies."""

SECOND = 10_000
"""Cycles that count as a second where the host waits for what may never come."""


@contextmanager
def host_time(shell):
    """Have the host's time be that of the simulation."""
    clock = SimpleNamespace(monotonic=lambda: shell.cycle / SECOND, sleep=lambda _: resume(shell.wait)())
    with ExitStack() as stack:
        for module in (host.device.driver, host.device.transport, host.device.xrt):
            stack.enter_context(patch.object(module, "time", clock))
        yield


class Registers:
    """Registers by name, for threads.

    Parameters
    ----------
    load, store : coroutine functions
        Return the word at an offset; write one there.
    """

    def __init__(self, load, store):
        self.load, self.store = resume(load), resume(store)

    def read(self, name):
        return self.load(BY_NAME[name].offset)

    def write(self, name, value):
        self.store(BY_NAME[name].offset, value)


class BusTransport(Transport):
    """A card whose registers the host reaches."""

    def __init__(self, registers, buffer):
        super().__init__(LAYOUT)
        self.registers, self.buffer = registers, buffer

    def read(self, name):
        return self.registers.read(name)

    def write(self, name, value):
        self.registers.write(name, value)

    def close(self):
        """Leave the card as it is."""


class Use:
    """A started card in use, and the model that is told the same.

    Parameters
    ----------
    shell : Shell
        The card's surroundings, whose noise is the model's too, from the last reset on.
    transport : Transport
        To the card.
    rng : Random
        Of the operations.
    """

    def __init__(self, shell, transport, rng):
        self.shell, self.rng, self.transport = shell, rng, transport
        self.driver = Driver(transport, PARAMS)
        self.steps = []
        self.params = PARAMS

    def format(self):
        """Format by whatever way the transport has."""
        self.driver.format()
        self.steps.append(("request", Request.FORMAT))

    def exchange(self, records):
        """Have the card answer records, and note both."""
        answers = self.driver.exchange(records)
        self.steps += zip(split(records), split(answers), strict=True)
        return answers

    def session(self, count):
        """Open a session in which operations run, in records of drawn sizes, each answered as a dict would."""
        session, table = open_session(self, KEY), {}
        batch, sizes = operations(self.rng, count, PARAMS, KEYS), [self.rng.randint(1, 9) for _ in range(count)]
        answers = self.exchange(b"".join(seal_all(session, batch, sizes)))
        responses = responses_of(session, open_all(session, answers))
        for (kind, key, value), response in zip(batch, responses, strict=True):
            known = table.get(key) if kind != Kind.NOP else None
            assert response.previous == known
            assert response.status == (
                Status.NOT_FOUND if kind in (Kind.GET, Kind.DELETE) and known is None else Status.OK
            )
            if kind == Kind.PUT:
                table[key] = value
            elif kind == Kind.DELETE:
                table.pop(key, None)
        return session

    def leave_in_flight(self, session):
        """Put operations before the card, and do not wait for their answers."""
        records = b"".join(seal_all(session, operations(self.rng, 40, PARAMS, KEYS), [1, 2, 30, 1]))
        assert self.driver.put(records) == len(records)

    def compare(self):
        """Compare answers, rings and all pages with the model's, byte by byte."""
        resume(self.shell.wait)(SETTLED)
        # the card may still wait for the noise of a nonce that the model makes ahead, and nobody has seen
        words = itertools.chain(self.shell.words, itertools.repeat(bytes(WORD_BYTES)))
        model = Prediction(0, PARAMS, RING, root_key=KEY, device_id=NO_DEVICE_ID, taken=words)
        for step, came in self.steps:
            if step == "request":
                model.request(came)
            else:
                assert model.feed(step) == came
        ours, theirs = self.transport.buffer, model.buffer
        for ring, counter in (
            (LAYOUT.commands, Counter.COMMANDS_WRITTEN),
            (LAYOUT.responses, Counter.RESPONSES_WRITTEN),
        ):
            lines = read_counter(ours, counter)
            assert lines == read_counter(theirs, counter)
            used = slice(ring, ring + min(lines, RING) * LINE_BYTES)  # behind it lies what was there before
            assert ours[used] == theirs[used]
        pages = slice(LAYOUT.pages, LAYOUT.size)
        assert ours[pages] == theirs[pages]
        mirror = RegisterFile(ours[MIRROR : MIRROR + REGISTER_BYTES])
        for name in ("STATUS", "FAULT", *(f"DIGEST_{word}" for word in range(8))):
            assert mirror.read(name) == model.device.registers.read(name)


def start(registers, address):
    """Give the card its arguments and start it."""
    registers.write("BUFFER_LOW", address & 0xFFFF_FFFF)
    registers.write("BUFFER_HIGH", address >> 32)
    registers.write("RING_LINES", RING)
    registers.write("CTRL", START)


def ended(registers):
    """Poll CTRL until the kernel has ended; it says once that it is done and ready."""
    assert resume_until(lambda: registers.read("CTRL"), lambda control: control != START) == ENDED
    at_rest(registers)


def at_rest(registers):
    """Check that a kernel has ended, and has said so."""
    assert registers.read("CTRL") == IDLE
    assert registers.read("STATUS") == State.STOPPED


def stays_ended(shell, registers, buffer):
    """Check that a stopped kernel that is started again, without a reset, serves nothing and ends at once."""
    kept = bytes(buffer[LAYOUT.commands :])
    registers.write("CTRL", START)
    ended(registers)
    write_counter(buffer, Counter.COMMANDS_WRITTEN, read_counter(buffer, Counter.COMMANDS_WRITTEN) + 1)
    resume(shell.wait)(SETTLED)
    assert bytes(buffer[LAYOUT.commands :]) == kept


def resume_until(read, good, *, limit=500):
    """Read until what is read is good, and return it."""
    for _ in range(limit):
        value = read()
        if good(value):
            return value
    raise AssertionError(f"the last that was read is {value}")
