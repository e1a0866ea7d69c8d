"""An engine and the device model side by side: the same keys, randomness and records, and what both made of them."""

import random
from itertools import count

from omap.device import DeviceModel
from omap.operations import Operation
from omap.regmap import MIRROR, REGISTER_BYTES, Fault, RegisterFile, Request, State
from omap.trace import Observer
from omap.wire import (
    CLOSE,
    HEADER,
    BufferLayout,
    Counter,
    Direction,
    Header,
    RecordType,
    read_counter,
    read_header,
    write_counter,
)
from sim.device.engine_run import EngineRun
from sim.device.known import DEVICE_ID
from sim.models.observer import EventKind
from tests.support.rtl.engines import DELETE, GET, NOP, PUT, TIGHT, engine
from tests.support.rtl.session_bench import ROOT_KEY, Client

REGISTERS = ("IDENTITY", "VERSION", "MODE", "STATUS", "FAULT", *(f"DIGEST_{word}" for word in range(8)))
"""What the model and both places of the engine must agree on."""

PORT = "m_axi_host"
SETTLED = 1500
"""Cycles in which whatever still is under way ends: pages are written after their replies."""


def words(seed):
    """Yield the 16-byte words of noise of a run, for ever."""
    for number in count():
        yield random.Random(f"{seed} {number}").randbytes(16)


class Prediction:
    """The device model on drawn randomness, and its answers in their order.

    Parameters
    ----------
    seed : int
        Of the randomness.
    params : Params
        The map.
    ring_entries : int
        Records in each ring.
    root_key : bytes
        Shared with the clients.
    device_id : bytes, optional
        Of the device.
    taken : iterable of bytes, optional
        Words of noise to use instead of those of the seed.
    """

    def __init__(self, seed, params, ring_entries, *, root_key=ROOT_KEY, device_id=DEVICE_ID, taken=None):
        self.layout = BufferLayout(params, ring_entries)
        self.buffer = bytearray(self.layout.size)
        self._words = words(seed) if taken is None else iter(taken)
        self.observer = Observer()
        self.device = DeviceModel(
            params,
            root_key,
            self.buffer,
            ring_entries=ring_entries,
            observer=self.observer,
            device_id=device_id,
            noise=lambda: next(self._words) + next(self._words),
        )
        self.answers = []

    def request(self, request):
        """Serve a request."""
        self.device.registers.write("REQUEST", request)
        self.device.step()

    def feed(self, record):
        """Take a record and return the answer; None from a device that has stopped."""
        number = read_counter(self.buffer, Counter.COMMANDS_WRITTEN)
        self.buffer[self.layout.entry(self.layout.commands, number)] = record
        write_counter(self.buffer, Counter.COMMANDS_WRITTEN, number + 1)
        self.device.step()
        if read_counter(self.buffer, Counter.RESPONSES_WRITTEN) <= number:
            return None
        write_counter(self.buffer, Counter.RESPONSES_TAKEN, number + 1)
        self.answers.append(bytes(self.buffer[self.layout.entry(self.layout.responses, number)]))
        return self.answers[-1]


