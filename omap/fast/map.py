"""The maps of :mod:`omap.map` with batches compiled. They keep the same state at the same places as the reference."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from omap.columns import Answers, Columns
from omap.crypto import Secrets
from omap.errors import FaultError
from omap.fast import numbers
from omap.fast.entries import look_up
from omap.fast.numbers import Bytes, Numbers
from omap.fast.pages import list_pages
from omap.fast.touches import run
from omap.interface import check_batch, check_columns
from omap.map import RULES, OneChoiceMap, PagedMap, TwoChoiceMap, lost
from omap.operations import Kind, Operation, Response, Status
from omap.params import Params
from omap.position_map import PositionMap, Transit
from omap.reference import ReferenceMap
from omap.rows import Rows
from omap.trace import Observer

SHORTEST = 2
"""Operations of the shortest batch that is compiled. The reference is faster with fewer."""

MOST_VERSION = 1 << 62
"""Compiled numbers have 64 bits and a sign. No map gets so far."""

_PUT = int(Kind.PUT)
_MISSES = tuple(
    Response({Kind.NOP: Status.OK, Kind.PUT: Status.FULL}.get(kind, Status.NOT_FOUND)) for kind in sorted(Kind)
)
"""By kind, the response of an operation that does not find its key, and after which the key is not live."""

_MISSED = np.array([status for status, _ in _MISSES], np.uint8)

_STORED = Response(Status.OK)


class _Device:
    """HBM of one map as arrays, and room for lists. What is here is what the reference reads and writes."""

    def __init__(self, map_: PagedMap) -> None:
        params, regions = map_.params, map_.device.regions
        self.regions = [regions[name] for name in ("position map", "page descriptors", "waiting slots", "free lists")]
        self.sizes = numbers.sizes_of(params)
        self.table, self.lines, self.free = (
            np.frombuffer(self.regions[place].data, np.uint32) for place in (0, 1, 3)
        )  # fmt: skip
        self.slots = np.frombuffer(self.regions[2].data, np.uint8)
        self.hash_key = np.frombuffer(bytearray(map_.position_map.hash_key), np.uint64)
        self.words = params.entry_bytes // 4
        self.transit = np.zeros((params.transit_entries + 2) * self.words, np.uint32)
        self.tables = np.zeros(params.transit_entries + 2, np.int64)
        self.waiting = np.empty(params.waiting_slots + 1, np.int64)
        self.further = np.empty(params.further_lines + 1, np.int64)

    def take_transit(self, position_map: PositionMap) -> None:
        """Take the entries in transit from the reference's position map."""
        for row, (entry, table) in enumerate(position_map.transit):
            self.transit[row * self.words : (row + 1) * self.words] = np.frombuffer(entry, np.uint32)
            self.tables[row] = table

    def give_transit(self, position_map: PositionMap, count: int) -> None:
        """Give the first ``count`` entries in transit to the reference's position map."""
        if count or position_map.transit:
            position_map.transit = deque(
                Transit(self.transit[row * self.words : (row + 1) * self.words].tobytes(), int(self.tables[row]))
                for row in range(count)
            )


class _Batch:
    """Operations as arrays; compiled code reads them, and writes what comes of them.

    Parameters
    ----------
    params : Params
        The map.
    kinds, keys, values : uint8 array
        Of all operations, one after the other. The key of a NOP does not count, and only a PUT's value does.

    Attributes
    ----------
    hits, keeps, previous : uint8 array
        Whether an operation finds its key, whether the key is live after it, and the value that it finds.
    """

    def __init__(self, params: Params, kinds: Bytes, keys: Bytes, values: Bytes) -> None:
        self.count = len(kinds)
        self.kinds, self.keys, self.values = kinds, keys, values
        self.hits, self.keeps = np.empty(self.count, np.uint8), np.empty(self.count, np.uint8)
        self.previous = np.zeros(self.count * params.value_bytes, np.uint8)

    @classmethod
    def of_operations(cls, params: Params, batch: Sequence[Operation]) -> _Batch:
        """Return operations that :func:`~omap.interface.check_batch` has checked."""
        key, value = bytes(params.key_bytes), bytes(params.value_bytes)
        kinds = bytearray([kind for kind, _, _ in batch])
        keys = bytearray().join([name if kind else key for kind, name, _ in batch])
        values = bytearray().join([new if kind == _PUT else value for kind, _, new in batch])
        return cls(params, *(np.frombuffer(part, np.uint8) for part in (kinds, keys, values)))

    @classmethod
    def of_columns(cls, params: Params, columns: Columns) -> _Batch:
        """Return operations that :func:`~omap.interface.check_columns` has checked."""
        kinds, keys, values = columns
        # compiled code is compiled again for arrays that are read-only, or not aligned, as keys that are words must be
        return cls(
            params,
            np.require(kinds, requirements=["C", "W"]),
            keys.copy().ravel(),
            np.require(values, requirements=["C", "W"]).ravel(),
        )

    def responses(self) -> list[Response]:
        """Return one response for each operation, after they ran."""
        found = self.previous.view(f"V{len(self.previous) // self.count}").tolist()
        make, ok = tuple.__new__, Status.OK
        return [
            make(Response, (ok, value)) if hit else _STORED if keep else _MISSES[kind]
            for kind, hit, keep, value in zip(
                self.kinds.tolist(), self.hits.tolist(), self.keeps.tolist(), found, strict=True
            )
        ]

    def answers(self) -> Answers:
        """Return what :meth:`responses` returns, as arrays."""
        missed = _MISSED[self.kinds]
        done = (self.hits | self.keeps).astype(bool)
        statuses = np.where(done, np.uint8(Status.OK), missed)
        return Answers(statuses, self.hits.astype(bool), self.previous.reshape(self.count, -1))


