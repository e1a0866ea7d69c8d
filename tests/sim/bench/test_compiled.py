"""What the compiled harness offers beyond the other benches, and what it refuses."""

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from omap.errors import ParamsError
from sim.bench.compiled import Design
from sim.errors import CycleLimitError, SimulationError
from sim.models.memory import Memory
from sim.models.observer import EventKind
from sim.models.timing import HbmTiming


class Doubler(wiring.Component):
    """Doubles numbers of a stream, counts them, and repeats each of two empty tokens; wide and odd ports on purpose."""

    def __init__(self):
        super().__init__(
            {
                "i": In(stream.Signature(75)),
                "o": Out(stream.Signature(76)),
                "tokens": In(stream.Signature(0)).array(2),
                "count": Out(7),
                "enable": In(1, init=0),
                "last": Out(76),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [
            self.o.payload.eq(self.i.payload << 1),
            self.o.valid.eq(self.i.valid & self.enable),
            self.i.ready.eq(self.o.ready & self.enable),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [self.count.eq(self.count + 1), self.last.eq(self.o.payload)]
        spent = Signal()
        m.d.comb += self.tokens[1].ready.eq(~spent)
        with m.If(self.tokens[1].valid):
            m.d.sync += spent.eq(1)
        return m


@pytest.fixture(scope="module")
def design():
    return Design(Doubler())


@pytest.fixture
def bench(design):
    bench = design.bench(seed=3)
    bench.set("enable", 1)
    return bench


def test_numbers_bytes_and_arrays_are_items(bench):
    bench.source("i").push([5, (7 << 70).to_bytes(10, "little")])
    bench.source("i").push(np.array([[1] + [0] * 9, [2] + [0] * 9], np.uint8))
    bench.run(10)
    assert bench.sink("o").take() == [10, 7 << 71, 2, 4]
    assert bench.sink("o").take() == []
    bench.source("i").push([9])
    bench.run(2)
    assert bench.sink("o").take_array().tolist() == [[18] + [0] * 9]
    assert bench.sink("o").cycles.tolist() == [0, 1, 2, 3, 10]


def test_ports_are_set_and_read(bench):
    bench.source("i").push([1 << 74])
    bench.set("enable", 0)
    bench.run(5)
    assert (bench.get("count"), bench.source("i").remaining) == (0, 1)
    bench.set("enable", 1)
    bench.run(1)
    assert (bench.get("count"), bench.get("last"), bench.cycle) == (1, 1 << 75, 6)


def test_items_without_bits_are_items(bench):
    bench.source("tokens__1").push([0, 0])
    bench.run(5)
    assert bench.source("tokens__1").transfers == 1
    assert bench.source("tokens__0").transfers == 0


def test_a_run_stops_when_everything_has_come(bench):
    bench.source("i", waits=[3, 3, 3, 3]).push([1, 2, 3, 4])
    bench.run_until(limit=100, transfers={"o": 2})
    assert bench.cycle == 8
    bench.run_until(limit=100, values={"count": 3})
    assert (bench.get("count"), bench.cycle) == (3, 13)
    with pytest.raises(CycleLimitError, match="not done after 50 cycles: port count is 0x4, wanted 0x5"):
        bench.run_until(limit=50, values={"count": 5})
    with pytest.raises(ParamsError, match="transfers or values"):
        bench.run_until(limit=50)


def test_watched_ports_and_streams_are_events(bench):
    bench.observe("count")
    bench.observe("o")
    bench.source("i").push([1, 2])
    bench.run(5)
    assert [(int(e["cycle"]), EventKind(e["kind"]).name, int(e["address"]), int(e["length"])) for e in
            bench.observer.events()] == [
        (0, "TRANSFER", 0, 10), (1, "TRANSFER", 1, 10), (1, "CHANGE", 1, 1), (2, "CHANGE", 2, 1),
    ]  # fmt: skip


def test_cycles_need_not_be_kept(bench):
    bench.sink("o").untimed()
    bench.source("i").push([1])
    bench.run(3)
    assert bench.sink("o").transfers == 1
    with pytest.raises(SimulationError, match="were not kept"):
        bench.sink("o").cycles  # noqa: B018


def test_benches_of_one_design_are_apart(design):
    first, second = design.bench(), design.bench()
    first.set("enable", 1)
    first.source("i").push([1])
    first.run(5)
    second.run(2)
    assert (first.get("count"), second.get("count")) == (1, 0)
    assert (first.cycle, second.cycle) == (5, 2)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda b: b.get("nothing"), "no port 'nothing'; it has count, enable"),
        (lambda b: b.sink("nothing"), "no stream 'nothing'; it has i, o, tokens__0, tokens__1"),
        (lambda b: b.sink("i"), "stream i is an input"),
        (lambda b: b.source("o"), "stream o is an output"),
        (lambda b: b.set("count", 1), "port count is an output"),
        (lambda b: b.memory("m_axi", Memory(4096), HbmTiming()), "no AXI port 'm_axi'; it has none"),
        (lambda b: b.source("i").push(np.zeros((2, 3), np.uint8)), r"takes \(n, 10\) arrays of uint8, not \(2, 3\)"),
        (lambda b: b.run_until(limit=1, values={"last": 0}), "wider than 64 bits"),
        (lambda b: b.sink("o", idle=1.0), "idle is 1.0"),
    ],
)
def test_what_the_design_does_not_have_is_refused(bench, act, message):
    with pytest.raises((SimulationError, ParamsError), match=message):
        act(bench)
