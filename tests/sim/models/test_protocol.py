"""Each rule of AXI and of streams: a design that breaks it is reported, by both forms, in the same cycle."""

from functools import lru_cache

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from sim.bench.amaranth_bench import AmaranthBench
from sim.bench.compiled import Design
from sim.errors import ProtocolError
from sim.models.memory import Memory
from sim.models.protocol import TEXTS, Rule
from sim.models.streams import watch
from sim.models.timing import HbmTiming
from tests.support.designs.tap import Tap

GOOD = {"arvalid": 1, "araddr": 0x1000, "arlen": 1, "arsize": 5, "arburst": 1, "arid": 3, "rready": 1}
GOOD_WRITE = {"awvalid": 1, "awaddr": 0x1000, "awlen": 1, "awsize": 5, "awburst": 1, "awid": 3, "bready": 1}
BEAT = {"wvalid": 1, "wdata": 5, "wstrb": 0xFFFFFFFF, "wlast": 0}
IDLE = {"arvalid": 0, "awvalid": 0, "wvalid": 0}

# Rule: what the master shows, cycle by cycle (later cycles keep what earlier ones set), and where it shows.
# The port is slow to be ready (READY_LATE), so that offers stand open for a while.
BREACHES = {
    Rule.AW_WITHDRAWN: [GOOD_WRITE, IDLE],
    Rule.AW_CHANGED: [GOOD_WRITE, {"awaddr": 0x1040}],
    Rule.W_WITHDRAWN: [BEAT, IDLE],
    Rule.W_CHANGED: [BEAT, {"wdata": 6}],
    Rule.AR_WITHDRAWN: [GOOD, IDLE],
    Rule.AR_CHANGED: [GOOD, {"arid": 4}],
    Rule.BURST_KIND: [GOOD | {"arburst": 0}],
    Rule.BURST_NARROW: [GOOD | {"arsize": 4}],
    Rule.BURST_LENGTH: [GOOD | {"arlen": 16}],
    Rule.BURST_CROSSES_4K: [GOOD | {"araddr": 0x0FE0}],
    Rule.BURST_UNALIGNED: [GOOD | {"araddr": 0x1010}],
    Rule.ADDRESS_RANGE: [GOOD | {"araddr": 0x1_0000}],
    Rule.ID_RANGE: [GOOD | {"arid": 60}],
    Rule.LAST_EARLY: [GOOD_WRITE | BEAT | {"wlast": 1}],
    Rule.LAST_MISSING: [GOOD_WRITE | BEAT],
}


@lru_cache(maxsize=1)
def tap():
    return Design(Tap())


def tap_bench(form):
    return AmaranthBench(Tap(), seed=4) if form == "python" else tap().bench(seed=4)


def play(bench, script, *, withheld=0.6, version=4):
    timing = HbmTiming(ids=60, ready_withheld=withheld)
    bench.ports.axi["m_axi"].signature.version = version
    bench.memory("m_axi", Memory(1 << 16), timing)
    for step in script:
        for name, value in step.items():
            bench.set(name, value)
        bench.run(1)
    bench.run(40)


@pytest.mark.parametrize("rule", BREACHES)
def test_a_breach_is_reported_the_same_by_both_forms(rule):
    messages = []
    for form in ("python", "compiled"):
        with pytest.raises(ProtocolError, match=rule.name) as caught:
            play(tap_bench(form), BREACHES[rule], version=3 if rule is Rule.BURST_LENGTH else 4)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert messages[0].startswith("m_axi, cycle ")
    assert TEXTS[rule] in messages[0]


@pytest.mark.parametrize("form", ["python", "compiled"])
def test_a_legal_master_is_not_reported(form):
    bench = tap_bench(form)
    timing = HbmTiming(ids=60)
    bench.memory("m_axi", Memory(1 << 16), timing)
    for step in (GOOD, IDLE, GOOD_WRITE | BEAT, IDLE | {"wvalid": 1, "wdata": 9, "wlast": 1}, IDLE):
        for name, value in step.items():
            bench.set(name, value)
        bench.run(1)
    bench.run(100)


def test_write_data_may_come_before_its_address_up_to_a_limit():
    seen = []
    for form in ("python", "compiled"):
        bench = tap_bench(form)
        memory = Memory(1 << 16)
        bench.memory("m_axi", memory, HbmTiming(ids=60), observe=True)
        for name, value in (BEAT | {"wlast": 1}).items():
            bench.set(name, value)
        ready = []
        for _ in range(20):
            bench.run(1)
            ready.append(bench.get("m_axi__wready"))
        for name, value in (GOOD_WRITE | {"awlen": 0}).items():
            bench.set(name, value)
        bench.run(60)
        assert ready == [1] * 16 + [0] * 4
        assert memory.read(0x1000, 32) == (5).to_bytes(32, "little")
        seen.append(bench.observer.events().tolist())
    assert seen[0] == seen[1]
    assert len(seen[0]) > 60


