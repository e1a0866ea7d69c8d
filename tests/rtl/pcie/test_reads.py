"""Reads of host memory: what is asked for is answered in order, whatever order the host answers in."""

import random
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.errors import ParamsError
from rtl.pcie.layouts import TIMED_OUT, Status, Type
from rtl.pcie.reads import MOST_WAITED, ReadSide
from rtl.pcie.tag_table import PLAIN_TAGS, TagTable, entry
from rtl.stream.axi import RESP_OKAY, RESP_SLVERR
from sim.bench.compiled import Design
from tests.support.designs.pcie_rig import PcieRig
from tests.support.rtl.pcie_host import DWORD, LINE, Request, RequestParser, completion, completions

ID_BITS = 6
TAGS = 256
ANSWER = ReadSide(id_bits=ID_BITS).signature.members["s_axi"].signature.layout("r")


@cache
def design(tags=TAGS):
    return Design(PcieRig(ReadSide(id_bits=ID_BITS, tags=tags)))


def memory(address, size):
    """What the host's memory holds, told by the address."""
    return b"".join(
        (at * 0x9E3779B97F4A7C15 & 2**64 - 1).to_bytes(8, "big") for at in range(address, address + size, 8)
    )


class Host:
    """A bench, the requests that came out of it, and what must be answered."""

    def __init__(self, *, tags=TAGS, seed=0, limit=8, extended=True, idle=0.0):
        self.bench, self.parser = design(tags).bench(seed=seed), RequestParser()
        self.bench.set("limit", limit)
        self.bench.set("extended", extended)
        self.limit, self.most_tags = limit, tags if extended else PLAIN_TAGS
        for name in ("i_ar", "i"):
            self.bench.source(name, idle=idle)
        for name in ("o", "o_r"):
            self.bench.sink(name, idle=idle)
        self.under_way, self.wanted = {}, []
        self.bench.run(5)

    def ask(self, line, lines, name=0):
        header = {"id": name, "addr": line * LINE, "len": lines - 1, "size": 6, "burst": 1}
        self.bench.source("i_ar").push([header])
        self.wanted += [(name, line + n, n == lines - 1) for n in range(lines)]

    def requests(self):
        """Return the requests that came since the last call."""
        found = self.parser.parse(self.bench.sink("o").take())
        for request in found:
            assert request.kind == Type.READ
            assert request.lines <= self.limit
            assert request.tag not in self.under_way
            self.under_way[request.tag] = request
            assert len(self.under_way) <= self.most_tags
            assert request.tag < self.most_tags
            assert sum(each.lines for each in self.under_way.values()) <= MOST_WAITED
        return found

    def send(self, beats):
        self.bench.source("i").push(beats)

    def complete(self, request, rng=None):
        """Answer a request; ``rng`` cuts the answer."""
        for beats in completions(request, memory, rng or random.Random(0), boundary=LINE if rng else 4096):
            self.send(beats)
        del self.under_way[request.tag]

    def answers(self):
        return [ANSWER.from_bits(item) for item in self.bench.sink("o_r").take()]

    def check(self, answers, failed=()):
        """Compare answers with what was asked for; ``failed`` are numbers of lines that must be errors."""
        assert len(answers) == len(self.wanted)
        for n, (answer, (name, line, last)) in enumerate(zip(answers, self.wanted, strict=True)):
            assert (answer["id"], answer["last"]) == (name, last)
            assert answer["resp"] == (RESP_SLVERR if n in failed else RESP_OKAY)
            if n not in failed:
                assert answer["data"].to_bytes(LINE, "little") == memory(line * LINE, LINE)


