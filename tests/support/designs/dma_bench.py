"""cocotb tests of the memory models on the small DMA master; ``tests/sim`` runs them."""

import random
from pathlib import Path

import cocotb

from sim.bench.cocotb_bench import CocotbBench
from sim.bench.cocotb_runner import parameters_of_run
from sim.models.memory import Memory
from sim.models.timing import HbmTiming, HostTiming
from tests.support.designs.dma import Dma

SEED = 7
CYCLES = 1500
TIMINGS = {"hbm": HbmTiming(ready_withheld=0.1), "host": HostTiming(ids=64, valid_withheld=0.1)}


def component(**_parameters) -> Dma:
    """Return the design."""
    return Dma()


def load(bench, kind: str, *, bursts: int = 40) -> Memory:
    """Put a memory and some traffic on a bench, whichever simulator it is."""
    drawn = random.Random(SEED)
    memory = Memory(1 << 16)
    memory.write(0, drawn.randbytes(memory.size))
    bench.memory("m_axi", memory, TIMINGS[kind], observe=True)
    for _ in range(bursts):
        for stream in ("i_read", "i_write"):
            beats = drawn.randint(1, 16)
            address = drawn.randrange(memory.size // 512) * 512
            bench.source(stream).push([{"addr": address, "len": beats - 1, "id": drawn.randrange(64)}])
            if stream == "i_write":
                bench.source("i_data").push(drawn.randbytes(32) for _ in range(beats))
    bench.source("i_data", idle=0.1)
    bench.sink("o_read", waits=[3, 1, 4, 1, 5], idle=0.2)
    bench.sink("o_written", idle=0.3)
    return memory


@cocotb.test()
@cocotb.parametrize(kind=["hbm", "host"])
async def what_is_written_is_read(dut, kind):
    """A burst written and then read comes back."""
    bench = await CocotbBench.start(dut, component())
    bench.memory("m_axi", Memory(1 << 16), TIMINGS[kind])
    data = [random.getrandbits(256) for _ in range(4)]
    bench.source("i_write").push([{"addr": 0x400, "len": 3, "id": 1}])
    bench.source("i_data").push(data)
    await bench.run_until(limit=1000, transfers={"o_written": 1})
    bench.source("i_read").push([{"addr": 0x400, "len": 3, "id": 2}])
    await bench.run_until(limit=1000, transfers={"o_read": 4})
    layout = bench.ports.streams["o_read"].shape
    assert [layout.from_bits(item)["data"] for item in bench.sink("o_read").take()] == data


@cocotb.test()
async def record_events(dut):
    """Run the traffic of :func:`load` and write its events to the file that the caller named, if any."""
    parameters = parameters_of_run()
    bench = await CocotbBench.start(dut, component(), seed=SEED)
    load(bench, parameters.get("kind", "hbm"))
    await bench.run(CYCLES)
    assert bench.sink("o_read").transfers
    if "file" in parameters:
        bench.observer.save(Path(parameters["file"]))
