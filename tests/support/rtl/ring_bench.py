# amaranth: UnusedElaboratable=no
"""A ring port on host memory, the host's side of its rings, and the engine between them."""

import random
from functools import cache

import numpy as np
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from hypothesis import strategies as st

from omap.presets import preset
from omap.wire import (
    HEADER,
    LEAST_RING_LINES,
    BufferLayout,
    Counter,
    Header,
    RecordCodec,
    RecordType,
    read_counter,
    read_header,
    write_counter,
)
from rtl.constants import RING_IDS
from rtl.memory.host_port import HostPort
from rtl.rings.ring_port import RingPort
from rtl.stream.ways import through
from sim.bench.compiled import Design
from sim.models.memory import Memory
from sim.models.observer import EventKind
from sim.models.timing import HostTiming

BASE = 3 << 35
MODES = {"hbm_private": True, "attested": False, "hardware": True}
CALM = HostTiming(quantiles=((0.0, 600.0), (1.0, 600.0)))
ROUGH = HostTiming(quantiles=((0.0, 300.0), (0.5, 600.0), (1.0, 1500.0)), ready_withheld=0.4, valid_withheld=0.3)
LINES = {"TINY": 16, "WIDE": 64}
LEAST = LEAST_RING_LINES

ROUNDS = {
    "ring": st.sampled_from([LEAST, 2 * LEAST, 1024]),
    "timing": st.sampled_from([CALM, ROUGH, HostTiming(reads=2, writes=1)]),
    "seed": st.integers(0, 2**32 - 1),
    "idle": st.tuples(*[st.sampled_from([0.0, 0.7])] * 2),
    "chunk": st.sampled_from([3, 20, 200]),
}
"""What is drawn for records that go round the rings: a ring's lines, times of host and engine, cycles between looks."""


class Rig(wiring.Component):
    """The ring port on a host port, whose page client is left to the test."""

    OWN = ("run", "serve", "base", "ring_lines", "o_record", "i_record", "i_mirror", "o_request", "i_request_done")
    PAGE = ("i_page_read", "o_page_data", "i_page_write", "i_page_lines", "o_page_written")

    def __init__(self, name, journal=False, early=False):
        lines = LINES[name]
        self.judges = early
        self.host = HostPort(page_ids=32, ring_ids=RING_IDS, max_lines=lines)
        self.ring = RingPort(preset(name), max_lines=lines, journal=journal, early=early, **MODES)
        own = (*self.OWN, "idle", *(("i_journal", "journal_room", "journal_fits", "journal_told") if journal else ()))
        self.owners = dict.fromkeys((*self.PAGE, "m_axi"), self.host) | dict.fromkeys(own, self.ring)
        members = {name: owner.signature.members[name] for name, owner in self.owners.items()}
        counts = {"lie": In(1), "early": Out(16), "usual": Out(16)}
        super().__init__(members | {"error": Out(1)} | (counts if early else {}))

    def elaborate(self, platform):
        m = Module()
        m.submodules.host, m.submodules.ring = self.host, self.ring
        through(m, self, {name: self.owners[name] for name in self.owners if not (self.judges and name == "o_record")})
        for role, port in (("read", "o_read"), ("write", "o_write"), ("lines", "o_lines")):
            wiring.connect(m, getattr(self.ring, port), getattr(self.host, f"i_ring_{role}"))
        wiring.connect(m, self.host.o_ring_data, self.ring.i_data)
        wiring.connect(m, self.host.o_ring_written, self.ring.i_written)
        m.d.comb += self.error.eq(self.host.error)
        if self.judges:
            self._judge(m)
        return m

    def _judge(self, m):
        """Judge an early record when its last beat has left. If the test says that it is a lie, it goes no further."""
        ring, left, before = self.ring, Signal(), Signal()
        beats, lie = ring.o_record, Signal()
        m.d.comb += [
            lie.eq(ring.early & self.lie),
            self.o_record.p.eq(beats.p),
            self.o_record.valid.eq(beats.valid & ~lie),
            beats.ready.eq(self.o_record.ready | lie),
            ring.sure.eq(left & ~self.lie),
            ring.again.eq(left & self.lie),
        ]
        m.d.sync += [
            left.eq(ring.early & beats.valid & beats.ready & beats.p.last),
            before.eq(ring.early),
            self.early.eq(self.early + (ring.early & ~before)),
            self.usual.eq(self.usual + (ring.o_read.valid & ring.o_read.ready & (ring.o_read.p.id == 0))),
        ]


