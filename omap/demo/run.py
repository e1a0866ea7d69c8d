"""Loads a table into several maps, runs the workloads on each, checks every answer and keeps what the host saw."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from omap.audit import Report, audit
from omap.backends import Backend, Clocked
from omap.demo.scenarios import Scenario, Source
from omap.demo.table import Table
from omap.interface import ObliviousMap
from omap.operations import Kind, Operation, Response, Status
from omap.params import Params
from omap.trace import Observer, Trace

LOADS = 10
"""Bulk loads that the table is split into, so that there is progress to show."""

BATCH = 256
"""Operations in one call of ``execute``."""

LONG_BATCH = 1000
"""The same where a clock is read: so that filling and emptying the pipeline weigh little."""

Step = Callable[[int], None]
"""Told how many keys were loaded, or operations run, since the last call."""


def _ignore(done: int) -> None:
    pass


@dataclass(frozen=True)
class Contestant:
    """One way to store the table.

    Attributes
    ----------
    name, title, story : str
        For tables and JSON; a heading; one sentence on how it places keys.
    oblivious : bool
        Whether it claims to hide anything from the host beside contents.
    params : Params
        Sizes.
    create : Backend
        Makes the map.
    """

    name: str
    title: str
    story: str
    oblivious: bool
    params: Params
    create: Backend


@dataclass(frozen=True)
class Seen:
    """What the host saw of one workload on one contestant.

    Attributes
    ----------
    scenario : Scenario
        What was asked.
    pages : int64 array
        Pages read, in order.
    at : int64 array
        The operation each of them belongs to.
    bytes_per_operation : float
        Host memory traffic, both directions.
    report : Report
        What the audit says of the trace.
    wrong : int
        Answers that differ from the source.
    cycles_per_operation : float or None
        Clock cycles, where what runs the map has a clock.
    """

    scenario: Scenario
    pages: npt.NDArray[np.int64]
    at: npt.NDArray[np.int64]
    bytes_per_operation: float
    report: Report
    wrong: int
    cycles_per_operation: float | None = None


@dataclass(frozen=True)
class Outcome:
    """All that one contestant did.

    Attributes
    ----------
    contestant : Contestant
        Who.
    seen : list of Seen
        One for each workload.
    wrong : int
        Wrong answers in all, the closing read of the whole table included.
    answers : int
        Answers checked.
    loaded_per_second, operations_per_second : float
        Keys loaded, and operations run, in a second of this machine.
    cycles_per_operation : float or None
        Clock cycles of all that was asked, where what runs the map has a clock.
    clock_mhz : float or None
        That clock, as it is assumed.
    """

    contestant: Contestant
    seen: list[Seen]
    wrong: int
    answers: int
    loaded_per_second: float
    operations_per_second: float
    cycles_per_operation: float | None = None
    clock_mhz: float | None = None

    @property
    def bytes_per_operation(self) -> float:
        """Host memory traffic of one operation, both directions, on average."""
        return float(np.mean([seen.bytes_per_operation for seen in self.seen]))


def run(
    contestant: Contestant,
    table: Table,
    scenarios: Iterable[Scenario],
    *,
    made: Callable[[], None] = lambda: None,
    loaded: Step = _ignore,
    asked: Step = _ignore,
) -> Outcome:
    """Load ``table``, run ``scenarios`` and read the whole table back; tell when the map is made, and of each step."""
    observer = Observer()
    store = contestant.create(contestant.params, observer=observer)
    made()

    start = time.perf_counter()
    wrong = load(store, table, loaded)
    load_seconds = time.perf_counter() - start

    source, seen, answers, seconds = Source(table), [], 0, 0.0
    whole = Stopwatch(store)
    for scenario in scenarios:
        observer.clear()
        watch = Stopwatch(store)
        missed, took = ask(store, scenario.operations, source, asked)
        seen.append(look(observer.trace(), scenario, missed, contestant.params, watch.cycles_per_operation()))
        wrong, answers, seconds = wrong + missed, answers + len(scenario.operations), seconds + took
    observer.clear()
    missed, took = ask(store, [Operation(Kind.GET, key) for key in table.keys], source, asked)
    wrong, answers, seconds = wrong + missed, answers + len(table), seconds + took
    return Outcome(
        contestant,
        seen,
        wrong,
        answers,
        loaded_per_second=len(table) / load_seconds,
        operations_per_second=answers / seconds,
        cycles_per_operation=whole.cycles_per_operation(),
        clock_mhz=store.clock_mhz if isinstance(store, Clocked) else None,
    )


class Stopwatch:
    """Counts a map's clock cycles from now on, if it has a clock.

    Parameters
    ----------
    of : ObliviousMap
        The map.
    """

    def __init__(self, of: ObliviousMap) -> None:
        self._clock = of if isinstance(of, Clocked) else None
        self._begun = self._now()

    def _now(self) -> tuple[int, int]:
        return (self._clock.operations, self._clock.cycles) if self._clock else (0, 0)

    def cycles_per_operation(self) -> float | None:
        """Return cycles by operations since the start, or None without a clock or operations."""
        operations, cycles = (now - begun for now, begun in zip(self._now(), self._begun, strict=True))
        return cycles / operations if operations else None


def load(into: ObliviousMap, table: Table, step: Step) -> int:
    """Load the whole table; return how many answers were wrong.

    In :data:`LOADS` bulk loads, which have no answers; but hardware has none, so there every record is a PUT.
    """
    if isinstance(into, Clocked):
        return put_all(into, table, step)
    part = -(-len(table) // LOADS)
    for first in range(0, len(table), part):
        keys = table.keys[first : first + part]
        into.bulk_load(keys, table.values[first : first + part])
        step(len(keys))
    return 0


def put_all(into: ObliviousMap, table: Table, step: Step) -> int:
    """Put every record, none of which is there yet; return how many answers say otherwise."""
    wrong = 0
    for first in range(0, len(table), BATCH):
        part = slice(first, first + BATCH)
        pairs = zip(table.keys[part], table.values[part], strict=True)
        responses = into.execute([Operation(Kind.PUT, key, value) for key, value in pairs])
        wrong += sum(response != Response(Status.OK) for response in responses)
        step(len(responses))
    return wrong


def ask(of: ObliviousMap, operations: Sequence[Operation], source: Source, step: Step) -> tuple[int, float]:
    """Run operations; return how many answers were wrong, and the seconds the map took."""
    wrong, seconds = 0, 0.0
    size = LONG_BATCH if isinstance(of, Clocked) else BATCH
    for first in range(0, len(operations), size):
        batch = operations[first : first + size]
        start = time.perf_counter()
        responses = of.execute(batch)
        seconds += time.perf_counter() - start
        wrong += source.wrong(batch, responses)
        step(len(batch))
    return wrong, seconds


def look(trace: Trace, scenario: Scenario, wrong: int, params: Params, cycles: float | None = None) -> Seen:
    """Reduce a trace to what is shown of it."""
    reads = ~trace.write
    return Seen(
        scenario=scenario,
        pages=(trace.address[reads] // params.page_bytes).astype(np.int64),
        at=trace.operation[reads],
        bytes_per_operation=float(trace.length.sum()) / trace.operations,
        report=audit(trace, params),
        wrong=wrong,
        cycles_per_operation=cycles,
    )
