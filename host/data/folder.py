"""A data folder: what a device sealed so that its map survives, in files that a crash at any instant leaves usable.

The folder holds *ciphertext and headers only*. It knows neither rings nor sockets. Whoever moves the records of a
device gives those of the journal ring to :meth:`DataFolder.append` and to snapshot writers, syncs, and gives responses
away afterwards.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock

from host.data.base import BaseFile
from host.data.chain import Chain
from host.data.damage import RING, Damage, damaged
from host.data.files import DISK, PART, Layer, hold, remove, telling
from host.data.found import Found, found_in
from host.data.identity import identify
from host.data.journal import Journal, Segment
from host.data.reading import SNAPSHOT, Part, Place, Reading, in_force, places
from host.data.target import target
from omap.errors import InputError
from omap.lineage import NO_MAP
from omap.params import Params
from omap.source import END, SOURCE_HEADER, Source, read_source
from omap.wire import LINE_BYTES, MOST_ANCESTORS, SOURCE_LINES, RecordCodec, RecordType, read_header

SEGMENT_BYTES = 64 << 20
"""Bytes after which a journal goes on in a new file."""


@dataclass(frozen=True)
class JournalStatus:
    """How far the journal of the present map is.

    Parameters
    ----------
    map_id : bytes
        The present map; empty before :meth:`DataFolder.begin_map`.
    appended, synced : int
        Records of its journal, from 0 on, that were appended, and that are on disk for certain. Record n is on disk if
        n < ``synced``.
    operation : int
        Number of the next operation after those that are synced, as clients see it.
    lines, bytes, segments : int
        What the journal takes since the last snapshot: lines of records, bytes on disk, files.
    snapshot_time : float
        When the last snapshot on disk was taken, in seconds since 1970; 0 if there is none.
    """

    map_id: bytes
    appended: int
    synced: int
    operation: int
    lines: int
    bytes: int
    segments: int
    snapshot_time: float


class SnapshotWriter:
    """Takes one snapshot. It is in force only after :meth:`finish`. May be used in another thread than the journal.

    :meth:`DataFolder.snapshot_writer` makes it.
    """

    def __init__(self, folder: DataFolder, place: Place, source: bytes) -> None:
        self._folder, self._place = folder, place
        self._chain = Chain(folder.codec)
        self._base = BaseFile(folder.layer, folder.path_of(place), folder.params)
        self.time = self._base.time
        self.add(source)

    def add(self, records: bytes) -> None:
        """Write whole SNAPSHOT records, and at last the START, as they come.

        Raises
        ------
        DamagedError
            If they do not follow those before.
        DataError
            If they could not be written. Then only :meth:`abort` is left to do.
        """
        self._chain.take(records, RING)
        self._base.add(records)

    @property
    def whole(self) -> bool:
        """Whether all records of the snapshot were added."""
        return bool(self._chain.maps)

    def finish(self) -> None:
        """Put the snapshot in force and drop what it replaces. Syncs, so call it in a thread.

        Raises
        ------
        InputError
            If it is not whole.
        DataError
            If it could not be written. The older files are in force then, and nothing was dropped.
        """
        if not self.whole:
            raise InputError("the snapshot is not whole: add all its records up to its START, or abort it")
        self._base.finish()
        self._folder.replaced(self._place, self.time)

    def abort(self) -> None:
        """Leave no snapshot behind. May be called again, and after :meth:`finish` does nothing."""
        self._base.abort()


class DataFolder:
    """The files of one map and of those it was restored from. One user at a time.

    :meth:`append` and :meth:`sync` may be called from two threads at once, and so may a snapshot writer and
    :meth:`backup_to`. Everything that raises :class:`omap.errors.DataError` leaves the folder usable: call the same
    again when there is room.

    Use :meth:`open` to make one.

    Attributes
    ----------
    found : Found
        What was there when it was opened.
    """

    found: Found

    def __init__(self, path: str, params: Params, layer: Layer, segment_bytes: int) -> None:
        self.path, self.params, self.layer, self.codec = path, params, layer, RecordCodec(params)
        self._release = hold(layer, path)
        try:
            self._look(segment_bytes)
        except BaseException:
            self._release()
            raise

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        params: Params,
        *,
        layer: Layer = DISK,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> DataFolder:
        """Open a folder, making it if it is not there, hold it, and check all its files.

        All that is found is synced first, so that what a restore reads is there after a power cut too.

        Parameters
        ----------
        path : path
            The folder.
        params : Params
            Parameters of the map.
        layer : Layer, optional
            What reads and writes; another than the default only in tests.
        segment_bytes : int
            Bytes after which a journal goes on in a new file.

        Raises
        ------
        InputError
            If the folder is another user's at the moment, belongs to other parameters or another version, or holds
            other files.
        DamagedError
            If what is there can't be restored whole. Nothing was changed.
        DataError
            If it can't be read or written.
        """
        return cls(os.path.abspath(path), params, layer, segment_bytes)

    def _look(self, segment_bytes: int) -> None:
        identify(self.layer, self.path, self.params)
        with telling(self.path, "read", "nothing was changed"):
            there = places(self.layer.names(self.path))
            used = in_force(there)
            # SEC_CM: DATA.FOUND.SYNCED -- a START names what was restored, so that must be there ever after
            for place in used:
                self.layer.sync_file(self.path_of(place))
        self._files_lock = Lock()
        self._numbers = itertools.count(max((place.number for place in there), default=0) + 1)
        self._parts = [Part(self.path_of(place), place.suffix != SNAPSHOT) for place in used]
        with contextlib.closing(Reading(self.layer, self._parts, self.codec)) as reading:
            for _ in reading:
                pass
        self.found = found_in(reading, used)
        self._snapshot_time = reading.snapshot_time
        self._ancestors = reading.chain.ancestors
        self._journal = Journal(self.layer, self.path, self.codec, lambda: next(self._numbers), segment_bytes)
        for place in used:
            if place.suffix != SNAPSHOT:
                path = self.path_of(place)
                self._journal.segments.append(Segment(place.number, reading.lines[path], reading.sizes[path]))
        self._writer: SnapshotWriter | None = None

    def path_of(self, place: Place) -> str:
        """Return the path of a file in the folder."""
        return os.path.join(self.path, place.name)

    def records(self) -> Iterator[bytes]:
        """Yield the records that restore the map, in order, END included; none if nothing was found.

        Raises
        ------
        DamagedError
            If a file has changed since the folder was opened.
        DataError
            If it can't be read.
        """
        if self.found.empty:
            return
        with contextlib.closing(Reading(self.layer, self._parts, self.codec)) as reading:
            yield from reading.single()
        if reading.chain.records + 1 != self.found.records:
            raise damaged(self.path, Damage.ALTERED, "its files have changed since they were checked")
        yield END

    def begin_map(self, records: bytes) -> None:
        """Begin the journal of a map with its SOURCE and START, which are synced on return: call it in a thread.

        Call it after a format or a restore, before the journal records of the map. Older files stay as they are. If it
        fails, call it again.

        Raises
        ------
        InputError
            If the START is of a formatted map and the folder holds another one, or the other way round; or if a map
            was begun already.
        DataError
            If it could not be written.
        """
        at = SOURCE_LINES * LINE_BYTES
        whole = len(records) > at and len(records) % LINE_BYTES == 0
        header = read_header(records[at:]) if whole else SOURCE_HEADER
        source = read_source(records) if whole else Source(NO_MAP)
        whole &= records[:at] == Source(source.map_id).record() and header.lines * LINE_BYTES == len(records) - at
        if not whole or header.type != RecordType.START or header.sequence:
            raise InputError("a journal begins with its SOURCE and START: give these, as the device journals them")
        map_id, expected = source.map_id, min(self._ancestors + 1, MOST_ANCESTORS)
        if self._journal.map_id not in (b"", map_id):
            raise InputError("another map has begun in this folder: close it and open it again to restore that one")
        if header.count != expected:
            # SEC_CM: DATA.MAP.CONTINUED -- a format by mistake does not put an empty map in the place of a full one
            raise InputError(
                f"the map has {header.count} ancestors, and one that continues the folder {self.path} has {expected}: "
                + ("restore the map that the folder holds, or give another folder" if expected else "ask for a format")
            )
        self._journal.begin(map_id, records, self.found.operations)

    def append(self, records: bytes) -> None:
        """Append whole JOURNAL records in order, as they came from the device. Does not sync.

        Raises
        ------
        DataError
            If they could not be written. None of them was taken; give all of them again later.
        DamagedError
            If they do not follow those before. None of them was taken.
        InputError
            If no map has begun.
        """
        self._journal.append(records)

    def sync(self) -> int:
        """Wait until all that was appended before the call is on disk; return ``status.synced``. Call it in a thread.

        Now and then it begins a new segment.

        Raises
        ------
        DataError
            If that is not certain. What was appended is kept; the next call writes and syncs it again.
        """
        synced = self._journal.sync()
        self._journal.roll_if_long()
        return max(synced, self._journal.synced.next)

    def snapshot_writer(self, source: bytes) -> SnapshotWriter:
        """Begin a snapshot with its SOURCE. Syncs the journal first, so call it in a thread.

        Give all JOURNAL records before the SOURCE to :meth:`append` first, and those after the snapshot afterwards. A
        snapshot that was not finished is aborted.

        Raises
        ------
        DamagedError
            If the SOURCE does not fit the journal.
        DataError
            If it could not be written.
        """
        if self._writer is not None:
            self._writer.abort()
        said, journal = read_source(source), self._journal
        with journal.syncing:
            at = journal.appended
            if (said.map_id, said.journal, said.operation) != (journal.map_id, at.next, at.operation):
                raise damaged(RING, Damage.FOREIGN, "a snapshot is not of the end of the present journal")
            place = Place(next(self._numbers), SNAPSHOT)
            journal.roll()  # so that nothing of the snapshot's time is in the files that it replaces
            self._writer = SnapshotWriter(self, place, source)
        return self._writer

    def replaced(self, snapshot: Place, when: float) -> None:
        """Drop the files that a snapshot on disk replaces. What can't be dropped now goes with the next one."""
        self._snapshot_time = when
        self._journal.forget(snapshot.number)
        with self._files_lock, contextlib.suppress(OSError):
            names = self.layer.names(self.path)
            for place in places(names):
                # SEC_CM: DATA.OLD.KEPT -- nothing goes before the snapshot is on disk that holds the same
                if place.number < snapshot.number:
                    remove(self.layer, self.path_of(place))
            for name in names:
                if name.endswith(PART) and name != snapshot.name + PART:
                    remove(self.layer, os.path.join(self.path, name))
            self.layer.sync_folder(self.path)

    @property
    def status(self) -> JournalStatus:
        """How far the journal of the present map is."""
        journal = self._journal
        segments, synced = list(journal.segments), journal.synced
        return JournalStatus(
            journal.map_id,
            journal.appended.next,
            synced.next,
            synced.operation if journal.map_id else self.found.operations,
            sum(segment.lines for segment in segments),
            sum(segment.bytes for segment in segments),
            len(segments),
            self._snapshot_time,
        )

    def backup_to(self, path: str | os.PathLike[str]) -> int:
        """Write all that is synced into one file, and return how many operations it holds. Call it in a thread.

        Any device with the same root key restores it, see :func:`host.data.backup.restore_backup`. A backup that was
        there is replaced when the new one is whole, and a symbolic link to one stays a link.

        Raises
        ------
        InputError
            If there is nothing to write, or no backup may be written there, see :func:`host.data.target.target`.
        DataError
            If it could not be written. A file that was there before is unchanged.
        """
        path = target(self.layer, path)
        with self._journal.syncing, self._files_lock, telling(self.path, "read", "nothing was changed"):
            self._journal.sync()
            used = in_force(places(self.layer.names(self.path)))
            limits = self._journal.limits()
            parts = [
                Part(self.path_of(place), place.suffix != SNAPSHOT, limits.get(self.path_of(place))) for place in used
            ]
            reading = Reading(self.layer, parts, self.codec)
        with contextlib.closing(reading):
            base = BaseFile(self.layer, path, self.params)
            try:
                for records in reading:
                    base.add(records)
                if not reading.chain.maps:
                    raise InputError(f"the data folder {self.path} holds nothing yet: start its map first")
                target(self.layer, path)  # again, because writing took a while
                base.finish()
            except BaseException:
                base.abort()
                raise
        return reading.chain.operation

    def close(self) -> None:
        """Let the folder go. Does not sync. May be called again."""
        if self._writer is not None:
            self._writer.abort()
        self._journal.close()
        release, self._release = self._release, lambda: None
        release()
