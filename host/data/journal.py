"""Writes the journal of the present map, in segments.

A segment is a file. It is begun only when all before it is on disk, and its header is on disk before anything follows
it. So a crash can tear the end of the last segment alone.

What was appended and not synced is kept in memory as well. If writing or syncing fails, the file is cut back and
written again, because nobody knows what a failed sync has left on disk.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import RLock

from host.data.damage import RING, Damage, damaged
from host.data.files import File, Layer, remove, unwritten
from host.data.frames import HEAD_BYTES, PARAMS_BYTES, FileHead, FileKind, frames
from host.data.reading import JOURNAL, Place
from omap.errors import DataError, InputError
from omap.wire import HEADER, LINE_BYTES, RecordCodec, RecordType


@dataclass
class Segment:
    """A file of a journal.

    Parameters
    ----------
    number : int
        Number of the file.
    lines, bytes : int
        Lines of records in it, and bytes that it takes.
    """

    number: int
    lines: int
    bytes: int


@dataclass(frozen=True)
class Mark:
    """A point in the journal of a map.

    Parameters
    ----------
    next : int
        Number of the next record.
    operation : int
        Number of the next operation, as clients see it.
    size : int
        Where the next record goes in the segment.
    """

    next: int = 0
    operation: int = 0
    size: int = 0


def follow(codec: RecordCodec, records: bytes, number: int) -> tuple[int, int]:
    """Return how many JOURNAL records there are, and how many operations, if they begin with record ``number``.

    Raises
    ------
    DamagedError
        If they are not whole JOURNAL records in order.
    """
    at, operations, first, sizes = 0, 0, number, codec.sizes
    whole, journal, unpack = len(records) - LINE_BYTES, RecordType.JOURNAL.value, HEADER.unpack_from
    while at < len(records):
        type_, _, lines, count, _, sequence = unpack(records, at) if at <= whole else (0,) * 6
        end = at + lines * LINE_BYTES
        if type_ != journal or not 0 < count < len(sizes) or sizes[count] != lines or end > len(records):
            raise damaged(RING, Damage.ALTERED, "what came is no whole JOURNAL record")
        if sequence != number:
            damage = Damage.MISSING if sequence > number else Damage.REPEATED
            raise damaged(RING, damage, f"record {sequence} came, and {number} is the next")
        at, number, operations = end, number + 1, operations + count
    return number - first, operations


@contextlib.contextmanager
def _telling(path: str) -> Iterator[None]:
    """As :func:`host.data.files.telling`, in words that are short enough to go to clients as a whole."""
    try:
        yield
    except OSError as error:
        raise unwritten(error)(
            f"the server can't write {path} ({error.strerror or error}), and answers nothing until it can; nothing "
            "that was answered is lost: make room, then try again"
        ) from None


class Journal:
    """Appends to the journal of the present map.

    Parameters
    ----------
    layer, folder : Layer, str
        Where the segments go.
    codec : RecordCodec
        Sizes of the records.
    number : callable
        Returns the number of the next file.
    segment_bytes : int
        Bytes after which a new segment is begun.

    Attributes
    ----------
    map_id : bytes
        The present map; empty if there is none.
    appended, synced : Mark
        How far the journal is, and how far it is on disk for certain.
    segments : list of Segment
        Its segments, and older ones, that count since the last snapshot.
    """

    # Many: what a journal is written to, and how
    def __init__(
        self, layer: Layer, folder: str, codec: RecordCodec, number: Callable[[], int], segment_bytes: int
    ) -> None:
        self.map_id, self.appended, self.synced = b"", Mark(), Mark()
        self.segments: list[Segment] = []
        self._layer, self._folder, self._codec = layer, folder, codec
        self._number, self._segment_bytes = number, segment_bytes
        self._file: File | None = None
        self._path, self._head = folder, b""
        self._unsynced: list[bytes] = []
        self._torn = self._doubtful = False
        self._lock = RLock()  # short: it is never held while the disk is waited for, but to begin a segment
        self.syncing = RLock()  # one sync at a time, and nothing else that changes files

    # -- segments -----------------------------------------------------------------------------------------------

    def begin(self, map_id: bytes, records: bytes, operation: int) -> None:
        """Begin the journal of a map with its SOURCE and START, on disk on return. Call it again if it fails.

        Raises
        ------
        DataError
            If it is not on disk for certain.
        """
        with self.syncing:
            if self.map_id != map_id:
                self._begin_segment(map_id, Mark(0, operation))
            if not self.appended.next:
                self._write(records, Mark(1, operation))
            self.sync()

    def roll(self) -> None:
        """Sync and go on in a new segment. Raises as :meth:`sync`."""
        with self.syncing:
            self.sync()
            with self._lock:
                self._sync_once()  # what came in the meantime
                self._begin_segment(self.map_id, self.appended)

    def _begin_segment(self, map_id: bytes, at: Mark) -> None:
        number = self._number()
        path = os.path.join(self._folder, Place(number, JOURNAL).name)
        params = self._codec.params.digest[:PARAMS_BYTES]
        head = FileHead(FileKind.JOURNAL, params, map_id, at.next, at.operation, int(time.time() * 1000)).pack()
        with _telling(path):
            file = self._layer.create(path)
            try:
                file.write(head)
                file.sync()
                self._layer.sync_folder(self._folder)
            except BaseException:
                file.close()
                remove(self._layer, path)
                raise
        with self._lock:
            if self._file is not None:
                self._file.close()
            self._file, self._path, self._head, self.map_id = file, path, head, map_id
            self.appended = self.synced = Mark(at.next, at.operation, HEAD_BYTES)
            self._unsynced, self._torn, self._doubtful = [], False, False
            self.segments.append(Segment(number, 0, HEAD_BYTES))

    # -- records ------------------------------------------------------------------------------------------------

    def append(self, records: bytes) -> None:
        """Append JOURNAL records. See :meth:`host.data.folder.DataFolder.append`."""
        if not records:
            return
        with self._lock:
            if not self.map_id:
                raise InputError("no map has begun: give its SOURCE and START to begin_map first")
            number, operations = follow(self._codec, records, self.appended.next)
            self._write(records, Mark(self.appended.next + number, self.appended.operation + operations))

    def _write(self, records: bytes, to: Mark) -> None:
        """Write records that lead to a mark, whose size is filled in."""
        with self._lock:
            size, segment = self.appended.size, self.segments[-1]
            data = frames(self._head, size, self.synced.size, records)
            with _telling(self._path):
                self._mend()
                self._torn = True
                self._present.write(data)
                self._torn = False
            self._unsynced.append(data)
            self.appended = Mark(to.next, to.operation, size + len(data))
            segment.lines += len(records) // LINE_BYTES
            segment.bytes = self.appended.size

    def _mend(self) -> None:
        """Cut off what an append left half done, and write again what a sync left in doubt."""
        if self._doubtful:
            self._present.truncate(self.synced.size)
            self._present.write(b"".join(self._unsynced))
            self._doubtful = self._torn = False
        elif self._torn:
            self._present.truncate(self.appended.size)
            self._torn = False

    def sync(self) -> int:
        """Wait until what was appended is on disk. See :meth:`host.data.folder.DataFolder.sync`."""
        with self.syncing:
            return self._sync_once()

    def _sync_once(self) -> int:
        with self._lock:
            if self._file is None:
                return 0
            with _telling(self._path):
                self._mend()
            mark, file, count = self.appended, self._file, len(self._unsynced)
        if count:
            with _telling(self._path):
                try:
                    file.sync()
                except BaseException:
                    self._doubtful = True
                    raise
            with self._lock:
                self.synced = mark
                del self._unsynced[:count]
        return self.synced.next

    def roll_if_long(self) -> None:
        """Begin a new segment if the present one is long. If that can't be done, it grows on."""
        with self.syncing, contextlib.suppress(DataError):
            if self.map_id and self.appended.size >= self._segment_bytes:
                self.roll()

    @property
    def _present(self) -> File:
        assert self._file is not None
        return self._file

    def forget(self, number: int) -> None:
        """Count no more the segments whose files have lower numbers than a snapshot."""
        with self._lock:
            self.segments = [segment for segment in self.segments if segment.number > number]

    def limits(self) -> dict[str, int]:
        """Return how many bytes of the present segment are on disk, by its path."""
        with self._lock:
            return {self._path: self.synced.size} if self._file is not None else {}

    def close(self) -> None:
        """Let the files go."""
        with self.syncing, self._lock:
            if self._file is not None:
                self._file.close()
            self._file = None
