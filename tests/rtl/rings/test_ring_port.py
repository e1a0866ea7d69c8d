# amaranth: UnusedElaboratable=no
"""The ring port on host memory: what a host puts into the rings comes out, and it learns of all that is written."""

import random
from functools import cache

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.errors import ParamsError
from omap.presets import preset
from omap.regmap import MIRROR, REGISTER_BYTES, Fault, RegisterFile, State, identity
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
from rtl.rings.framing import command_shape, read_shape
from rtl.rings.ring_port import RingPort
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


class Rig(wiring.Component):
    """The ring port on a host port, whose page client is left to the test."""

    OWN = ("run", "serve", "base", "ring_lines", "o_record", "i_record", "i_mirror", "o_request", "i_request_done")
    PAGE = ("i_page_read", "o_page_data", "i_page_write", "i_page_lines", "o_page_written")

    def __init__(self, name):
        lines = LINES[name]
        self.host = HostPort(page_ids=32, ring_ids=RING_IDS, max_lines=lines)
        self.ring = RingPort(preset(name), max_lines=lines, **MODES)
        self.owners = dict.fromkeys((*self.PAGE, "m_axi"), self.host) | dict.fromkeys((*self.OWN, "idle"), self.ring)
        members = {name: owner.signature.members[name] for name, owner in self.owners.items()}
        super().__init__(members | {"error": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.host, m.submodules.ring = self.host, self.ring
        for name, owner in self.owners.items():
            outer, inner = getattr(self, name), getattr(owner, name)
            member = owner.signature.members[name]
            if member.is_signature:
                wiring.connect(m, wiring.flipped(outer), inner)
            elif member.flow is In:
                m.d.comb += inner.eq(outer)
            else:
                m.d.comb += outer.eq(inner)
        for role, port in (("read", "o_read"), ("write", "o_write"), ("lines", "o_lines")):
            wiring.connect(m, getattr(self.ring, port), getattr(self.host, f"i_ring_{role}"))
        wiring.connect(m, self.host.o_ring_data, self.ring.i_data)
        wiring.connect(m, self.host.o_ring_written, self.ring.i_written)
        m.d.comb += self.error.eq(self.host.error)
        return m


@cache
def design(name):
    return Design(Rig(name))


class Host:
    """The host's side of the rings, and the engine between them: it answers a record by its inverse, or shorter."""

    def __init__(self, name, ring_lines, *, timing=CALM, seed=0, serve=1):
        self.layout = BufferLayout(preset(name), ring_lines)
        self.codec = RecordCodec(preset(name))
        self.rng = random.Random(seed)
        self.bench = design(name).bench(seed=seed)
        self.memory = Memory(self.layout.pages + (1 << 20), BASE)
        self.buffer = memoryview(self.memory.data)
        self.bench.memory("m_axi", self.memory, timing)
        for port, value in (("base", BASE), ("ring_lines", ring_lines), ("run", 1), ("serve", serve)):
            self.bench.set(port, value)
        self.sent = self.written = self.taken = self.saved = 0
        self.beats = []
        self.seen, self.answers, self.responses = [], [], []
        self.shorter = lambda record: False

    def counter(self, counter):
        return read_counter(self.buffer, counter)

    def record(self, count=None, *, type=RecordType.DATA):
        """Return a drawn record of ``count`` operations, or of a drawn number."""
        most = self.codec.most_operations
        count = 0 if type != RecordType.DATA else count or self.rng.choice([1, 1, 2, self.rng.randint(1, most), most])
        lines = next(n for n in range(1, 80) if self.codec.command_lines(type, n, count))
        header = Header(type, self.rng.randrange(256), lines, count, self.rng.getrandbits(32), self.rng.getrandbits(64))
        return header.pack() + self.rng.randbytes(64 * lines - HEADER.size)

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
            beats = [reply[at : at + 16] for at in range(0, len(reply), 16)]
            self.bench.source("i_record").push(
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


@pytest.mark.parametrize("name", ["TINY", "WIDE"])
def test_records_and_responses_go_round_the_rings_in_order(name):
    assert design(name)

    @settings(max_examples=25)
    @given(
        ring=st.sampled_from([LEAST, 2 * LEAST, 1024]),
        timing=st.sampled_from([CALM, ROUGH, HostTiming(reads=2, writes=1)]),
        seed=st.integers(0, 2**32 - 1),
        idle=st.tuples(*[st.sampled_from([0.0, 0.7])] * 2),
        chunk=st.sampled_from([3, 20, 200]),
        shorter=st.sampled_from([0.0, 0.3, 1.0]),
    )
    def check(ring, timing, seed, idle, chunk, shorter):
        host, rng = Host(name, ring, timing=timing, seed=seed), random.Random(seed)
        host.bench.sink("o_record", idle=idle[0])
        host.bench.source("i_record", idle=idle[1])
        host.shorter = lambda record: rng.random() < shorter
        types = [RecordType.HELLO, RecordType.CONFIRM, *[RecordType.DATA] * 8]
        records, lines = [], rng.randrange(1, 3 * ring)
        while sum(map(len, records)) < 64 * lines:
            records.append(host.record(type=rng.choice(types)))
        host.exchange(records, limit=100_000, chunk=lambda: rng.randint(1, chunk))
        host.bench.run_until(limit=9000, values={"idle": 1})
        assert host.counter(Counter.COMMANDS_FETCHED) == sum(map(len, records)) // 64
        assert host.counter(Counter.RESPONSES_WRITTEN) == sum(map(len, host.answers)) // 64
        assert not host.bench.get("error")

    check()


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), sound=st.floats(0, 1))
def test_a_record_that_does_not_fit_its_header_counts_as_one_line(seed, sound):
    host, rng = Host("TINY", 256, seed=seed), random.Random(seed)
    records, lines = [], 0
    while lines < 200:
        record = host.record()
        if rng.random() > sound:
            header = read_header(record)
            change = {
                "type": rng.choice([0, 1, 2, 4, 5, rng.randrange(256)]),
                "lines": rng.choice([0, 1, 2, header.lines ^ 1, 64, 65, 255]),
                "count": rng.choice([0, header.count ^ 1, 254, 255, rng.randrange(256)]),
            }
            name = rng.choice(list(change))
            header = header._replace(**{name: change[name]})
            record = header.pack() + record[16:]
            if not host.codec.command_lines(header.type, header.lines, header.count):
                record = record[:64]
        records.append(record)
        lines += len(record) // 64
    host.exchange(records, limit=30_000)


@pytest.mark.parametrize("name", ["TINY", "WIDE"])
def test_every_header_is_read_as_the_reference_reads_it(name):
    codec, line = RecordCodec(preset(name)), Signal(512)
    shape = Signal(command_shape(preset(name)))
    m = Module()
    m.d.comb += [shape[field].eq(value) for field, value in read_shape(preset(name), line).items()]
    rng = random.Random(3)

    async def bench(context):
        for type_ in (0, 1, 2, 3, 4, 255):
            for count in range(256):
                for lines in {0, 1, 2, 255, codec.lines(count), codec.lines(count) + 1, rng.randrange(256)} - {
                    *range(256, 4096)
                }:
                    header = Header(type_, 7, lines, count, rng.getrandbits(32), rng.getrandbits(64)).pack()
                    context.set(line, int.from_bytes(header + rng.randbytes(48), "little"))
                    wanted = codec.command_lines(type_, lines, count)
                    found = context.get(shape.lines), context.get(shape.malformed)
                    assert found == (wanted or 1, not wanted), (type_, count, lines)

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()


def test_a_record_waits_for_its_last_line():
    host = Host("TINY", 256)
    first, second = host.record(1), host.record(100)
    host.exchange([first], limit=5000)
    host.layout.write_lines(host.buffer, host.layout.commands, host.written, second)
    lines = len(second) // 64
    for end in (1, 2, lines - 1):
        write_counter(host.buffer, Counter.COMMANDS_WRITTEN, host.written + end)
        host.bench.run(5000)
        assert not host.records()
        assert host.counter(Counter.COMMANDS_FETCHED) == host.written + end  # told although nothing is answered
    host.sent, host.written = 2, host.written + lines
    host.exchange([first, second], limit=30_000)


def test_the_largest_ring_and_a_doorbell_before_the_start():
    host = Host("WIDE", 1 << 16, serve=0)
    records = [host.record() for _ in range(20)]
    host.submit(records)
    host.bench.run(2000)
    assert not host.records()
    assert not len(host.reads(0, 0x80))  # the counters are not even read
    host.bench.set("serve", 1)
    host.exchange(records, limit=30_000)


def test_the_counters_are_read_every_32_cycles_and_a_record_is_soon_there():
    host = Host("TINY", 256)
    host.bench.run(2000)
    assert set(np.diff(host.reads(0, 0x80))[8:]) == {32}
    assert set(np.diff(host.reads(0x200, 0x240))[1:]) == {256}
    rung = host.bench.cycle
    host.submit([host.record(1)])
    host.bench.run(1000)
    first = host.bench.sink("o_record").cycles[0] - rung
    # up to 32 cycles until it is sampled, a round trip for the record; the rest is ours
    assert first <= 32 + 150 + 15
    host.answer(host.records())
    before = host.bench.cycle
    host.bench.run(200)
    written = host.events(EventKind.WRITE, host.layout.responses, host.layout.pages)["cycle"]
    told = host.events(EventKind.WRITE, 0, 0x80)["cycle"]
    assert len(written) == 1
    assert written[0] - before <= 12
    assert told[-1] - written[0] <= 4  # at once


def test_while_many_lines_are_here_the_counters_are_read_and_told_rarely():
    host = Host("TINY", 4096, timing=HostTiming())
    records = [host.record(host.codec.most_operations) for _ in range(40)]
    host.bench.sink("o_record", waits=[8] * 4096)  # an engine of 9 cycles a beat
    host.submit(records)
    host.exchange(records, limit=200_000)
    begun, ended = host.bench.sink("o_record").cycles[[1000, 9000]]
    middle = {
        kind: sum(begun <= cycle < ended for cycle in host.events(kind, low, high)["cycle"])
        for kind, low, high in ((EventKind.READ, 0, 0x40), (EventKind.WRITE, 0x40, 0x80))
    }
    assert middle[EventKind.READ] <= (ended - begun) / 256 + 1
    assert middle[EventKind.WRITE] <= 8000 / 256 + 1  # once a record
    reads = host.events(EventKind.READ, host.layout.commands, host.layout.responses)
    assert set(reads["length"].tolist()) == {16 * 64}  # every read is as long as it may be


@pytest.mark.sec_cm("RING.COUNTERS.BOUND")
@settings(max_examples=25)
@given(
    ring=st.sampled_from([LEAST, 2 * LEAST]),
    lies=st.lists(
        st.tuples(
            st.sampled_from([Counter.COMMANDS_WRITTEN, Counter.RESPONSES_TAKEN]),
            st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 2000), st.sampled_from([2**64 - 1, 2**63, 2**32])),
        ),
        max_size=12,
    ),
    answered=st.integers(0, 400),
    shorter=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_whatever_the_host_says_its_response_ring_has_room_for_what_is_fetched(ring, lies, answered, shorter, seed):
    host, rng = Host("TINY", ring, seed=seed), random.Random(seed)
    at = 0
    while at < ring:  # the device goes round and round: records and what looks like none, as they come
        record = host.record() if rng.random() < 0.9 else rng.randbytes(64)
        record = record[: 64 * (ring - at)]
        host.layout.write_lines(host.buffer, host.layout.commands, at, record)
        at += len(record) // 64
    host.shorter = lambda record: shorter
    believed = 0
    for counter, value in [*lies, (Counter.COMMANDS_WRITTEN, 2**64 - 1), (Counter.RESPONSES_TAKEN, 2**64 - 1)]:
        write_counter(host.buffer, counter, value)
        for _ in range(4):
            host.bench.run(400)
            host.records()
            host.answer(host.seen[len(host.answers) : max(answered, len(host.answers))])
            written = host.counter(Counter.RESPONSES_WRITTEN)
            claimed = host.counter(Counter.RESPONSES_TAKEN)
            believed = max(believed, claimed if claimed <= written else 0)
            responses = sum(map(len, host.answers)) + sum(map(len, host.seen[len(host.answers) :]))
            assert responses // 64 - believed <= ring
    assert not host.bench.get("error")


