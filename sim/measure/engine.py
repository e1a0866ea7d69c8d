"""Benchmark of the engine in simulation: cycles an operation, latency, and where the cycles go.

``python -m sim.measure.engine`` (``make bench-engine``). Operations a second assume the clock that is printed beside
them: nothing here was measured on a card.
"""

from __future__ import annotations

import argparse
import platform
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from host.device.driver import Driver
from omap import sizing
from omap.operations import Kind, Operation
from omap.params import Params
from omap.session import ROOT_KEY_BYTES, ClientSession
from omap.units import parse
from omap.wire import Counter, RecordCodec, read_counter
from rtl.config import RECORD_BATCH, EngineConfig
from rtl.engine import ENGINE_PROGRESS
from sim.device.engine_run import EngineRun, engine_design
from sim.device.map_bench import stage_cycles
from sim.device.transport import RtlTransport
from sim.models.timing import HostTiming

CLOCK_MHZ = HostTiming.clock_mhz  # what the memory models assume
BOLT_MICROSECONDS = 4.57
"""A query of BOLT's prototype, 1 M keys of 8 bytes (Guo et al., CCS 2025)."""

SHAPES = {
    "PAPER": {"key_bytes": 4, "value_bytes": 8, "page_bytes": 128},
    "STANDARD": {"key_bytes": 8, "value_bytes": 64, "page_bytes": 640},
    "WIDE": {"key_bytes": 16, "value_bytes": 256, "page_bytes": 4096},
}
"""Keys, values and pages of the presets of these names."""

CAPACITIES = {"PAPER": (1 << 12, 1 << 18), "STANDARD": (1 << 14,), "WIDE": (1 << 12,)}
"""Keys of the maps that are measured."""

BARS = {"PAPER": 16.0, "STANDARD": 1.25 * 40, "WIDE": 1.25 * 256}
"""Most cycles an operation may take."""

RING_ENTRIES = 1024
SEED = 1


@dataclass
class Measured:
    """What a run showed.

    Attributes
    ----------
    cycles : float
        Cycles an operation, sustained.
    overruns : int
        Events that left later than their fixed offset.
    simulated : float
        Operations a second of this machine.
    stages : dict of str to array
        Cycles from each stage's predecessor, an item an operation.
    stalls : dict of str to float
        Cycles an operation that were lost, by cause.
    """

    cycles: float
    overruns: int
    simulated: float
    stages: dict[str, np.ndarray]
    stalls: dict[str, float]


