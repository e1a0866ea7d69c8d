"""Simulated load processes, to compare with what is claimed about them.

The counts of a map (loads, waiting tuples, entries in transit) depend on operations and draws, and not on keys or
values. So they can be simulated without crypto, some millions of operations a second, and compared with the theorem
(one_choice) and the published bounds (two_choice). :mod:`omap.sizing.transit` simulates the moves of the position map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import numpy.typing as npt

from omap.errors import InputError, OmapError
from omap.extras import how_to_install
from omap.operations import Kind
from omap.params import Params, Rule

_CHUNK = 1 << 18

Ints = npt.NDArray[np.int32]
Operations = tuple[npt.NDArray[np.int8], Ints]
"""Kinds and key numbers, two (operations,) arrays."""


def kernels() -> ModuleType:
    """Return :mod:`omap.sizing.load_process`, or raise OmapError if numba is not installed."""
    try:
        from omap.sizing import load_process
    except ModuleNotFoundError as error:
        if error.name != "numba":
            raise
        raise OmapError(f"the load simulation needs numba: {how_to_install('bounds')}") from error
    return load_process


# -- loads ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The sizes of a map that its load process depends on.

    Parameters
    ----------
    rule : Rule
        ``one_choice`` or ``two_choice``.
    capacity : int
        Keys that may be live, N.
    pages : int
        Bins with a page, M.
    page_slots : int
        Tuples that a page has room for, C.
    hbm_bins : int
        Bins without a page, K.
    line_indices : tuple of int
        Indices of waiting slots in the first line of a descriptor, and in each further line.
    """

    rule: Rule
    capacity: int
    pages: int
    page_slots: int
    hbm_bins: int = 0
    line_indices: tuple[int, int] = (12, 15)

    def __post_init__(self) -> None:
        if self.rule is Rule.RESIDENT:
            raise InputError("a resident map has no load process, because its tuples never move: choose another rule")
        if min(self.capacity, self.pages, self.page_slots) < 1 or self.bins < self.width:
            raise InputError(
                f"{self.capacity} keys, {self.bins} bins and {self.page_slots} slots are too few for {self.rule}"
            )

    @classmethod
    def of(cls, params: Params) -> Shape:
        """Return the shape of a map."""
        return cls(
            rule=params.rule,
            capacity=params.capacity,
            pages=params.pages,
            page_slots=params.page_slots,
            hbm_bins=params.hbm_bins,
            line_indices=params.line_indices,
        )

    @property
    def bins(self) -> int:
        """Number of all bins."""
        return self.hbm_bins + self.pages

    @property
    def width(self) -> int:
        """How many bins a key has."""
        return 2 if self.rule is Rule.TWO_CHOICE else 1

    def draw(self, random: np.random.Generator, count: int) -> Ints:
        """Return the draws of ``count`` operations, as a (count, 2 * width) array: dummy bins, then fresh bins."""
        if self.width == 1:
            return random.integers(self.bins, size=(count, 2), dtype=np.int32)
        one = random.integers(self.bins, size=(count, 2), dtype=np.int32)
        other = random.integers(self.bins - 1, size=(count, 2), dtype=np.int32)
        other += other >= one  # the bins of a pair are distinct
        return np.stack([one, other], axis=2).reshape(count, 4)


class LoadProcess:
    """The counts of a map, which is empty at first.

    Parameters
    ----------
    shape : Shape
        Sizes of the map.
    keys : int, optional
        How many different keys operations may name; without it ``capacity``.
    """

    def __init__(self, shape: Shape, keys: int | None = None) -> None:
        self._run = kernels().run
        self.shape = shape
        self._keys = shape.capacity if keys is None else keys
        self.reset()

    def reset(self) -> None:
        """Empty the map, but keep the largest values seen."""
        shape = self.shape
        most = getattr(self, "counters", np.zeros(kernels().COUNTERS, np.int64))
        self.counters: npt.NDArray[np.int64] = most.copy()
        self.counters[: kernels().MOST_WAITING] = 0
        self._placed = np.zeros((self._keys, shape.width), np.int32)
        self._home = np.full(self._keys, -1, np.int32)
        self._load = np.zeros(shape.bins, np.int32)
        self._inside = np.zeros(shape.bins, np.int32)

    def run(self, operations: Operations, draws: Ints, *, every: bool = False) -> tuple[float, Ints]:
        """Run operations with given draws.

        Parameters
        ----------
        operations : Operations
            Kinds and numbers of keys.
        draws : array
            As :meth:`Shape.draw` returns them.
        every : bool
            Whether to return the counts after every operation.

        Returns
        -------
        float
            Sum, over the operations, of the waiting tuples at the end of the operation.
        array
            With ``every``, (operations, 3): waiting tuples, tuples of bins in HBM, further lines. Else empty.

        Raises
        ------
        InputError
            If the draws have another shape.
        """
        kinds, keys = operations
        if draws.shape != (len(kinds), 2 * self.shape.width):
            raise InputError(f"draws must be {(len(kinds), 2 * self.shape.width)}, not {draws.shape}")
        series = np.empty((len(kinds) if every else 0, 3), np.int32)
        total: float = self._run(
            kinds,
            keys,
            np.ascontiguousarray(draws, np.int32),
            self.shape.capacity,
            self.shape.hbm_bins,
            self.shape.page_slots,
            np.array(self.shape.line_indices, np.int32),
            self._placed,
            self._home,
            self._load,
            self._inside,
            self.counters,
            series,
        )
        return total, series

    @property
    def loads(self) -> Ints:
        """(bins,) array: the tuples of every bin, with those that wait."""
        return self._load

    def counter(self, name: str) -> int:
        """Return a counter of :mod:`omap.sizing.load_process` by its name."""
        return int(self.counters[getattr(kernels(), name)])


