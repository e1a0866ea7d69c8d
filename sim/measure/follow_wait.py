"""How long a page that follows another must wait: a model of the merge that counts operations that are behind.

``python -m sim.measure.follow_wait`` tries several waits. It prints how rarely operations are behind, and what the
bound of :mod:`omap.sizing.backlog` promises for operations whose pages are independent. Touches that follow each other
have one page: docs/decisions/0012. The model takes its cycles from :mod:`rtl.offsets`. It has no HBM and no host.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from omap.errors import OmapError
from omap.fast.compiled import compiled
from omap.params import Params
from omap.sizing.backlog import TILTS, most_behind
from omap.units import parse
from rtl import offsets
from rtl.config import EngineConfig
from rtl.work import AGAIN, MERGE, Work
from sim.measure.options import SHAPES, shaped

Ints = npt.NDArray[np.int64]

FURTHER = (0, 5, 10, 15, 25)
"""Cycles that the waits which are tried have beyond L and an interval. The wait of the engine is tried as well."""

BEHIND = (20, 40, 60)
"""Operations are counted that are at least so many cycles behind."""

WORKLOADS = ("uniform", "sweep", "back", "one key")
"""Keys that are asked for: drawn uniformly, one after the other, the same and then back again, or one key over and
over."""

WARM_UP, COUNTED = 4, 16
"""Operations on a map, for each of its keys, before operations count, and operations that count.

Then a map is drawn anew: a tuple stays in its page for as long as nobody asks for its key.
"""


@dataclass(frozen=True)
class Touches:
    """Touches of pages by consecutive operations.

    Attributes
    ----------
    page : array
        (operations,), the page of each.
    waiting : array
        (operations,), how many tuples wait for it then.
    """

    page: Ints
    waiting: Ints


def drawn(params: Params, workload: str, count: int, rng: np.random.Generator) -> Touches:
    """Return the touches of ``count`` operations on live keys of a full map, whose pages are drawn anew."""
    if workload == "uniform":
        keys = rng.integers(params.capacity, size=count)
    elif workload == "back":
        keys = np.abs(np.arange(count) % (2 * params.capacity) - params.capacity) % params.capacity
    else:
        keys = np.arange(count) % (params.capacity if workload == "sweep" else 1)
    home, fresh = rng.integers(params.pages, size=params.capacity), rng.integers(params.pages, size=count)
    return Touches(*touched(keys, fresh, home, np.bincount(home, minlength=params.pages), params.page_slots))


@compiled
def touched(keys: Ints, fresh: Ints, home: Ints, load: Ints, slots: int) -> tuple[Ints, Ints]:
    """Return the pages that operations touch, and how many tuples wait for each.

    ``home`` is (keys,), the page of each key, and ``load`` is (pages,), the tuples of each page; both change. Counts do
    not depend on which tuple lies in which page slot: :mod:`omap.sizing.load_process`.
    """
    inside = np.minimum(load, slots)
    pages, waiting = np.empty_like(keys), np.empty_like(keys)
    for i in range(len(keys)):
        page = home[keys[i]]
        pages[i], waiting[i] = page, load[page] - inside[page]
        load[page] -= 1
        inside[page] = min(load[page], slots)
        home[keys[i]] = fresh[i]
        load[fresh[i]] += 1
    return pages, waiting


@dataclass(frozen=True)
class Model:
    """The merge of an engine to which operations come as early as they may.

    A page is opened a fixed time after its start, and not before the touch that it follows is sealed. It enters the
    merge when the page before has left, and its beats have come in. Its waiting tuples enter one after the other. Then
    its beats leave, after those of the page before.

    Parameters
    ----------
    config : EngineConfig
        The engine.
    """

    config: EngineConfig

    @property
    def alone(self) -> int:
        """Cycles L from the start of a page until it is sealed, if nothing is behind and no tuple waits."""
        return offsets.OPENING + 3 * self.config.page_beats + offsets.SEALING

    @property
    def waits(self) -> list[int]:
        """The waits that are tried, in cycles from start to start. The last one is the engine's."""
        least, own = math.ceil(self.alone + self.config.interval), self.config.follow_cycles
        return [*(wait for wait in (least + further for further in FURTHER) if wait < own), own]

    @property
    def gaps(self) -> Ints:
        """Least cycles from each start to the next; they come over and over (:class:`rtl.map.spacing.Spacing`)."""
        interval = self.config.interval
        return np.diff(np.array([math.ceil(number * interval) for number in range(interval.denominator + 1)]))

    def promised(self, cycles: int) -> float:
        """Return -log2 of the probability that the bound allows for an operation to be so many cycles behind."""
        config = self.config
        merging, nothing = Work(config.params, config.lanes, config.layouts).merging, np.zeros_like(TILTS)
        early = float(offsets.most_early(config.interval))

        def covered(bits: float) -> bool:
            return early + most_behind(nothing, [merging], float(config.interval), bits) <= cycles

        low, high = 0.0, 1.0
        while covered(high):
            low, high = high, 2 * high
        while high - low > 0.01:
            middle = (low + high) / 2
            low, high = (middle, high) if covered(middle) else (low, middle)
        return low

    def behind(self, touches: Touches, wait: int) -> Ints:
        """Return how many cycles each operation is behind: other operations let its merge begin so much later.

        Parameters
        ----------
        touches : Touches
            The operations.
        wait : int
            Least cycles from the start of a page to the start of a page that follows it.
        """
        beats = self.config.page_beats
        opening = offsets.OPENING + 2 * beats - MERGE
        merging = MERGE + touches.waiting
        work = np.maximum(max(beats, AGAIN), merging)
        long_ago = np.full((2, self.config.params.pages), -wait - self.alone)
        times = (wait, opening, beats, beats + offsets.SEALING)
        return _behind(touches.page, merging, work, long_ago, self.gaps, times)

    def count(self, workload: str, operations: int, rng: np.random.Generator) -> Ints:
        """Return (waits, BEHIND), how many of so many operations are behind."""
        params = self.config.params
        found = np.zeros((len(self.waits), len(BEHIND)), np.int64)
        remaining = operations
        while remaining > 0:
            counted = min(remaining, COUNTED * params.capacity)
            touches = drawn(params, workload, WARM_UP * params.capacity + counted, rng)
            for row, wait in zip(found, self.waits, strict=True):
                behind = self.behind(touches, wait)[-counted:]
                row += [np.count_nonzero(behind >= least) for least in BEHIND]
            remaining -= counted
        return found