@cache
def design(name, journal=False):
    return Design(Rig(name, journal))


@cache
def design_early(name):
    return Design(Rig(name, early=True))


class Host:
    """The host's side of the rings, and the engine between them: it answers a record by its inverse, or shorter."""

    journal = False

    def __init__(self, name, ring_lines, *, timing=CALM, seed=0, serve=1):
        self.layout = BufferLayout(preset(name), ring_lines)
        self.codec = RecordCodec(preset(name))
        self.rng = random.Random(seed)
        self.bench = self._design(name).bench(seed=seed)
        self.memory = Memory(self.layout.pages + (1 << 20), BASE)
        self.buffer = memoryview(self.memory.data)
        self.bench.memory("m_axi", self.memory, timing)
        for port, value in (("base", BASE), ("ring_lines", ring_lines), ("run", 1), ("serve", serve)):
            self.bench.set(port, value)
        self.sent = self.written = self.taken = self.saved = 0
        self.beats = []
        self.seen, self.answers, self.responses = [], [], []
        self.shorter = lambda record: False

    def _design(self, name):
        return design(name, self.journal)

    def counter(self, counter):
        return read_counter(self.buffer, counter)

    def record(self, count=None, *, type=RecordType.DATA):
        """Return a drawn record of ``count`` operations, or of a drawn number."""
        most = self.codec.most_operations
        count = 0 if type != RecordType.DATA else count or self.rng.choice([1, 1, 2, self.rng.randint(1, most), most])
        lines = next(n for n in range(1, 80) if self.codec.command_lines(type, n, count))
        header = Header(type, self.rng.randrange(256), lines, count, self.rng.getrandbits(32), self.rng.getrandbits(64))
        return header.pack() + self.rng.randbytes(64 * lines - HEADER.size)

    def records_of(self, lines):
        """Return drawn records, handshakes among them, of at least so many lines."""
        types, records = [RecordType.HELLO, RecordType.CONFIRM, *[RecordType.DATA] * 8], []
        while sum(map(len, records)) < 64 * lines:
            records.append(self.record(type=self.rng.choice(types)))
        return records

    def ring(self):
        """Tell the device what is written."""
        write_counter(self.buffer, Counter.COMMANDS_WRITTEN, self.written)

    def submit(self, records):
        """Put as many records into the ring as there is room for."""
        for record in records[self.sent :]:
            end, ring = self.written + len(record) // 64, self.layout.ring_lines
            if end - self.counter(Counter.COMMANDS_FETCHED) > ring or end - self.saved - self.taken > ring:
                break
            self.layout.write_lines(self.buffer, self.layout.commands, self.written, record)
            self.written, self.sent = end, self.sent + 1
        self.ring()

    def collect(self):
        """Take responses out of the ring, as far as the device says they are there."""
        end = self.counter(Counter.RESPONSES_WRITTEN)
        assert end - self.taken <= self.layout.ring_lines
        data = self.layout.read_lines(self.buffer, self.layout.responses, self.taken, end - self.taken)
        while data:
            answer = self.answers[len(self.responses)]
            assert len(data) >= len(answer)  # whole ones alone are told of
            self.saved += (len(self.seen[len(self.responses)]) - len(answer)) // 64
            self.responses.append(data[: len(answer)])
            data = data[len(answer) :]
        self.taken = end
        write_counter(self.buffer, Counter.RESPONSES_TAKEN, self.taken)

    def records(self):
        """Return the records that came out of the port since the last call."""
        self.beats += self.bench.sink("o_record").take()
        fresh, ends = [], [at for at, beat in enumerate(self.beats) if beat >> 128 & 1]
        begins = [0, *(at + 1 for at in ends)]
        for begin, end in zip(begins, ends, strict=False):
            record = b"".join((beat & (1 << 128) - 1).to_bytes(16, "little") for beat in self.beats[begin : end + 1])
            lines = self.codec.command_lines(
                *(lambda header: (header.type, header.lines, header.count))(read_header(record))
            )
            assert len(record) == 64 * (lines or 1)
            assert {beat >> 129 for beat in self.beats[begin : end + 1]} == {int(lines == 0)}
            fresh.append(record)
        self.beats = self.beats[begins[len(ends)] :]
        self.seen += fresh
        return fresh

    def answer(self, records):
        for record in records:
            reply = bytes(byte ^ 0xFF for byte in (record[:64] if self.shorter(record) else record))
            self.answers.append(reply)
            self.respond(record, reply)

    def respond(self, record, reply):
        """Give the port the response to a record."""
        self.push("i_record", reply)

    def push(self, source, data):
        """Give the port a record."""
        beats = [data[at : at + 16] for at in range(0, len(data), 16)]
        self.bench.source(source).push(
            [{"data": int.from_bytes(beat, "little"), "last": k == len(beats) - 1} for k, beat in enumerate(beats)]
        )

    def exchange(self, records, *, limit, chunk=lambda: 20):
        """Send the records that were not sent yet and take all responses."""
        while len(self.responses) < len(records):
            assert self.bench.cycle < limit, f"{len(self.seen)} records and {len(self.responses)} responses"
            self.submit(records)
            self.bench.run(chunk())
            self.answer(self.records())
            self.collect()
        assert self.seen == records
        assert self.responses == self.answers

    def events(self, kind, low, high):
        """Return the accesses to a part of the buffer."""
        events = self.bench.observer.events(kinds={kind})
        address = events["address"].astype(np.int64) - BASE
        return events[(address >= low) & (address < high)]

    def reads(self, low, high):
        """Return when something in a part of the buffer was read."""
        return self.events(EventKind.READ, low, high)["cycle"]