def test_counters_that_go_back_change_nothing():
    host = Host("TINY", 256)
    records = [host.record() for _ in range(5)]
    host.exchange(records, limit=9000)
    write_counter(host.buffer, Counter.COMMANDS_WRITTEN, 2)
    write_counter(host.buffer, Counter.RESPONSES_TAKEN, 0)
    host.bench.run(1000)
    assert not host.records()
    records.append(host.record())
    host.exchange(records, limit=19_000)


def test_requests_of_the_control_block_are_served_once():
    host = Host("TINY", 128, serve=0)
    for number in (0x501, 0x1_0000_0002, 1):
        write_counter(host.buffer, Counter.REQUESTS, number)
        host.bench.run_until(limit=1000, transfers={"o_request": 1})
        assert host.bench.sink("o_request").take() == [number & 0xFF]
        host.bench.run(1000)
        assert host.counter(Counter.REQUESTS_DONE) != number
        host.bench.source("i_request_done").push([0])
        host.bench.run(500)
        assert host.counter(Counter.REQUESTS_DONE) == number
        host.bench.run(1000)
    assert host.bench.sink("o_request").transfers == 3


def test_the_mirror_repeats_the_registers():
    host = Host("TINY", 128, serve=0)
    before = host.bench.cycle
    host.bench.run(10)
    for state, fault in ((State.READY, Fault.NONE), (State.FAULT, Fault.PAGE_TAG)):
        host.bench.source("i_mirror").push([{"state": state, "fault": fault}])
        host.bench.run_until(limit=1000, transfers={"i_mirror": 1})
        host.bench.run_until(limit=1000, values={"idle": 1})
        expected = RegisterFile()
        for name, value in identity(preset("TINY"), **MODES).items():
            expected.write(name, value)
        for name, value in (("BUFFER_LOW", BASE & 0xFFFFFFFF), ("BUFFER_HIGH", BASE >> 32), ("RING_LINES", 128)):
            expected.write(name, value)
        expected.write("STATUS", state)
        expected.write("FAULT", fault)
        assert bytes(host.buffer[MIRROR : MIRROR + REGISTER_BYTES]) == bytes(expected.memory)
    host.bench.run(2000)
    assert len(host.reads(0x200, 0x240)) >= (host.bench.cycle - before) // 256 - 1  # and requests are still looked for


