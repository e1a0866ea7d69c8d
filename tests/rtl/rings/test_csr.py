"""The registers on their bus, against the one description in omap.regmap."""

import random
from functools import cache

import pytest
from amaranth.hdl import Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.errors import ParamsError
from omap.presets import preset
from omap.regmap import BY_NAME, REGISTERS, Access, Fault, State, identity
from rtl.rings.csr import PLAIN, Csr
from rtl.stream.axi import AxiLiteSignature
from rtl.stream.ways import through
from sim.bench.compiled import Design

MODES = {"hbm_private": True, "attested": False, "hardware": True}
SPECIAL = {"CTRL", "REQUEST"}
LITE = AxiLiteSignature(addr_width=12, data_width=32)


def payload(channel):
    return data.StructLayout({name: LITE.members[channel + name].shape for name in LITE.channels[channel]})


class Rig(wiring.Component):
    """The registers, with the channels of their bus as streams, so that each waits as it is drawn."""

    OWN = ("state", "fault", "stopped", "start", "running", "base", "ring_lines", "o_request", "i_request_done")

    def __init__(self):
        self.csr = Csr(preset("TINY"), **MODES)
        members = {name: self.csr.signature.members[name] for name in self.OWN}
        members |= {f"i_{c}": In(stream.Signature(payload(c))) for c in ("aw", "w", "ar")}
        super().__init__(members | {f"o_{c}": Out(stream.Signature(payload(c))) for c in ("b", "r")})

    def elaborate(self, platform):
        m = Module()
        m.submodules.csr = csr = self.csr
        through(m, self, dict.fromkeys(self.OWN, csr))
        for channel, names in LITE.channels.items():
            inward = channel not in "br"
            flow = getattr(self, ("i_" if inward else "o_") + channel)
            valid, ready = (getattr(csr.s_axi_control, channel + end) for end in ("valid", "ready"))
            m.d.comb += (
                [valid.eq(flow.valid), flow.ready.eq(ready)]
                if inward
                else [
                    flow.valid.eq(valid),
                    ready.eq(flow.ready),
                ]
            )
            for name in names:
                pin = getattr(csr.s_axi_control, channel + name)
                m.d.comb += pin.eq(flow.p[name]) if inward else flow.p[name].eq(pin)
        return m


@cache
def design():
    return Design(Rig())


class Bus:
    def __init__(self, seed=0, idle=0.0):
        self.bench = design().bench(seed=seed)
        for source in ("i_aw", "i_w", "i_ar"):
            self.bench.source(source, idle=idle)
        for sink in ("o_b", "o_r"):
            self.bench.sink(sink, idle=idle)

    def write(self, name, value, strobes=15):
        self.bench.source("i_aw").push([{"addr": name if isinstance(name, int) else BY_NAME[name].offset}])
        self.bench.source("i_w").push([{"data": value, "strb": strobes}])
        self.bench.run_until(limit=1000, transfers={"o_b": 1})
        assert self.bench.sink("o_b").take() == [0]

    def read(self, name):
        self.bench.source("i_ar").push([{"addr": name if isinstance(name, int) else BY_NAME[name].offset}])
        self.bench.run_until(limit=1000, transfers={"o_r": 1})
        (item,) = self.bench.sink("o_r").take()
        assert item >> 32 == 0
        return item & 0xFFFFFFFF

    def pulse(self, name):
        self.bench.set(name, 1)
        self.bench.run(1)
        self.bench.set(name, 0)
        self.bench.run(1)

    def field(self, name, field):
        return BY_NAME[name].field(field, self.read(name))

    def start(self, base=0x12_3456_7000, lines=256):
        for name, value in (
            ("BUFFER_LOW", base & 0xFFFFFFFF),
            ("BUFFER_HIGH", base >> 32),
            ("RING_LINES", lines),
            ("CTRL", 1),
        ):
            self.write(name, value)
        self.bench.run(10)


