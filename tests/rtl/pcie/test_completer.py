"""What the host asks of the register BAR: words reach their registers, nothing else does, all is answered."""

import random
from functools import cache

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from hypothesis import given, settings
from hypothesis import strategies as st

from rtl.pcie.completer import Completer
from rtl.pcie.layouts import ANSWER, BEAT, REFUSED, Status, Type
from rtl.stream.axi import RESP_OKAY
from rtl.stream.ways import through
from sim.bench.compiled import Design
from tests.support.designs.telling_registers import TellingRegisters, response_at, word_at
from tests.support.rtl.pcie_host import register_request

TOLD = ("i_gate", "o_wrote", "o_read")
OTHERS = [Type(kind) if kind in set(Type) else kind for kind in range(16) if kind > 1]
COMPLETED = 11


class Rig(wiring.Component):
    """The completer with registers behind it."""

    def __init__(self):
        self.dut, self.registers = Completer(), TellingRegisters()
        own, told = self.dut.signature.members, self.registers.signature.members
        self.own = [name for name in own if name != "m_axi"]
        super().__init__({name: own[name] for name in self.own} | {name: told[name] for name in TOLD})

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut, m.submodules.registers = self.dut, self.registers
        wiring.connect(m, self.dut.m_axi, self.registers.s_axi)
        through(m, self, dict.fromkeys(self.own, self.dut))
        through(m, self, dict.fromkeys(TOLD, self.registers))
        return m


@cache
def design():
    return Design(Rig())


def offsets(enable):
    """Return the bytes before the first and after the last that are enabled."""
    at = [bit for bit in range(4) if enable >> bit & 1]
    return (at[0], 3 - at[-1]) if at else (0, 0)


kinds = st.sampled_from([*[Type.READ] * 6, *[Type.WRITE] * 6, *OTHERS])
asked = st.fixed_dictionaries(
    {
        "kind": kinds,
        "address": st.one_of(st.integers(0, 2**62 - 1), st.integers(0, 255)).map(lambda n: 4 * n),
        "dwords": st.sampled_from([1, 1, 1, 1, 2, 8, 40]),
        "first": st.sampled_from([15, 15, 15, 0, 1, 6, 12]),
        "last": st.sampled_from([15, 1, 7]),
        "bar": st.sampled_from([0, 0, 0, 0, 0, 6]),
        "discontinue": st.sampled_from([False, False, False, False, True]),
        "requester": st.integers(0, 2**16 - 1),
        "tag": st.integers(0, 255),
        "function": st.integers(0, 255),
        "traffic_class": st.integers(0, 7),
        "attributes": st.integers(0, 7),
    }
)


@settings(max_examples=40)
@given(
    requests=st.lists(asked, max_size=12),
    seed=st.integers(0, 2**32 - 1),
    idle=st.sampled_from([0.0, 0.5]),
    open_=st.sampled_from([1, 1, 1, 0]),
)
def test_words_reach_their_registers_and_everything_is_answered(requests, seed, idle, open_):
    bench, rng = design().bench(seed=seed), random.Random(seed)
    bench.set("open_", open_)
    bench.source("i", idle=idle)
    bench.sink("o", idle=idle)
    if idle:
        bench.source("i_gate").push(rng.getrandbits(5) for _ in range(500))
    wrote, read, answers = [], [], []
    for each in requests:
        each = dict(each)
        kind, dwords, at = each["kind"], each["dwords"], each["address"] % 4096
        if dwords == 1:
            each["last"] = 0
        carries = kind == Type.WRITE or (kind != Type.READ and rng.random() < 0.5)
        data = rng.randbytes(4 * dwords) if carries else b""
        bench.source("i").push(register_request(data=data, **each))
        one = dwords == 1 and each["bar"] == 0 and open_
        if kind == Type.WRITE:
            if one and each["first"] and not each["discontinue"]:
                wrote.append(at | int.from_bytes(data, "little") << 12 | each["first"] << 44)
            continue
        if kind > COMPLETED:
            continue
        status, word = Status.UNSUPPORTED, None
        if kind == Type.READ and one and each["first"] == 15:
            read.append(at)
            status, word = (Status.SUCCESSFUL, word_at(at)) if response_at(at) == RESP_OKAY else (Status.ABORTED, None)
        elif kind == Type.READ and one and each["first"] == 0:
            status, word = Status.SUCCESSFUL, 0
        answers.append((each, status, word))
    if answers:
        bench.run_until(limit=20_000, transfers={"o": len(answers)})
    bench.run(600)
    assert bench.sink("o_wrote").take() == wrote
    assert bench.sink("o_read").take() == read
    assert bench.get("idle")
    found = [BEAT["cc"].from_bits(item) for item in bench.sink("o").take()]
    assert len(found) == len(answers)
    for beat, (each, status, word) in zip(found, answers, strict=True):
        check(beat, each, status, word)


