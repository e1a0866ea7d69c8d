"""What all reference maps share: batches, secrets, draws and faults. The placement rules are in :mod:`omap.map`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

from omap.columns import Columns
from omap.crypto import PageCodec, Secrets
from omap.drbg import Drbg
from omap.errors import FaultError, FullError, InputError
from omap.interface import ObliviousMap, check_batch
from omap.memory import DeviceMemory, HostMemory
from omap.operations import Kind, Operation, Response, Status
from omap.params import Params, Rule
from omap.position_map import PositionMap, Words
from omap.rows import Rows, as_rows
from omap.trace import BULK_LOAD, EXPORT, FORMAT, Observer
from omap.waiting import Descriptor, Waiting

Draw = tuple[Words, Words]
"""What an operation draws: the bins to touch on a miss, and the bins of its key from now on."""


class ReferenceMap(ObliviousMap):
    """Base class of the maps that run in Python. A map is formatted when it is made.

    Parameters
    ----------
    params : Params
        Parameters of the map, with the placement rule of the class.
    observer : Observer, optional
        Told of every access to host memory.
    memory : bytearray or memoryview, optional
        At least ``host_bytes`` bytes that hold the pages; without it the map makes its own.
    secrets : callable, optional
        Called at every format for fresh :class:`~omap.crypto.Secrets`. Use anything but the default only in tests
        (``omap.hazmat``).

    Attributes
    ----------
    host : HostMemory
        What the untrusted host holds.
    device : DeviceMemory
        What HBM holds.
    map_id : bytes
        16 public bytes, fresh at every format.
    sequence : int
        Number of the next operation; a format sets it to 0.
    """

    rule: Rule

    def __init__(
        self,
        params: Params,
        *,
        observer: Observer | None = None,
        memory: bytearray | memoryview | None = None,
        secrets: Callable[[], Secrets] = Secrets.generate,
    ) -> None:
        if params.rule is not self.rule:
            raise InputError(f"{type(self).__name__} needs parameters for {self.rule}, not for {params.rule}")
        self.params = params
        self.host = HostMemory(params.host_bytes if memory is None else memory, observer)
        self._secrets = secrets
        self._fault: str | None = None
        self.format()

    # -- what a rule has to say ---------------------------------------------------------------------------------

    @abstractmethod
    def _draws(self, first: int, count: int) -> list[Draw]:
        """Return the draws of operations ``first`` to ``first + count - 1``."""

    @abstractmethod
    def _access(
        self, kind: Kind, key: bytes, value: bytes, found: Words | None, draw: Draw, placed: Words | None
    ) -> bytes | None:
        """Run the memory accesses of one operation and return the previous value.

        ``found`` are the bins of the key before the operation, ``placed`` its bins from now on. Either is None if the
        key is not live at that time.
        """

    @abstractmethod
    def _scan_in(
        self, keys: npt.NDArray[np.uint8], values: npt.NDArray[np.uint8], words: npt.NDArray[np.int64]
    ) -> None:
        """Store the tuples of a bulk load, placed by ``words``, in one scan over the pages."""

    @abstractmethod
    def _bulk_words(self, keys: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """Return the bins of n new keys, as (n, words) position map words; uses the draws of n operations."""

    # -- format -------------------------------------------------------------------------------------------------

    def format(self) -> None:
        """Empty the map under fresh secrets. Reveals as :meth:`ObliviousMap.format`."""
        fresh, params = self._secrets(), self.params
        self.sequence = 0
        self._live = 0
        self.map_id = fresh.map_id
        self.device = DeviceMemory()
        self.position_map = PositionMap(params, fresh.hash_key, self.device)
        self._drbg = Drbg(fresh.draw_seed)
        self._codec = PageCodec(fresh.page_secret, fresh.map_id, params.epoch_bits)
        self.waiting = Waiting(params, self.device)
        self._fault = None
        self._scan(FORMAT, self._seal_empty)

    def _seal_empty(self) -> None:
        params = self.params
        for number in range(params.hbm_bins, params.bins):
            page = number - params.hbm_bins
            self.waiting.store(Descriptor(number, self.version, 0, [], []))
            sealed = self._codec.seal(page, self.version, bytes(params.plaintext_bytes))
            self.host.write(page * params.page_bytes, sealed)

    def _scan(self, kind: int, work: Callable[[], None]) -> None:
        observer = self.host.observer
        if observer is not None:
            observer.begin_scan(kind)
        try:
            work()
        finally:
            if observer is not None:
                observer.end_scan()

    @property
    def version(self) -> int:
        """The version under which the operation under way seals, or the last one did: its index plus 1."""
        return self.sequence

    # -- operations ---------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self._live

    def execute(self, batch: Sequence[Operation]) -> list[Response]:
        """Run a batch. Reveals, hides and raises as :meth:`ObliviousMap.execute`."""
        self._check_fault()
        batch = check_batch(self.params, batch)
        if not batch:
            return []
        absent = bytes(self.params.key_bytes)
        keys = [absent if op.kind == Kind.NOP else op.key for op in batch]
        rows = np.frombuffer(b"".join(keys), np.uint8).reshape(len(batch), -1)
        candidates = (
            [self.position_map.candidates(keys[0])]
            if len(batch) == 1
            else [(a, b) for a, b in self.position_map.candidates_rows(rows).tolist()]
        )
        draws = self._draws(self.sequence, len(batch))
        responses = []
        try:
            for (kind, key, value), buckets, draw in zip(batch, candidates, draws, strict=True):
                responses.append(self._operate(kind, key, value, buckets, draw))
        except BaseException as error:  # half an operation can't be undone, so whatever stopped it latches a fault
            self._latch(error)
            raise
        return responses

    def _operate(self, kind: Kind, key: bytes, value: bytes, buckets: tuple[int, int], draw: Draw) -> Response:
        if self.host.observer is not None:
            self.host.observer.begin_operation()
        self.sequence += 1
        position_map = self.position_map
        found = position_map.begin(None if kind == Kind.NOP else key, buckets)
        hit = found is not None
        if kind == Kind.PUT:
            keep = hit or (self._live < self.params.capacity and position_map.has_room())
        else:
            keep = hit and kind == Kind.GET
        placed = self._placement(kind, key, found, draw) if keep else None
        position_map.finish(placed)
        previous = self._access(kind, key, value, found, draw, placed)
        self._live += keep - hit
        if hit or kind == Kind.NOP:
            return Response(Status.OK, previous)
        if kind == Kind.PUT:
            return Response(Status.OK if keep else Status.FULL)
        return Response(Status.NOT_FOUND)

    def _placement(self, kind: Kind, key: bytes, found: Words | None, draw: Draw) -> Words:
        """Return the bins of a key that stays live, from now on."""
        # SEC_CM: PAGE.ADDR.FRESH -- the key gets fresh bins, whatever the operation was
        return draw[1]

    # -- many keys at once --------------------------------------------------------------------------------------

    def bulk_load(self, keys: Rows, values: Rows) -> None:
        """Insert n new keys, with the draws of n operations. Reveals and raises as :meth:`ObliviousMap.bulk_load`.

        It counts as max(n, 1) operations, because it seals all pages under a version of its own.
        """
        self._check_fault()
        keys = as_rows("keys", self.params.key_bytes, keys)
        values = as_rows("values", self.params.value_bytes, values)
        if len(keys) != len(values):
            raise InputError(f"{len(keys)} keys came with {len(values)} values; there must be one for each")
        if len(keys) > self.params.capacity - self._live:
            raise FullError(
                f"{len(keys)} new keys need more room than there is: {self._live} of {self.params.capacity} are live"
            )
        order = np.argsort(keys.view(f"V{self.params.key_bytes}").ravel(), kind="stable")
        repeated = np.flatnonzero((keys[order][1:] == keys[order][:-1]).all(axis=1))
        if len(repeated):
            raise InputError(
                f"keys[{order[repeated[0] + 1]}] repeats keys[{order[repeated[0]]}]; keys must be distinct"
            )
        if self._live:
            present = np.flatnonzero(self.position_map.contains_rows(keys))
            if len(present):
                raise InputError(
                    f"keys[{present[0]}] is in the map already, and {len(present) - 1} more; "
                    "bulk_load only inserts: use execute to overwrite"
                )
        words = self._bulk_words(keys)
        self.position_map.insert_rows(keys, words)
        self.sequence += max(len(keys), 1)
        try:
            self._scan(BULK_LOAD, lambda: self._scan_in(keys, values, words))
        except BaseException as error:
            self._latch(error)
            raise
        self._live += len(keys)

    # -- all slots ----------------------------------------------------------------------------------------------

    def export(self) -> Iterator[Columns]:
        """Yield all slots, some at a time: those of all pages in order, then the waiting slots, used or not.

        A used slot is a PUT of its tuple, a free one a NOP with zeros. No operation may run before the last are out.

        Reveals
            That an export ran: every page is read once, in order.
        Hides
            Keys, values, which slots are used, number of live keys.

        Raises
        ------
        TamperedError
            If host memory was altered, replayed or exchanged. The map refuses all further work.
        FaultError
            If an earlier fault is latched.
        """
        self._check_fault()
        observer = self.host.observer
        if observer is not None:
            observer.begin_scan(EXPORT)
        try:
            # SEC_CM: SNAPSHOT.SLOTS.ALL -- free slots go out as well, so that neither size nor order follows from keys
            for used, tuples in chain(self._page_slots(), self.waiting.all_slots()):
                yield self._slots(used, tuples)
        except FaultError as error:
            self._latch(error)
            raise
        finally:
            if observer is not None:
                observer.end_scan()

    def _page_slots(self) -> Iterator[tuple[npt.NDArray[np.bool_], npt.NDArray[np.uint8]]]:
        """Yield which page slots are used, and what they hold, some pages at a time."""
        yield from ()

    def _slots(self, used: npt.NDArray[np.bool_], tuples: npt.NDArray[np.uint8]) -> Columns:
        shown = tuples * used[:, None]
        key_bytes = self.params.key_bytes
        return Columns(used * np.uint8(Kind.PUT), shown[:, :key_bytes], shown[:, key_bytes:])

    # -- faults -------------------------------------------------------------------------------------------------

    def _latch(self, error: BaseException) -> None:
        what = str(error).partition(";")[0]  # the advice after it is repeated by every refusal
        self.erase(what if isinstance(error, FaultError) else "an operation was interrupted half way")

    def erase(self, why: str = "it was stopped") -> None:
        """Erase all keys and the contents of HBM. Only a format makes the map usable again, and empty.

        Reveals
            Nothing by itself: host memory is not touched.
        """
        # SEC_CM: FAULT.KEY.ERASE -- after a fault nothing remains that could open or seal a page
        if self._fault is None:
            del self._codec, self._drbg, self.position_map, self.waiting
            self.device = DeviceMemory()
        self._fault = why

    def _check_fault(self) -> None:
        if self._fault is not None:
            raise FaultError(
                f"the map has latched a fault and erased its keys: {self._fault}; format it to start again"
            )