def test_the_mirror_can_be_written_with_half_a_response_inside():
    host = Host("TINY", 128)
    host.exchange([host.record(1)], limit=3000)
    host.bench.source("i_record").push([{"data": 1, "last": 0}] * 3)
    host.bench.run(100)
    host.bench.set("serve", 0)
    host.bench.source("i_mirror").push([{"state": State.FAULT, "fault": Fault.BUS}])
    host.bench.run(500)
    assert RegisterFile(bytearray(host.buffer[MIRROR : MIRROR + REGISTER_BYTES])).read("STATUS") == State.FAULT
    assert host.counter(Counter.RESPONSES_WRITTEN) == 1


@pytest.mark.parametrize("name", ["TINY", "WIDE"])
@pytest.mark.parametrize(("timing", "most"), [(CALM, 1.01), (HostTiming(), 1.1)])  # the second has a long tail
@pytest.mark.parametrize("lines", ["one", "all"])
def test_a_beat_a_cycle_is_sustained_in_both_directions(name, lines, timing, most):
    host = Host(name, 4096, timing=timing)
    count = 1 if lines == "one" and name == "TINY" else host.codec.most_operations
    records = [host.record(count)]
    records *= 2400 * 64 // len(records[0])
    beats = sum(map(len, records)) // 16
    host.submit(records)
    host.exchange(records, limit=30_000)
    cycles = host.bench.sink("o_record").cycles
    assert cycles[-1] - cycles[0] <= most * beats
    written = host.events(EventKind.WRITE, host.layout.responses, host.layout.pages)
    assert written["length"].sum() == 16 * beats
    assert written["cycle"][-1] - cycles[-1] <= 1500  # and the responses are not behind
    assert len(written) <= beats / 4 / 2  # which are written several lines at a time
    told = host.events(EventKind.WRITE, 0x40, 0x80)
    assert len(told) < beats / 4 / 8  # and the counters are not written after each


