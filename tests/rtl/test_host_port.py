"""The host port: whole accesses for two clients over one AXI port, whatever the host's memory does."""

import random
from collections import defaultdict
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.errors import ParamsError
from rtl.host_port import HostPort
from sim.compiled import Design
from sim.faults import Fault, FaultKind
from sim.memory import Memory
from sim.observer import EventKind
from sim.timing import HostTiming

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


@cache
def design(max_lines):
    return Design(HostPort(page_ids=IDS["page"], ring_ids=IDS["ring"], max_lines=max_lines, timeout=TIMEOUT))


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
        self.lines = {client: 0 for client in IDS}

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

    @settings(deadline=None, max_examples=30)
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
