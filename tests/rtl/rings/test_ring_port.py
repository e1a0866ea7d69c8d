# amaranth: UnusedElaboratable=no
"""The ring port on host memory: what a host puts into the rings comes out, and it learns of all that is written."""

import random
from functools import cache

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.errors import ParamsError
from omap.presets import preset
from omap.regmap import MIRROR, REGISTER_BYTES, Fault, RegisterFile, State, identity
from omap.wire import BufferLayout, Counter, read_counter, write_counter
from rtl.constants import RING_IDS
from rtl.memory.host_port import HostPort
from rtl.rings.ring_port import RingPort
from sim.bench.compiled import Design
from sim.models.memory import Memory
from sim.models.observer import EventKind
from sim.models.timing import HostTiming

BASE = 3 << 35
MODES = {"hbm_private": True, "attested": False, "hardware": True}
PAGES = {"TINY": 12, "WIDE": 12}
CALM = HostTiming(quantiles=((0.0, 600.0), (1.0, 600.0)))
ROUGH = HostTiming(quantiles=((0.0, 300.0), (0.5, 600.0), (1.0, 1500.0)), ready_withheld=0.4, valid_withheld=0.3)
LINES = {"TINY": 4, "WIDE": 20}


class Rig(wiring.Component):
    """The ring port on a host port, whose page client is left to the test."""

    OWN = ("run", "serve", "base", "ring_entries", "o_record", "i_record", "i_mirror", "o_request", "i_request_done")
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
    """The host's side of the rings, and the engine between them: it answers a record by its inverse."""

    def __init__(self, name, entries, *, timing=CALM, seed=0, serve=1):
        self.layout = BufferLayout(preset(name), entries)
        self.size = self.layout.record_bytes
        self.bench = design(name).bench(seed=seed)
        self.memory = Memory(self.layout.pages + (1 << 20), BASE)
        self.buffer = memoryview(self.memory.data)
        self.bench.memory("m_axi", self.memory, timing)
        for port, value in (("base", BASE), ("ring_entries", entries), ("run", 1), ("serve", serve)):
            self.bench.set(port, value)
        self.written = self.taken = 0
        self.beats = []
        self.seen, self.responses = [], []

    def counter(self, counter):
        return read_counter(self.buffer, counter)

    def submit(self, records):
        """Put as many records into the ring as there is room for."""
        room = self.counter(Counter.COMMANDS_FETCHED) + self.layout.ring_entries - self.written
        for record in records[:room]:
            self.buffer[self.layout.entry(self.layout.commands, self.written)] = record
            self.written += 1
        write_counter(self.buffer, Counter.COMMANDS_WRITTEN, self.written)

    def collect(self):
        """Take responses out of the ring, as far as the device says they are there."""
        for number in range(self.taken, self.counter(Counter.RESPONSES_WRITTEN)):
            self.responses.append(bytes(self.buffer[self.layout.entry(self.layout.responses, number)]))
            self.taken += 1
        write_counter(self.buffer, Counter.RESPONSES_TAKEN, self.taken)

    def records(self):
        """Return the records that came out of the port since the last call."""
        self.beats += self.bench.sink("o_record").take()
        fresh, per = [], self.size // 16
        while len(self.beats) >= per:
            record, self.beats = self.beats[:per], self.beats[per:]
            assert [beat >> 128 for beat in record] == [0] * (per - 1) + [1]
            fresh.append(b"".join((beat & (1 << 128) - 1).to_bytes(16, "little") for beat in record))
        self.seen += fresh
        return fresh

    def answer(self, records):
        for record in records:
            reply = reply_to(record)
            beats = [reply[at : at + 16] for at in range(0, len(reply), 16)]
            self.bench.source("i_record").push(
                [{"data": int.from_bytes(beat, "little"), "last": k == len(beats) - 1} for k, beat in enumerate(beats)]
            )

    def exchange(self, records, *, limit, chunk=lambda: 20):
        """Send the records that were not sent yet and take all responses."""
        while len(self.responses) < len(records):
            assert self.bench.cycle < limit, f"{len(self.seen)} records and {len(self.responses)} responses"
            self.submit(records[self.written :])
            self.bench.run(chunk())
            self.answer(self.records())
            self.collect()
        assert self.seen == records
        assert self.responses == [reply_to(record) for record in records]

    def reads(self, low, high):
        """Return when something in a part of the buffer was read."""
        events = self.bench.observer.events(kinds={EventKind.READ})
        address = events["address"].astype(np.int64) - BASE
        return events["cycle"][(address >= low) & (address < high)]


