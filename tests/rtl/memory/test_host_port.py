# amaranth: UnusedElaboratable=no
"""The host port: whole accesses for two clients over one AXI port, whatever the host's memory does."""
# Long: all that a host may do is done to one small port and its rig.

import random
from collections import defaultdict
from functools import cache

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.errors import ParamsError
from rtl.memory.host_port import HostPort
from sim.bench.compiled import Design
from sim.models.faults import Fault, FaultKind
from sim.models.memory import Memory
from sim.models.observer import EventKind
from sim.models.timing import HostTiming

BASE = 5 << 33
IDS = {"page": 12, "ring": 4}
AREA = 1 << 15
"""Bytes that the writes of an id fall in; reads fall in an area of their own before them."""
SIZE = (1 + sum(IDS.values())) * AREA
FIRST = {"page": 0, "ring": IDS["page"]}
TIMEOUT = 3000
LINE = 64
CALM = HostTiming()
ROUGH = HostTiming(
    quantiles=((0.0, 300.0), (0.5, 600.0), (1.0, 1500.0)), ready_withheld=0.4, valid_withheld=0.3, reads=20, writes=12
)


class Rig(wiring.Component):
    """The port; its input ``abort`` is ``forget`` here, for the name of a C function can't be reached in a bench."""

    def __init__(self, max_lines, **options):
        options = {"page_ids": IDS["page"], "ring_ids": IDS["ring"]} | options
        self.dut = HostPort(max_lines=max_lines, timeout=TIMEOUT, **options)
        self.members = dict(self.dut.signature.members)
        super().__init__({"forget" if name == "abort" else name: member for name, member in self.members.items()})

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        for name, member in self.members.items():
            if member.is_signature:
                wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(dut, name))
        m.d.comb += [dut.abort.eq(self.forget), self.error.eq(dut.error), self.quiet.eq(dut.quiet)]
        return m


@cache
def design(max_lines):
    return Design(Rig(max_lines))


class Host:
    """A bench, its memory, and what memory must hold in the end."""

    def __init__(self, max_lines, *, timing=CALM, seed=0, faults=()):
        self.bench = design(max_lines).bench(seed=seed)
        self.memory = Memory(SIZE, BASE)
        self.memory.data[:AREA] = np.random.default_rng(seed).integers(0, 256, AREA, np.uint8)
        self.bench.memory("m_axi", self.memory, timing, faults=faults)
        self.expected = bytearray(self.memory.data)
        self.reads = defaultdict(list)  # (client, id): accesses in order
        self.writes = defaultdict(int)
        self.lines = dict.fromkeys(IDS, 0)

    def read(self, client, number, line, lines):
        address = line * LINE
        self.bench.source(f"i_{client}_read").push([{"address": BASE + address, "lines": lines, "id": number}])
        self.reads[client, number].append((address, lines))
        self.lines[client] += lines

    def write(self, client, number, line, data):
        """Write ``data`` at a line of the area of an id."""
        address = (1 + FIRST[client] + number) * AREA + line * LINE
        lines = [data[at : at + LINE] for at in range(0, len(data), LINE)]
        self.bench.source(f"i_{client}_write").push([{"address": BASE + address, "lines": len(lines), "id": number}])
        self.bench.source(f"i_{client}_lines").push(lines)
        self.expected[address : address + len(data)] = data
        self.writes[client, number] += 1

    def finish(self, limit=100_000):
        written = {client: sum(n for (c, _), n in self.writes.items() if c == client) for client in IDS}
        waited = {f"o_{c}_data": n - self.bench.sink(f"o_{c}_data").transfers for c, n in self.lines.items()}
        waited |= {f"o_{c}_written": n - self.bench.sink(f"o_{c}_written").transfers for c, n in written.items()}
        self.bench.run_until(limit=limit, transfers=waited, values={"quiet": 1})

    def check(self):
        """All that was asked for was read and written, once."""
        self.finish()
        self.bench.run(500)
        for client, ids in IDS.items():
            answers = self.data(client)
            for number in range(ids):
                wanted = []
                for address, lines in self.reads[client, number]:
                    for k in range(lines):
                        at = address + k * LINE
                        wanted.append((bytes(self.expected[at : at + LINE]), k == lines - 1))
                assert answers[number] == wanted
            done = self.bench.sink(f"o_{client}_written").take()
            assert {n: done.count(n) for n in range(ids)} == {n: self.writes[client, n] for n in range(ids)}
        assert self.memory.data.tobytes() == bytes(self.expected)
        assert not self.bench.get("error")

    def data(self, client):
        found = defaultdict(list)
        bits = (IDS[client] - 1).bit_length()
        for item in self.bench.sink(f"o_{client}_data").take():
            line = (item >> bits & (1 << 512) - 1).to_bytes(LINE, "little")
            found[item & (1 << bits) - 1].append((line, bool(item >> bits + 512)))
        return found

    def events(self, *kinds):
        return self.bench.observer.events(kinds=set(kinds)) if kinds else self.bench.observer.events()