@settings(max_examples=6)
@given(
    seed=st.integers(0, 2**32 - 1),
    limit=st.sampled_from([2, 4, 8, 64]),
    extended=st.booleans(),
    idle=st.sampled_from([0.0, 0.0, 0.3]),
    boundary=st.sampled_from([64, 128]),
)
def test_answers_come_in_order_though_completions_do_not(seed, limit, extended, idle, boundary):
    rng, host = random.Random(seed), Host(seed=seed, limit=limit, extended=extended, idle=idle)
    for _ in range(80):
        lines = rng.choice([1, 2, 5, rng.randint(1, 64)])
        line = rng.randrange(1 << 40) * 64 + rng.randint(0, 64 - lines)
        host.ask(line, lines, rng.randrange(64))
    # completions of one request stay in order; those of different ones come in any
    queues, answers, idle_rounds = {}, [], 0
    while len(answers) < len(host.wanted):
        host.bench.run(rng.choice([1, 7, 60]))
        for request in host.requests():
            queues[request.tag] = completions(request, memory, rng, boundary=boundary)
        for _ in range(rng.randint(0, 12)):
            if queues:
                tag = rng.choice(list(queues))
                host.send(queues[tag].pop(0))
                if not queues[tag]:
                    del queues[tag], host.under_way[tag]
        fresh = host.answers()
        idle_rounds = 0 if fresh or queues else idle_rounds + 1
        assert idle_rounds < 200
        answers += fresh
    host.check(answers)
    host.bench.run(20)
    assert host.bench.get("idle")
    assert not host.answers()


@pytest.mark.parametrize(("tags", "extended", "most"), [(256, True, 256), (128, True, 128), (256, False, PLAIN_TAGS)])
def test_so_many_reads_are_under_way(tags, extended, most):
    host = Host(tags=tags, extended=extended)
    for n in range(300):
        host.ask(64 * n, 1, n % 64)
    host.bench.run(400)
    waiting = host.requests()
    assert len(waiting) == most
    assert not host.bench.get("idle")
    answers = []
    for _ in range(100):
        for request in reversed(waiting):  # the last one first, so that nothing can be answered until all is there
            host.complete(request)
        host.bench.run(600)
        answers += host.answers()
        waiting = host.requests()
    host.check(answers)


def test_no_more_lines_are_waited_for_than_the_block_has_room_for():
    host = Host(limit=8)
    for n in range(100):
        host.ask(64 * n, 8, 1)
    host.bench.run(400)
    waiting = host.requests()
    assert sum(request.lines for request in waiting) == MOST_WAITED
    answers = []
    for _ in range(100):
        for request in waiting:
            host.complete(request)
        host.bench.run(500)
        answers += host.answers()
        waiting = host.requests()
    host.check(answers)