@pytest.mark.parametrize("idle", [0.0, 0.7])
def test_every_register_is_where_it_is_described_and_lets_the_host_do_what_is_described(idle):
    bus, rng = Bus(seed=3, idle=idle), random.Random(3)
    bus.bench.set("state", State.READY)
    bus.bench.set("fault", Fault.EXHAUSTED)
    constants = identity(preset("TINY"), **MODES) | {"STATUS": State.READY, "FAULT": Fault.EXHAUSTED}
    readable = {register.name for register in REGISTERS if register.access is not Access.WRITE}
    writable = {register.name for register in REGISTERS if register.access is not Access.READ}
    assert readable == {register.name for register in REGISTERS}  # if ever one is not, it must read 0
    assert writable == set(PLAIN) | SPECIAL
    assert readable - writable == set(constants)
    expected = dict.fromkeys(range(0, 4096, 4), 0)
    for name, value in constants.items():
        expected[BY_NAME[name].offset] = value
    special = {BY_NAME[name].offset for name in SPECIAL}
    expected = {at: value for at, value in expected.items() if at not in special}
    assert {at: bus.read(at) for at in expected} == expected
    for at in expected:
        value = rng.getrandbits(32)
        bus.write(at, value)
        if at in {BY_NAME[name].offset for name in PLAIN}:
            expected[at] = value
    assert {at: bus.read(at) for at in expected} == expected


@settings(max_examples=50)
@given(
    name=st.sampled_from(PLAIN),
    words=st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 15)), min_size=1, max_size=8),
)
def test_bytes_are_written_as_strobed(name, words):
    bus, expected = Bus(), 0
    for value, strobes in words:
        bus.write(name, value, strobes)
        mask = sum(0xFF << 8 * k for k in range(4) if strobes >> k & 1)
        expected = expected & ~mask | value & mask
        assert bus.read(name) == expected


def test_the_kernel_starts_once_with_its_arguments_and_stops():
    bus = Bus()
    bench = bus.bench
    assert bus.field("CTRL", "idle")
    for port in ("start", "running", "base", "ring_lines"):
        bench.observe(port)
    bus.start()
    bus.write("BUFFER_LOW", 0)  # too late to matter
    bus.write("CTRL", 1)
    bench.run(20)
    values = {
        name: [(int(e["cycle"]), int(e["address"])) for e in bench.observer.events(port=name)]
        for name in ("start", "running", "base", "ring_lines")
    }
    (begun, _), (ended, _) = values["start"]
    assert ended == begun + 1  # one cycle
    assert values["running"] == [(begun, 1)]
    assert values["base"] == [(begun - 4, 0x12_3456_7000)]
    assert values["ring_lines"] == [(begun - 4, 256)]
    fields = ("start", "done", "idle", "ready")
    assert [bus.field("CTRL", field) for field in fields] == [1, 0, 0, 0]
    bus.pulse("stopped")
    assert not bench.get("running")
    control = bus.read("CTRL")
    assert [BY_NAME["CTRL"].field(field, control) for field in fields] == [0, 1, 1, 1]
    control = bus.read("CTRL")  # done and ready were seen
    assert [BY_NAME["CTRL"].field(field, control) for field in fields] == [0, 0, 1, 0]
    bus.start(base=0x5000)
    assert (bench.get("running"), bench.get("base")) == (1, 0x5000)


def test_a_request_is_passed_on_once_and_reads_zero_when_it_is_done():
    bus = Bus()
    bus.write("REQUEST", 1)
    bus.bench.run(50)
    assert not bus.bench.sink("o_request").transfers  # the kernel has no buffer yet
    bus.start()
    for request, passed in ((1, 1), (2, 2), (0x101, 0), (0xFF, 0xFF)):
        bus.write("REQUEST", request)
        bus.bench.run(20)
        assert bus.bench.sink("o_request").take() == [passed]
        bus.write("REQUEST", 7)
        bus.bench.run(20)
        assert bus.read("REQUEST") == request
        assert not bus.bench.sink("o_request").take()
        bus.bench.source("i_request_done").push([0])
        bus.bench.run(20)
        assert bus.read("REQUEST") == 0
    bus.write("REQUEST", 0)
    bus.bench.run(20)
    assert not bus.bench.sink("o_request").take()


def test_widths_of_the_bus_are_checked():
    with pytest.raises(ParamsError, match="data_width is 16; AXI4-Lite allows 32 or 64"):
        AxiLiteSignature(addr_width=12, data_width=16)
    with pytest.raises(ParamsError, match="addr_width is 8"):
        AxiLiteSignature(addr_width=8)
    assert AxiLiteSignature(addr_width=12) == LITE != AxiLiteSignature(addr_width=13)
    assert {name for name, member in LITE.members.items() if member.flow is In} == {
        "awready", "wready", "bresp", "bvalid", "arready", "rdata", "rresp", "rvalid",
    }  # fmt: skip