class Twin:
    """An engine, and the model that says what must come out of it.

    ``feed`` gives a record to both and returns the model's answer, so that clients can go on at once; the engine lags
    behind by up to a ring. ``rest`` lets it catch up and compares everything that a host can look at.
    """

    def __init__(self, seed, *, ring_entries=8, config=TIGHT, formatted=True, **options):
        self.rng, self.config, self.params = random.Random(seed), config, config.params
        noise = (int.from_bytes(word, "little") for word in words(seed))
        self.run = EngineRun(
            engine(config), config, ROOT_KEY, ring_entries=ring_entries, noise=noise, seed=seed, **options
        )
        self.layout, self.buffer = self.run.layout, self.run.buffer
        self.model = Prediction(seed, self.params, ring_entries)
        self.got = []
        self.torn = False  # a response may be missing: its place holds the one before
        self.late = False  # replies may tell overruns, which a model without time has not
        self.requests = 0
        self.names = [self.rng.randbytes(self.params.key_bytes) for _ in range(60)]
        self.tuples = set()  # key and value, one after the other, as in commands and in pages
        if formatted:
            self.request(Request.FORMAT)

    # -- requests -----------------------------------------------------------------------------------------------

    def request(self, request, *, by_register=True):
        """Have both serve a request while nothing is under way."""
        self.model.request(request)
        self.ask(request, by_register=by_register)
        self.model.observer.clear()
        self.run.bench.observer.clear()

    def ask(self, request, *, by_register=True, limit=20000):
        """Have the engine serve a request."""
        if by_register:
            self.run.write("REQUEST", request)
            self.run.until(lambda: self.run.read("REQUEST") == 0, limit=limit)
        else:
            self.requests += 1
            number = self.requests << 8 | request
            write_counter(self.buffer, Counter.REQUESTS, number)
            self.run.until(lambda: read_counter(self.buffer, Counter.REQUESTS_DONE) == number, limit=limit)

    @property
    def state(self):
        return State(self.run.read("STATUS"))

    @property
    def fault(self):
        return Fault(self.run.read("FAULT"))

    # -- records ------------------------------------------------------------------------------------------------

    def put(self, record):
        """Put a record before the engine alone, as soon as there is room."""
        written = read_counter(self.buffer, Counter.COMMANDS_WRITTEN)
        if written - len(self.got) >= self.layout.ring_entries:
            self.run.until(lambda: self.answered > len(self.got), limit=40000)
            self.take()
        self.buffer[self.layout.entry(self.layout.commands, written)] = record
        write_counter(self.buffer, Counter.COMMANDS_WRITTEN, written + 1)

    def feed(self, record):
        """Give a record to both and return the model's answer; None from a model that has stopped."""
        answer = self.model.feed(record)
        self.put(record)
        return answer

    @property
    def answered(self):
        return read_counter(self.buffer, Counter.RESPONSES_WRITTEN)

    def take(self):
        """Take the engine's answers out of its ring, each of which must be the model's."""
        first, end = len(self.got), self.answered
        for number in range(first, end):
            self.got.append(bytes(self.buffer[self.layout.entry(self.layout.responses, number)]))
        write_counter(self.buffer, Counter.RESPONSES_TAKEN, end)
        wrong = [number for number in range(first, end) if self.got[number] != self.model.answers[number]]
        if self.late:
            assert all(self._same(self.got[number], self.model.answers[number]) for number in wrong)
            return
        assert not wrong or self.torn
        assert all(self.got[number] == self.model.answers[number - self.layout.ring_entries] for number in wrong)

    def _same(self, ours, theirs):
        """Compare two responses of an open session, but for the overruns."""
        header, sessions = read_header(theirs), self.model.device._sessions
        nonce = (Direction.RESPONSE << 64 | header.sequence).to_bytes(12, "big")
        opened = []
        for record in (ours, theirs):
            head, body = record[: HEADER.size], record[HEADER.size :]
            plaintext = sessions._table[header.session_index].response.decrypt(nonce, body, head)
            opened.append((head, sessions.codec.unpack_reply(plaintext)._replace(overruns=0)))
        return opened[0] == opened[1]

    def client(self, **options):
        return Client(self.params, self.rng, ROOT_KEY, **options)

    def opened(self, **options):
        """Open a session."""
        client = self.client(**options)
        client.opened(self.feed(client.confirm(self.feed(client.hello()))))
        return client

    def operation(self, *, kinds=(PUT, PUT, GET, DELETE, NOP), keys=60):
        """Draw an operation."""
        kind = self.rng.choice(kinds)
        name = self.names[self.rng.randrange(keys)]
        value = self.rng.randbytes(self.params.value_bytes) if kind == PUT else b""
        if value:
            self.tuples.add(name + value)
        return Operation(kind, name if kind else b"", value)

    def send(self, clients, number, **options):
        """Send drawn operations in drawn sessions; those that the model answers must be answered so."""
        for _ in range(number):
            self.feed(self.rng.choice(clients).seal(self.operation(**options)))

    def close(self, client):
        """Send the last record of a session."""
        self.feed(client.seal(Operation(CLOSE)))

    def stray(self, kind):
        """Send a record that must be refused, and changes nothing but which handshakes are pending."""
        rng, size = self.rng, self.layout.record_bytes
        match kind:
            case "session":
                record = Header(RecordType.DATA, rng.randrange(256), rng.getrandbits(16), 1 << 20, rng.getrandbits(40))
            case "type":
                record = Header(rng.choice([0, 4, 5, 255]), 1, 2, rng.getrandbits(32), rng.getrandbits(64))
            case "confirm":
                record = Header(RecordType.CONFIRM, 0, 0, 1 << 21, 0)
            case "key":
                client = Client(self.params, rng, ROOT_KEY)
                confirm = bytearray(client.confirm(self.feed(client.hello())))
                confirm[16 + rng.randrange(16)] ^= 1 << rng.randrange(8)
                self.feed(bytes(confirm))
                return
            case "handshake":
                client = self.client()
                confirm = client.confirm(self.feed(client.hello()))
                client.opened(self.feed(confirm))
                self.feed(confirm)  # its handshake is over
                return
        self.feed(record.pack() + rng.randbytes(size - 16))

    # -- comparison ---------------------------------------------------------------------------------------------

    def rest(self):
        """Let the engine answer everything and come to rest, and compare it with the model."""
        self.run.until(lambda: self.answered == len(self.model.answers), limit=40000)
        self.run.step(SETTLED)
        self.take()
        self.compare()

    def compare(self):
        """Compare all that a host can look at, and the pages touched since the last request."""
        layout, ours, theirs = self.layout, self.buffer, memoryview(self.model.buffer)
        assert ours[layout.commands : layout.responses] == theirs[layout.commands : layout.responses]
        if not self.late:
            assert ours[layout.responses : layout.pages] == theirs[layout.responses : layout.pages]
        assert ours[layout.pages :] == theirs[layout.pages :]
        for counter in (Counter.COMMANDS_FETCHED, Counter.RESPONSES_WRITTEN):
            assert read_counter(ours, counter) == read_counter(theirs, counter)
        self.compare_registers()
        seen = self.run.bench.observer.trace(
            port=PORT,
            base=self.run.memory.base + layout.pages,
            page_bytes=self.params.page_bytes,
            pages=self.params.pages,
        )
        wanted = self.model.observer.trace()
        assert seen.address.tolist() == wanted.address.tolist()
        assert seen.write.tolist() == wanted.write.tolist()

    def compare_registers(self):
        """Compare the registers of both, on the bus and in the buffer."""
        wanted = {name: self.model.device.registers.read(name) for name in REGISTERS}
        assert {name: self.run.read(name) for name in REGISTERS} == wanted
        mirror = RegisterFile(self.buffer[MIRROR : MIRROR + REGISTER_BYTES])
        assert {name: mirror.read(name) for name in REGISTERS} == wanted
        assert mirror.read("RING_ENTRIES") == self.run.read("RING_ENTRIES") == self.layout.ring_entries

    def in_the_clear(self):
        """Return the tuples sent that lie in the buffer as they are."""
        buffer = bytes(self.buffer)
        return {one for one in self.tuples if one in buffer}

    # -- after the end ------------------------------------------------------------------------------------------

    def latched(self, fault, *, limit=40000, cycles=256, silent=False, after=0):
        """Wait for a fault; it must be this one, whatever was answered must be right, and no key may be left."""
        self.run.until(lambda: self.state is State.FAULT, limit=limit, cycles=cycles)
        assert self.fault is fault
        self.run.step(after)
        self.is_dead(State.FAULT, fault, silent=silent)

    def is_dead(self, state, fault=Fault.NONE, *, silent=False):
        """Nothing that is done to the engine now makes it do anything but serve requests, in vain."""
        run = self.run
        run.step(SETTLED)
        if not silent:
            self.take()
        assert not self.in_the_clear()
        kept, hbm = bytes(self.buffer), [port.memory.data.copy() for port in run.hbm]
        run.bench.observer.clear()
        for _ in range(2):
            write_counter(
                self.buffer, Counter.COMMANDS_WRITTEN, read_counter(self.buffer, Counter.COMMANDS_WRITTEN) + 1
            )
        if state is State.FAULT:  # a kernel that was stopped has ended, and serves no request
            for request in (Request.FORMAT, Request.STOP):
                for by_register in (True, False):
                    if by_register or not silent:
                        self.ask(request, by_register=by_register)
                        assert (self.state, self.fault) == (state, fault)
        run.step(4 * SETTLED)
        assert (self.state, self.fault) == (state, fault)
        allowed = {Counter.REQUESTS_DONE, Counter.REQUESTS, Counter.COMMANDS_WRITTEN, MIRROR}
        now = bytes(self.buffer)
        assert {at // 64 * 64 for at in range(len(now)) if now[at] != kept[at]} <= allowed
        assert all((port.memory.data == data).all() for port, data in zip(run.hbm, hbm, strict=True))
        base = run.memory.base
        events = run.bench.observer.events(port=PORT)
        places = {
            kind: set((events[events["kind"] == kind]["address"] - base).tolist())
            for kind in (EventKind.READ, EventKind.WRITE)
        }
        assert places[EventKind.READ] <= {Counter.REQUESTS}
        assert places[EventKind.WRITE] <= {Counter.REQUESTS_DONE, MIRROR}
        if not silent:
            mirror = RegisterFile(self.buffer[MIRROR : MIRROR + REGISTER_BYTES])
            assert (mirror.read("STATUS"), mirror.read("FAULT")) == (state, fault)
