"""The engines that tests share: each takes more than a minute to compile, so there are few."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache

from omap import sizing
from omap.operations import Kind, Operation
from omap.params import Params
from omap.presets import preset
from rtl.config import EngineConfig
from sim.bench.compiled import Design
from sim.device.engine_run import engine_design

NOP, GET, PUT, DELETE = Kind


def tight(name: str, *, capacity: int = 40, pages: int = 5) -> Params:
    """Return the shapes of a preset with few pages: they overflow, lists grow over several lines, the map fills."""
    return replace(
        preset(name),
        capacity=capacity,
        waiting_slots=capacity,
        further_lines=capacity,
        descriptor_bytes=32,
        pages=pages,
        buckets=6,
        transit_entries=32,
    )


TIGHT = EngineConfig(params=tight("TINY"), lanes=1, interval=14, turnaround_cycles=400, in_flight=64, bin_entries=128)
"""Five pages of 64 bytes: everything overflows, and most operations touch a page that is under way. No map is so tight:
its lists are too long for offsets by the law, so that the turnaround is given, and a short interval."""

JOURNALLED = replace(TIGHT, journal=True)
"""The same with a journal."""

ROOMY = EngineConfig(params=sizing.one_choice(capacity=40_000, key_bytes=4, value_bytes=8, page_bytes=128))
"""Keys, values, pages and descriptors of PAPER, and so many pages that operations rarely meet: for what is said of
times. Times are tested on shapes that ship, because a roomier one hides what is late in them."""


KEPT = EngineConfig(
    params=sizing.one_choice(capacity=1 << 12, key_bytes=4, value_bytes=8, page_bytes=128), journal=True
)
"""The shape of PAPER with a journal: what :mod:`sim.measure.engine` measures with ``--journal --keys 4096``."""

GROUPED = EngineConfig(
    params=replace(
        preset("STANDARD"),
        capacity=400,
        waiting_slots=400,
        further_lines=400,
        descriptor_bytes=32,
        pages=300,
        buckets=70,
    ),
    lanes=1,
    interval=41,
    channel_bits=12,
)
"""Channels of 4 KB, so that structures get 3, 6 and 10 of them: for what a map of a card's size needs."""

SCANNED = EngineConfig(
    params=tight("TINY", capacity=90, pages=11),
    lanes=1,
    interval=13,
    turnaround_cycles=400,
    in_flight=64,
    bin_entries=128,
    journal=True,
)
"""As TIGHT, with a journal and with more pages and waiting slots than a scan reads at once."""


@cache
def engine(config: EngineConfig) -> Design:
    """Return the compiled engine of one of the configurations above."""
    return engine_design(config)


def operations(
    rng: random.Random,
    count: int,
    params: Params,
    keys: int,
    *,
    kinds: tuple[Kind, ...] = (PUT, PUT, GET, DELETE, NOP),
) -> list[Operation]:
    """Return drawn operations on ``keys`` different keys."""
    names = [rng.randbytes(params.key_bytes) for _ in range(keys)]
    return [
        Operation(kind, rng.choice(names) if kind else b"", rng.randbytes(params.value_bytes) if kind == PUT else b"")
        for kind in rng.choices(kinds, k=count)
    ]