class Subject:
    """An engine with an open session."""

    def __init__(self, params: Params) -> None:
        self.config = EngineConfig(params=params)
        key = random.Random(SEED).randbytes(ROOT_KEY_BYTES)
        started = time.perf_counter()
        design = engine_design(self.config)
        self.compile_seconds = time.perf_counter() - started
        self.run = EngineRun(design, self.config, key, ring_entries=RING_ENTRIES, seed=SEED)
        self.driver = Driver(RtlTransport(self.run), params, timeout=600)
        begun = self.run.bench.cycle
        self.driver.format(timeout=3600)
        self.format_cycles = self.run.bench.cycle - begun
        self.session = ClientSession(params, key)
        answer = self.driver.exchange(self.session.hello())
        self.session.opened(self.driver.exchange(self.session.confirm(answer)))
        self.run.bench.observe("progress")
        self.run.step()

    def execute(self, operations: Sequence[Operation]) -> int:
        """Run operations and return the overruns so far; answers are opened, and must be the session's."""
        overruns, size = 0, self.driver.record_bytes
        for first in range(0, len(operations), 8 * RING_ENTRIES):
            part = operations[first : first + 8 * RING_ENTRIES]
            answers = self.driver.exchange(b"".join(map(self.session.seal, part)))
            for at in range(0, len(answers), size):
                overruns = self.session.open(answers[at : at + size]).overruns
        return overruns

    def measure(self, operations: Sequence[Operation]) -> Measured:
        """Run operations with the ring full at all times and look at when they passed which stage."""
        bench = self.run.bench
        bench.observer.clear()
        before = bench.get("progress")
        started = time.perf_counter()
        overruns = self.execute(operations)
        seconds = time.perf_counter() - started
        passed = stage_cycles(bench.observer.events(port="progress"), ENGINE_PROGRESS, before=before)
        answered = passed["answered"]
        middle = slice(len(answered) // 10, None)  # the ring is full from there on
        rate = np.diff(answered[middle]).mean()
        names = ("fetched", "admitted", "located", "read", "started", "merged", "sealed")
        stages = {
            after: passed[after] - passed[before]
            for before, after in pairwise(names)
            if len(passed[after]) == len(passed[before]) == len(operations)
        }
        stages["replied"] = passed["replied"] - passed["started"]
        stages["answered"] = answered - passed["replied"]
        return Measured(float(rate), overruns, len(operations) / seconds, stages, self._stalls(passed, middle))

    def _stalls(self, passed: dict[str, np.ndarray], middle: slice) -> dict[str, float]:
        """Tell apart why operations were not admitted at the interval, and why pages were read after their time."""
        config = self.config
        admitted, replied = passed["admitted"][middle], passed["replied"]
        gaps = np.diff(admitted) - config.interval
        under_way = np.arange(len(passed["admitted"]))[middle][1:] - np.searchsorted(replied, admitted[1:] - 1)
        full = under_way >= config.in_flight - 1
        late = passed["read"] - passed["admitted"]
        return {
            f"admission: {config.in_flight} operations are under way": float(np.where(full, gaps, 0).mean()),
            "admission: no record is there": float(np.where(full, 0, gaps).mean()),
            "page read after its time (no slot, host port)": float((late - late.min()).mean()),
            "page started late (host, order, interval, earlier touch)": float(
                (passed["started"] - passed["read"]).mean() - (passed["started"] - passed["read"]).min()
            ),
        }

    def latencies(self, operations: Sequence[Operation]) -> np.ndarray:
        """Return for single operations the cycles from their doorbell to the response, and to its counter."""
        run, driver = self.run, self.driver
        found: list[tuple[int, int]] = []
        for operation in operations:
            run.step(random.Random(len(found)).randrange(1500, 1600))
            record = self.session.seal(operation)
            number = read_counter(run.buffer, Counter.RESPONSES_WRITTEN)
            place = run.layout.entry(run.layout.responses, number)
            before, told, written = bytes(run.buffer[place]), run.bench.cycle, 0
            driver.put(record)
            while read_counter(run.buffer, Counter.RESPONSES_WRITTEN) == number:
                run.bench.run(1)
                if not written and bytes(run.buffer[place]) != before:
                    written = run.bench.cycle
            found.append((written - told, run.bench.cycle - told))
            self.session.open(driver.take())
        return np.array(found)


def link_bound(config: EngineConfig, host: HostTiming) -> float:
    """Return the cycles that an operation occupies the PCIe link, in the busier direction."""
    page, record = config.params.page_bytes, RecordCodec(config.params).record_bytes
    packets = -(-page // host.packet_bytes)
    up = host.request_bytes * (1 + 1 / RECORD_BATCH) + page + packets * host.write_bytes + record + host.write_bytes
    down = page + packets * host.completion_bytes + record + host.completion_bytes / RECORD_BATCH
    return max(up, down) * 8 / host.link_gbps * CLOCK_MHZ / 1e3


def mixed(params: Params, count: int, keys: int, seed: int) -> list[Operation]:
    """Return half GETs and half PUTs of random keys below ``keys``, all of them live."""
    rng = random.Random(seed)
    return [
        Operation(
            kind,
            rng.randrange(keys).to_bytes(params.key_bytes, "little"),
            rng.randbytes(params.value_bytes) if kind == Kind.PUT else b"",
        )
        for kind in rng.choices((Kind.GET, Kind.PUT), k=count)
    ]


def fill(params: Params, keys: int) -> list[Operation]:
    """Return PUTs of ``keys`` new keys."""
    return [
        Operation(Kind.PUT, number.to_bytes(params.key_bytes, "little"), bytes(params.value_bytes))
        for number in range(keys)
    ]


def report(name: str, keys: int, operations: int) -> None:
    """Fill a map of ``keys`` keys, measure, and print."""
    params = sizing.one_choice(capacity=keys, **SHAPES[name])
    subject = Subject(params)
    config = subject.config
    filled = subject.measure(fill(params, keys))
    found = subject.measure(mixed(params, operations, keys, SEED))
    bound, beats = link_bound(config, HostTiming()), config.page_beats
    rate = CLOCK_MHZ * 1e6 / found.cycles
    print(f"\n{name}, {keys:,} keys of {params.key_bytes} + {params.value_bytes} bytes, pages of {params.page_bytes}")
    print(f"  {config}")
    print(f"  {found.cycles:.2f} cycles an operation (filling: {filled.cycles:.2f}), at most {BARS[name]:g} wanted")
    print(f"    {found.cycles / beats:.2f} times the {beats} beats of a page on {config.lanes} lane(s) of AES-GCM")
    print(f"    {found.cycles / bound:.2f} times the {bound:.2f} cycles of the PCIe link")
    print(f"    {rate / 1e6:.2f} M operations/s at an assumed {CLOCK_MHZ:g} MHz, simulated")
    print(f"    {rate * BOLT_MICROSECONDS / 1e6:.1f} times BOLT's {BOLT_MICROSECONDS} us a query")
    print(f"  overruns: {found.overruns}")
    latency = subject.latencies(mixed(params, 40, keys, SEED + 1))
    microseconds = latency / CLOCK_MHZ
    print(
        f"  unloaded, doorbell to response in memory: median {np.median(microseconds[:, 0]):.2f} us, most "
        f"{microseconds[:, 0].max():.2f} us; to its counter: median {np.median(microseconds[:, 1]):.2f} us"
    )
    print(f"  format: {subject.format_cycles / params.pages:.2f} cycles a page")
    print(f"  simulation: {found.simulated:,.0f} operations/s; compiled in {subject.compile_seconds:.0f} s")
    print("  cycles from the stage before:      mean    least     99 %     most   operations there")
    for stage, cycles in found.stages.items():
        print(
            f"    {stage:<28} {cycles.mean():>9.1f} {cycles.min():>8} {np.percentile(cycles, 99):>8.0f}"
            f" {cycles.max():>8} {cycles.mean() / found.cycles:>12.1f}"
        )
    print("  stalls, cycles an operation:")
    for cause, stalled in found.stalls.items():
        print(f"    {cause:<60} {stalled:>9.2f}")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=parse, default=20_000)
    parser.add_argument("--shape", choices=[*SHAPES, "all"], default="all")
    parser.add_argument("--keys", type=parse, nargs="*", help="capacities, instead of the usual ones")
    arguments = parser.parse_args()
    print(f"engine in simulation; default memory models, 32 outstanding host reads; {platform.machine()}")
    for name in SHAPES if arguments.shape == "all" else (arguments.shape,):
        for keys in arguments.keys or CAPACITIES[name]:
            report(name, keys, arguments.operations)


if __name__ == "__main__":
    main()
