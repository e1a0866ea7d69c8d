# amaranth: UnusedElaboratable=no
"""Words through the BAR reach their registers; nothing else does, and everything is answered."""

import random
from functools import cache

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from hypothesis import given, settings
from hypothesis import strategies as st

from boards.gateware.bar import BarAdapter
from omap.errors import ParamsError
from rtl.stream.axi import CHANNELS, RESP_OKAY, RESP_SLVERR, AxiSignature
from rtl.stream.ways import through
from sim.bench.cocotb_runner import cocotb_tests, run_cocotb
from sim.bench.compiled import Design
from tests.support.designs.telling_registers import TellingRegisters, response_at, word_at

COCOTB = "tests.support.boards.cocotb_bar"
AXI = AxiSignature(addr_width=64, data_width=512, id_width=4)
TOLD = ("i_gate", "o_wrote", "o_read")


@pytest.mark.parametrize("name", cocotb_tests(COCOTB))
def test_with_a_master_and_a_memory_from_elsewhere(name):
    run_cocotb(COCOTB, name)


class Rig(wiring.Component):
    """The adapter with the channels of its bus as streams, and with registers behind it."""

    def __init__(self):
        members = {f"i_{c}": In(AXI.stream(c)) for c in ("aw", "w", "ar")}
        members |= {f"o_{c}": Out(AXI.stream(c)) for c in ("b", "r")}
        self.registers = TellingRegisters()
        super().__init__(members | {name: self.registers.signature.members[name] for name in TOLD})

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = BarAdapter()
        for channel, names in CHANNELS.items():
            inward = channel not in "br"
            flow = getattr(self, ("i_" if inward else "o_") + channel)
            pins = {name: getattr(dut.s_axi, channel + name) for name in (*names, "valid", "ready")}
            for name in names:
                pin, field = pins[name], flow.p[name]
                m.d.comb += pin.eq(field) if inward else field.eq(pin)
            ends = [(pins["valid"], flow.valid), (flow.ready, pins["ready"])]
            m.d.comb += [a.eq(b) if inward else b.eq(a) for a, b in ends]

        m.submodules.registers = self.registers
        wiring.connect(m, dut.m_axi, self.registers.s_axi)
        through(m, self, dict.fromkeys(TOLD, self.registers))
        return m


@cache
def design():
    return Design(Rig())


addresses = st.one_of(
    st.integers(0, 2**64 - 1), st.integers(0, 1023).map(lambda n: 4 * n), st.integers(0, 2**62 - 1).map(lambda n: 4 * n)
)
headers = {
    "id": st.integers(0, 15),
    "addr": addresses,
    "len": st.one_of(st.just(0), st.just(0), st.integers(0, 3), st.integers(0, 255)),
    "size": st.one_of(st.just(2), st.just(2), st.integers(0, 7)),
    "burst": st.integers(0, 3),
}
strobes = st.sampled_from(["word", "part", "none", "beyond", "all", "any"])
ends = st.sampled_from(["kept", "kept", "kept", "kept", "early", "missing"])
writes = st.tuples(st.fixed_dictionaries(headers), strobes, ends, st.integers(0, 2**32 - 1))
reads = st.fixed_dictionaries(headers)


def plain(header):
    return header["len"] == 0 and header["size"] == 2 and header["addr"] % 4 == 0