def traffic(host, rng, count, max_lines):
    for _ in range(count):
        client = rng.choice(list(IDS))
        number = rng.randrange(IDS[client])
        lines = rng.choice([1, 2, max_lines, rng.randint(1, max_lines)])
        line = rng.randrange(AREA // LINE - lines)
        if rng.random() < 0.5:
            host.read(client, number, line, lines)
        else:
            host.write(client, number, line, rng.randbytes(lines * LINE))


@pytest.mark.parametrize("max_lines", [4, 70])
def test_all_that_is_asked_for_is_read_and_written_once(max_lines):
    compiled = design(max_lines)
    assert compiled

    @settings(max_examples=30)
    @given(
        seed=st.integers(0, 2**32 - 1),
        timing=st.sampled_from([CALM, ROUGH, HostTiming(reorder=False), HostTiming(reads=1, writes=1)]),
        idle=st.tuples(*[st.sampled_from([0.0, 0.5, 0.95])] * 6),
    )
    def check(seed, timing, idle):
        host, rng = Host(max_lines, timing=timing, seed=seed), random.Random(seed)
        roles = [f"i_{client}_{role}" for client in IDS for role in ("read", "write", "lines")]
        for role, share in zip(roles, idle, strict=True):
            host.bench.source(role, idle=share)
        traffic(host, rng, 60, max_lines)
        host.check()

    check()


def test_a_bus_may_have_128_ids():
    ids = {"page": 120, "ring": 8}
    bench = Design(Rig(1, page_ids=ids["page"], ring_ids=ids["ring"], bus_ids=128)).bench(seed=3)
    memory = Memory(SIZE, BASE)
    memory.data[:AREA] = np.random.default_rng(3).integers(0, 256, AREA, np.uint8)
    bench.memory("m_axi", memory, HostTiming(reads=128, ids=128))
    count, expected = AREA // LINE, {}
    for client, number in ids.items():
        lines = [(7 * k + number) % count for k in range(number)]
        expected[client] = {k: memory.data[LINE * line : LINE * (line + 1)].tobytes() for k, line in enumerate(lines)}
        bench.source(f"i_{client}_read").push(
            {"address": BASE + LINE * line, "lines": 1, "id": k} for k, line in enumerate(lines)
        )
    bench.run_until(limit=5000, transfers={f"o_{client}_data": number for client, number in ids.items()})
    for client, number in ids.items():
        bits = (number - 1).bit_length()
        answers = bench.sink(f"o_{client}_data").take()
        found = {item & (1 << bits) - 1: (item >> bits & (1 << 512) - 1).to_bytes(LINE, "little") for item in answers}
        assert found == expected[client]
    assert not bench.get("error")


def bursts(host, kind):
    return [(int(e["cycle"]), int(e["address"]) - BASE, int(e["length"]) // LINE) for e in host.events(kind)]


def test_accesses_are_cut_at_4096_bytes_and_answered_once():
    host = Host(70)
    rng = random.Random(1)
    host.read("page", 3, 60, 70)
    host.read("ring", 1, 64, 70)
    host.write("page", 3, 63, rng.randbytes(66 * LINE))
    host.check()
    assert sorted(burst[1:] for burst in bursts(host, EventKind.READ)) == [
        (60 * LINE, 4), (64 * LINE, 64), (64 * LINE, 64), (128 * LINE, 2), (128 * LINE, 6),
    ]  # fmt: skip
    start = 4 * AREA + 63 * LINE
    written = [(start, 1), (start + LINE, 64), (start + 65 * LINE, 1)]
    assert [burst[1:] for burst in bursts(host, EventKind.WRITE)] == written
    assert sum(host.bench.sink(f"o_{client}_written").transfers for client in IDS) == 1


def test_a_write_is_on_the_bus_only_when_it_is_whole_and_then_without_pause():
    host = Host(70)
    host.bench.source("i_page_lines", waits=[0] * 63 + [900])
    host.write("page", 0, 0, bytes(64 * LINE))
    host.bench.source("i_ring_lines", waits=[700])
    host.write("ring", 0, 0, bytes(LINE))
    host.check()
    data = host.events(EventKind.WRITE_DATA)
    (ring, *_), (page, *_) = bursts(host, EventKind.WRITE)  # the one that was whole first
    last = host.bench.source("i_page_lines").cycles[-1]
    assert 700 <= ring < 720 < last < page < last + 10
    assert data["cycle"][1] <= page + 70


def steady(max_lines, *, gap, count, page_lines=2, batch=4):
    """The load of operations ``gap`` cycles apart; return the cycles of their last page write."""
    host = Host(max_lines, timing=HostTiming(ids=64))
    rng = random.Random(2)
    waits = [gap - 1] * count
    for role in ("page_read", "page_write", "ring_write"):
        host.bench.source(f"i_{role}", waits=waits)
    host.bench.source("i_ring_read", waits=[batch * gap - 1] * count)
    for k in range(count):
        host.read("page", k % 12, rng.randrange(500), page_lines)
        host.write("page", k % 12, k * page_lines % 500, rng.randbytes(page_lines * LINE))
        host.write("ring", 0, k % 500, rng.randbytes(LINE))
        if k % batch == 0:
            host.read("ring", 0, rng.randrange(500), batch)
    host.check()
    return host


def test_operations_every_eight_cycles_are_sustained():
    count = 600
    host = steady(4, gap=8, count=count)
    for sink in ("o_page_data", "o_page_written", "o_ring_written"):
        cycles = host.bench.sink(sink).cycles
        assert cycles[-1] - cycles[0] < 8 * count + 200


def test_an_address_and_a_line_move_each_way_in_every_cycle():
    fast = HostTiming(
        reads=64, writes=64, quantiles=((0.0, 40.0), (1.0, 40.0)), write_ns=40.0, link_gbps=1e4, request_bytes=1
    )
    host = Host(4, timing=fast)
    for k in range(400):
        host.read("page" if k % 2 else "ring", k % 4, k, 1)
        host.write("page" if k % 2 else "ring", k % 4, k, bytes(LINE))
    host.check()
    for kind in (EventKind.READ, EventKind.WRITE, EventKind.READ_DATA, EventKind.WRITE_DONE):
        cycles = host.events(kind)["cycle"]
        assert cycles[-1] - cycles[0] < 410


def test_beats_of_several_reads_may_come_in_turns():
    bench = design(4).bench()  # no memory: this test is the slave
    for client, number in (("page", 5), ("ring", 2)):
        bench.source(f"i_{client}_read").push([{"address": 62 * LINE, "lines": 3, "id": number}])
    bench.set("m_axi__arready", 1)
    bench.run(100)
    order = [(14, 1, 0), (5, 2, 0), (14, 3, 1), (5, 4, 1), (5, 5, 1), (14, 6, 1)]  # (bus id, data, rlast)
    for number, value, last in order:
        for name, wire in (("rvalid", 1), ("rid", number), ("rdata", value), ("rlast", last)):
            bench.set(f"m_axi__{name}", wire)
        bench.run(1)
    bench.set("m_axi__rvalid", 0)
    bench.run(10)
    assert bench.sink("o_page_data").take() == [5 | 2 << 4, 5 | 4 << 4, 5 | 5 << 4 | 1 << 516]
    assert bench.sink("o_ring_data").take() == [2 | 1 << 2, 2 | 3 << 2, 2 | 6 << 2 | 1 << 514]
    assert bench.get("quiet")
    assert not bench.get("error")
    bench.set("m_axi__rvalid", 1)  # what nobody asked for
    bench.run(1)
    bench.set("m_axi__rvalid", 0)
    bench.run(10)
    assert bench.get("error")
    assert not bench.sink("o_ring_data").take()


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    max_lines=st.sampled_from([4, 70]),
    after=st.integers(66, 700),
    timing=st.sampled_from([CALM, ROUGH]),
    page_idle=st.sampled_from([0.0, 0.6]),
)
def test_after_an_abort_the_bus_is_in_order_and_the_rings_go_on(seed, max_lines, after, timing, page_idle):
    host, rng = Host(max_lines, timing=timing, seed=seed), random.Random(seed)
    for role in ("i_page_write", "i_page_lines", "i_page_read"):
        host.bench.source(role, idle=page_idle)
    for _ in range(40):
        lines = rng.randint(1, max_lines)
        host.read("page", rng.randrange(12), rng.randrange(400), lines)
        host.write("page", rng.randrange(12), rng.randrange(400), rng.randbytes(lines * LINE))
    host.bench.run(after)
    host.bench.set("forget", 1)
    host.bench.run(1)
    host.bench.set("forget", 0)
    host.bench.run(2)
    begun = len(host.events(EventKind.READ)), len(host.events(EventKind.WRITE))
    got = {sink: host.bench.sink(sink).transfers for sink in ("o_page_data", "o_page_written")}
    host.bench.run_until(limit=20_000, values={"quiet": 1})
    assert len(host.events(EventKind.READ)) - begun[0] <= 4  # in the channel, and the rest of an access
    assert len(host.events(EventKind.WRITE)) - begun[1] <= 4
    assert len(host.events(EventKind.READ)) == len(host.events(EventKind.READ_DATA))
    assert len(host.events(EventKind.WRITE)) == len(host.events(EventKind.WRITE_DONE))
    assert got == {sink: host.bench.sink(sink).transfers for sink in got}

    for number in range(4):
        data = rng.randbytes(max_lines * LINE)
        host.write("ring", number, 7, data)
        host.read("ring", number, 3, max_lines)
    host.bench.run_until(
        limit=20_000, transfers={"o_ring_written": 4, "o_ring_data": 4 * max_lines}, values={"quiet": 1}
    )
    for number in range(4):
        area = slice((13 + number) * AREA, (14 + number) * AREA)
        assert host.memory.data[area].tobytes() == bytes(host.expected[area])
    assert not host.bench.get("error")


@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize("client", list(IDS))
def test_a_refused_access_is_an_error(write, client):
    host = Host(4, faults=[Fault(kind=FaultKind.ERROR, write=write, skip=2)])
    for k in range(3):
        assert not host.bench.get("error")
        if write:
            host.write(client, 1, k, bytes(2 * LINE))
        else:
            host.read(client, 1, k, 2)
        host.finish()
        host.bench.run(2)
    assert host.bench.get("error")
    host.bench.run(100)
    assert host.bench.get("error")


@pytest.mark.parametrize("write", [False, True])
def test_a_dead_slave_is_noticed(write):
    host = Host(4, faults=[Fault(kind=FaultKind.DEAD, write=write)])
    host.bench.run(70)
    if write:
        host.write("page", 1, 0, bytes(LINE))
    else:
        host.read("page", 1, 0, 1)
    host.bench.run(TIMEOUT)
    assert not host.bench.get("error")
    host.bench.run(TIMEOUT + 20)
    assert host.bench.get("error")
    assert not host.bench.get("quiet")


@pytest.mark.parametrize("write", [False, True])
def test_one_answer_that_does_not_come_is_noticed_among_others(write):
    stalled = (1 + 5) * AREA if write else 0  # the area of id 5, or where it reads
    faults = [Fault(kind=FaultKind.STALL, write=write, argument=10**6, low=BASE + stalled, high=BASE + stalled + 64)]
    host = Host(4, faults=faults)
    ask = (lambda n, k: host.write("page", n, k, bytes(LINE))) if write else (lambda n, k: host.read("page", n, k, 1))
    ask(5, 0)
    for k in range(30):
        ask(k % 5, 1 + k % 500)
        host.bench.run(100)
    assert not host.bench.get("error")
    for k in range(40):
        ask(k % 5, 1 + k % 500)
        host.bench.run(100)
    assert host.bench.get("error")


def test_slow_answers_are_no_error():
    host = Host(4, timing=HostTiming(quantiles=((0.0, 10_000.0), (1.0, 11_000.0)), write_ns=9_000.0))
    for k in range(100):
        host.read("page", 1, k, 1)
        host.write("ring", 1, k, bytes(LINE))
    host.check()


def test_times_do_not_depend_on_contents():
    seen = []
    for fill in (0, 255):
        host, rng = Host(4, timing=ROUGH, seed=3), random.Random(3)
        host.memory.data[:] = fill
        for k in range(80):
            host.read("page", rng.randrange(12), k, 2)
            host.write("page", rng.randrange(12), k, bytes([fill]) * (2 * LINE))
            host.write("ring", 0, k, bytes([fill ^ 90]) * LINE)
        for client in IDS:
            host.bench.observe(f"o_{client}_data")
            host.bench.observe(f"o_{client}_written")
        host.finish()
        seen.append(host.events())
    assert len(seen[0]) == 80 * 12 + 5  # five accesses are cut
    assert np.array_equal(*seen)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"page_ids": 60}, "page_ids \\+ ring_ids is 68; the bus has 64 ids"),
        ({"page_ids": 121, "bus_ids": 128}, "page_ids \\+ ring_ids is 129; the bus has 128 ids"),
        ({"bus_ids": 32}, "bus_ids is 32; it must be one of 64, 128"),
        ({"page_ids": 0}, "page_ids is 0; it must be a whole number from 1 to 63"),
        ({"max_lines": 0}, "max_lines is 0; it must be a whole number from 1 to 1024"),
        ({"timeout": 0}, "timeout is 0; it must be a whole number from 1"),
    ],
)
def test_bad_parameters_are_refused(change, text):
    with pytest.raises(ParamsError, match=text):
        HostPort(**{"page_ids": 8, "max_lines": 4} | change)
