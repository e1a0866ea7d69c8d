"""``python -m sim.measure.simulators``: how fast each simulator runs the GCM pair between two trips to host memory.

Cycles a second of processor time, so that other work on the machine matters less; building is not counted. Every run is
checked: the pages that were moved must open under their new version. Exits 1 if the harness is slower than wanted.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from omap.commands.tables import show
from sim.bench import toolchain
from sim.bench.amaranth_bench import AmaranthBench
from sim.bench.build import FAST
from sim.bench.cocotb_runner import run_cocotb
from sim.bench.compiled import Design
from sim.measure import gcm_pair

WANTED_RATE, WANTED_RATIO = 300_000, 15
"""Cycles a second of the compiled harness, and how many times cocotb's that must be."""

WARM_UP = 500
"""Cycles before the timed ones, in which keys are loaded and the first pages arrive."""


def compiled_rate(cycles: int, batches: int) -> float:
    """Return the best rate of some batches of cycles under the compiled harness."""
    bench = Design(gcm_pair.GcmPair(), flags=FAST).bench(seed=gcm_pair.SEED)
    memory = gcm_pair.load(bench, (cycles * batches + WARM_UP) // 8 + 1000)
    bench.run(WARM_UP)
    best = 0.0
    for _ in range(batches):
        begun = time.process_time()
        bench.run(cycles)
        best = max(best, cycles / (time.process_time() - begun))
    gcm_pair.check(bench, memory)
    return best


def amaranth_rate(cycles: int) -> float:
    """Return the rate under Amaranth's simulator."""
    bench = AmaranthBench(gcm_pair.GcmPair(), seed=gcm_pair.SEED)
    memory = gcm_pair.load(bench, 1000)
    bench.run(WARM_UP)
    begun = time.process_time()
    bench.run(cycles)
    rate = cycles / (time.process_time() - begun)
    gcm_pair.check(bench, memory)
    return rate


def cocotb_rate(cycles: int) -> float:
    """Return the rate under cocotb with Verilator."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rate.json"
        run_cocotb("sim.measure.gcm_pair", "move_pages", waves=False, cycles=cycles, warm_up=WARM_UP, file=str(file))
        return float(json.loads(file.read_text()))


def main() -> int:
    """Print the table; return the exit status."""
    console = Console()
    with console.status("building and running"):
        rates = {
            "Amaranth's simulator": amaranth_rate(300),
            "cocotb with Verilator": cocotb_rate(10_000),
            "compiled harness": compiled_rate(100_000, 5),
        }
    slow = rates["cocotb with Verilator"]
    table = Table(title="AES-256-GCM open and seal, 128-byte pages, host memory model")
    for column in ("simulator", "cycles a second", "times cocotb"):
        table.add_column(column, justify="left" if column == "simulator" else "right")
    for name, rate in rates.items():
        table.add_row(name, f"{rate:,.0f}", f"{rate / slow:.2f}")
    show(table, console)
    versions = ", ".join(f"{tool} {version}" for tool, version in toolchain.versions().items())
    console.print(f"single thread, processor time; {versions}")
    fast = rates["compiled harness"]
    enough = fast >= WANTED_RATE and fast >= WANTED_RATIO * slow
    console.print(
        f"wanted of the harness: {WANTED_RATE:,} cycles a second and {WANTED_RATIO} times cocotb: "
        f"{'reached' if enough else 'missed'}"
    )
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main())