def beats_of(write):
    """Return the beats of a write, and whether it may reach a register."""
    header, kind, end, seed = write
    rng = random.Random(seed)
    lane = header["addr"] // 4 % 16
    word = 15 << 4 * lane
    mask = {
        "word": word,
        "part": word & rng.getrandbits(64),
        "none": 0,
        "beyond": word | 1 << rng.choice([bit for bit in range(64) if bit // 4 != lane]),
        "all": 2**64 - 1,
        "any": rng.getrandbits(64),
    }[kind]
    count = header["len"] + 1
    if end == "early" and count > 1:
        count = rng.randrange(1, count)
    last = None if end == "missing" else count - 1
    beats = [{"data": rng.getrandbits(512), "strb": mask, "last": n == last} for n in range(count)]
    return beats, plain(header) and last == 0 and not mask & ~word


@settings(max_examples=150)
@given(
    written=st.lists(writes, max_size=8),
    read=st.lists(reads, max_size=8),
    seed=st.integers(0, 2**32 - 1),
    idle=st.sampled_from([0.0, 0.5, 0.9]),
)
def test_every_access_is_answered_and_words_alone_are_passed_on(written, read, seed, idle):
    bench, rng = design().bench(seed=seed), random.Random(seed)
    for name in ("i_aw", "i_w", "i_ar"):
        bench.source(name, idle=idle)
    for name in ("o_b", "o_r"):
        bench.sink(name, idle=idle)
    if idle:
        bench.source("i_gate").push(rng.getrandbits(5) for _ in range(500))
    answers, touched, data, beats_asked = [], [], [], []
    for write in written:
        header, beats = write[0], beats_of(write)[0]
        bench.source("i_aw").push([header])
        bench.source("i_w").push(beats)
        served = beats_of(write)[1]
        at = header["addr"] % 4096
        answers.append(header["id"] | (response_at(at) if served else RESP_SLVERR) << 4)
        if served:
            lane = at // 4 % 16
            value, strobe = beats[0]["data"] >> 32 * lane & 0xFFFFFFFF, beats[0]["strb"] >> 4 * lane & 15
            touched.append(at | value << 12 | strobe << 44)
    for header in read:
        bench.source("i_ar").push([header])
        at, served = header["addr"] % 4096, plain(header)
        if served:
            beats_asked.append(at)
        for left in reversed(range(header["len"] + 1)):
            response = response_at(at) if served else RESP_SLVERR
            lane = at // 4 % 16 if served else None
            data.append((header["id"], lane, word_at(at) if served else 0, response, left == 0))
    wanted = {"o_b": len(answers), "o_r": len(data)}
    if wanted := {name: count for name, count in wanted.items() if count}:
        bench.run_until(limit=100_000, transfers=wanted)
    bench.run(50)
    assert bench.sink("o_b").take() == answers
    assert bench.sink("o_wrote").take() == touched
    assert bench.sink("o_read").take() == beats_asked
    found = [AXI.layout("r").from_bits(item) for item in bench.sink("o_r").take()]
    assert len(found) == len(data)
    for beat, (name, lane, word, response, last) in zip(found, data, strict=True):
        shown = beat["data"] if lane is None else beat["data"] >> 32 * lane & 0xFFFFFFFF
        assert (beat["id"], shown, beat["resp"], beat["last"]) == (name, word & 0xFFFFFFFF, response, last)


def test_reads_and_writes_do_not_wait_for_each_other():
    word = {"addr": 8, "len": 0, "size": 2, "id": 1, "burst": 1}
    for stuck, moving in (("o_b", "o_r"), ("o_r", "o_b")):
        bench = design().bench()
        bench.sink(stuck, waits=[5000])
        bench.source("i_ar").push([word] * 20)
        bench.source("i_aw").push([word] * 20)
        bench.source("i_w").push([{"data": 0, "strb": 0xF << 8, "last": 1}] * 20)
        bench.run_until(limit=1000, transfers={moving: 20})
        assert not bench.sink(stuck).transfers


def test_an_access_asks_the_registers_once():
    assert response_at(8) == RESP_OKAY
    bench = design().bench()
    bench.source("i_ar").push([{"addr": 8, "len": 0, "size": 2, "id": 1, "burst": 1}])
    bench.run(100)
    assert bench.sink("o_read").take() == [8]


def test_an_impossible_id_is_refused():
    with pytest.raises(ParamsError, match="id_width is 0; it must be a whole number from 1 to 16"):
        BarAdapter(id_width=0)
