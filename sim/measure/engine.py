"""Benchmark of the engine in simulation: cycles and bytes an operation, latency, and where the cycles go.

``python -m sim.measure.engine`` (``make bench-engine``). Operations a second assume the clock that is printed beside
them: nothing here was measured on a card.
"""

from __future__ import annotations

import argparse
import platform
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, repeat

import numpy as np

from host.device.driver import Driver
from host.device.restoring import restore
from host.records import split
from omap.operations import Kind, Operation
from omap.params import Params
from omap.regmap import Request
from omap.session import ROOT_KEY_BYTES
from omap.source import END
from omap.wire import CONTROL_BYTES, LINE_BYTES, BufferLayout, Counter, RecordCodec, read_counter
from rtl.config import EngineConfig
from rtl.constants import RING_ACCESS_LINES
from rtl.engine import ENGINE_PROGRESS
from sim.bench.compiled import Design
from sim.device.backend import HOST_PORT
from sim.device.client import open_all, open_session, seal_all
from sim.device.engine_run import BUFFER_ADDRESS, EngineRun, engine_design
from sim.device.map_bench import stage_cycles
from sim.device.transport import RtlTransport
from sim.measure.options import CLOCK_MHZ, Choice, add_options, chosen
from sim.models.observer import EventKind
from sim.models.timing import HostTiming

BOLT_MICROSECONDS = 4.57
"""A query of BOLT's prototype: 1 M keys of 4 bytes with values of 8 (Guo et al., CCS 2025)."""

CAPACITIES = {"PAPER": (1 << 12, 1 << 18), "STANDARD": (1 << 14,), "WIDE": (1 << 12,)}
"""Keys of the maps that are measured."""

BARS = {"PAPER": 5.0, "STANDARD": 15.9, "WIDE": 88.0}
"""Most cycles an operation is to take."""

SEED = 1

