"""The back end ``rtl``: a map on the simulated accelerator, through rings and sealed records."""

from __future__ import annotations

import secrets as system
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from host.driver import Driver
from omap.crypto import Secrets
from omap.errors import FullError, InputError
from omap.interface import Kind, ObliviousMap, Operation, Response, as_rows, check_batch
from omap.params import Params
from omap.session import NONCE_BYTES, ROOT_KEY_BYTES, ClientSession
from omap.trace import FORMAT, Observer
from rtl.config import EngineConfig
from sim.engine_run import BUFFER_ADDRESS, EngineRun, engine_design
from sim.map_bench import entropy_words
from sim.observer import EventKind
from sim.observer import Observer as BusObserver
from sim.timing import HostTiming
from sim.transport import RtlTransport

RING_ENTRIES = 256
LOAD = 1024
"""Keys looked up or put at a time in a bulk load."""

HOST_PORT = "m_axi_host"
CLOCK_MHZ = HostTiming.clock_mhz  # what the memory models assume
FORMAT_SECONDS = 3600.0
SLOWEST_WRITE = 512
"""Cycles in which a page has arrived in host memory: more than the slowest answer of :class:`sim.timing.HostTiming`."""


class RtlMap(ObliviousMap):
    """A map that the generated accelerator runs, cycle by cycle, in this process.

    A bulk load is made of as many operations: there is no scan in the accelerator, so the number of keys shows.

    Parameters
    ----------
    params : Params
        The map; the rule must be ``one_choice``.
    observer : omap.trace.Observer, optional
        Told of every page access, as the simulated bus saw it.
    secrets : callable, optional
        Gives the secrets of each format, for comparisons with a reference that has the same. Otherwise the operating
        system's source is what the accelerator draws from.
    seed : int
        Of the simulated latencies.

    Attributes
    ----------
    run : EngineRun
        The engine.
    operations, cycles : int
        Operations run, and the cycles that their batches took, from the doorbell to the last answer in the ring.
    clock_mhz : float
        The clock that is assumed: nothing was measured on a card.
    """

    clock_mhz = CLOCK_MHZ

    def __init__(
        self,
        params: Params,
        *,
        observer: Observer | None = None,
        secrets: Callable[[], Secrets] | None = None,
        seed: int = 0,
    ) -> None:
        self.params = params
        config = EngineConfig(params=params)
        root_key = system.token_bytes(ROOT_KEY_BYTES)
        entropy = None if secrets is None else entropy_of(secrets)
        self.run = EngineRun(
            engine_design(config), config, root_key, ring_entries=RING_ENTRIES, entropy=entropy, seed=seed
        )
        self._root_key, self._observer = root_key, observer
        self._base = BUFFER_ADDRESS + self.run.layout.pages
        self._driver = Driver(RtlTransport(self.run), params, timeout=FORMAT_SECONDS)
        self.operations = self.cycles = 0
        self._live = 0
        self.format()

    def format(self) -> None:
        """Empty the map under fresh secrets, and open a new session. See :meth:`ObliviousMap.format`."""
        self._driver.format(timeout=FORMAT_SECONDS)
        self._session = session = ClientSession(self.params, self._root_key)
        answer = self._driver.exchange(session.hello())
        session.opened(self._driver.exchange(session.confirm(answer)))
        self._live = 0
        seen = self._seen()
        if self._observer is not None:
            show_format(seen, self._observer, self._base, self.params)
        seen.clear()

    def execute(self, batch: Sequence[Operation]) -> list[Response]:
        """Run operations through the rings. See :meth:`ObliviousMap.execute`."""
        check_batch(self.params, batch)
        if not batch:
            return []
        begun = self.run.bench.cycle
        size = self._driver.record_bytes
        answers = self._driver.exchange(b"".join(map(self._session.seal, batch)))
        self.cycles += self.run.bench.cycle - begun
        self.operations += len(batch)
        replies = [self._session.open(answers[at : at + size]) for at in range(0, len(answers), size)]
        self._live = replies[-1].live
        seen = self._seen()
        if self._observer is not None:
            show_operations(seen, self._observer, self._base, self.params)
        seen.clear()
        return [reply.response for reply in replies]

    def bulk_load(self, keys: npt.ArrayLike | Sequence[bytes], values: npt.ArrayLike | Sequence[bytes]) -> None:
        """Insert new keys, one operation after another.

        Reveals
            Other than a scan: that 2n operations ran, hence n.
        """
        rows = as_rows("keys", self.params.key_bytes, keys)
        cells = as_rows("values", self.params.value_bytes, values)
        if len(rows) != len(cells):
            raise InputError(f"{len(rows)} keys came with {len(cells)} values; there must be one for each")
        if len(np.unique(rows, axis=0)) != len(rows):
            raise InputError("some keys are repeated; keys must be distinct")
        if len(rows) > self.params.capacity - self._live:
            raise FullError(
                f"{len(rows)} new keys need more room than is left: {self._live} of {self.params.capacity} are live"
            )
        for kind in (Kind.GET, Kind.PUT):  # all are looked up before any is put: a refusal leaves the map as it was
            for first in range(0, len(rows), LOAD):
                part = slice(first, first + LOAD)
                batch = [
                    Operation(kind, key.tobytes(), value.tobytes() if kind == Kind.PUT else b"")
                    for key, value in zip(rows[part], cells[part], strict=True)
                ]
                if any(response.previous is not None for response in self.execute(batch)):
                    raise InputError(
                        "some keys are in the map already; bulk_load only inserts: use execute to overwrite"
                    )

    def __len__(self) -> int:
        return self._live

    def pages(self) -> bytes:
        """Return host memory: all pages, as they are sealed."""
        start = self.run.layout.pages
        return bytes(self.run.buffer[start : start + self.params.host_bytes])

    def _seen(self) -> BusObserver:
        """Return what the bus has seen when all of it is there: the last pages are written after their replies."""
        self.run.step(2 * self.run.config.merge_cycles + SLOWEST_WRITE)
        return self.run.bench.observer