def bad(request):
    """Return completions of a read with which something is wrong, by what that is."""
    tag, address, size = request.tag, request.address, request.lines * LINE
    half = size // 2

    def part(at, to, **changed):
        fields = {"remaining": size - at, "last": to == size, **changed}
        return completion(tag, address + at, memory(address + at, to - at), **fields)

    return {
        "unsupported": [completion(tag, 0, remaining=4, last=True, status=Status.UNSUPPORTED, error=2)],
        "aborted later": [
            part(0, half),
            completion(tag, 0, remaining=4, last=True, status=Status.ABORTED, error=2),
        ],
        "status without an error code": [completion(tag, 0, remaining=4, last=True, status=Status.UNSUPPORTED)],
        "poisoned": [part(0, size, poisoned=1)],
        "poisoned first": [part(0, half, error=1), part(half, size)],
        "cut off": [part(0, half, last=True)],
        "no data": [completion(tag, address, remaining=size, last=True)],
        "too much": [completion(tag, address, memory(address, size + LINE), remaining=size, last=True)],
        "not whole lines": [completion(tag, address, memory(address, size - 8), remaining=size, last=True)],
        "another address": [part(0, half, address=(address + LINE) % 4096), part(half, size)],
        "within a line": [part(0, size, address=(address + DWORD) % 4096)],
        "twice the first half": [part(0, half), part(0, half, last=True)],
        "discontinued": [part(0, half, discontinue=True), part(half, size)],
        "fewer than announced": [part(0, half, dwords=size // DWORD), part(half, size)],
        "more than announced": [part(0, half, dwords=LINE // DWORD), part(half, size)],
        "locked": [part(0, size, locked=1)],
        "lost to a reset": [completion(tag, 0, remaining=0, last=True, error=0b1000)],
    }


@pytest.mark.parametrize("kind", bad(Request(Type.READ, 0, 4, 0, 0)))
def test_what_is_wrong_with_one_read_is_its_error_alone(kind):
    rng, host = random.Random(kind), Host(limit=4)
    for n in range(12):
        host.ask(64 * n, 4, n)
    host.bench.run(100)
    waiting = host.requests()
    broken = waiting[5]
    order = list(waiting)
    rng.shuffle(order)
    for request in order:
        if request is broken:
            for beats in bad(request)[kind]:
                host.send(beats)
            del host.under_way[request.tag]
        else:
            host.complete(request)
    host.bench.run(200)
    host.check(host.answers(), failed=range(20, 24))
    host.wanted.clear()
    for n in range(300):  # all tags and places of the buffer are good for others
        host.ask(7 * 64 * n, 3, n % 64)
    answers = []
    for _ in range(40):
        host.bench.run(100)
        for request in host.requests():
            host.complete(request, rng)
        answers += host.answers()
    host.check(answers)


@pytest.mark.parametrize("tags", [256, 128])
def test_what_nobody_waits_for_is_dropped(tags):
    """Tags that were not given, that nobody can have, or whose read is done, right behind its last completion."""
    host = Host(tags=tags)
    for tag in (0, 31, 255):
        host.send(completion(tag, 0, memory(0, 128), remaining=128, last=True))
        host.send(completion(tag, 0, remaining=4, last=True, status=Status.UNSUPPORTED))
    host.bench.run(50)
    assert not host.answers()
    answers = []
    for n in range(3):
        host.ask(64 * n + 3, 2)
        host.bench.run(50)
        (request,) = host.requests()
        for other in (request.tag ^ 1, request.tag ^ 128):
            host.send(completion(other, request.address, memory(0, 128), remaining=128, last=True))
        host.complete(request)
        for _ in range(3):
            host.send(completion(request.tag, request.address, memory(0, 128), remaining=128, last=True))
        host.bench.run(50)
        answers += host.answers()
        assert host.bench.get("idle")
    host.check(answers)


def test_after_a_time_out_nothing_is_asked_any_more_and_everything_fails():
    host = Host(limit=4)
    for n in range(10):
        host.ask(64 * n, 4, n)
    host.bench.run(100)
    waiting = host.requests()
    for request in waiting[:3]:
        host.complete(request)
    host.send(completion(waiting[3].tag, 0, remaining=0, last=True, error=TIMED_OUT))
    for request in waiting[4:]:
        host.complete(request)
    host.bench.run(100)
    for n in range(500):
        host.ask(64 * n, 4, n % 64)
    # what comes too late for the tag must not be taken for an answer
    host.send(completion(waiting[3].tag, waiting[3].address, memory(0, 256), remaining=256, last=True))
    host.bench.run(4000)
    assert not host.bench.sink("o").take()
    host.check(host.answers(), failed=[*range(12, 16), *range(40, 40 + 2000)])
    assert host.bench.get("idle")


def test_completions_are_never_held_back_and_lines_leave_as_fast_as_they_come():
    host = Host(limit=4)
    for n in range(90):
        host.ask(64 * n, 4, n % 64)
    host.bench.run(120)
    for request in host.requests():
        host.complete(request)
    host.bench.run(1000)
    host.check(host.answers())
    came, left = host.bench.source("i").cycles, host.bench.sink("o_r").cycles
    assert came[-1] - came[0] == 90 * 5 - 1
    assert left[-1] - came[-1] < 12


def test_impossible_parameters_are_refused():
    with pytest.raises(ParamsError, match="waited_lines is 385; it must be a whole number from 64 to 384"):
        ReadSide(id_bits=6, waited_lines=385)
    with pytest.raises(ParamsError, match="waited_lines is 384; the buffer has 256 lines"):
        ReadSide(id_bits=6, buffer_lines=256)
    with pytest.raises(ParamsError, match="tags is 100; it must be one of 32, 64, 128, 256"):
        TagTable(shape=entry(6, 512), tags=100)
