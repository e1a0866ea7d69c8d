"""An engine and the device model side by side: the same keys, randomness and records, and what both made of them."""

import random
from collections import deque

from omap.bodies import read_reply
from omap.credentials import CREDENTIAL_BYTES
from omap.operations import Operation
from omap.regmap import MIRROR, REGISTER_BYTES, Fault, RegisterFile, Request, State
from omap.session import NONCE_BYTES
from omap.wire import (
    CLOSE,
    HEADER,
    LEAST_RING_LINES,
    LINE_BYTES,
    PREAMBLE_BYTES,
    Counter,
    Direction,
    Header,
    RecordCodec,
    RecordType,
    read_counter,
    read_header,
    write_counter,
)
from sim.device.engine_run import EngineRun
from sim.models.observer import EventKind
from tests.support.rtl.engines import DELETE, GET, NOP, PUT, TIGHT, engine
from tests.support.rtl.prediction import Prediction, words
from tests.support.rtl.session_bench import ROOT_KEY, Client

REGISTERS = ("IDENTITY", "VERSION", "MODE", "STATUS", "FAULT", *(f"DIGEST_{word}" for word in range(8)))
"""What the model and both places of the engine must agree on."""

PORT = "m_axi_host"
SETTLED = 1500
"""Cycles in which whatever still is under way ends: pages are written after their replies."""


def lines_of(record):
    """Return the lines of a record."""
    return [record[at : at + LINE_BYTES] for at in range(0, len(record), LINE_BYTES)]