def test_operations_every_eight_cycles_are_sustained_besides_pages():
    host = Host("TINY", 1024, timing=HostTiming())
    count = 800
    bench, pages = host.bench, BASE + host.layout.pages
    waits = [7] * count
    rng = random.Random(4)
    touched = [pages + 128 * rng.randrange(1000) for _ in range(count)]
    for role in ("page_read", "page_write"):
        bench.source(f"i_{role}", waits=[400, *waits]).push(
            [{"address": at, "lines": 2, "id": k % 32} for k, at in enumerate(touched)]
        )
    bench.source("i_page_lines").push([bytes(64)] * (2 * count))
    bench.sink("o_record", waits=[0, 0, 0, 4] * count)
    records = [host.record(1) for _ in range(count)]
    host.submit(records)
    host.exchange(records, limit=10_000)
    for cycles in (
        bench.sink("o_record").cycles,
        bench.sink("o_page_data").cycles,
        bench.sink("o_page_written").cycles,
    ):
        assert cycles[-1] - cycles[0] <= 8 * count + 300
    assert not bench.get("error")


def test_the_host_is_told_after_64_lines_and_an_access_at_the_latest():
    host = Host("TINY", 1024, timing=HostTiming(writes=1))  # so slow that there is always another one
    host.answer([host.record(1) for _ in range(400)])
    host.bench.run(5000)
    host.bench.run_until(limit=20_000, values={"idle": 1})
    runs, untold = [], 0
    for event in host.bench.observer.events(kinds={EventKind.WRITE}):
        if event["address"] == BASE + 0x40:
            runs, untold = [*runs, untold], 0
        else:
            untold += int(event["length"]) // 64
    assert sum(runs) == 400
    assert 64 <= max(runs) <= 64 + 16
    assert untold == 0


