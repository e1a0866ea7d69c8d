"""Bounded proofs of the stream components: order, no loss, no doubles, and the rules of docs/hardware/streams.md."""

import pytest
from amaranth.hdl import Assert, Assume, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.stream.fifo import Fifo
from rtl.stream.skid import SkidBuffer
from sim.bench.formal import ProofError, ignores_ready, producer_rules, prove

WIDTH = 1  # the components never look at the payload, so one bit shows as much as many
ENDS = {"i": In(stream.Signature(WIDTH)), "o": Out(stream.Signature(WIDTH))}


class OrderProof(wiring.Component):
    """Counts the items inside a component and follows any one of them through it, under every input and waiting."""

    def __init__(self, dut, *, capacity, latency):
        self.dut, self.capacity, self.latency = dut, capacity, latency
        super().__init__({**ENDS, "mark": In(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        wiring.connect(m, wiring.flipped(self.i), dut.i)
        wiring.connect(m, dut.o, wiring.flipped(self.o))
        producer_rules(m, self.i, Assume)
        producer_rules(m, dut.o)

        level = Signal(range(self.capacity + 2))
        put, get = dut.i.valid & dut.i.ready, dut.o.valid & dut.o.ready
        m.d.sync += level.eq(level + put - get)
        m.d.comb += Assert(dut.i.ready == (level != self.capacity))
        with m.If(dut.o.valid):
            m.d.comb += Assert(level != 0)
        if hasattr(dut, "level"):
            m.d.comb += Assert(dut.level == level)

        # The solver marks an item as it goes in; it must come out after those that were there, unchanged.
        marked, item, before = Signal(), Signal(WIDTH), Signal.like(level)
        with m.If(self.mark & put & ~marked):
            m.d.sync += [marked.eq(1), item.eq(dut.i.p), before.eq(level - get)]
        with m.If(marked):
            m.d.sync += before.eq(before - get)
            with m.If(get & (before == 0)):
                m.d.sync += marked.eq(0)
            with m.If(dut.o.valid & (before == 0)):
                m.d.comb += Assert(dut.o.p == item)

        # An item is offered in time whatever ready does: nothing waits for it.
        hidden = Signal(range(self.latency + 1))
        m.d.sync += hidden.eq(0)
        with m.If((level != 0) & ~dut.o.valid):
            m.d.sync += hidden.eq(hidden + 1)
        m.d.comb += Assert(hidden < self.latency)
        return m


class TwinProof(wiring.Component):
    """Gives two copies of a component the same input and lets their ready part: what they show must not."""

    def __init__(self, dut, twin):
        self.dut, self.twin = dut, twin
        super().__init__({**ENDS, "ready": In(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut, m.submodules.twin = dut, twin = self.dut, self.twin
        wiring.connect(m, wiring.flipped(self.i), dut.i)
        wiring.connect(m, dut.o, wiring.flipped(self.o))
        m.d.comb += [twin.i.p.eq(dut.i.p), twin.i.valid.eq(dut.i.valid), twin.o.ready.eq(self.ready)]
        ignores_ready(m, dut.o, twin.o)
        return m


KINDS = {"distributed": {}, "registered": {"registered": True}, "block": {"ram_style": "block"}}
FIFOS = [(depth, kind) for kind in KINDS for depth in (1, 3)]


@pytest.mark.parametrize(("depth", "kind"), FIFOS)
def test_fifo_keeps_order_and_offers_in_time(depth, kind):
    dut = Fifo(shape=WIDTH, depth=depth, **KINDS[kind])
    prove(OrderProof(dut, capacity=depth, latency=dut.latency), depth=2 * depth + 6)


@pytest.mark.parametrize(("depth", "kind"), FIFOS)
def test_fifo_does_not_look_at_ready(depth, kind):
    prove(TwinProof(*(Fifo(shape=WIDTH, depth=depth, **KINDS[kind]) for _ in range(2))), depth=8)


def test_skid_buffer_keeps_order_and_offers_in_time():
    prove(OrderProof(SkidBuffer(shape=WIDTH), capacity=2, latency=1), depth=14)


def test_skid_buffer_does_not_look_at_ready():
    prove(TwinProof(SkidBuffer(shape=WIDTH), SkidBuffer(shape=WIDTH)), depth=8)


class Broken(wiring.Component):
    """A FIFO of which the outer end is spoilt."""

    def __init__(self, how):
        self.how = how
        super().__init__(ENDS)

    def elaborate(self, platform):
        m = Module()
        m.submodules.fifo = fifo = Fifo(shape=WIDTH, depth=3)
        wiring.connect(m, wiring.flipped(self.i), fifo.i)
        m.d.comb += [
            self.o.p.eq(fifo.o.p),
            self.o.valid.eq(fifo.o.valid),
            fifo.o.ready.eq(self.o.ready),
        ]
        if self.how == "waits":
            m.d.comb += self.o.valid.eq(fifo.o.valid & self.o.ready)
        elif self.how == "withdraws":
            once = Signal()
            m.d.sync += once.eq(self.o.valid)
            m.d.comb += [self.o.valid.eq(fifo.o.valid & ~once), fifo.o.ready.eq(self.o.ready & self.o.valid)]
        elif self.how == "alters":
            taken = Signal(2)
            with m.If(self.o.valid & self.o.ready):
                m.d.sync += taken.eq(taken + 1)
            with m.If(taken == 3):
                m.d.comb += self.o.p.eq(~fifo.o.p)
        elif self.how == "loses":
            m.d.comb += fifo.o.ready.eq(self.o.ready | (fifo.level == 3))
        return m


@pytest.mark.parametrize("how", ["waits", "withdraws", "alters", "loses"])
def test_the_order_proof_finds_a_spoilt_fifo(how):  # a proof that can't fail proves nothing
    with pytest.raises(ProofError):
        prove(OrderProof(Broken(how), capacity=3, latency=1), depth=12)


def test_the_twin_proof_finds_a_fifo_that_waits():
    with pytest.raises(ProofError):
        prove(TwinProof(Broken("waits"), Broken("waits")), depth=8)
