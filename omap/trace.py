"""What an observer of host memory sees, recorded event by event.

The observer sees every device access to host memory: its address, length and direction, and the operation that it
belongs to, because the host knows when operations arrive. The reference has no clock, so its traces have no times.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FORMAT = -1
"""Operation number of the events of a format."""

BULK_LOAD = -2
"""Operation number of the events of a bulk load."""

EXPORT = -3
"""Operation number of the events of an export."""


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """What was asked of a map while an observer watched. Everybody who sees the commands can count it.

    Attributes
    ----------
    operations : int
        Operations that were submitted.
    formats, bulk_loads, exports : int
        Scans that were asked for. A restore is a format, and an operation for each item of its records.
    """

    operations: int
    formats: int = 0
    bulk_loads: int = 0
    exports: int = 0


@dataclass(frozen=True)
class Trace:
    """Events in the order in which the observer saw them, as four columns of one length.

    Attributes
    ----------
    operation : int64 array
        Number of the operation that the event belongs to, from 0. For a scan, :data:`~omap.trace.FORMAT`,
        :data:`~omap.trace.BULK_LOAD` or :data:`~omap.trace.EXPORT`.
    address : uint64 array
        First byte of the access, relative to the start of the pages.
    length : uint64 array
        Bytes of the access.
    write : bool array
        True for a write to host memory, False for a read.
    operations : int
        Number of operations that ran, including those that caused no event.
    submitted : Submitted or None
        What was asked of the map. None if nobody counted it: then an audit can't tell an operation that the device
        inserted by itself.
    """

    operation: npt.NDArray[np.int64]
    address: npt.NDArray[np.uint64]
    length: npt.NDArray[np.uint64]
    write: npt.NDArray[np.bool_]
    operations: int
    submitted: Submitted | None = None

    def __len__(self) -> int:
        return len(self.address)


class Observer:
    """Records what the host sees. One observer watches one host memory.

    An event takes about 16 bytes. :meth:`trace` copies the events out, :meth:`clear` forgets them.
    """

    def __init__(self) -> None:
        self._events = array("Q")  # address << 1 | write
        self._lengths = array("Q")
        self._starts = array("Q")  # index of the first event of each operation
        self._scans: list[tuple[int, int, int]] = []  # (first event, end, which scan)

    def begin_operation(self) -> None:
        """Note that the next operation starts here."""
        self._starts.append(len(self._lengths))

    def begin_scan(self, kind: int) -> None:
        """Note that the events up to :meth:`end_scan` belong to a scan."""
        self._scans.append((len(self._lengths), -1, kind))

    def end_scan(self) -> None:
        """Close the scan that :meth:`begin_scan` opened."""
        first, _, kind = self._scans[-1]
        self._scans[-1] = (first, len(self._lengths), kind)

    def read(self, address: int, length: int) -> None:
        """Note a read of host memory."""
        self._events.append(address << 1)
        self._lengths.append(length)

    def write(self, address: int, length: int) -> None:
        """Note a write to host memory."""
        self._events.append(address << 1 | 1)
        self._lengths.append(length)

    def clear(self) -> None:
        """Forget all events and restart the numbering of operations at 0."""
        self.__init__()  # type: ignore[misc]

    def trace(self, submitted: Submitted | None = None) -> Trace:
        """Return the events since the last :meth:`clear`.

        Parameters
        ----------
        submitted : Submitted, optional
            What was asked of the map since then. Whoever asked counts it; the map is not to be trusted with it.
        """
        events = np.array(self._events, dtype=np.uint64)
        starts = np.array(self._starts, dtype=np.int64)
        operation = np.searchsorted(starts, np.arange(len(events)), side="right") - 1
        for first, end, kind in self._scans:
            operation[first : end if end >= 0 else None] = kind
        return Trace(
            operation=operation.astype(np.int64),
            address=events >> np.uint64(1),
            length=np.array(self._lengths, dtype=np.uint64),
            write=(events & np.uint64(1)).astype(bool),
            operations=len(starts),
            submitted=submitted,
        )


def join(*traces: Trace) -> Trace:
    """Return one trace of several that follow each other: operations are numbered on, and what was submitted adds up.

    Nobody counted what was submitted if that is so of one of them.
    """
    before = np.cumsum([0, *(part.operations for part in traces)]).tolist()
    numbers = [
        np.where(part.operation < 0, part.operation, part.operation + first)
        for part, first in zip(traces, before, strict=False)
    ]
    counted = [part.submitted for part in traces if part.submitted is not None]
    return Trace(
        operation=np.concatenate([np.empty(0, np.int64), *numbers]),
        address=np.concatenate([np.empty(0, np.uint64), *(part.address for part in traces)]),
        length=np.concatenate([np.empty(0, np.uint64), *(part.length for part in traces)]),
        write=np.concatenate([np.empty(0, np.bool_), *(part.write for part in traces)]),
        operations=before[-1],
        submitted=Submitted(
            operations=sum(one.operations for one in counted),
            formats=sum(one.formats for one in counted),
            bulk_loads=sum(one.bulk_loads for one in counted),
            exports=sum(one.exports for one in counted),
        )
        if len(counted) == len(traces)
        else None,
    )
