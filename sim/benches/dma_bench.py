"""cocotb tests of the memory models on the small DMA master; ``tests/sim/test_cocotb.py`` runs them."""

import random

import cocotb

from sim.axi_memory import AxiMemory
from sim.benches.dma import Dma
from sim.cocotb_bench import CocotbBench
from sim.memory import Memory
from sim.timing import HbmTiming, HostTiming


def component() -> Dma:
    """Return the design."""
    return Dma()


async def start(dut, timing, seed=0) -> tuple[CocotbBench, AxiMemory]:
    """Return a bench with a filled memory on the DMA's port."""
    bench = await CocotbBench.start(dut, component(), seed=seed)
    memory = Memory(1 << 16)
    memory.write(0, random.Random(seed).randbytes(memory.size))
    return bench, bench.memory("m_axi", memory, timing)


@cocotb.test()
@cocotb.parametrize(timing=[HbmTiming(), HostTiming(ids=64)])
async def what_is_written_is_read(dut, timing):
    """A burst written and then read comes back."""
    bench, _ = await start(dut, timing)
    data = [random.getrandbits(256) for _ in range(4)]
    bench.source("i_write").push([{"addr": 0x400, "len": 3, "id": 1}])
    bench.source("i_data").push(data)
    await bench.run_until(limit=1000, transfers={"o_written": 1})
    bench.source("i_read").push([{"addr": 0x400, "len": 3, "id": 2}])
    await bench.run_until(limit=1000, transfers={"o_read": 4})
    layout = bench.ports.streams["o_read"].shape
    assert [layout.from_bits(item)["data"] for item in bench.sink("o_read").take()] == data