def reply_to(record):
    return bytes(byte ^ 0xFF for byte in record)


@pytest.mark.parametrize("name", ["TINY", "WIDE"])
def test_records_and_responses_go_round_the_rings_in_order(name):
    assert design(name)

    @settings(max_examples=25)
    @given(
        entries=st.sampled_from([2, 4, 16, 64]),
        timing=st.sampled_from([CALM, ROUGH, HostTiming(reads=2, writes=1)]),
        seed=st.integers(0, 2**32 - 1),
        idle=st.tuples(*[st.sampled_from([0.0, 0.7])] * 2),
        chunk=st.sampled_from([3, 20, 200]),
    )
    def check(entries, timing, seed, idle, chunk):
        host, rng = Host(name, entries, timing=timing, seed=seed), random.Random(seed)
        host.bench.sink("o_record", idle=idle[0])
        host.bench.source("i_record", idle=idle[1])
        records = [rng.randbytes(host.size) for _ in range(rng.randrange(1, 3 * entries + 20))]
        host.exchange(records, limit=100_000, chunk=lambda: rng.randint(1, chunk))
        host.bench.run_until(limit=3000, values={"idle": 1})
        assert host.counter(Counter.COMMANDS_FETCHED) == host.counter(Counter.RESPONSES_WRITTEN) == len(records)
        assert not host.bench.get("error")

    check()


def test_the_largest_ring_and_a_doorbell_before_the_start():
    host = Host("WIDE", 1 << 16, serve=0)
    records = [bytes([k]) * host.size for k in range(20)]
    host.submit(records)
    host.bench.run(2000)
    assert not host.records()
    assert not len(host.reads(0, 0x80))  # the counters are not even read
    host.bench.set("serve", 1)
    host.exchange(records, limit=20_000)


def test_the_counters_are_read_every_32_cycles_and_a_record_is_soon_there():
    host = Host("TINY", 64)
    host.bench.run(2000)
    assert set(np.diff(host.reads(0, 0x80))[8:]) == {32}
    assert set(np.diff(host.reads(0x200, 0x240))[1:]) == {256}
    rung = host.bench.cycle
    host.submit([bytes(host.size)])
    host.bench.run(1000)
    first = host.bench.sink("o_record").cycles[0] - rung
    # up to 32 cycles until it is sampled, a round trip for the record; the rest is ours
    assert first <= 32 + 150 + 15


@pytest.mark.sec_cm("RING.COUNTERS.BOUND")
@settings(max_examples=25)
@given(
    entries=st.sampled_from([2, 8, 32]),
    lies=st.lists(
        st.tuples(
            st.sampled_from([Counter.COMMANDS_WRITTEN, Counter.RESPONSES_TAKEN]),
            st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 200), st.sampled_from([2**64 - 1, 2**63, 2**32])),
        ),
        max_size=12,
    ),
    answered=st.integers(0, 40),
)
def test_whatever_the_host_says_no_more_is_fetched_than_a_ring_holds(entries, lies, answered):
    host = Host("TINY", entries)
    most = 0
    for counter, value in [*lies, (Counter.COMMANDS_WRITTEN, 2**64 - 1), (Counter.RESPONSES_TAKEN, 2**64 - 1)]:
        write_counter(host.buffer, counter, value)
        for _ in range(4):
            host.bench.run(200)
            fresh = host.records()
            host.answer(fresh[: answered - most])
            most += len(fresh[: answered - most]) if answered > most else 0
        assert len(host.seen) <= most + entries
    assert len(host.seen) <= most + entries
    assert not host.bench.get("error")


def test_counters_that_go_back_change_nothing():
    host = Host("TINY", 8)
    records = [bytes([k]) * host.size for k in range(5)]
    host.exchange(records, limit=5000)
    write_counter(host.buffer, Counter.COMMANDS_WRITTEN, 2)
    write_counter(host.buffer, Counter.RESPONSES_TAKEN, 0)
    host.bench.run(1000)
    assert not host.records()
    records.append(bytes([9]) * host.size)
    host.exchange(records, limit=9000)


