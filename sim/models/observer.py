"""What can be seen of a run from outside: every event with its cycle, the same from every form of the models.

Two runs are compared with ``==`` on :meth:`Observer.events`; :meth:`Observer.trace` hands the accesses to the pages to
the audit in the form of the reference's traces.
"""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt

from omap.trace import Trace
from sim.errors import SimulationError


class EventKind(IntEnum):
    """Kind of an event, numbered as in ``native/observer.h``."""

    READ = 0
    """A read burst was accepted (address, bytes)."""
    WRITE = 1
    """A write burst's address was accepted (address, bytes)."""
    WRITE_DATA = 2
    """A write burst's last beat was accepted (address, bytes)."""
    READ_DATA = 3
    """A read burst's last beat was taken by the device (address, bytes)."""
    WRITE_DONE = 4
    """A write burst's answer was taken by the device (address, bytes)."""
    TRANSFER = 5
    """An item went over a watched stream (its number, bytes)."""
    CHANGE = 6
    """A watched port changed (its low 64 bits, bytes)."""


EVENT = np.dtype(
    [("cycle", "<i8"), ("address", "<u8"), ("length", "<u4"), ("port", "<u2"), ("kind", "u1"), ("pad", "u1")]
)
"""One event. ``port`` indexes :attr:`Observer.ports`."""


class Observer:
    """Records events of the ports it is told to watch.

    Attributes
    ----------
    ports : list of str
        Names of the watched ports.
    """

    def __init__(self) -> None:
        self.ports: list[str] = []
        self._parts: list[npt.NDArray[np.void]] = []
        self._open: list[tuple[int, int, int, int, int, int]] = []

    def port(self, name: str) -> int:
        """Return the number of a port, registering it at first."""
        if name not in self.ports:
            self.ports.append(name)
        return self.ports.index(name)

    def record(self, cycle: int, port: int, kind: int, address: int, length: int) -> None:
        """Note one event."""
        self._open.append((cycle, address, length, port, kind, 0))

    def extend(self, events: npt.NDArray[np.void]) -> None:
        """Note events recorded elsewhere, an array of :data:`EVENT`."""
        self._parts.append(np.array(events, EVENT))

    def clear(self) -> None:
        """Forget all events."""
        self._parts.clear()
        self._open.clear()

    def events(self, *, port: str | None = None, kinds: set[EventKind] | None = None) -> npt.NDArray[np.void]:
        """Return all events so far, of one port or of some kinds only: an array of :data:`EVENT` in order."""
        if self._open:
            self._parts.append(np.array(self._open, EVENT))
            self._open = []
        found = np.concatenate(self._parts) if self._parts else np.empty(0, EVENT)
        self._parts = [found]
        if port is not None:
            found = found[found["port"] == self.ports.index(port)]
        if kinds is not None:
            found = found[np.isin(found["kind"], list(kinds))]
        return found

    def save(self, path: Path) -> None:
        """Write the events to a file that :meth:`load` reads: cycles, addresses and lengths, no data."""
        np.savez_compressed(path, events=self.events(), ports=np.array(self.ports, dtype=str))

    @classmethod
    def load(cls, path: Path) -> Observer:
        """Read what :meth:`save` wrote."""
        observer = cls()
        with np.load(path) as saved:
            observer.ports = [str(name) for name in saved["ports"]]
            observer.extend(saved["events"])
        return observer

    def trace(self, *, port: str, base: int, page_bytes: int, pages: int) -> Trace:
        """Return the accesses to the pages as the reference records them: each operation's read, then its write.

        Operations take effect in order and touch one page each, so the n-th page read and the n-th page written belong
        to operation n, however many operations overlap. Bursts that continue each other within a page are one access.

        Parameters
        ----------
        port : str
            Port on host memory.
        base : int
            Address of page 0.
        page_bytes, pages : int
            Size of a page and number of pages.

        Raises
        ------
        SimulationError
            If an access starts or ends inside a page, or a page is written that was not read.
        """
        sides = []
        for kind in (EventKind.READ, EventKind.WRITE):
            events = self.events(port=port, kinds={kind})
            address = events["address"].astype(np.int64) - base
            length = events["length"].astype(np.int64)
            inside = (address >= 0) & (address < pages * page_bytes)
            address, length = address[inside], length[inside]
            starts = address % page_bytes == 0
            first = np.flatnonzero(starts)
            if len(address) and not starts[0]:
                raise SimulationError(f"{port}: the first {kind.name} access starts inside a page")
            follows = np.flatnonzero(~starts)
            if not np.array_equal(address[follows], address[follows - 1] + length[follows - 1]):
                raise SimulationError(f"{port}: a {kind.name} access starts inside a page")
            total = np.add.reduceat(length, first) if len(first) else np.empty(0, np.int64)
            sides.append((address[first], total))
        (read, read_length), (written, write_length) = sides
        whole = np.concatenate([read_length, write_length]) == page_bytes
        if not whole.all():
            raise SimulationError(
                f"{port}: {np.count_nonzero(~whole)} accesses do not cover a page of {page_bytes} bytes"
            )
        if not np.array_equal(written, read[: len(written)]):
            raise SimulationError(f"{port}: pages are not written in the order in which they were read")
        number = np.concatenate([np.arange(len(read)), np.arange(len(written))])
        write = np.repeat([False, True], [len(read), len(written)])
        order = np.lexsort((write, number))
        return Trace(
            operation=number[order].astype(np.int64),
            address=np.concatenate([read, written])[order].astype(np.uint64),
            length=np.concatenate([read_length, write_length])[order].astype(np.uint64),
            write=write[order],
            operations=len(read),
        )
