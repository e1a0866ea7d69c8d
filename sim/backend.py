"""The back end ``rtl``: a map on the simulated accelerator, through rings and sealed records."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from host.driver import Driver
from omap.errors import FullError, InputError
from omap.interface import Kind, ObliviousMap, Operation, Response, as_rows, check_batch
from omap.params import Params
from omap.session import ROOT_KEY_BYTES, ClientSession
from omap.trace import FORMAT, Observer
from rtl.config import EngineConfig
from sim.engine_run import BUFFER_ADDRESS, EngineRun, engine_design
from sim.observer import EventKind
from sim.transport import RtlTransport

RING_ENTRIES = 256
LOAD = 1024
"""Keys put at a time in a bulk load."""

HOST_PORT = "m_axi_host"
FORMAT_SECONDS = 3600.0


class RtlMap(ObliviousMap):
    """A map that the generated accelerator runs, cycle by cycle, in this process.

    A bulk load is made of as many operations: there is no scan in the accelerator, so the number of keys shows.

    Parameters
    ----------
    params : Params
        The map; the rule must be ``one_choice``.
    observer : omap.trace.Observer, optional
        Told of every page access, as the simulated bus saw it.

    Attributes
    ----------
    run : EngineRun
        The engine.
    operations, cycles : int
        Operations run, and the cycles that batches of them took, first record to last answer.
    """

    def __init__(self, params: Params, *, observer: Observer | None = None) -> None:
        self.params = params
        config = EngineConfig(params=params)
        root_key = secrets.token_bytes(ROOT_KEY_BYTES)
        self.run = EngineRun(engine_design(config), config, root_key, ring_entries=RING_ENTRIES)
        self._root_key, self._observer = root_key, observer
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
        self._show(scan=True)

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
        self._show()
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
        for kind in (Kind.GET, Kind.PUT):
            for first in range(0, len(rows), LOAD):
                part = slice(first, first + LOAD)
                pairs = zip(rows[part], cells[part], strict=True)
                responses = self.execute(
                    [
                        Operation(kind, key.tobytes(), value.tobytes() if kind == Kind.PUT else b"")
                        for key, value in pairs
                    ]
                )
                if any(response.previous is not None for response in responses):
                    raise InputError(
                        "some keys are in the map already; bulk_load only inserts: use execute to overwrite"
                    )

    def __len__(self) -> int:
        return self._live

    def _show(self, *, scan: bool = False) -> None:
        """Hand on what the bus saw of the pages."""
        self.run.step(2 * self.run.config.merge_cycles)  # the last pages are written after their replies
        seen = self.run.bench.observer
        if self._observer is not None:
            if scan:
                self._observer.begin_scan(FORMAT)
                events = seen.events(port=HOST_PORT, kinds={EventKind.WRITE})
                pages = events["address"].astype(np.int64) - BUFFER_ADDRESS - self.run.layout.pages
                for address, length in zip(pages.tolist(), events["length"].tolist(), strict=True):
                    if address >= 0:
                        self._observer.write(address, length)
                self._observer.end_scan()
            else:
                self._hand_on(seen)
        seen.clear()

    def _hand_on(self, seen) -> None:  # type: ignore[no-untyped-def]
        trace = seen.trace(
            port=HOST_PORT,
            base=BUFFER_ADDRESS + self.run.layout.pages,
            page_bytes=self.params.page_bytes,
            pages=self.params.pages,
        )
        assert self._observer is not None
        for address, length, write in zip(
            trace.address.tolist(), trace.length.tolist(), trace.write.tolist(), strict=True
        ):
            if write:
                self._observer.write(address, length)
            else:
                self._observer.begin_operation()
                self._observer.read(address, length)


def create(params: Params, *, observer: Observer | None = None) -> RtlMap:
    """Return a freshly formatted map on a simulated accelerator. Compiles it at the first use of its parameters."""
    return RtlMap(params, observer=observer)