class FastMap(PagedMap):
    """A map that runs batches in compiled code.

    All that a batch touches is opened first, each page once, and sealed at the end, each page once, under the version
    of its last touch. So host memory is as after the reference, and so is HBM. What differs is what lies in host
    memory while a batch is under way: pages of versions that the batch itself replaces never get there.

    With an observer, and for batches of a few operations, it runs the reference, which is then what it inherits from.

    Attributes
    ----------
    shortest : int
        Operations of the shortest batch that runs in compiled code.
    """

    shortest = SHORTEST
    _compiled: _Device | None

    def format(self) -> None:
        """Empty the map under fresh secrets. Reveals as :meth:`ObliviousMap.format`."""
        self._compiled = None
        super().format()

    def erase(self, why: str = "it was stopped") -> None:
        """Erase all keys and the contents of HBM. Reveals nothing by itself."""
        self._compiled = None
        super().erase(why)

    def execute(self, batch: Sequence[Operation]) -> list[Response]:
        """Run a batch. Reveals, hides and raises as :meth:`ObliviousMap.execute`.

        Reveals
            To a host that watches all accesses as they happen: for the whole batch, the pages that were drawn for its
            operations, in the order of their first touches, and in the same order when they are written. Which pages
            repeat within a batch follows from draws alone.
        """
        self._check_fault()
        batch = check_batch(self.params, batch)
        if not self._runs_compiled(len(batch)):
            return super().execute(batch)
        return self._run_or_latch(lambda: _Batch.of_operations(self.params, batch)).responses()

    def execute_arrays(
        self,
        kinds: npt.ArrayLike,
        keys: Rows,
        values: Rows,
    ) -> Answers:
        """Run operations that come as arrays. Reveals, hides and raises as :meth:`ObliviousMap.execute_arrays`.

        Reveals
            To a host that watches all accesses as they happen: what :meth:`execute` does.
        """
        self._check_fault()
        columns = check_columns(self.params, kinds, keys, values)
        if not self._runs_compiled(len(columns.kinds)):
            return super().execute_arrays(*columns)
        return self._run_or_latch(lambda: _Batch.of_columns(self.params, columns)).answers()

    def _runs_compiled(self, count: int) -> bool:
        """Return whether a batch of so many operations runs in compiled code."""
        return (
            self.host.observer is None
            and count >= max(self.shortest, 1)
            and len(self.host.data) >= self.params.host_bytes
            and self.sequence + count <= MOST_VERSION
        )

    def _run_or_latch(self, make: Callable[[], _Batch]) -> _Batch:
        try:
            batch = make()
            self._run(batch)
        except BaseException as error:  # half a batch can't be undone, so whatever stopped it latches a fault
            self._latch(error)
            raise
        return batch

    def _run(self, batch: _Batch) -> None:
        if self._compiled is None:
            self._compiled = _Device(self)
        device, position_map, waiting = self._compiled, self.position_map, self.waiting
        first, width = self.sequence + 1, self.params.entry_words
        state = np.zeros(numbers.STATE, np.int64)
        state[numbers.LIVE], state[numbers.TRANSIT] = self._live, len(position_map.transit)
        state[numbers.VICTIM] = position_map.victim
        state[numbers.FREE_SLOTS], state[numbers.FREE_LINES] = waiting.free_slots.free, waiting.free_lines.free
        draws = self._draw_rows(self.sequence, batch.count)
        touched = np.empty(batch.count * width, np.int64)
        device.take_transit(position_map)
        look_up(
            device.sizes, state, device.table, device.hash_key, device.transit, device.tables,
            batch.kinds, batch.keys.view(np.uint32), draws, touched, batch.hits, batch.keeps,
        )  # fmt: skip
        self._touch_pages(device, state, batch, touched, draws)
        self.sequence = first + batch.count - 1
        self._live, position_map.victim = int(state[numbers.LIVE]), int(state[numbers.VICTIM])
        device.give_transit(position_map, int(state[numbers.TRANSIT]))
        waiting.free_slots.free = int(state[numbers.FREE_SLOTS])
        waiting.free_lines.free = int(state[numbers.FREE_LINES])
        counts = state[numbers.MAP_READS : numbers.FREE_WRITES + 1].tolist()
        for region, reads, writes in zip(device.regions, counts[::2], counts[1::2], strict=True):
            region.reads += reads
            region.writes += writes

    def _touch_pages(self, device: _Device, state: Numbers, batch: _Batch, touched: Numbers, draws: Numbers) -> None:
        """Open the pages that a batch touches, run its touches and seal the pages, as far as nothing is wrong."""
        first, most = self.sequence + 1, len(touched)
        heads = np.full(1 << (2 * most).bit_length(), -1, np.int64)
        rows, pages, versions, newest, starts = np.empty((5, most), np.int64)
        list_pages(device.sizes, state, device.lines, touched, first, heads, rows, pages, versions, newest, starts)
        count, limit = int(state[numbers.PAGES]), int(state[numbers.LIMIT])
        failure: FaultError | None = None
        if limit < most:
            failure = self._why_stale(int(state[numbers.STALE_PAGE]), int(state[numbers.STALE_VERSION]), first, limit)
        pages, versions = pages[:count], versions[:count]
        sealed = self.host.read_rows(pages, self.params.page_bytes)
        opened, altered = self._codec.open_rows(pages, versions, sealed)
        if altered is not None:
            count, failure = len(opened), altered
            limit = int(starts[count])
        plaintexts = np.frombuffer(bytearray().join(opened), np.uint8)
        marks = np.zeros(len(pages), np.int64)
        run(
            device.sizes, state, device.lines, device.slots, device.free, plaintexts, rows, marks, touched, draws,
            batch.kinds, batch.keys, batch.values, batch.hits, batch.keeps, batch.previous,
            device.waiting, device.further, first, limit,
        )  # fmt: skip
        done = np.flatnonzero(marks)  # the first rows, because they are in the order of first touches
        if len(done):
            pages = pages[: len(done)]
            plain = plaintexts.reshape(count, -1)[: len(done)]
            self.host.write_rows(pages, self._codec.seal_rows(pages, marks[: len(done)], plain))
        done_touches, code = int(state[numbers.DONE]), int(state[numbers.FAILURE])
        if code or failure is not None:
            at = (done_touches - 1 if code else done_touches) // self.params.entry_words  # the operation that fails
            self._live += int(batch.keeps[:at].sum()) - int(batch.hits[:at].sum())
            self.sequence += at + 1
            self._raise(code, failure)

    def _draw_rows(self, first: int, count: int) -> Numbers:
        """Return the draws of operations, for each the bins to touch on a miss and the bins from now on."""
        raise NotImplementedError

    # -- what goes wrong ----------------------------------------------------------------------------------------

    def _why_stale(self, page: int, version: int, first: int, touch: int) -> FaultError:
        try:
            self._codec.open(page, version, b"", present=first + touch // self.params.entry_words)
        except FaultError as error:
            return error
        raise AssertionError("a page is stale to compiled code alone")

    def _raise(self, code: int, failure: FaultError | None) -> None:
        """Raise what the reference raises."""
        if code == numbers.NO_SLOT:
            self.waiting.free_slots.free = 0
            self.waiting.free_slots.take()
        elif code == numbers.NO_LINE:
            self.waiting.free_lines.free = 0
            self.waiting.free_lines.take()
        elif code == numbers.LOST:
            raise lost()
        assert failure is not None
        raise failure


class FastOneChoiceMap(FastMap, OneChoiceMap):
    """:class:`~omap.map.OneChoiceMap`, compiled."""

    def _draw_rows(self, first: int, count: int) -> Numbers:
        return self._drbg.pairs(first, count, self.params.pages).ravel()


class FastTwoChoiceMap(FastMap, TwoChoiceMap):
    """:class:`~omap.map.TwoChoiceMap`, compiled."""

    def _draw_rows(self, first: int, count: int) -> Numbers:
        return self._pairs(first, count).ravel()


def prepare() -> None:
    """Load the compiled code; the first time compile it, which takes about ten seconds of processor time."""
    smallest = Params(
        capacity=1, key_bytes=4, value_bytes=1, page_bytes=64, pages=1, waiting_slots=1, further_lines=1,
        bucket_bytes=64, buckets=1,
    )  # fmt: skip
    create(smallest).execute([Operation(Kind.NOP)] * SHORTEST)


def create(
    params: Params,
    *,
    observer: Observer | None = None,
    memory: bytearray | memoryview | None = None,
    secrets: Callable[[], Secrets] = Secrets.generate,
) -> ReferenceMap:
    """Return a freshly formatted map that runs in compiled code; for ``resident`` the reference.

    Parameters
    ----------
    params, observer, memory, secrets
        As for :class:`~omap.reference.ReferenceMap`. With an observer, operations run in the reference, one by one.

    Reveals
        That a format ran, and ``params``, which are public.
    """
    rules = RULES | {rule.rule: rule for rule in (FastOneChoiceMap, FastTwoChoiceMap)}
    return rules[params.rule](params, observer=observer, memory=memory, secrets=secrets)
