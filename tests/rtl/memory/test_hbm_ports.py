# amaranth: UnusedElaboratable=no
"""Ports of HBM, signal by signal: what the memory models never do."""

import pytest
from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.sim import Simulator

from rtl.memory.hbm import Items
from rtl.memory.read_port import ReadPort
from rtl.memory.write_port import WritePort


def test_beats_of_two_bursts_may_mix():
    """AXI3 allows it; the models never do it."""
    dut, seen = ReadPort(Items(64, item_bits=4, note_bits=2), channel=1, outstanding=4), []

    async def bench(ctx):
        axi = dut.m_axi
        ctx.set(axi.arready, 1)
        ctx.set(dut.o.ready, 1)
        for item in (9, 3):
            ctx.set(dut.i.valid, 1)
            ctx.set(dut.i.p, {"item": item, "note": item % 4})
            await ctx.tick()
        ctx.set(dut.i.valid, 0)
        await ctx.tick().repeat(5)
        for tag, data, last in ((1, 10, 0), (0, 20, 0), (1, 11, 1), (0, 21, 1), (None, 0, 0), (None, 0, 0)):
            ctx.set(axi.rvalid, tag is not None)
            ctx.set(axi.rid, tag or 0)
            ctx.set(axi.rdata, data)
            ctx.set(axi.rlast, last)
            if ctx.get(dut.o.valid):
                payload = ctx.get(dut.o.p)
                seen.append((payload.note, payload.data))
            await ctx.tick()
        for _ in range(4):
            if ctx.get(dut.o.valid):
                payload = ctx.get(dut.o.p)
                seen.append((payload.note, payload.data))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen == [(1, 20 | 21 << 256), (3, 10 | 11 << 256)]


def errors_after(dut, channel, answers):
    """Answer what was asked of a port, then more: return whether it showed an error after each answer."""
    axi, seen = dut.m_axi, []

    async def bench(ctx):
        for name in {"arready", "awready", "wready"} & set(axi.signature.members):
            ctx.set(getattr(axi, name), 1)
        ctx.set(dut.o.ready, 1)
        for item in (9, 3):
            ctx.set(dut.i.valid, 1)
            ctx.set(dut.i.p.item, item)
            await ctx.tick()
        ctx.set(dut.i.valid, 0)
        await ctx.tick().repeat(8)
        for tag in answers:
            ctx.set(getattr(axi, f"{channel}valid"), 1)
            ctx.set(getattr(axi, f"{channel}id"), tag)
            await ctx.tick()
            ctx.set(getattr(axi, f"{channel}valid"), 0)
            await ctx.tick().repeat(3)
            seen.append(ctx.get(dut.error))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return seen


@pytest.mark.parametrize("port", [ReadPort, WritePort])
@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ((0, 1), [0, 0]),
        ((1, 0), [0, 0]),
        ((2,), [1]),  # of the port, but not asked
        ((0, 0), [0, 1]),  # answered before
        ((0, 1, 0), [0, 0, 1]),  # nothing is asked any more
        ((32,), [1]),  # not of the port
    ],
)
def test_an_answer_that_nobody_asked_for_is_an_error(port, answers, error):
    """Such as those to what a reset cut off: taken for another's, it would be a wrong line."""
    dut = port(Items(32, item_bits=4, note_bits=2), channel=1, outstanding=4)
    assert errors_after(dut, "r" if port is ReadPort else "b", answers) == error


def test_a_reset_in_mid_burst_leaves_no_beat_to_the_next_life():
    dut, reset, got = ReadPort(Items(64, item_bits=4, note_bits=2), channel=1, outstanding=4), Signal(), []
    m = Module()
    m.submodules += ResetInserter(reset)(dut)

    async def bench(ctx):
        axi = dut.m_axi
        ctx.set(axi.arready, 1)
        ctx.set(dut.o.ready, 1)
        for beats in ((7,), (10, 11)):
            ctx.set(dut.i.valid, 1)
            ctx.set(dut.i.p.item, 9)
            await ctx.tick()
            ctx.set(dut.i.valid, 0)
            await ctx.tick().repeat(5)
            for data in beats:
                ctx.set(axi.rvalid, 1)
                ctx.set(axi.rdata, data)
                await ctx.tick()
            ctx.set(axi.rvalid, 0)
            for _ in range(4):
                if ctx.get(dut.o.valid):
                    got.append(ctx.get(dut.o.p.data))
                await ctx.tick()
            assert not ctx.get(dut.error)
            ctx.set(reset, 1)
            await ctx.tick()
            ctx.set(reset, 0)

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert got == [10 | 11 << 256]
