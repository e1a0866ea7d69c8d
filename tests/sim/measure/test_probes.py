# amaranth: UnusedElaboratable=no
"""Probes count cycles, transfers and levels exactly, and change nothing of the design."""

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl.stream.fifo import Fifo
from sim.bench.compiled import Design
from sim.errors import SimulationError
from sim.measure import probes
from sim.measure.probes import Level, Machine, ProbedDesign


class Pair(wiring.Component):
    """Passes each item on in two steps, behind a queue; ``held`` has a bit for each of the last items' lowest bits."""

    def __init__(self):
        items = stream.Signature(8)
        super().__init__({"i": In(items), "o": Out(items), "held": Out(4)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.use = use = Fifo(shape=8, depth=4)  # a word of Verilog's
        connect(m, flipped(self.i), use.i)
        item = Signal(8)
        with m.FSM(name="step"):
            with m.State("TAKE"):
                m.d.comb += use.o.ready.eq(1)
                m.d.sync += item.eq(use.o.p)
                with m.If(use.o.valid):
                    m.d.sync += self.held.eq(self.held << 1 | use.o.p[0])
                    m.next = "PASS"
            with m.State("PASS"):
                m.d.comb += [self.o.valid.eq(1), self.o.p.eq(item)]
                with m.If(self.o.ready):
                    m.next = "TAKE"
        return m


PROBES = [probes.stream("in", "", "i"), probes.stream("queue", "use", "o"), probes.stream("out", "", "o")]
PROBES.append(Level("ones", "", "held"))
ITEMS = 50


@pytest.fixture(scope="module")
def design():
    return ProbedDesign(Pair(), PROBES, machines=True)


def driven(design, seed):
    bench = design.bench(seed=seed)
    bench.sink("o", idle=0.5)
    bench.observe("o")
    bench.run(3)
    if isinstance(design, ProbedDesign):
        probes.start(bench)
    else:
        bench.run(1)
    bench.source("i", idle=0.3).push(range(ITEMS))
    bench.run_until(limit=2000, transfers={"o": ITEMS})
    return bench


@pytest.mark.parametrize("seed", range(3))
def test_what_moves_waits_and_is_held_is_counted(design, seed):
    bench = driven(design, seed)
    counts = dict(zip([probe.name for probe in design.probes], probes.stop(bench, design.probes), strict=True))
    assert counts["out"].moved == counts["queue"].moved == counts["in"].moved == ITEMS
    # The machine is in its second state just as long as an item is on offer.
    assert counts[": step_state"].busy == counts["out"].busy > counts["out"].moved
    assert 0 < counts["ones"].moved <= 3
    assert counts["ones"].busy > ITEMS // 2
    again = probes.stop(bench, design.probes)
    assert [count.busy for count in again] == [count.busy for count in counts.values()]
    probes.start(bench)
    assert {count.busy for count in probes.stop(bench, design.probes)} == {0}


def test_probes_change_nothing(design):
    found = []
    for each in (design, Design(Pair())):
        bench = driven(each, 5)
        found.append((bench.sink("o").take(), bench.observer.events()["cycle"].tolist()))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        (probes.stream("", "uses", "o"), "the design has no block 'uses'; beside it are .*use"),
        (probes.stream("", "use", "p"), "block 'use' has no signal 'p__valid'; it has .*o__valid"),
        (Machine("", "", "fsm_state", "1'h0"), "block '' has no signal 'fsm_state'; it has .*step_state"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(probe, message):
    with pytest.raises(SimulationError, match=message):
        ProbedDesign(Pair(), [probe])