class Twin:
    """An engine, and the model that says what must come out of it.

    ``feed`` gives a record to both and returns the model's answer, so that clients can go on at once; the engine lags
    behind by up to a ring. ``rest`` lets it catch up and compares everything that a host can look at.
    """

    def __init__(self, seed, *, ring_lines=LEAST_RING_LINES, config=TIGHT, formatted=True, **options):
        self.rng, self.config, self.params = random.Random(seed), config, config.params
        noise = (int.from_bytes(word, "little") for word in words(seed))
        self.run = EngineRun(engine(config), config, ROOT_KEY, ring_lines=ring_lines, noise=noise, seed=seed, **options)
        self.layout, self.buffer, self.codec = self.run.layout, self.run.buffer, RecordCodec(self.params)
        self.model = Prediction(seed, self.params, ring_lines, journal=config.journal)
        self.got, self.lines = [], []  # records, and their lines
        self.due = deque()  # lines of the commands whose answers were not taken
        self.torn = False  # lines of a response may be missing: their places hold those before
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
        self.forget()

    def ask(self, request, *, by_register=True):
        """Have the engine serve a request."""
        limit = 20_000 + 60 * self.params.pages * self.config.page_beats + self.patience
        if by_register:
            self.run.write("REQUEST", request)
        else:
            self.requests += 1
            write_counter(self.buffer, Counter.REQUESTS, self.requests << 8 | request)
        self.run.until(lambda: self.arrives(lambda: self._served(by_register)), limit=limit)

    def _served(self, by_register):
        """Return whether the engine has served the last request."""
        if by_register:
            return self.run.read("REQUEST") == 0
        return read_counter(self.buffer, Counter.REQUESTS_DONE) == read_counter(self.buffer, Counter.REQUESTS)

    def arrives(self, done):
        """Return whether something is ``done``; what a host does meanwhile goes here."""
        return done()

    @property
    def state(self):
        return State(self.run.read("STATUS"))

    @property
    def fault(self):
        return Fault(self.run.read("FAULT"))

    # -- records ------------------------------------------------------------------------------------------------

    def put(self, record):
        """Put a record before the engine alone, as soon as there is room."""
        written, lines = read_counter(self.buffer, Counter.COMMANDS_WRITTEN), len(record) // LINE_BYTES
        while sum(self.due) + lines > self.layout.ring_lines:
            self.run.until(lambda: self.answered > len(self.lines), limit=self.patience)
            self.take()
        self.layout.write_lines(self.buffer, self.layout.commands, written, record)
        write_counter(self.buffer, Counter.COMMANDS_WRITTEN, written + lines)
        while record:
            self.due.append(self.record_lines(read_header(record)) or 1)
            record = record[LINE_BYTES * self.due[-1] :]

    def record_lines(self, header):
        """Return the lines of a record with this header, 0 if it is malformed."""
        return self.codec.command_lines(header.type, header.lines, header.count)

    def feed(self, record):
        """Give a record to both and return the model's answer; None from a model that has stopped."""
        answer = self.model.feed(record)
        self.put(record)
        return answer

    @property
    def answered(self):
        """Lines of answers that the engine has written."""
        return read_counter(self.buffer, Counter.RESPONSES_WRITTEN)

    @property
    def patience(self):
        """Cycles in which all that was given to the engine is answered."""
        return 40_000 + 200 * sum(self.due)

    @property
    def all_answered(self):
        return self.answered == sum(map(len, self.model.answers)) // LINE_BYTES

    def take(self):
        """Take the engine's answers out of its ring, each of which must be the model's."""
        layout, end = self.layout, self.answered
        data = layout.read_lines(self.buffer, layout.responses, len(self.lines), end - len(self.lines))
        while data:
            wanted = self.model.answers[len(self.got)]
            answer, data = data[: len(wanted)], data[len(wanted) :]
            if self.late:
                assert answer == wanted or self._same(answer, wanted)
            elif self.torn:
                assert answer == self._torn(answer, wanted)
            else:
                assert answer == wanted
            self.got.append(answer)
            self.lines += lines_of(answer)
            self.due.popleft()
        write_counter(self.buffer, Counter.RESPONSES_TAKEN, end)

    def _torn(self, answer, wanted):
        """Return an answer of which each line is the wanted one, or the one that had its place before."""
        here, round_ago = len(self.lines), self.layout.ring_lines
        found = []
        for number, (line, right) in enumerate(zip(lines_of(answer), lines_of(wanted), strict=True), here):
            before = self.lines[number - round_ago] if number >= round_ago else bytes(LINE_BYTES)
            found.append(before if line == before else right)
        return b"".join(found)

    def _same(self, ours, theirs):
        """Compare two responses of an open session, but for the overruns."""
        header, sessions = read_header(theirs), self.model.device._sessions
        nonce = (Direction.RESPONSE << 64 | header.sequence).to_bytes(12, "big")
        opened = []
        for record in (ours, theirs):
            head, body = record[: HEADER.size], record[HEADER.size :]
            reply = read_reply(sessions._table[header.session_index].response.decrypt(nonce, body, head), header.count)
            opened.append((head, reply.sequence, reply.live, reply.text[PREAMBLE_BYTES:]))
        return opened[0] == opened[1]

    def client(self, **options):
        return Client(self.params, self.rng, ROOT_KEY, **options)

    def opened(self, **options):
        """Open a session."""
        client = self.client(**options)
        client.opened(self.feed(client.confirm(self.feed(client.hello()))))
        return client

    def operation(self, client=None, *, kinds=(PUT, PUT, GET, DELETE, NOP), keys=60):
        """Draw an operation. A client with a prefix keeps to it most of the time."""
        kind = self.rng.choice(kinds)
        name = self.names[self.rng.randrange(keys)]
        if client and self.rng.random() < 0.8:
            name = client.credential.prefix + name[len(client.credential.prefix) :]
        value = self.rng.randbytes(self.params.value_bytes) if kind == PUT else b""
        if value:
            self.tuples.add(name + value)
        return Operation(kind, name if kind else b"", value)

    def record(self, client, count=1, **options):
        """Return a record of drawn operations."""
        return client.seal([self.operation(client, **options) for _ in range(count)])

    def sizes(self, number):
        """Cut a number of operations into records of drawn lengths."""
        most, rng = self.codec.most_operations, self.rng
        while number:
            size = min(number, rng.choice([1, 1, 2, rng.randint(1, 8), rng.randint(1, most), most]))
            number -= size
            yield size

    def send(self, clients, number, *, most=None, **options):
        """Send drawn operations in drawn sessions, ``most`` in a record; the model's answers must come."""
        for size in self.sizes(number) if most is None else [most] * (number // most):
            self.feed(self.record(self.rng.choice(clients), size, **options))

    def close(self, client):
        """Send the last record of a session; what follows the end in this record runs."""
        operations = [self.operation(client) for _ in range(self.rng.choice([0, 0, 1, 5]))]
        operations.insert(self.rng.randint(0, len(operations)), Operation(CLOSE))
        self.feed(client.seal(operations))

    def stray(self, kind):
        """Send a record that must be refused, and changes nothing but which handshakes are pending."""
        rng, lines, codec = self.rng, 1, self.codec
        match kind:
            case "session":
                count = rng.randint(1, codec.most_operations)
                lines = codec.lines(count)
                record = Header(RecordType.DATA, rng.randrange(256), lines, count, 1 << 20, rng.getrandbits(40))
            case "type":
                record = Header(rng.choice([0, 4, 5, 255]), 1, 1, 1, rng.getrandbits(32), rng.getrandbits(64))
            case "lines":
                count = rng.randint(1, codec.most_operations)
                wrong = (codec.lines(count) + rng.randint(1, 200)) % 256
                record = Header(RecordType.DATA, 0, wrong, count, rng.getrandbits(32), rng.getrandbits(64))
            case "confirm":
                record = Header(RecordType.CONFIRM, 0, 1, 0, 1 << 21, 0)
            case "credential":
                hello = bytearray(self.client().hello())
                place = HEADER.size + NONCE_BYTES
                hello[place : place + CREDENTIAL_BYTES] = rng.choice(
                    [b"\0\0", b"\4\0", b"\3" + bytes([self.params.key_bytes + 1]), b"\3\1ab"]
                ).ljust(CREDENTIAL_BYTES, b"\0")
                self.feed(bytes(hello))
                return
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
        self.feed(record.pack() + rng.randbytes(lines * LINE_BYTES - HEADER.size))

    # -- comparison ---------------------------------------------------------------------------------------------

    def rest(self):
        """Let the engine answer everything and come to rest, and compare it with the model."""
        self.run.until(lambda: self.all_answered, limit=self.patience)
        self.run.step(SETTLED)
        self.take()
        self.compare()

    def forget(self):
        """Let go of what was compared, for long runs at rest."""
        self.model.observer.clear()
        self.run.bench.observer.clear()

    def compare(self):
        """Compare all that a host can look at, and the pages touched since the last request."""
        layout, ours, theirs = self.layout, self.buffer, memoryview(self.model.buffer)
        assert ours[layout.commands : layout.responses] == theirs[layout.commands : layout.responses]
        if not self.late:
            assert ours[layout.responses : layout.pages] == theirs[layout.responses : layout.pages]
        assert ours[layout.pages :] == theirs[layout.pages :]
        for counter in (Counter.COMMANDS_FETCHED, Counter.RESPONSES_WRITTEN, Counter.JOURNAL_WRITTEN):
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
        assert mirror.read("RING_LINES") == self.run.read("RING_LINES") == self.layout.ring_lines

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
