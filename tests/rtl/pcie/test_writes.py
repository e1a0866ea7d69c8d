"""Writes of host memory: every line goes where it should, in order, and is answered once nothing overtakes it."""

import random
from collections import deque
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtl.pcie.layouts import ORDERED, Type
from rtl.pcie.writes import SENT, WriteSide
from rtl.stream.axi import RESP_OKAY, RESP_SLVERR
from sim.bench.compiled import Design
from tests.support.designs.pcie_rig import PcieRig
from tests.support.rtl.pcie_host import LINE, RequestParser

ID_BITS = 6
ANSWER = WriteSide(id_bits=ID_BITS).signature.members["s_axi"].signature.layout("b")


@cache
def design():
    return Design(PcieRig(WriteSide(id_bits=ID_BITS)))


class Host:
    """A bench and what was given to it."""

    def __init__(self, *, seed=0, limit=4, idle=0.0):
        self.bench, self.parser = design().bench(seed=seed), RequestParser()
        self.bench.set("limit", limit)
        self.limit, self.rng = limit, random.Random(seed)
        for name in ("i_aw", "i_w"):
            self.bench.source(name, idle=idle)
        for name in ("o", "o_b"):
            self.bench.sink(name, idle=idle)
        self.lines, self.names = deque(), []

    def write(self, line, lines, name=0):
        self.bench.source("i_aw").push([{"id": name, "addr": line * LINE, "len": lines - 1, "size": 6, "burst": 1}])
        texts = [self.rng.randbytes(LINE) for _ in range(lines)]
        self.bench.source("i_w").push(
            {"data": int.from_bytes(text, "little"), "strb": 2**64 - 1, "last": n == lines - 1}
            for n, text in enumerate(texts)
        )
        self.lines += [(line + n, text, n == lines - 1) for n, text in enumerate(texts)]
        self.names.append(name)

    def requests(self):
        """Return the requests that came since the last call; their lines are the next that were written."""
        found = self.parser.parse(self.bench.sink("o").take())
        for request in found:
            assert request.kind == Type.WRITE
            assert request.lines <= self.limit
            first = request.address // LINE
            assert first // self.limit == (first + request.lines - 1) // self.limit
            request.ends = 0  # bursts that end with it
            for n in range(request.lines):
                line, text, last = self.lines.popleft()
                assert (first + n, request.data[n * LINE : (n + 1) * LINE]) == (line, text)
                request.ends += last
            assert request.ends <= 1
        return found

    def answers(self):
        return [ANSWER.from_bits(item) for item in self.bench.sink("o_b").take()]


@settings(max_examples=6)
@given(seed=st.integers(0, 2**32 - 1), limit=st.sampled_from([2, 4, 8, 16]), idle=st.sampled_from([0.0, 0.0, 0.4]))
def test_lines_leave_in_order_and_are_answered_when_their_numbers_are_back(seed, limit, idle):
    host = Host(seed=seed, limit=limit, idle=idle)
    rng = random.Random(seed)
    for _ in range(40):
        lines = rng.choice([1, 2, 5, rng.randint(1, 64)])
        host.write(rng.randrange(1 << 40) * 64 + rng.randint(0, 64 - lines), lines, rng.randrange(64))
    numbers, sent, due, answered, rounds = 0, deque(), 0, [], 0
    while len(answered) < len(host.names):
        host.bench.run(rng.choice([1, 10, 80]))
        for request in host.requests():
            assert request.sequence == ORDERED | numbers % SENT
            numbers += 1
            sent.append(request)
        for _ in range(min(len(sent), rng.randint(0, 20))):
            due += sent[0].ends
            # both ports have numbers, in order, the first one's first; those of reads come in between
            host.bench.source("i_sent_0").push([sent.popleft().sequence])
            if rng.random() < 0.2:
                host.bench.source("i_sent_0").push([0])
        fresh = host.answers()
        answered += fresh
        assert len(answered) <= due
        rounds += 1
        assert rounds < 5000
    assert answered == [ANSWER.const({"id": name, "resp": RESP_OKAY}) for name in host.names]
    host.bench.run(200)
    assert not host.answers()
    assert host.bench.get("idle")


def test_two_numbers_in_one_cycle():
    host = Host(limit=2)
    for n in range(40):
        host.write(2 * n, 2, n)
    answered = []
    for _ in range(20):
        host.bench.run(100)
        sent = host.requests()
        pairs = len(sent) // 2
        host.bench.source("i_sent_0").push(request.sequence for request in sent[: 2 * pairs : 2])
        host.bench.source("i_sent_1").push(request.sequence for request in sent[1 : 2 * pairs : 2])
        if len(sent) % 2:
            host.bench.run(50)
            host.bench.source("i_sent_1").push([sent[-1].sequence])
        answered += host.answers()
    assert [(answer["id"], answer["resp"]) for answer in answered] == [(n, RESP_OKAY) for n in range(40)]


def test_without_its_number_no_write_is_answered_and_no_more_leave_than_can_be_told_apart():
    host = Host(limit=2)
    for n in range(100):
        host.write(2 * n, 2)
    host.bench.run(2000)
    assert len(host.requests()) == SENT
    assert not host.answers()
    assert not host.bench.get("idle")


def test_numbers_in_another_order_are_errors():
    host = Host(limit=2)
    for n in range(4):
        host.write(2 * n, 2, n)
    host.bench.run(100)
    first, second, third, fourth = (request.sequence for request in host.requests())
    host.bench.source("i_sent_0").push([first, third, second, fourth])
    host.bench.run(100)
    assert [(answer["id"], answer["resp"]) for answer in host.answers()] == [
        (0, RESP_OKAY),
        (1, RESP_SLVERR),
        (2, RESP_SLVERR),
        (3, RESP_SLVERR),
    ]


def test_a_request_leaves_without_a_gap_once_all_its_lines_are_here():
    host = Host(limit=8)
    host.bench.source("i_w", waits=[50] * 8)
    host.write(0, 8)
    host.bench.run(380)
    assert not host.bench.sink("o").transfers
    host.bench.run(200)
    assert len(host.requests()) == 1
    cycles = host.bench.sink("o").cycles
    assert cycles[8] - cycles[0] == 8


@pytest.mark.parametrize("limit", [4, 8])
def test_the_stream_is_full_while_there_is_something_to_write(limit):
    host = Host(limit=limit)
    for n in range(20):
        host.write(limit * n, limit)
    host.bench.run(20 * (limit + 1) + 100)
    host.requests()
    cycles = host.bench.sink("o").cycles
    assert len(cycles) == 20 * (limit + 1)
    assert cycles[-1] - cycles[0] < 20 * (limit + 1) + 4
