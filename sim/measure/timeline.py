"""One operation, and several that overlap, in simulation: the table and the picture of docs/hardware/architecture.md.

``python -m sim.measure.timeline`` runs the engine and rewrites both. The same code gives the same cycles: secrets,
operations and latencies are fixed. They show times, and protect nothing.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from host.device.driver import Driver
from omap.operations import Kind, Operation
from omap.outfiles import try_file, write_text
from omap.wire import CONTROL_BYTES, BufferLayout, Counter
from rtl.config import EngineConfig
from rtl.engine import ENGINE_PROGRESS
from sim.device.backend import HOST_PORT
from sim.device.client import open_all, open_session, seal_all
from sim.device.engine_run import BUFFER_ADDRESS, EngineRun, engine_design
from sim.device.known import fixed_noise, fixed_root_key
from sim.device.map_bench import stage_cycles
from sim.device.transport import RtlTransport
from sim.measure.options import CLOCK_MHZ, shaped
from sim.measure.timeline_picture import Shown, picture
from sim.models.observer import EventKind, Observer

SHAPE, KEYS = "PAPER", 40_000
FILLED = 600
"""Keys put before anything is timed."""

TOGETHER = 120
"""Operations given at once."""

SEED = 1
QUIET = 3000
"""Cycles after which nothing of an operation is under way."""

BEGIN = "<!-- one operation: made by python -m sim.measure.timeline -->"
END = "<!-- end -->"


@dataclass(frozen=True)
class Moment:
    """Something that happened.

    Attributes
    ----------
    cycle : int
        Cycles after the doorbell.
    stage : str
        Stage that the operation passed, one of :data:`rtl.engine.ENGINE_PROGRESS`, or nothing.
    bus : str
        What the host saw, or nothing.
    """

    cycle: int
    stage: str = ""
    bus: str = ""


COUNTERS = tuple(counter for counter in Counter if counter not in (Counter.JOURNAL_TAKEN, Counter.JOURNAL_WRITTEN))
"""Counters of an engine without a journal."""


def seen_as(layout: BufferLayout, kind: int, address: int, length: int) -> str:
    """Return what an access to the shared buffer is to the host."""
    at = address - BUFFER_ADDRESS
    verb = "reads" if kind == EventKind.READ else "writes"
    if at < CONTROL_BYTES:
        names = [counter.name for counter in COUNTERS if at <= counter < at + length]
        return f"{verb} {', '.join(names) or 'the state'}"
    if at < layout.responses:
        return f"{verb} {length} bytes of the command ring"
    if at < layout.journal:
        return f"{verb} {length} bytes of the response ring"
    if at < layout.pages:
        return f"{verb} {length} bytes of the journal ring"
    return f"{verb} page {(at - layout.pages) // layout.params.page_bytes}, {length} bytes"


class Watched:
    """An engine with an open session, whose stages and bus are recorded."""

    def __init__(self, config: EngineConfig) -> None:
        self.config, params = config, config.params
        key, noise = fixed_root_key(SEED), fixed_noise(SEED)
        self.run = EngineRun(engine_design(config), config, key, seed=SEED, noise=noise)
        self.driver = Driver(RtlTransport(self.run), params, timeout=3600)
        self.driver.format(timeout=3600)
        self.session = open_session(self.driver, key)
        self.run.bench.observe("progress")

    def execute(self, operations: Sequence[Operation]) -> tuple[dict[str, Any], Observer]:
        """Run operations, each in a record of its own, and let everything come to rest.

        Return the cycles of each stage, and all events.
        """
        run = self.run
        run.bench.observer.clear()
        before = run.bench.get("progress")
        answers = self.driver.exchange(b"".join(seal_all(self.session, operations, repeat(1))))
        run.step(QUIET)
        open_all(self.session, answers)
        seen = run.bench.observer
        return stage_cycles(seen.events(port="progress"), ENGINE_PROGRESS, before=before), seen

    def alone(self, operation: Operation) -> list[Moment]:
        """Run one operation on an engine at rest and return what happened, but for polls, which go on all the time."""
        told = self.run.bench.cycle
        passed, seen = self.execute([operation])
        moments = [Moment(int(cycles[0]) - told, stage=stage) for stage, cycles in passed.items()]
        for event in seen.events(port=HOST_PORT, kinds={EventKind.READ, EventKind.WRITE}):
            bus = seen_as(self.run.layout, event["kind"], int(event["address"]), int(event["length"]))
            moment = Moment(int(event["cycle"]) - told, bus=bus)
            if event["kind"] == EventKind.WRITE or "page" in bus:  # a lone record is read by a poll, see decision 15
                moments.append(moment)
        return sorted([Moment(0, bus="the host writes COMMANDS_WRITTEN"), *moments], key=lambda m: (m.cycle, m.bus))


def table(moments: Sequence[Moment]) -> str:
    """Return the moments as a table."""
    rows = ["| cycle | stage | what the host sees |", "|---:|---|---|"]
    rows += [f"| {m.cycle:,} | {f'`{m.stage}`' if m.stage else ''} | {m.bus} |" for m in moments]
    return "\n".join(rows)


def subject() -> EngineConfig:
    """Return the engine that is shown."""
    return EngineConfig(params=shaped(SHAPE, KEYS))


def described(config: EngineConfig) -> str:
    """Return what an engine is."""
    params = config.params
    return (
        f"{SHAPE}: {params.capacity:,} keys of {params.key_bytes} and values of {params.value_bytes} bytes, pages of "
        f"{params.page_bytes}; interval {config.interval}, lookup {config.lookup_cycles}, turnaround "
        f"{config.turnaround_cycles}, follow {config.follow_cycles}, merge {config.merge_cycles}, reply "
        f"{config.reply_cycles} cycles. Simulated with the default memory models, {CLOCK_MHZ:g} MHz assumed (a "
        f"cycle is {1000 / CLOCK_MHZ:g} ns)."
    )


def section(config: EngineConfig, moments: Sequence[Moment], rate: float) -> str:
    """Return the generated part of the document."""
    return (
        f"{described(config)} A GET of a key that is there, on an engine at rest; {TOGETHER} operations given at once "
        f"leave it one every {rate:.1f} cycles.\n\n{table(moments)}\n"
    )


def with_section(document: str, text: str, begin: str = BEGIN) -> str:
    """Return a document with its generated part replaced, which begins with a comment."""
    found = re.search(f"({re.escape(begin)}\n).*?({re.escape(END)})", document, re.DOTALL)
    if found is None:
        raise SystemExit(f"the document has no part that begins with {begin}")
    return document[: found.end(1)] + text + document[found.start(2) :]


def measure() -> tuple[EngineConfig, list[Moment], Mapping[str, Any]]:
    """Run the engine; return its configuration, one operation alone, and many together."""
    config = subject()
    params, watched = config.params, Watched(config)
    keys = [number.to_bytes(params.key_bytes, "big") for number in range(FILLED)]
    watched.execute([Operation(Kind.PUT, key, bytes(params.value_bytes)) for key in keys])
    one = watched.alone(Operation(Kind.GET, keys[FILLED // 2]))
    draw = random.Random(SEED)
    many, _ = watched.execute([Operation(Kind.GET, draw.choice(keys)) for _ in range(TOGETHER)])
    return config, one, many


def documented() -> tuple[str, str]:
    """Return the generated part of the document, and the picture."""
    config, one, many = measure()
    middle = many["replied"][TOGETHER // 3 :]
    rate = float(np.diff(middle).mean())
    points = {moment.stage or moment.bus: moment.cycle for moment in one}
    return section(config, one, rate), picture(Shown(points, many, config.lookup_cycles, CLOCK_MHZ))


def main(given: Sequence[str] | None = None) -> None:
    """Rewrite table and picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--document", type=Path, default=Path("docs/hardware/architecture.md"))
    parser.add_argument("--picture", type=Path, default=Path("docs/pictures/one-operation.svg"))
    arguments = parser.parse_args(given)
    for path in (arguments.document, arguments.picture):
        try_file(path)
    with_section(arguments.document.read_text("utf-8"), "")  # refuses a document without a place for it
    text, drawn = documented()
    write_text(arguments.document, with_section(arguments.document.read_text("utf-8"), text))
    write_text(arguments.picture, drawn)


if __name__ == "__main__":
    main()
