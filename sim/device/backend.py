"""The back end ``rtl``: a map on the simulated accelerator, through rings and sealed records."""

from __future__ import annotations

import secrets as system
from collections.abc import Sequence

import numpy as np

from host.device.driver import Driver
from omap.operations import Operation, Response
from omap.params import Params
from omap.session import ROOT_KEY_BYTES
from omap.trace import FORMAT, Observer
from rtl.config import EngineConfig
from sim.device.driver_map import DriverMap
from sim.device.engine_run import EngineRun, engine_design
from sim.device.known import Seed, fixed_noise, fixed_root_key
from sim.device.transport import RtlTransport
from sim.models.observer import EventKind
from sim.models.observer import Observer as BusObserver
from sim.models.timing import HostTiming

RING_LINES = 1024
HOST_PORT = "m_axi_host"
CLOCK_MHZ = HostTiming.clock_mhz  # what the memory models assume
FORMAT_SECONDS = 3600.0
SLOWEST_WRITE = 512
"""Cycles in which a page has arrived in host memory: more than the slowest answer of the host model."""


class RtlMap(DriverMap):
    """A map that the generated accelerator runs, cycle by cycle, in this process.

    Parameters
    ----------
    params : Params
        The map; the rule must be ``one_choice``.
    observer : omap.trace.Observer, optional
        Told of every page access, as the simulated bus saw it.
    fixed : int or str, optional
        Seed of root key and noise, for comparisons with a reference that has the secrets of
        :func:`sim.device.known.fixed_formats`. Otherwise both come from the operating system.
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
        fixed: Seed | None = None,
        seed: int = 0,
    ) -> None:
        config = EngineConfig(params=params)
        root_key = system.token_bytes(ROOT_KEY_BYTES) if fixed is None else fixed_root_key(fixed)
        noise = None if fixed is None else fixed_noise(fixed)
        self.run = EngineRun(engine_design(config), config, root_key, ring_lines=RING_LINES, noise=noise, seed=seed)
        self._observer = observer
        self.operations = self.cycles = 0
        driver = Driver(RtlTransport(self.run), params, timeout=FORMAT_SECONDS)
        super().__init__(driver, root_key, format_seconds=FORMAT_SECONDS)

    def format(self) -> None:
        """Empty the map under fresh secrets, and open a new session. See :meth:`ObliviousMap.format`."""
        super().format()
        show_format(self.run, self._observer)

    def execute(self, batch: Sequence[Operation]) -> list[Response]:
        """Run operations through the rings. See :meth:`ObliviousMap.execute`."""
        responses = super().execute(batch)
        if batch:
            self.operations += len(batch)
            show_operations(self.run, self._observer)
        return responses

    def _exchange(self, records: bytes) -> bytes:
        begun = self.run.bench.cycle
        answers = super()._exchange(records)
        self.cycles += self.run.bench.cycle - begun
        return answers

    def pages(self) -> bytes:
        """Return host memory: all pages, as they are sealed."""
        start = self.run.layout.pages
        return bytes(self.run.buffer[start : start + self.params.host_bytes])


def show_format(run: EngineRun, to: Observer | None) -> None:
    """Tell an observer of the model, if there is one, what the bus saw of a format. What was seen is forgotten."""
    seen, base, params = _seen(run), run.memory.base + run.layout.pages, run.config.params
    if to is not None:
        events = seen.events(port=HOST_PORT, kinds={EventKind.WRITE})
        address, length = events["address"].astype(np.int64) - base, events["length"].astype(np.int64)
        inside = (address >= 0) & (address < params.host_bytes)
        address, length = address[inside], length[inside]
        first = np.flatnonzero(address % params.page_bytes == 0)  # the rest of a page may follow in a burst of its own
        to.begin_scan(FORMAT)
        for start, total in zip(address[first].tolist(), np.add.reduceat(length, first).tolist(), strict=True):
            to.write(start, total)
        to.end_scan()
    seen.clear()


def show_operations(run: EngineRun, to: Observer | None) -> None:
    """Tell an observer of the model, if there is one, what the bus saw of operations. What was seen is forgotten."""
    seen, base, params = _seen(run), run.memory.base + run.layout.pages, run.config.params
    if to is not None:
        trace = seen.trace(port=HOST_PORT, base=base, page_bytes=params.page_bytes, pages=params.pages)
        columns = trace.address.tolist(), trace.length.tolist(), trace.write.tolist()
        for address, length, write in zip(*columns, strict=True):
            if write:
                to.write(address, length)
            else:
                to.begin_operation()
                to.read(address, length)
    seen.clear()


def _seen(run: EngineRun) -> BusObserver:
    """Return what the bus has seen when all of it is there: the last pages are written after their replies."""
    run.step(2 * run.config.merge_cycles + SLOWEST_WRITE)
    return run.bench.observer


def create(params: Params, *, observer: Observer | None = None) -> RtlMap:
    """Return a freshly formatted map on a simulated accelerator. Compiles it at the first use of its parameters."""
    return RtlMap(params, observer=observer)


create.notice = (  # type: ignore[attr-defined]
    "the accelerator is generated and compiled for the sizes of this table, which takes minutes once (it is kept under "
    "build/sim), then simulated cycle by cycle, which takes minutes for ten thousands of operations"
)
