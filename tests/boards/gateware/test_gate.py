"""The gate before the registers: zeros until it opens, never in the midst of an access, then nothing but wires."""

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator

from boards.gateware.gate import Gate
from omap.regmap import BY_NAME, Fault, State
from rtl.stream.axi import AxiLiteSignature


class Rig:
    """Drives the gate; its engine answers every read with the inverse of the address, and counts writes."""

    def __init__(self):
        self.gate = Gate(AxiLiteSignature(addr_width=12))
        self.m = m = Module()
        m.submodules.gate = gate = self.gate
        engine = gate.m_axi
        self.writes, self.accesses, here, read = Signal(8), Signal(8), Signal(2), Signal()
        m.d.comb += [
            engine.awready.eq(~here[0]),
            engine.wready.eq(~here[1]),
            engine.bvalid.eq(here.all()),
            engine.arready.eq(~read),
            engine.rvalid.eq(read),
        ]
        m.d.sync += self.accesses.eq(self.accesses + (engine.awvalid | engine.wvalid | engine.arvalid))
        with m.If(engine.awvalid & engine.awready):
            m.d.sync += here[0].eq(1)
        with m.If(engine.wvalid & engine.wready):
            m.d.sync += here[1].eq(1)
        with m.If(engine.bvalid & engine.bready):
            m.d.sync += [here.eq(0), self.writes.eq(self.writes + 1)]
        with m.If(engine.arvalid & engine.arready):
            m.d.sync += [read.eq(1), engine.rdata.eq(~engine.araddr)]
        with m.If(engine.rvalid & engine.rready):
            m.d.sync += read.eq(0)

    def run(self, body):
        sim = Simulator(self.m)
        sim.add_clock(1e-6)
        sim.add_testbench(body)
        sim.run()

    async def send(self, ctx, channel, **payload):
        bus = self.gate.s_axi
        for name, value in payload.items():
            ctx.set(getattr(bus, channel + name), value)
        ctx.set(getattr(bus, channel + "valid"), 1)
        while not ctx.get(getattr(bus, channel + "ready")):
            await ctx.tick()
        await ctx.tick()
        ctx.set(getattr(bus, channel + "valid"), 0)

    async def answer(self, ctx, channel, wait=0):
        bus = self.gate.s_axi
        while not ctx.get(getattr(bus, channel + "valid")):
            await ctx.tick()
        if wait:
            await ctx.tick().repeat(wait)
        assert ctx.get(getattr(bus, channel + "valid"))
        assert ctx.get(getattr(bus, channel + "resp")) == 0
        value = ctx.get(bus.rdata)
        ctx.set(getattr(bus, channel + "ready"), 1)
        await ctx.tick()
        ctx.set(getattr(bus, channel + "ready"), 0)
        return value

    async def read(self, ctx, address, wait=0):
        await self.send(ctx, "ar", addr=address)
        return await self.answer(ctx, "r", wait)

    async def write(self, ctx, address, *, word_first=False, wait=0):
        order = [("aw", {"addr": address}), ("w", {"data": 1, "strb": 15})]
        for channel, payload in reversed(order) if word_first else order:
            await self.send(ctx, channel, **payload)
        await self.answer(ctx, "b", wait)


@pytest.mark.parametrize("wait", [0, 3])
def test_while_it_is_closed_reads_give_zero_and_writes_go_nowhere(wait):
    rig = Rig()

    async def body(ctx):
        for name in ("IDENTITY", "STATUS", "FAULT", "MODE"):
            assert await rig.read(ctx, BY_NAME[name].offset, wait) == 0
        await rig.write(ctx, 0, wait=wait)
        await rig.write(ctx, 0, word_first=True, wait=wait)
        assert ctx.get(rig.accesses) == 0
        assert not ctx.get(rig.gate.open_)

    rig.run(body)


def test_a_card_that_will_not_come_up_says_so():
    rig = Rig()

    async def body(ctx):
        ctx.set(rig.gate.broken, 1)
        assert await rig.read(ctx, BY_NAME["STATUS"].offset) == State.FAULT
        assert await rig.read(ctx, BY_NAME["FAULT"].offset) == Fault.BUS
        assert await rig.read(ctx, BY_NAME["IDENTITY"].offset) == 0

    rig.run(body)


def test_open_it_passes_everything_on():
    rig = Rig()

    async def body(ctx):
        ctx.set(rig.gate.go, 1)
        await ctx.tick().repeat(2)
        assert ctx.get(rig.gate.open_)
        ctx.set(rig.gate.go, 0)  # it stays open
        for address in (0x40, 0x4C, 0xFFC):
            assert await rig.read(ctx, address, 2) == ~address & 0xFFF
        await rig.write(ctx, 0x24)
        await rig.write(ctx, 0x24, word_first=True)
        assert ctx.get(rig.writes) == 2

    rig.run(body)


@pytest.mark.parametrize("channel", ["ar", "aw", "w"])
def test_it_does_not_open_in_the_midst_of_an_access(channel):
    rig = Rig()

    async def body(ctx):
        await rig.send(ctx, channel)
        ctx.set(rig.gate.go, 1)
        await ctx.tick().repeat(5)
        assert not ctx.get(rig.gate.open_)
        if channel == "ar":
            assert await rig.answer(ctx, "r") == 0
        else:
            await rig.send(ctx, "w" if channel == "aw" else "aw")
            await rig.answer(ctx, "b")
        await ctx.tick().repeat(3)
        assert ctx.get(rig.gate.open_)
        assert ctx.get(rig.accesses) == 0
        assert await rig.read(ctx, 0x40) == ~0x40 & 0xFFF

    rig.run(body)


@pytest.mark.parametrize("late", range(6))
def test_opening_and_an_access_at_the_same_time(late):
    """Whichever comes first, the access has one answer, from one side."""
    rig = Rig()

    async def body(ctx):
        bus = rig.gate.s_axi
        ctx.set(bus.araddr, 0x40)
        ctx.set(bus.arvalid, 1)
        for cycle in range(20):
            if cycle == late:
                ctx.set(rig.gate.go, 1)
            taken = ctx.get(bus.arready)
            await ctx.tick()
            if taken:
                ctx.set(bus.arvalid, 0)
        assert await rig.answer(ctx, "r") in (0, ~0x40 & 0xFFF)
        await ctx.tick().repeat(2)
        assert await rig.read(ctx, 0x44) == ~0x44 & 0xFFF

    rig.run(body)
