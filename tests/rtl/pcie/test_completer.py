"""What the host asks of the register BAR: words reach their registers, nothing else does, all is answered."""

import random
from functools import cache

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out
from hypothesis import given, settings
from hypothesis import strategies as st

from rtl.pcie.completer import Completer
from rtl.pcie.layouts import ANSWER, ASKED, BEAT, REFUSED, Status, Type
from sim.bench.compiled import Design

WROTE = StructLayout({"addr": 12, "data": 32, "strb": 4})
OTHERS = [Type(kind) if kind in set(Type) else kind for kind in range(16) if kind > 1]
COMPLETED = 11


def word_at(address):
    """What a register reads: told by its address."""
    return (address * 0x100001 ^ 0xA5A5_0000) & 0xFFFF_FFFF


class Rig(wiring.Component):
    """The completer with registers that tell of every access and hold back. Those from 0xc00 on answer with errors."""

    def __init__(self):
        members = {name: member for name, member in Completer().signature.members.items() if name != "m_axi"}
        members |= {"i_gate": In(stream.Signature(5))}
        members |= {"o_wrote": Out(stream.Signature(WROTE, always_ready=True))}
        super().__init__(members | {"o_read": Out(stream.Signature(12, always_ready=True))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = Completer()
        for name in ("i", "o"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(dut, name))
        m.d.comb += [dut.open_.eq(self.open_), self.idle.eq(dut.idle), self.credit.eq(dut.credit)]
        lite, gates = dut.m_axi, Signal(5)
        m.d.comb += [self.i_gate.ready.eq(1), gates.eq(self.i_gate.p | ~self.i_gate.valid.replicate(5))]
        aw, w, b, ar, r = gates
        address, word, wrote, read, at = Signal(12), Signal(36), Signal(2), Signal(), Signal(12)
        m.d.comb += [
            lite.awready.eq(aw & ~wrote[0]),
            lite.wready.eq(w & ~wrote[1]),
            lite.bvalid.eq(wrote.all() & b),
            self.o_wrote.valid.eq(lite.bvalid & lite.bready),
            self.o_wrote.p.addr.eq(address),
            self.o_wrote.p.data.eq(word[:32]),
            self.o_wrote.p.strb.eq(word[32:]),
            lite.arready.eq(ar & ~read),
            lite.rvalid.eq(read & r),
            lite.rdata.eq(at * 0x100001 ^ 0xA5A5_0000),
            lite.rresp.eq(at[10:12].all() * 2),
            self.o_read.valid.eq(lite.rvalid & lite.rready),
            self.o_read.p.eq(at),
        ]
        with m.If(lite.awvalid & lite.awready):
            m.d.sync += [wrote[0].eq(1), address.eq(lite.awaddr)]
        with m.If(lite.wvalid & lite.wready):
            m.d.sync += [wrote[1].eq(1), word[:32].eq(lite.wdata), word[32:].eq(lite.wstrb)]
        with m.If(self.o_wrote.valid):
            m.d.sync += wrote.eq(0)
        with m.If(lite.arvalid & lite.arready):
            m.d.sync += [read.eq(1), at.eq(lite.araddr)]
        with m.If(self.o_read.valid):
            m.d.sync += read.eq(0)
        return m


@cache
def design():
    return Design(Rig())


def request(kind, address, *, dwords=1, first=15, last=0, bar=0, data=b"", discontinue=False, **fields):
    """Return the beats of a request."""
    head = {"address": address // 4, "dwords": dwords, "type": kind, "bar": bar, "aperture": 16, **fields}
    text = ASKED.const(head).as_value().value.to_bytes(16, "little") + data
    beats = []
    for at in range(0, len(text), 64):
        piece, final = text[at : at + 64], at + 64 >= len(text)
        user = {"begins": at == 0, "ends": final, "end_at": len(piece) // 4 - 1, "discontinue": discontinue and final}
        user |= {"first_enable": first, "last_enable": last} if at == 0 else {}
        beats.append({"data": int.from_bytes(piece, "little"), "keep": 1, "last": final, "user": user})
    return beats


def offsets(enable):
    """Return the bytes before the first and after the last that are enabled."""
    at = [bit for bit in range(4) if enable >> bit & 1]
    return (at[0], 3 - at[-1]) if at else (0, 0)


kinds = st.sampled_from([*[Type.READ] * 6, *[Type.WRITE] * 6, *OTHERS])
asked = st.fixed_dictionaries(
    {
        "kind": kinds,
        "address": st.integers(0, 2**62 - 1).map(lambda n: 4 * n),
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
        data = rng.randbytes(4 * dwords) if kind == Type.WRITE or 4 <= kind < 7 else b""
        bench.source("i").push(request(data=data, **each))
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
            status, word = (Status.ABORTED, None) if at >= 0xC00 else (Status.SUCCESSFUL, word_at(at))
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
    bench.source("i").push(request(Type.READ, 8, tag=1))
    bench.source("i").push(request(Type.WRITE, 12, data=bytes(4)))
    bench.source("i").push(request(Type.READ, 16, tag=2))
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
    bench.source("i").push(request(Type.READ, 8))
    for at in range(0, 400, 4):
        bench.source("i").push(request(Type.WRITE, at, data=bytes(4)))
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
    bench.source("i").push(request(Type.READ, 8))
    turn(90)
    assert sum(credits) == 1
    turn(60)
    assert sum(credits) == 2
    bench.source("i").push(request(Type.WRITE, 8, data=bytes(4)))
    turn(20)
    assert sum(credits) == 2
    bench.source("i").push(request(Type.READ, 8, dwords=2, last=15))
    turn(20)
    assert sum(credits) == 3


@pytest.mark.parametrize("kind", [Type.READ, Type.WRITE])
def test_a_beat_that_begins_nothing_is_no_request(kind):
    bench = design().bench()
    bench.set("open_", 1)
    (beat,) = request(kind, 8, data=bytes(4) if kind == Type.WRITE else b"")
    beat["user"]["begins"] = 0
    bench.source("i").push([beat])
    bench.run(30)
    assert not bench.sink("o").transfers
    assert not bench.sink("o_wrote").transfers