def test_requests_of_the_control_block_are_served_once():
    host = Host("TINY", 8, serve=0)
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
    host = Host("TINY", 8, serve=0)
    before = host.bench.cycle
    host.bench.run(10)
    for state, fault in ((State.READY, Fault.NONE), (State.FAULT, Fault.PAGE_TAG)):
        host.bench.source("i_mirror").push([{"state": state, "fault": fault}])
        host.bench.run_until(limit=1000, transfers={"i_mirror": 1})
        host.bench.run_until(limit=1000, values={"idle": 1})
        expected = RegisterFile()
        for name, value in identity(preset("TINY"), **MODES).items():
            expected.write(name, value)
        for name, value in (("BUFFER_LOW", BASE & 0xFFFFFFFF), ("BUFFER_HIGH", BASE >> 32), ("RING_ENTRIES", 8)):
            expected.write(name, value)
        expected.write("STATUS", state)
        expected.write("FAULT", fault)
        assert bytes(host.buffer[MIRROR : MIRROR + REGISTER_BYTES]) == bytes(expected.memory)
    host.bench.run(2000)
    assert len(host.reads(0x200, 0x240)) >= (host.bench.cycle - before) // 256 - 1  # and requests are still looked for


def test_the_mirror_can_be_written_with_half_a_response_inside():
    host = Host("TINY", 8)
    host.exchange([bytes(host.size)], limit=3000)
    host.bench.source("i_record").push([{"data": 1, "last": 0}] * 3)
    host.bench.run(100)
    host.bench.set("serve", 0)
    host.bench.source("i_mirror").push([{"state": State.FAULT, "fault": Fault.BUS}])
    host.bench.run(500)
    assert RegisterFile(bytearray(host.buffer[MIRROR : MIRROR + REGISTER_BYTES])).read("STATUS") == State.FAULT
    assert host.counter(Counter.RESPONSES_WRITTEN) == 1


@pytest.mark.parametrize(("timing", "most"), [(CALM, 4.05), (HostTiming(), 4.4)])  # the second has a long tail
def test_a_record_every_four_cycles_is_sustained(timing, most):
    host = Host("TINY", 1024, timing=timing)
    records = [bytes([k & 255]) * host.size for k in range(600)]
    host.submit(records)
    host.exchange(records, limit=8000)
    cycles = host.bench.sink("o_record").cycles
    assert cycles[-1] - cycles[0] <= most * len(records)
    told = host.bench.observer.events(kinds={EventKind.WRITE})
    told = told[(told["address"] == BASE + Counter.COMMANDS_FETCHED)]
    assert len(told) < len(records) / 2  # and the counters are not written after each


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
    records = [rng.randbytes(64) for _ in range(count)]
    host.submit(records)
    host.exchange(records, limit=10_000)
    for cycles in (
        bench.sink("o_record").cycles,
        bench.sink("o_page_data").cycles,
        bench.sink("o_page_written").cycles,
    ):
        assert cycles[-1] - cycles[0] <= 8 * count + 300
    assert not bench.get("error")


def test_the_host_is_told_after_eight_responses_at_the_latest():
    host = Host("TINY", 64, timing=HostTiming(writes=1))  # so slow that there is always another one
    host.answer([bytes(host.size)] * 60)
    host.bench.run(1000)
    host.bench.run_until(limit=10_000, values={"idle": 1})
    events = host.bench.observer.events(kinds={EventKind.WRITE})
    runs = "".join("c" if at == BASE + Counter.COMMANDS_FETCHED else "r" for at in events["address"]).split("c")
    assert sum(map(len, runs)) == 60
    assert max(map(len, runs)) == 8
    assert runs[-1] == ""


@pytest.mark.parametrize("name", ["TINY", "WIDE"])
def test_times_do_not_depend_on_records(name):
    seen = []
    for seed in (1, 2):
        host, rng = Host(name, 16, timing=ROUGH, seed=7), random.Random(seed)
        for flow in ("o_record", "i_record"):
            host.bench.observe(flow)
        host.exchange([rng.randbytes(host.size) for _ in range(50)], limit=50_000)
        seen.append(host.bench.observer.events())
    assert np.array_equal(*seen)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"max_lines": 3}, "max_lines is 3; it must be a whole number from 4 to 1024"),
        ({"batch": 0}, "batch is 0; it must be a whole number from 1 to 16"),
        ({"poll_cycles": 1}, "poll_cycles is 1; it must be a whole number from 2 to 65536"),
        ({"counter_cycles": 0}, "counter_cycles is 0; it must be a whole number from 1 to 65536"),
    ],
)
def test_bad_parameters_are_refused(change, text):
    with pytest.raises(ParamsError, match=text):
        RingPort(preset("TINY"), **{"max_lines": 4} | change)
