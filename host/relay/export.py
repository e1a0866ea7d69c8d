"""A snapshot on its way from the journal ring to the data folder."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from host.records import LINES_AT, TYPE_AT
from omap.errors import DataError
from omap.wire import LINE_BYTES, RecordType

if TYPE_CHECKING:
    from host.data.folder import DataFolder, SnapshotWriter

LOG = logging.getLogger("omap.serve")

_MOST_BYTES = 8 << 20
"""Bytes of a snapshot that may wait for the disk. Then the device has to wait."""


@dataclass(frozen=True)
class Taken:
    """A snapshot that is in force.

    Parameters
    ----------
    bytes : int
        Its records.
    pause : float
        Seconds for which the device did nothing else, as the relay saw it.
    seconds : float
        From the request until it was in force.
    """

    bytes: int
    pause: float
    seconds: float


class Export:
    """A snapshot that was asked for.

    Parameters
    ----------
    taken : asyncio.Future
        What becomes of it.

    Attributes
    ----------
    more : asyncio.Event
        Set when records wait to be written.
    ended : bool
        Whether its last record came.
    done : bool
        Whether all is written, or will not be.
    """

    def __init__(self, taken: asyncio.Future[Taken]) -> None:
        self.taken, self.more = taken, asyncio.Event()
        self.ended = self.done = False
        self._asked, self._began, self._pause = time.monotonic(), 0.0, 0.0
        self._source, self._waiting, self._lock = b"", bytearray(), Lock()
        self._bytes = 0
        self._writer: SnapshotWriter | None = None
        self._error: DataError | None = None
        self._loop = asyncio.get_running_loop()

    @property
    def full(self) -> bool:
        """Whether no more should be taken out of the ring for now."""
        return len(self._waiting) > _MOST_BYTES

    def sort(self, records: bytes) -> Iterator[tuple[str, bytes]]:
        """Take the records of the snapshot out of those of the journal ring.

        Yields
        ------
        str, bytes
            ``"journal"`` and records of the journal, in order; ``"source"`` between those before the snapshot and those
            after it.
        """
        start = at = 0
        while at < len(records) and not self.ended:
            type_, end = records[at + TYPE_AT], at + records[at + LINES_AT] * LINE_BYTES
            if type_ == RecordType.SOURCE:
                yield "journal", records[start:at]
                self._source, self._began = records[at:end], time.monotonic()
                yield "source", b""
                start = end
            elif self._source and type_ == RecordType.START:
                self._pause = time.monotonic() - self._began
                self._add(records[start:end])
                self.ended, start = True, end  # only now: the thread that writes takes it for the end of what waits
            at = end
        if self._source and not self.ended:
            self._add(records[start:])
        else:
            yield "journal", records[start:]

    def _add(self, records: bytes) -> None:
        with self._lock:
            self._waiting += records
        self._bytes += len(records)
        self.more.set()

    def open(self, folder: DataFolder) -> None:
        """Begin the file, in the thread of the journal, after the journal before it and before the journal after it."""
        try:
            self._writer = folder.snapshot_writer(self._source)
        except DataError as error:
            self._error = error

    def write(self) -> None:
        """Write what waits, in a thread; after the last record put the snapshot in force. What fails is left out."""
        ended = self.ended  # before the records are taken, so that the last one is among them
        with self._lock:
            records, self._waiting = bytes(self._waiting), bytearray()
        try:
            if self._writer is not None and self._error is None:
                if records:
                    self._writer.add(records)
                if ended:
                    self._writer.finish()
        except DataError as error:
            self._error = error
            with contextlib.suppress(DataError):
                assert self._writer is not None
                self._writer.abort()
        if ended:
            self._loop.call_soon_threadsafe(self._settle)
            self.done = True

    def _settle(self) -> None:
        if self._error is not None:
            if not self.taken.done():
                self.taken.set_exception(self._error)
                self.taken.exception()  # nobody may wait for it
            return
        taken = Taken(self._bytes, self._pause, time.monotonic() - self._asked)
        LOG.info("snapshot taken", extra={"bytes": taken.bytes, "pause": round(taken.pause, 3)})
        if not self.taken.done():
            self.taken.set_result(taken)
