"""Loads a table into several maps, runs the workloads on each, checks every answer, and keeps what the host saw."""

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
from omap.trace import Observer, Submitted, Trace

LOADS = 10
"""Number of bulk loads that the table is split into, so that progress can be shown."""

BATCH = 256
"""Operations in one call of ``execute``."""

LONG_BATCH = 1000
"""Operations in one call of ``execute`` on a map with a clock. A long batch makes it matter little that the pipeline is
filled and emptied."""

Step = Callable[[int], None]
"""Called with the number of keys loaded, or operations run, since the last call."""


def _ignore(done: int) -> None:
    pass


@dataclass(frozen=True)
class Contestant:
    """One way to store the table.

    Attributes
    ----------
    name, title, story : str
        A name for tables and JSON, a heading, and one sentence on how keys are placed.
    oblivious : bool
        Whether it claims to hide from the host which keys are used.
    params : Params
        Parameters of the map.
    create : Backend
        Factory of the map.
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
        The workload.
    pages : (t,) int64 array
        Pages that were read, in order.
    at : (t,) int64 array
        Operation that each of these reads belongs to.
    bytes_per_operation : float
        Host memory traffic of an operation, both directions together.
    report : Report
        Report of the audit on the trace.
    wrong : int
        Number of answers that differ from the source.
    cycles_per_operation : float or None
        Clock cycles of an operation; None without a clock.
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
    """All results of one contestant.

    Attributes
    ----------
    contestant : Contestant
        The contestant.
    seen : list of Seen
        What the host saw of each workload.
    wrong : int
        Number of wrong answers, those of the final read of the whole table included.
    answers : int
        Number of answers that were checked.
    loaded_per_second, operations_per_second : float
        Keys loaded, and operations run, in a second of this machine.
    cycles_per_operation : float or None
        Clock cycles of an operation, over all workloads and the final read; None without a clock.
    clock_mhz : float or None
        Assumed frequency of that clock, in MHz.
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
        """Host memory traffic of an operation on average, both directions together."""
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
    """Load ``table``, run ``scenarios`` and read the whole table back.

    Parameters
    ----------
    contestant : Contestant
        The way to store the table.
    table : Table
        The table.
    scenarios : iterable of Scenario
        The workloads.
    made : callable
        Called when the map is made.
    loaded, asked : callable
        Called with the number of keys loaded, and of operations run, since the last call.

    Reveals
        To the observer of the map: what the operations and bulk loads of the map reveal.
    """
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
        trace = observer.trace(Submitted(operations=len(scenario.operations)))
        seen.append(look(trace, scenario, missed, contestant.params, watch.cycles_per_operation()))
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
    """Counts the clock cycles of a map from now on, if it has a clock.

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
        """Return the cycles of an operation since the start; None without a clock or without operations."""
        operations, cycles = (now - begun for now, begun in zip(self._now(), self._begun, strict=True))
        return cycles / operations if operations else None


def load(into: ObliviousMap, table: Table, step: Step) -> int:
    """Load the whole table, and return how many answers were wrong.

    The table goes into the map in :data:`LOADS` bulk loads, which have no answers. Hardware has no bulk load, so that
    there each row of the table is a PUT.
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
    """Put every row of a table into an empty map, and return how many answers were wrong."""
    wrong = 0
    for first in range(0, len(table), BATCH):
        part = slice(first, first + BATCH)
        pairs = zip(table.keys[part], table.values[part], strict=True)
        responses = into.execute([Operation(Kind.PUT, key, value) for key, value in pairs])
        wrong += sum(response != Response(Status.OK) for response in responses)
        step(len(responses))
    return wrong


def ask(of: ObliviousMap, operations: Sequence[Operation], source: Source, step: Step) -> tuple[int, float]:
    """Run operations, and return how many answers were wrong and how many seconds the map took."""
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
    """Return what the report shows of a trace, with the verdict of the audit."""
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