UP_PARTS = ("pages", "journal", "responses", "command reads", "counters")
"""What goes over the link from the device to the host."""


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
    up : dict of str to float
        Bytes an operation from the device to the host, headers of packets included, by part of the buffer.
    """

    cycles: float
    overruns: int
    simulated: float
    stages: dict[str, np.ndarray]
    stalls: dict[str, float]
    up: dict[str, float]


class TakingTransport(RtlTransport):
    """A transport whose host takes the journal whenever it waits, and drops it."""

    driver: Driver | None = None

    def wait(self, timeout: float, turn: int = 0) -> None:
        """Let the engine run for some cycles."""
        super().wait(timeout, turn)
        if self.driver:
            self.driver.take_journal()


class Subject:
    """An engine with an open session, which gets records of ``count`` operations, or full ones.

    ``design`` makes the compiled engine.
    """

    def __init__(
        self,
        config: EngineConfig,
        host: HostTiming,
        count: int = 0,
        *,
        design: Callable[[EngineConfig], Design] = engine_design,
    ) -> None:
        self.config, params = config, config.params
        self.count = count or RecordCodec(params).most_operations
        key = random.Random(SEED).randbytes(ROOT_KEY_BYTES)
        started = time.perf_counter()
        self.design = design(self.config)
        self.compile_seconds = time.perf_counter() - started
        self.run = EngineRun(self.design, self.config, key, seed=SEED, host=host)
        self.transport = TakingTransport(self.run)
        self.driver = Driver(self.transport, params, timeout=600)
        if config.journal:
            self.transport.driver = self.driver
        begun = self.run.bench.cycle
        self.driver.format(timeout=3600)
        self.format_cycles = self.run.bench.cycle - begun
        self.session = open_session(self.driver, key)
        self.run.bench.observe("progress")
        self.run.step()

    def execute(self, operations: Sequence[Operation]) -> int:
        """Run operations and return the overruns so far; answers are opened, and must be the session's."""
        answers = self.driver.exchange(b"".join(seal_all(self.session, operations, repeat(self.count))))
        return open_all(self.session, answers)[-1].overruns

    def measure(self, operations: Sequence[Operation]) -> Measured:
        """Run operations with the ring full at all times and look at when they passed which stage."""
        bench = self.run.bench
        bench.observer.clear()
        before = bench.get("progress")
        started = time.perf_counter()
        overruns = self.execute(operations)
        seconds = time.perf_counter() - started
        passed = stage_cycles(bench.observer.events(port="progress"), ENGINE_PROGRESS, before=before)
        sizes = np.diff([*range(0, len(operations), self.count), len(operations)])
        for record in ("fetched", "answered"):
            passed[record] = np.repeat(passed[record], sizes)
        replied = passed["replied"]
        middle = slice(len(replied) // 10, None)  # the ring is full from there on
        rate = np.diff(replied[middle]).mean()
        names = ("fetched", "admitted", "located", "read", "started", "merged", "sealed")
        stages = {
            after: passed[after] - passed[before]
            for before, after in pairwise(names)
            if len(passed[after]) == len(passed[before]) == len(operations)
        }
        stages["replied"] = passed["replied"] - passed["started"]
        stages["answered"] = passed["answered"] - replied
        up = self._up(int(replied[middle][0]), int(replied[-1]), len(replied[middle]) - 1)
        return Measured(float(rate), overruns, len(operations) / seconds, stages, self._stalls(passed, middle), up)

    def _up(self, begin: int, end: int, operations: int) -> dict[str, float]:
        """Return the bytes an operation that went up between two cycles, with the headers of their packets."""
        layout, link = self.run.layout, HostTiming()
        events = self.run.bench.observer.events(port=HOST_PORT, kinds={EventKind.READ, EventKind.WRITE})
        events = events[(events["cycle"] >= begin) & (events["cycle"] < end)]
        written = events["kind"] == EventKind.WRITE
        lengths = events["length"].astype(np.int64)
        cost = np.where(written, lengths + -(-lengths // link.packet_bytes) * link.write_bytes, link.request_bytes)
        part = part_of(layout, events["address"].astype(np.int64) - BUFFER_ADDRESS)
        return {name: float(cost[part == number].sum()) / operations for number, name in enumerate(UP_PARTS)}

    def _stalls(self, passed: dict[str, np.ndarray], middle: slice) -> dict[str, float]:
        """Tell apart why operations were not admitted at the interval, and why pages were read after their time."""
        config = self.config
        admitted, replied = passed["admitted"][middle], passed["replied"]
        gaps = np.diff(admitted) - float(config.interval)
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

    def recovery(self) -> tuple[float, float, int]:
        """Write a snapshot and restore it; return cycles a slot of both, and how many records the snapshot has."""
        bench, driver, slots = self.run.bench, self.driver, self.config.params.slots
        begun, records = bench.cycle, bytearray()
        self.transport.driver = None  # the snapshot is kept, and nothing before it
        driver.take_journal()
        driver.ask_export()
        while driver.transport.read("REQUEST") == Request.EXPORT:
            self.run.step()
            records += driver.take_journal()
        records += driver.take_journal()
        written = bench.cycle
        snapshot = [*split(bytes(records)), END]
        restore(driver, snapshot)
        return (written - begun) / slots, (bench.cycle - written) / slots, len(snapshot) - 1

    def latencies(self, operations: Sequence[Operation]) -> np.ndarray:
        """Return for single operations the cycles from their doorbell to the response, and to its counter."""
        run, driver = self.run, self.driver
        found: list[tuple[int, int]] = []
        for operation in operations:
            run.step(random.Random(len(found)).randrange(1500, 1600))
            record = self.session.seal([operation])
            number, layout = read_counter(run.buffer, Counter.RESPONSES_WRITTEN), run.layout
            begin = layout.responses + number % layout.ring_lines * LINE_BYTES
            place = slice(begin, begin + LINE_BYTES)
            before, told, written = bytes(run.buffer[place]), run.bench.cycle, 0
            driver.put(record)
            while read_counter(run.buffer, Counter.RESPONSES_WRITTEN) == number:
                run.bench.run(1)
                if not written and bytes(run.buffer[place]) != before:
                    written = run.bench.cycle
            found.append((written - told, run.bench.cycle - told))
            self.session.open(driver.take())
        return np.array(found)


def part_of(layout: BufferLayout, place: np.ndarray) -> np.ndarray:
    """Return for places in the shared buffer the numbers of their :data:`UP_PARTS`."""
    begins = [place >= begin for begin in (layout.pages, layout.journal, layout.responses, CONTROL_BYTES)]
    return np.select(begins, range(len(begins)), len(begins))


def link_bound(config: EngineConfig, host: HostTiming) -> float:
    """Return the cycles that an operation of a full record occupies the PCIe link, in the busier direction."""
    page, record = config.params.page_bytes, RecordCodec(config.params).bytes_each_way
    packets = -(-page // host.packet_bytes) + record / host.packet_bytes
    reads = 1 + record / (RING_ACCESS_LINES * LINE_BYTES)
    up = page + record + packets * host.write_bytes + reads * host.request_bytes
    down = page + record + packets * host.completion_bytes
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


def report(choice: Choice, operations: int, count: int) -> None:
    """Fill a map, measure with records of ``count`` operations or full ones, and print."""
    name, config, host = choice.name, choice.config, choice.host
    params, keys = config.params, config.params.capacity
    subject = Subject(config, host, count)
    filled = subject.measure(fill(params, keys))
    found = subject.measure(mixed(params, operations, keys, SEED))
    bound, beats = link_bound(config, host), config.page_beats
    rate = CLOCK_MHZ * 1e6 / found.cycles
    print(f"\n{name}, {keys:,} keys of {params.key_bytes} + {params.value_bytes} bytes, pages of {params.page_bytes}")
    print(f"  {config}")
    print(f"  records of {subject.count} operations, {host.reads} host reads under way at most")
    print(f"  {found.cycles:.2f} cycles an operation (filling: {filled.cycles:.2f}), at most {BARS[name]:g} wanted")
    print(f"    {found.cycles / beats:.2f} times the {beats} beats of a page; lanes of AES-GCM: {config.lanes}")
    print(f"    {found.cycles / bound:.2f} times the {bound:.2f} cycles of the PCIe link")
    print(f"    {rate / 1e6:.2f} M operations/s at an assumed {CLOCK_MHZ:g} MHz, simulated")
    print(f"    {rate * BOLT_MICROSECONDS / 1e6:.1f} times BOLT's {BOLT_MICROSECONDS} us a query")
    parts = ", ".join(f"{part} {found.up[part]:.1f}" for part in UP_PARTS)
    print(f"  {sum(found.up.values()):.1f} bytes an operation to the host, with the headers of packets: {parts}")
    print(f"  overruns: {found.overruns}")
    latency = subject.latencies(mixed(params, 40, keys, SEED + 1))
    microseconds = latency / CLOCK_MHZ
    print(
        f"  unloaded, doorbell to response in memory: median {np.median(microseconds[:, 0]):.2f} us, most "
        f"{microseconds[:, 0].max():.2f} us; to its counter: median {np.median(microseconds[:, 1]):.2f} us"
    )
    print(f"  format: {subject.format_cycles / params.pages:.2f} cycles a page")
    if config.journal:
        exported, restored, records = subject.recovery()
        print(f"  snapshot: {exported:.2f} cycles a slot, {params.slots:,} slots in {records:,} records")
        print(f"  restore: {restored:.2f} cycles a slot, each of which is an operation")
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


def main(given: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    parser.add_argument("--journal", action="store_true", help="with a journal, a snapshot and a restore")
    arguments = parser.parse_args(given)
    choices = chosen(parser, arguments, CAPACITIES, journal=arguments.journal)
    print(f"engine in simulation; default memory models; {platform.machine()}")
    for choice in choices:
        report(choice, arguments.operations, arguments.record)


if __name__ == "__main__":
    main()
