"""A test bench of one block with a waveform: the pacer, behind which it doesn't show how long something took.

You learn how to drive a block in Amaranth's simulator, and how to read a fixed offset in a waveform: three items come
3, 7 and 11 cycles after their starts and leave 12 cycles after them; a fourth comes too late, and is counted as an
overrun. Run it with `python examples/block_waveform.py`, then look at the result with `gtkwave build/pacer.gtkw`.
All values here are public, because whoever has the waveform of an engine has its keys.
"""

from pathlib import Path

from amaranth.sim import Simulator

from rtl.map.pacer import Pacer

OFFSET = 12
STARTS = (2, 8, 14, 20)
"""Cycles in which an item starts."""
DELAYS = (3, 7, 11, 16)
"""Cycles from its start until it has been made."""
CYCLES = 50


def simulate(folder: Path) -> list[tuple[int, int]]:
    """Run the pacer, write `pacer.vcd` and `pacer.gtkw`, and return (cycle, item) of all that left."""
    folder.mkdir(parents=True, exist_ok=True)
    pacer = Pacer(shape=8, offset=OFFSET, depth=8)
    comes = {start + delay: number for number, (start, delay) in enumerate(zip(STARTS, DELAYS, strict=True))}
    leaves = []

    async def bench(ctx):
        ctx.set(pacer.o.ready, 1)
        for cycle in range(CYCLES):
            ctx.set(pacer.start, cycle in STARTS)
            ctx.set(pacer.i.valid, cycle in comes)
            ctx.set(pacer.i.payload, comes.get(cycle, 0))
            if ctx.get(pacer.o.valid):
                leaves.append((cycle, ctx.get(pacer.o.payload)))
            await ctx.tick()

    simulator = Simulator(pacer)
    simulator.add_clock(4e-9)  # 250 MHz
    simulator.add_testbench(bench)
    shown = [pacer.start, pacer.i.valid, pacer.i.payload, pacer.o.valid, pacer.o.payload, pacer.late]
    with simulator.write_vcd(str(folder / "pacer.vcd"), str(folder / "pacer.gtkw"), traces=shown):
        simulator.run()
    return leaves


if __name__ == "__main__":
    for (cycle, item), start, delay in zip(simulate(Path("build")), STARTS, DELAYS, strict=True):
        print(f"item {item}: starts in cycle {start}, comes {delay} later, leaves {cycle - start} after its start")