def entropy_of(secrets: Callable[[], Secrets]) -> Iterator[int]:
    """Yield the words that make formats use given secrets, each followed by one handshake."""
    while True:
        yield from entropy_words(secrets())
        yield int.from_bytes(system.token_bytes(NONCE_BYTES), "little")


def show_format(seen: BusObserver, to: Observer, base: int, params: Params) -> None:
    """Tell an observer of the model what the bus saw of a format."""
    events = seen.events(port=HOST_PORT, kinds={EventKind.WRITE})
    address, length = events["address"].astype(np.int64) - base, events["length"].astype(np.int64)
    inside = (address >= 0) & (address < params.host_bytes)
    address, length = address[inside], length[inside]
    first = np.flatnonzero(address % params.page_bytes == 0)  # the rest of a page may follow in a burst of its own
    to.begin_scan(FORMAT)
    for start, total in zip(address[first].tolist(), np.add.reduceat(length, first).tolist(), strict=True):
        to.write(start, total)
    to.end_scan()


def show_operations(seen: BusObserver, to: Observer, base: int, params: Params) -> None:
    """Tell an observer of the model what the bus saw of operations."""
    trace = seen.trace(port=HOST_PORT, base=base, page_bytes=params.page_bytes, pages=params.pages)
    for address, length, write in zip(trace.address.tolist(), trace.length.tolist(), trace.write.tolist(), strict=True):
        if write:
            to.write(address, length)
        else:
            to.begin_operation()
            to.read(address, length)


def create(params: Params, *, observer: Observer | None = None) -> RtlMap:
    """Return a freshly formatted map on a simulated accelerator. Compiles it at the first use of its parameters."""
    return RtlMap(params, observer=observer)


create.notice = (  # type: ignore[attr-defined]
    "the accelerator is generated and compiled for the sizes of this table, which takes minutes once (it is kept under "
    "build/sim), then simulated cycle by cycle, which takes minutes for ten thousands of operations"
)