def test_short_responses_are_gathered_only_behind_another_one():
    host = Host("TINY", 1024)
    host.answer([host.record(1)])
    host.bench.run(300)
    host.answer([host.record(1) for _ in range(20)])
    host.bench.run(300)
    lengths = host.events(EventKind.WRITE, host.layout.responses, host.layout.pages)["length"] // 64
    assert lengths[:2].tolist() == [1, 1]  # neither waited for the next one
    assert lengths.sum() == 21
    assert set(lengths[2:-1].tolist()) == {4}


@pytest.mark.parametrize("name", ["TINY", "WIDE"])
def test_times_do_not_depend_on_what_is_sealed(name):
    seen = []
    for seed in (1, 2):
        host, rng = Host(name, 256, timing=ROUGH, seed=7), random.Random(seed)
        for flow in ("o_record", "i_record"):
            host.bench.observe(flow)
        records = [host.record() for _ in range(30)]
        host.exchange([record[:16] + rng.randbytes(len(record) - 16) for record in records], limit=50_000)
        seen.append(host.bench.observer.events())
    assert np.array_equal(*seen)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"max_lines": 3}, "max_lines is 3; it must be a whole number from 4 to 1024"),
        ({"access_lines": 0}, "access_lines is 0; it must be one of 1, 2, 4, 8, 16, 32, 64"),
        ({"poll_cycles": 1}, "poll_cycles is 1; it must be a whole number from 2 to 65536"),
        ({"gather_cycles": 0}, "gather_cycles is 0; it must be a whole number from 1 to 65536"),
        ({"counter_cycles": 0}, "counter_cycles is 0; it must be a whole number from 1 to 65536"),
    ],
)
def test_bad_parameters_are_refused(change, text):
    with pytest.raises(ParamsError, match=text):
        RingPort(preset("TINY"), **{"max_lines": 4} | change)
