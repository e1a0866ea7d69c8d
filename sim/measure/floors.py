"""How busy each block of the engine is under load, and how full it gets: where the next cycles can be won.

``python -m sim.measure.floors`` simulates an engine with counters around it (:mod:`sim.measure.probes`), and
``--update docs/performance.md`` puts what it finds there. Nothing was measured on a card.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from omap.outfiles import try_file, write_text
from rtl.config import EngineConfig
from rtl.engine import Engine
from sim.measure import probes
from sim.measure.engine import CAPACITIES, SEED, Subject, fill, mixed
from sim.measure.options import CLOCK_MHZ, Choice, add_options, chosen
from sim.measure.probes import Count, Flow, Level, Machine, Probe, ProbedDesign, stream
from sim.measure.timeline import with_section

BEGIN = "<!-- busy shares: made by python -m sim.measure.floors -->"

MAP, HOST = "core.inner", "m_axi_host__"

FLOWS = (
    stream("ring: reads asked for", "ring", "o_read"),
    stream("record: beats to open", "sessions.inner.opener", "i_sealed"),
    stream("record: operations decoded", "sessions.inner.commands", "o_command"),
    stream("lookups asked for", f"{MAP}.position_map", "i_operation"),
    stream("position map: operations and moves", f"{MAP}.position_map.inner.lookup", "i_item"),
    stream("position map: lines of table 0 fetched", f"{MAP}.position_map", "o_fetch__0"),
    stream("position map: lines of table 0 written", f"{MAP}.position_map", "o_flush__0"),
    stream("bins announced", f"{MAP}.admission", "o_touch"),
    stream("bins: lines fetched", f"{MAP}.bins", "o_line_fetch"),
    stream("bins: tuples fetched", f"{MAP}.bins", "o_slot_fetch"),
    stream("bins: lines written", f"{MAP}.bins", "o_line_flush"),
    stream("bins: tuples written", f"{MAP}.bins", "o_slot_write"),
    stream("merge: waiting tuples", f"{MAP}.bins", "o_waiting"),
    stream("pages to begin", f"{MAP}.pages", "i_page"),
    stream("pages: reads asked for", f"{MAP}.pages", "o_read"),
    stream("pages: beats to open", f"{MAP}.sealing", "i_sealed"),
    stream("pages: beats to merge", f"{MAP}.merging", "i_text"),
    stream("pages: beats to seal", f"{MAP}.merging", "o_text"),
    stream("pages: writes asked for", f"{MAP}.pages", "o_write"),
    stream("replies", "core", "o_reply"),
    stream("record: beats to seal", "sessions.inner.sealer", "i_text"),
    stream("ring: writes asked for", "ring", "o_write"),
    stream("ring: lines written", "ring", "o_lines"),
    Flow("bus: reads asked for", "", f"{HOST}arvalid", f"{HOST}arready"),
    Flow("bus: lines read", "", f"{HOST}rvalid", f"{HOST}rready"),
    Flow("bus: writes asked for", "", f"{HOST}awvalid", f"{HOST}awready"),
    Flow("bus: lines written", "", f"{HOST}wvalid", f"{HOST}wready"),
)
"""Streams on the way of an operation, in its order."""

LEVELS = (
    Level("operations in flight", f"{MAP}.admission", "under_way", bits=False),
    Level("entries in transit", f"{MAP}.position_map.inner.queue", "held"),
    Level("bins on chip", f"{MAP}.bins.inner", "used"),
    Level("pages in flight", f"{MAP}.pages.following", "busy"),
    Level("page reads under way", f"{MAP}.pages.read_ids", "under_way"),
    Level("page writes under way", f"{MAP}.pages.write_ids", "under_way"),
)
"""How full what holds things is."""

PROBES: tuple[Probe, ...] = (*FLOWS, *LEVELS)

QUIET = 0.02
"""Share of the time below which a machine that is busy is left out."""


@dataclass(frozen=True)
class Busy:
    """What probes counted while operations ran.

    Attributes
    ----------
    config : EngineConfig
        The engine.
    operations, cycles : int
        How many operations, in how many cycles.
    rate : float
        Cycles an operation in the steady state.
    overruns : int
        Events that left late.
    counts : dict of Probe to Count
        What was counted.
    """

    config: EngineConfig
    operations: int
    cycles: int
    rate: float
    overruns: int
    counts: Mapping[Probe, Count]


def rooms(config: EngineConfig) -> dict[str, int]:
    """Return how many things each of the :data:`LEVELS` has room for."""
    most = (config.in_flight, config.transit_entries, config.bin_entries, config.page_entries, config.page_ids)
    return dict(zip((level.name for level in LEVELS), (*most, config.page_ids), strict=True))


def probed_engine(config: EngineConfig) -> ProbedDesign:
    """Return the compiled engine with its probes; compiled quickly, because it runs for seconds."""
    return ProbedDesign(Engine(config), PROBES, machines=True)


def measure(choice: Choice, operations: int, count: int) -> Busy:
    """Fill a map, and count while GETs and PUTs of its keys run, in records of ``count`` operations or full ones."""
    config = choice.config
    params, keys = config.params, config.params.capacity
    subject = Subject(config, choice.host, count, design=probed_engine)
    assert isinstance(subject.design, ProbedDesign)
    subject.measure(fill(params, keys))
    bench = subject.run.bench
    probes.start(bench)
    begun = bench.cycle
    found = subject.measure(mixed(params, operations, keys, SEED))
    cycles = bench.cycle - begun
    counts = probes.stop(bench, subject.design.probes)
    named = dict(zip(subject.design.probes, counts, strict=True))
    return Busy(config, operations, cycles, found.cycles, found.overruns, named)


def section(name: str, host: str, found: Busy) -> str:
    """Return the part of the document about one engine."""
    config, operations, cycles = found.config, found.operations, found.cycles
    params = config.params
    own = ", ".join(f"{key.removesuffix('_cycles')} {value}" for key, value in config.times.items())
    lines = [
        f"## {name}",
        "",
        f"{params.capacity:,} keys of {params.key_bytes} and values of {params.value_bytes} bytes, pages of "
        f"{params.page_bytes}; lanes {config.lanes}, {sum(config.channels.values())} HBM channels; {own}. {host}. "
        f"{operations:,} operations, half GET and half PUT of keys that are there, the ring full at all times: one "
        f"every {found.rate:.2f} cycles, {found.overruns} of their events late. Simulated; at an assumed "
        f"{CLOCK_MHZ:g} MHz a cycle is {1000 / CLOCK_MHZ:g} ns.",
        "",
        "| stream | something on offer, % | moved an operation | cycles an operation | of these, waiting |",
        "|---|---:|---:|---:|---:|",
    ]
    for probe, count in found.counts.items():
        if isinstance(probe, Flow):
            lines.append(
                f"| {probe.name} | {100 * count.busy / cycles:.0f} | {count.moved / operations:.2f} | "
                f"{count.busy / operations:.2f} | {(count.busy - count.moved) / operations:.2f} |"
            )
    lines += ["", "| state machine | at work, % | cycles an operation |", "|---|---:|---:|"]
    machines = [(count.busy, probe.name) for probe, count in found.counts.items() if isinstance(probe, Machine)]
    for busy, label in sorted(machines, reverse=True):
        if busy > QUIET * cycles:
            lines.append(f"| `{label}` | {100 * busy / cycles:.0f} | {busy / operations:.2f} |")
    lines += ["", "| what is held | on average | at most | there is room for |", "|---|---:|---:|---:|"]
    room = rooms(config)
    for probe, count in found.counts.items():
        if isinstance(probe, Level):
            lines.append(f"| {probe.name} | {count.busy / cycles:.1f} | {count.moved} | {room[probe.name]} |")
    return "\n".join([*lines, ""])


def main(given: Sequence[str] | None = None) -> None:
    """Measure, print, and rewrite the document if it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    parser.add_argument("--update", type=Path, metavar="FILE", help="put what was found into this document")
    arguments = parser.parse_args(given)
    if arguments.update:
        try_file(arguments.update)
        with_section(arguments.update.read_text("utf-8"), "", BEGIN)  # refuses a document without a place for it
    parts = []
    for choice in chosen(parser, arguments, {name: keys[:1] for name, keys in CAPACITIES.items()}):
        found = measure(choice, arguments.operations, arguments.record)
        reads, writes = choice.host.reads, choice.host.writes
        told = f"Default memory models, {reads} reads and {writes} writes of the host under way at most"
        parts.append(section(choice.name, told, found))
        print(parts[-1], flush=True)
    if arguments.update:
        document = arguments.update.read_text("utf-8")
        write_text(arguments.update, with_section(document, "\n" + "\n".join(parts) + "\n", BEGIN))


if __name__ == "__main__":
    main()