# -- workloads --------------------------------------------------------------------------------------------------


def _uniform(random: np.random.Generator, first: int, count: int, keys: int) -> Operations:
    """A random key is read."""
    return np.full(count, Kind.GET, np.int8), random.integers(keys, size=count, dtype=np.int32)


def _sweep(random: np.random.Generator, first: int, count: int, keys: int) -> Operations:
    """All keys are read in turn."""
    return np.full(count, Kind.GET, np.int8), ((first + np.arange(count)) % keys).astype(np.int32)


def _hammer(random: np.random.Generator, first: int, count: int, keys: int) -> Operations:
    """One key is read over and over."""
    return np.full(count, Kind.GET, np.int8), np.zeros(count, np.int32)


def churn(random: np.random.Generator, first: int, count: int, keys: int) -> Operations:
    """A random key is deleted and a new key inserted, over and over. The new key has the number of the deleted one."""
    pairs = random.integers(keys, size=count // 2 + 1, dtype=np.int32)
    return np.tile(np.array([Kind.DELETE, Kind.PUT], np.int8), len(pairs))[:count], np.repeat(pairs, 2)[:count]


def growth(random: np.random.Generator, first: int, count: int, keys: int) -> Operations:
    """New keys are inserted until the map is full, over and over from empty."""
    return np.full(count, Kind.PUT, np.int8), ((first + np.arange(count)) % keys).astype(np.int32)


WORKLOADS: dict[str, Callable[[np.random.Generator, int, int, int], Operations]] = {
    "uniform": _uniform,
    "sweep": _sweep,
    "hammer": _hammer,
    "churn": churn,
    "growth": growth,
}
"""Workloads by name: ``(random, first, count, keys)`` gives operations ``first`` to ``first + count - 1`` on a map that
is full with ``keys`` keys (empty for growth)."""


def chunks(start: int, end: int, stride: int) -> Iterator[tuple[int, int]]:
    """Split a range of operations into starts and counts; no chunk crosses a multiple of ``stride``."""
    while start < end:
        count = min(_CHUNK, end - start, stride - start % stride)
        yield start, count
        start += count


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a workload did to the counts, in tuples or lines.

    Parameters
    ----------
    workload : str
        One of :data:`WORKLOADS`.
    accesses : int
        Operations that ran, without those that filled the map.
    mean_waiting, mean_resident : float
        Mean number of waiting tuples, and of tuples of bins in HBM, over the second half of the operations (the latter
        over samples of it); for growth, over the moments when the map is full.
    most_waiting, most_resident, most_together, most_lines, most_load : int
        Largest values at the end of any operation: waiting tuples, tuples of bins in HBM, both together, further lines,
        tuples of one bin.
    """

    workload: str
    accesses: int
    mean_waiting: float
    mean_resident: float
    most_waiting: int
    most_resident: int
    most_together: int
    most_lines: int
    most_load: int


def simulate(shape: Shape, workload: str, accesses: int, seed: int = 1) -> Outcome:
    """Fill a map and run a workload on it.

    Parameters
    ----------
    shape : Shape
        Sizes of the map.
    workload : str
        One of :data:`WORKLOADS`.
    accesses : int
        Operations to run, without those that fill the map.
    seed : int
        Seed of draws and workload.

    Raises
    ------
    InputError
        If no workload has this name, or there is nothing to run.
    OmapError
        If numba is not installed.
    """
    if workload not in WORKLOADS:
        raise InputError(f"no workload is called {workload!r}; choose one of {', '.join(WORKLOADS)}")
    if accesses < 1:
        raise InputError(f"accesses is {accesses}; it must be at least 1")
    process, capacity = LoadProcess(shape), shape.capacity
    random = np.random.default_rng([seed, *workload.encode()])

    def run(make: Callable[..., Operations], start: int, count: int) -> float:
        return process.run(make(random, start, count, capacity), shape.draw(random, count))[0]

    waiting: list[float] = []
    weights: list[int] = []
    resident: list[int] = []
    if workload == "growth":
        for start, count in chunks(0, max(accesses, capacity), capacity):
            if start % capacity == 0:
                process.reset()
            run(growth, start, count)
            if (start + count) % capacity == 0:
                waiting.append(process.counter("WAITING"))
                weights.append(1)
                resident.append(process.counter("RESIDENT"))
    else:
        for start, count in chunks(0, capacity, capacity):
            run(growth, start, count)
        half = max(1, accesses // 2)
        for start, count in chunks(0, accesses, half):
            total = run(WORKLOADS[workload], start, count)
            if start >= half or accesses == 1:
                waiting.append(total / count)
                weights.append(count)
                resident.append(process.counter("RESIDENT"))
    return Outcome(
        workload=workload,
        accesses=accesses,
        mean_waiting=float(np.average(waiting, weights=weights)),
        mean_resident=float(np.average(resident, weights=weights)),
        most_waiting=process.counter("MOST_WAITING"),
        most_resident=process.counter("MOST_RESIDENT"),
        most_together=process.counter("MOST_TOGETHER"),
        most_lines=process.counter("MOST_LINES"),
        most_load=process.counter("MOST_LOAD"),
    )
