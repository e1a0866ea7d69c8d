"""cocotb tests that fail, for the tests of the runner; one design with something wrong on each port."""

import os

import cocotb
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.stream.axi import AxiReadSignature
from sim.bench.cocotb_bench import CocotbBench
from sim.models.memory import Memory
from sim.models.timing import HbmTiming


class Misbehaved(wiring.Component):
    """Breaks the rule that ``fault`` selects: 1 withdraws an item, 2 waits for ready, 3 withdraws an address."""

    fault: In(2)
    o: Out(stream.Signature(8))
    m_axi: Out(AxiReadSignature(addr_width=16, data_width=64, id_width=2))

    def elaborate(self, platform):
        """Return the circuit."""
        m = Module()
        cycle = Signal(4)
        m.d.sync += cycle.eq(cycle + 1)
        with m.Switch(self.fault):
            with m.Case(1):
                m.d.comb += self.o.valid.eq(cycle[0])
            with m.Case(2):
                m.d.comb += self.o.valid.eq(self.o.ready)
            with m.Case(3):
                m.d.comb += self.m_axi.arvalid.eq(cycle[0])
        m.d.comb += [self.m_axi.arsize.eq(3), self.m_axi.arburst.eq(1)]
        return m


def component() -> Misbehaved:
    """Return the design."""
    return Misbehaved()


async def run(dut, fault: int) -> None:
    """Run the design with one fault."""
    bench = await CocotbBench.start(dut, component())
    bench.memory("m_axi", Memory(4096), HbmTiming(ready_withheld=0.9))
    bench.sink("o", idle=0.5)
    bench.set("fault", fault)
    await bench.run(200)


@cocotb.test()
async def passes(dut):
    """Nothing is wrong."""
    await run(dut, 0)


@cocotb.test()
async def fails(dut):
    """An assertion of the test."""
    await run(dut, 0)
    raise AssertionError("the sky is green")


@cocotb.test()
async def withdraws(dut):
    """A stream withdraws what it offered."""
    await run(dut, 1)


@cocotb.test()
async def waits_for_ready(dut):
    """A stream looks at ready."""
    await run(dut, 2)


@cocotb.test()
async def breaks_axi(dut):
    """An AXI master withdraws an address."""
    await run(dut, 3)


@cocotb.test()
async def ends_the_process(dut):
    """The simulator dies."""
    os._exit(3)