def check(beat, each, status, word):
    """Check a completion against its request."""
    head = ANSWER.from_bits(beat["data"] & (1 << ANSWER.size) - 1)
    before, after = offsets(each["first"])[0], offsets(each["first"] if each["dwords"] == 1 else each["last"])[1]
    is_read = each["kind"] == Type.READ
    total = 4 * each["dwords"] - before - after if each["first"] else 1
    wanted = {
        "address": (each["address"] + before) % 128 if is_read else 0,
        "bytes": total if is_read else 4,
        "dwords": int(word is not None),
        "status": status,
        "locked": each["kind"] == Type.READ_LOCKED,
        "poisoned": 0,
        "completer_given": 0,
        **{name: each[name] for name in ("requester", "tag", "function", "traffic_class", "attributes")},
    }
    assert {name: head[name] for name in wanted} == wanted
    if word is not None:
        words = 4
        assert beat["data"] >> ANSWER.size == word
    else:
        words = 8
        refused = REFUSED.from_bits(beat["data"] & (1 << REFUSED.size) - 1)
        assert (refused["first_enable"], refused["last_enable"]) == (each["first"], each["last"])
        assert refused["asked"]["address"] == each["address"] // 4
        assert refused["asked"]["type"] == each["kind"]
    assert beat["keep"] == (1 << words) - 1
    assert (beat["last"], beat["user"]["begins"], beat["user"]["ends"]) == (1, 1, 1)
    assert (beat["user"]["end_at"], beat["user"]["discontinue"]) == (words - 1, 0)


def test_a_word_is_served_while_nothing_else_is():
    """The registers answer late: a second request waits for the first, and the order stays."""
    bench = design().bench()
    bench.set("open_", 1)
    bench.source("i_gate").push([0b00111] * 50)
    bench.source("i").push(register_request(Type.READ, 8, tag=1))
    bench.source("i").push(register_request(Type.WRITE, 12, data=bytes(4)))
    bench.source("i").push(register_request(Type.READ, 16, tag=2))
    bench.run(40)
    assert not bench.sink("o_wrote").transfers
    assert not bench.get("idle")
    bench.run(60)
    assert bench.sink("o_read").take() == [8, 16]
    assert len(bench.sink("o_wrote").take()) == 1


def test_posted_requests_are_served_while_a_completion_can_not_leave():
    bench = design().bench()
    bench.set("open_", 1)
    bench.sink("o", waits=[1000])
    bench.source("i").push(register_request(Type.READ, 8))
    for at in range(0, 400, 4):
        bench.source("i").push(register_request(Type.WRITE, at, data=bytes(4)))
    bench.run(900)
    assert not bench.sink("o").transfers
    assert len(bench.sink("o_wrote").take()) == 100


def test_the_block_has_credit_for_one_request_with_a_completion_at_a_time():
    bench = design().bench()
    bench.set("open_", 1)
    bench.sink("o", waits=[150])
    credits = []

    def turn(cycles):
        for _ in range(cycles):
            credits.append(bench.get("credit"))
            bench.run(1)

    turn(20)
    assert sum(credits) == 1
    bench.source("i").push(register_request(Type.READ, 8))
    turn(90)
    assert sum(credits) == 1
    turn(60)
    assert sum(credits) == 2
    bench.source("i").push(register_request(Type.WRITE, 8, data=bytes(4)))
    turn(20)
    assert sum(credits) == 2
    bench.source("i").push(register_request(Type.READ, 8, dwords=2, last=15))
    turn(20)
    assert sum(credits) == 3


@pytest.mark.parametrize("kind", [Type.READ, Type.WRITE])
def test_a_beat_that_begins_nothing_is_no_request(kind):
    bench = design().bench()
    bench.set("open_", 1)
    (beat,) = register_request(kind, 8, data=bytes(4) if kind == Type.WRITE else b"")
    beat["user"]["begins"] = 0
    bench.source("i").push([beat])
    bench.run(30)
    assert not bench.sink("o").transfers
    assert not bench.sink("o_wrote").transfers