class EarlyHost(Host):
    """A host of a port that reads records early."""

    def __init__(self, name, ring_lines, *, serve=1, **options):
        super().__init__(name, ring_lines, serve=0, **options)
        self.bench.set("lie", 0)
        self.bench.run(4)  # where the rings lie is known before they are served
        self.bench.set("serve", serve)

    def _design(self, name):
        return design_early(name)

    def submit_late(self, record):
        """Put a record into the ring after the counters have counted it, as if they had overtaken it."""
        at, self.written, self.sent = self.written, self.written + len(record) // 64, self.sent + 1
        self.ring()
        self.bench.run(45)
        self.layout.write_lines(self.buffer, self.layout.commands, at, record)


class JournalHost(Host):
    """A host that takes a journal, too, and an engine that writes one: for each record that is answered in full.

    The host takes no more than ``eager`` lines of the journal at a time.
    """

    journal = True

    def __init__(self, *args, eager=1 << 16, **options):
        self.eager = eager
        self.begun, self.given, self.held = b"", [], []  # given: the journal's records, b"" for a response without one
        self.journal_beats = self.journal_taken = 0
        self.got_journal = b""
        super().__init__(*args, **options)

    def begin(self, data):
        """Give the port what begins a journal."""
        self.begun += data
        self._give(data)

    def _give(self, data):
        self.push("i_journal", data)
        self.journal_beats += len(data) // 16

    def respond(self, record, reply):
        journalled = read_header(record).type == RecordType.DATA and len(reply) == len(record)
        entry = self.rng.randbytes(len(record)) if journalled else b""
        self.given.append(entry)
        if entry:
            self._give(entry)
        self.held.append((self.journal_beats, reply))

    def collect(self):
        while self.held and self.bench.source("i_journal").transfers >= self.held[0][0]:
            self.push("i_record", self.held.pop(0)[1])
        self.take_journal()
        super().collect()
        # what the host has been told of was written before
        told = self.given[: len(self.responses)]
        wanted = b"".join([self.begun, *told]) if told else b""
        assert self.counter(Counter.JOURNAL_WRITTEN) * 64 >= len(wanted)

    def take_journal(self):
        """Take some of the journal."""
        written = self.counter(Counter.JOURNAL_WRITTEN)
        assert written - self.journal_taken <= self.layout.ring_lines
        lines = min(written - self.journal_taken, self.eager)
        self.got_journal += self.layout.read_lines(self.buffer, self.layout.journal, self.journal_taken, lines)
        self.journal_taken += lines
        assert (self.begun + b"".join(self.given)).startswith(self.got_journal)
        write_counter(self.buffer, Counter.JOURNAL_TAKEN, self.journal_taken)
