"""An engine with an open session and secrets that tests know, and everything that its host sees of it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from host.device.driver import Driver
from host.records import split
from omap.drbg import Drbg
from omap.operations import Kind, Operation
from omap.params import Params
from omap.regmap import BY_NAME
from omap.session import NONCE_BYTES
from omap.trace import Trace
from omap.wire import CONTROL_BYTES, HEADER, LINE_BYTES, Counter, read_counter
from rtl.config import EngineConfig
from sim.device.client import open_all, open_session, operation_replies, seal_all
from sim.device.engine_run import BUFFER_ADDRESS, EngineRun
from sim.device.known import fixed_formats, fixed_noise, fixed_root_key
from sim.device.map_bench import Reply
from sim.device.transport import RtlTransport
from sim.models.timing import HbmTiming, HostTiming
from tests.support.rtl.engines import engine
from tests.support.rtl.hosts import held_pages

STEP = 256
SETTLE = 1500
"""Cycles after which a page whose reply is in the ring has been written, and all counters told."""

ALONE = (1,) * 4096
"""Sizes of records of which each has one operation."""

BUS_OUTPUTS = ("awready", "wready", "bvalid", "bresp", "arready", "rvalid", "rdata", "rresp")

Arrivals = Sequence[tuple[int, int]]
"""Cycles to wait and records that come then, over and over."""


class Look(NamedTuple):
    """What the host finds when it looks: all of it is in the clear.

    Attributes
    ----------
    cycle : int
        When it looked.
    registers : dict of str to int
        All of them.
    control : bytes
        The control block: counters, and the mirror of the registers.
    headers : list of bytes
        The clear part of each response that was not taken.
    """

    cycle: int
    registers: dict[str, int]
    control: bytes
    headers: list[bytes]


class TimedEngine:
    """An engine, formatted under the first secrets of :func:`sim.device.known.fixed_formats`, with an open session.

    Two of them with the same seeds differ in nothing before they are given different operations.

    Parameters
    ----------
    config : EngineConfig
        One of ``tests.support.rtl.engines``.
    secrets : int
        Seed of the root key, the noise and all nonces.
    delays : int
        Seed of the memories' latencies.
    hbm : HbmTiming, optional
        Timing of HBM.
    host : HostTiming, optional
        Timing of host memory.
    inside : bool
        Whether to note when operations pass the stages inside, which no host sees.

    Attributes
    ----------
    looks : list of Look
        What the host has found so far, each time it looked.
    """

    # Many: each after the second is an option of its own that few runs give.
    def __init__(
        self,
        config: EngineConfig,
        secrets: int,
        *,
        delays: int = 0,
        hbm: HbmTiming | None = None,
        host: HostTiming | None = None,
        inside: bool = False,
    ) -> None:
        rng = random.Random(f"timed engine {secrets}")
        key, noise = fixed_root_key(secrets), fixed_noise(secrets)
        self.config, self.params, self.looks = config, config.params, list[Look]()
        self.run = EngineRun(engine(config), config, key, noise=noise, seed=delays, hbm=hbm, host=host)
        bench = self.run.bench
        for name in BUS_OUTPUTS:
            bench.observe(f"s_axi_control__{name}")
        if inside:
            bench.observe("progress")
        self.driver = Driver(RtlTransport(self.run), self.params, timeout=600)
        self.driver.format(timeout=3600)
        self.session = open_session(self.driver, key, nonce=rng.randbytes(NONCE_BYTES))
        self.run.step(SETTLE)

    def hold_pages(self, *, first: int, every: int, count: int) -> None:
        """Have the host hold single pages from now on, see :func:`tests.support.rtl.hosts.held_pages`."""
        layout = self.run.layout
        base, end = BUFFER_ADDRESS + layout.pages, BUFFER_ADDRESS + layout.size
        for fault in held_pages(base, end, first=first, every=every, count=count):
            self.run.host.add_fault(fault)

    def look(self) -> Look:
        """Look at all that is in the clear, now."""
        run, layout = self.run, self.run.layout
        registers = {name: run.read(name) for name in BY_NAME}
        taken, written = (
            read_counter(run.buffer, counter) for counter in (Counter.RESPONSES_TAKEN, Counter.RESPONSES_WRITTEN)
        )
        ring = layout.read_lines(run.buffer, layout.responses, taken, written - taken)
        headers = [record[: HEADER.size] for record in split(ring)]
        self.looks.append(Look(run.bench.cycle, registers, bytes(run.buffer[:CONTROL_BYTES]), headers))
        return self.looks[-1]

    def fill(self, operations: Sequence[Operation]) -> list[Reply]:
        """Run any number of operations in full records, wait until all is at rest, and return the replies."""
        answers = self.driver.exchange(b"".join(seal_all(self.session, operations)))
        self.run.step(SETTLE)
        return self._open(answers)

    def send(
        self, operations: Sequence[Operation], arrivals: Arrivals = (), sizes: Iterable[int] = ALONE
    ) -> list[Reply]:
        """Run as many operations as the ring holds, by and by; look meanwhile and at the end; return the replies.

        Records have so many operations as ``sizes`` says, one by one; when it ends, they are full.
        """
        records, run = list(seal_all(self.session, operations, sizes)), self.run
        lines = sum(map(len, records)) // LINE_BYTES
        sent = 0
        for gap, count in arrivals:
            if gap:
                run.step(gap)
            self.driver.put(b"".join(records[sent : sent + count]))
            sent += count
            self.look()
        self.driver.put(b"".join(records[sent:]))
        run.until(lambda: self.driver.answered == lines, limit=40_000 + 1500 * len(operations), cycles=STEP)
        run.step(SETTLE)
        self.look()
        return self._open(self.driver.take())

    def _open(self, answers: bytes) -> list[Reply]:
        return operation_replies(self.session, open_all(self.session, answers))

    @property
    def pages(self) -> bytes:
        """Host memory: all pages."""
        return bytes(self.run.buffer[self.run.layout.pages : self.run.layout.size])

    @property
    def stages(self) -> npt.NDArray[np.void]:
        """Events inside."""
        return self.run.bench.observer.events(port="progress")

    def events(self) -> npt.NDArray[np.void]:
        """Return all that happened at ports that the host sees, since its start, with nothing of which page it was."""
        observer = self.run.bench.observer
        events = observer.events()
        if "progress" in observer.ports:
            events = events[events["port"] != observer.ports.index("progress")]
        base, size = np.uint64(BUFFER_ADDRESS + self.run.layout.pages), np.uint64(self.params.page_bytes)
        inside = (events["port"] == observer.ports.index("m_axi_host")) & (events["address"] >= base)
        events["address"][inside] = base + (events["address"][inside] - base) % size
        return events

    def trace(self) -> Trace:
        """Return the accesses to pages since the observer was cleared (:meth:`sim.models.observer.Observer.trace`)."""
        base, params = BUFFER_ADDRESS + self.run.layout.pages, self.params
        return self.run.bench.observer.trace(
            port="m_axi_host", base=base, page_bytes=params.page_bytes, pages=params.pages
        )


def difference(one: TimedEngine, other: TimedEngine) -> str:
    """Return the first thing that a host could tell two engines by, or nothing."""
    names = one.run.bench.observer.ports
    left, right = one.events(), other.events()
    for a, b in zip(left, right, strict=False):
        if a != b:
            return f"events: {names[a['port']]} {a} against {names[b['port']]} {b}"
    if len(left) != len(right):
        return f"events: {len(left)} of them against {len(right)}"
    for a, b in zip(one.looks, other.looks, strict=True):
        for name, x, y in zip(Look._fields, a, b, strict=True):
            if x != y:
                return f"what the host finds in cycle {a.cycle}, in the {name}"
    return ""


class Pages:
    """Which page each operation touches, without running any: a key's last draw, or the dummy's if it is absent.

    Parameters
    ----------
    params : Params
        The map.
    secrets : int
        Seed, see :class:`TimedEngine`.
    most : int
        Operations at most.

    Attributes
    ----------
    page_of : dict of bytes to int
        Where the live keys are.
    """

    def __init__(self, params: Params, secrets: int, most: int = 4096) -> None:
        self.params, self.page_of = params, dict[bytes, int]()
        self._draws = iter(Drbg(fixed_formats(secrets)().draw_seed).pairs(0, most, params.pages).tolist())

    def touch(self, operations: Iterable[Operation]) -> list[int]:
        """Return the pages of the next operations."""
        touched, page_of = [], self.page_of
        for kind, key, _ in operations:
            dummy, fresh = next(self._draws)
            there = bool(kind) and key in page_of
            touched.append(page_of[key] if there else dummy)
            if kind == Kind.DELETE:
                page_of.pop(key, None)
            elif there or (kind == Kind.PUT and len(page_of) < self.params.capacity):
                page_of[key] = fresh
        return touched


def stalls(touched: Sequence[int], reach: int) -> list[tuple[int, int]]:
    """Return all pairs of operations, at most ``reach`` apart, that touch the same page: there one may wait."""
    found, last = [], dict[int, int]()
    for at, page in enumerate(touched):
        if at - last.get(page, -reach - 1) <= reach:
            found.append((last[page], at))
        last[page] = at
    return found