@compiled
def _behind(page: Ints, merging: Ints, work: Ints, last: Ints, gaps: Ints, times: tuple[int, int, int, int]) -> Ints:
    """See :meth:`Model.behind`. ``last`` is (2, pages), when each page was started and sealed last; it changes."""
    wait, opening, beats, sealing = times
    started, sealed = last
    behind = np.empty_like(page)
    start = free = left = 0
    for i in range(len(page)):
        start = max(start + gaps[i % len(gaps)], started[page[i]] + wait)
        begun = max(max(start, sealed[page[i]]) + opening, free)
        free = begun + work[i]
        left = max(begun + merging[i], left + beats)
        started[page[i]], sealed[page[i]] = start, left + sealing
        behind[i] = begun - (start + opening)
    return behind


def power(share: float) -> str:
    """Return a share as a power of two."""
    return f"2^{math.log2(share):.1f}" if share else "none"


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="PAPER")
    parser.add_argument("--keys", type=parse, default=64, help="capacity of the map, which is full")
    parser.add_argument("--operations", type=parse, default=20_000_000, help="of each workload")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(given)
    try:
        model = Model(EngineConfig(params=shaped(arguments.shape, arguments.keys)))
    except OmapError as error:
        parser.error(str(error))
    config, operations = model.config, arguments.operations
    if not operations:
        parser.error("operations is 0; it must be positive")
    params = config.params
    print(f"{arguments.shape}: {params.capacity:,} keys, {params.pages:,} pages of {params.page_slots} page slots")
    print(f"interval {config.interval}, L {model.alone}, follow_cycles {config.follow_cycles}")
    print(f"{operations:,} operations of each workload, seed {arguments.seed}, numpy {np.__version__}; a model\n")
    print(f"| keys asked for | wait, cycles | {' | '.join(f'{least} or more behind' for least in BEHIND)} |")
    print(f"|---|---:|{'---:|' * len(BEHIND)}")
    print(f"| the bound, any | | {' | '.join(power(2 ** -model.promised(least)) for least in BEHIND)} |")
    for workload in WORKLOADS:
        found = model.count(workload, operations, np.random.default_rng(arguments.seed))
        for wait, row in zip(model.waits, found, strict=True):
            print(f"| {workload} | {wait} | {' | '.join(power(count / operations) for count in row)} |", flush=True)


if __name__ == "__main__":
    main()