def test_every_rule_is_tested():
    streams = {Rule.STREAM_WITHDRAWN, Rule.STREAM_CHANGED, Rule.STREAM_WAITS}
    assert set(BREACHES) | streams == set(Rule) == set(TEXTS)


# -- streams -----------------------------------------------------------------------------------------------------


class Producer(wiring.Component):
    """Offers numbers; ``how`` says which rule it breaks."""

    def __init__(self, how):
        self.how = how
        super().__init__({"o": Out(stream.Signature(8))})

    def elaborate(self, platform):
        m = Module()
        number, cycle = Signal(8), Signal(8)
        m.d.sync += cycle.eq(cycle + 1)
        m.d.comb += [self.o.payload.eq(number), self.o.valid.eq(1)]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += number.eq(number + 1)
        if self.how is Rule.STREAM_WITHDRAWN:
            m.d.comb += self.o.valid.eq(cycle[1])
        elif self.how is Rule.STREAM_CHANGED:
            m.d.comb += self.o.payload.eq(cycle)
        elif self.how is Rule.STREAM_WAITS:
            m.d.comb += self.o.valid.eq(self.o.ready)
        elif self.how == "payload waits":
            m.d.comb += self.o.payload.eq(number ^ self.o.ready)
        return m


@pytest.mark.parametrize("form", ["python", "compiled"])
@pytest.mark.parametrize("how", [Rule.STREAM_WITHDRAWN, Rule.STREAM_CHANGED, Rule.STREAM_WAITS, "payload waits"])
def test_a_producer_that_breaks_a_rule_is_reported(how, form):
    component = Producer(how)
    bench = AmaranthBench(component) if form == "python" else Design(component).bench()
    bench.sink("o", waits=[9, 9, 9])
    rule = Rule.STREAM_WAITS if how == "payload waits" else how
    with pytest.raises(ProtocolError, match=f"o, cycle .*{rule.name}"):
        bench.run(100)


@pytest.mark.parametrize("how", [Rule.STREAM_WITHDRAWN, Rule.STREAM_CHANGED])
def test_watch_reports_a_stream_inside_a_design(how):
    producer = Producer(how)
    simulator = Simulator(producer)
    simulator.add_clock(1e-6)
    simulator.add_process(watch("inner", producer.o))
    with pytest.raises(ProtocolError, match=f"inner, cycle .*{how.name}"):
        simulator.run_until(100e-6)


@pytest.mark.parametrize("form", ["python", "compiled"])
def test_a_good_producer_is_not_reported(form):
    component = Producer(None)
    bench = AmaranthBench(component, seed=1) if form == "python" else Design(component).bench(seed=1)
    bench.sink("o", waits=[9, 0, 3], idle=0.5)
    bench.run(200)
    assert bench.sink("o").take() == list(range(bench.sink("o").transfers))


class Careless(wiring.Component):
    """Looks at a payload that is not valid."""

    i: In(stream.Signature(8))
    seen: Out(8)

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [self.i.ready.eq(1), self.seen.eq(self.i.payload)]
        return m


@pytest.mark.parametrize("form", ["python", "compiled"])
def test_what_is_not_valid_is_nonsense(form):
    component = Careless()
    bench = AmaranthBench(component) if form == "python" else Design(component).bench()
    bench.run(1)
    assert bench.get("seen") == 0xA5


class Erasable(wiring.Component):
    """Offers one item; ``erase`` takes it away, the one exception to the rule."""

    o: Out(stream.Signature(8))
    erase: In(1)

    def elaborate(self, platform):
        m = Module()
        started, gone = Signal(), Signal()
        m.d.sync += [started.eq(1), gone.eq(gone | self.erase)]
        m.d.comb += self.o.valid.eq(started & ~gone)
        return m


@pytest.mark.parametrize("form", ["python", "compiled"])
def test_erasure_may_withdraw_an_offer(form):
    component = Erasable()
    bench = AmaranthBench(component) if form == "python" else Design(component).bench()
    bench.sink("o", waits=[50])
    bench.run(5)
    bench.set("erase", 1)
    bench.run(1)
    bench.set("erase", 0)
    bench.run(5)
    assert not bench.sink("o").transfers
