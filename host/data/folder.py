"""A data folder: what a device sealed so that its map survives, in files that a crash at any instant leaves usable.

The folder holds *ciphertext and headers only*. It knows neither rings nor sockets. Whoever moves the records of a
device gives those of the journal ring to :meth:`DataFolder.append` and to snapshot writers, syncs, and gives responses
away afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from omap.params import Params

SEGMENT_BYTES = 64 << 20
"""Bytes after which a journal goes on in a new file."""


@dataclass(frozen=True)
class Found:
    """What a folder held when it was opened.

    Parameters
    ----------
    empty : bool
        Whether there is nothing to restore. Then the device is asked for a format.
    maps : tuple of bytes
        Ids of the maps to restore, each made from the one before.
    operations : int
        Operations that the restored map will hold, as clients number them.
    records, lines : int
        Records that :meth:`DataFolder.records` yields, and their lines.
    snapshot_time : float
        When the snapshot was taken, in seconds since 1970; 0 if there is none.
    cut_bytes : int
        Bytes at the end of journals that were not whole; nobody was told that they were kept.
    sentences : tuple of str
        What was found and what will be done, for people.
    """

    empty: bool
    maps: tuple[bytes, ...]
    operations: int
    records: int
    lines: int
    snapshot_time: float
    cut_bytes: int
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class JournalStatus:
    """How far the journal of the present map is.

    Parameters
    ----------
    map_id : bytes
        The present map; zeros before :meth:`DataFolder.begin_map`.
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


class SnapshotWriter(Protocol):
    """Takes one snapshot. It is in force only after :meth:`finish`. May be used in another thread than the journal."""

    def add(self, records: bytes) -> None:
        """Write whole SNAPSHOT records, and at last the START, as they come."""
        ...

    def finish(self) -> None:
        """Put the snapshot in force and drop what it replaces. Syncs, so call it in a thread.

        Raises
        ------
        DataError
            If it could not be written, or is not whole. The older files are in force then, and nothing was dropped.
        """
        ...

    def abort(self) -> None:
        """Leave no snapshot behind. May be called again, and after :meth:`finish` does nothing."""
        ...


class DataFolder:
    """The files of one map and of those it was restored from. One user at a time.

    :meth:`append` and :meth:`sync` may be called from two threads at once, and so may a snapshot writer and
    :meth:`backup_to`. Everything that raises :class:`omap.errors.DataError` leaves the folder usable: call the same
    again when there is room.

    Attributes
    ----------
    found : Found
        What was there when it was opened.
    """

    found: Found

    @classmethod
    def open(cls, path: str | os.PathLike[str], params: Params) -> DataFolder:
        """Open a folder, making it if it is not there, hold it, and check all its files.

        All that is found is synced first, so that what a restore reads is there after a power cut too.

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
        raise NotImplementedError

    def records(self) -> Iterator[bytes]:
        """Yield the records that restore the map, in order, END included; none if nothing was found.

        Raises
        ------
        DamagedError
            If a file has changed since the folder was opened.
        """
        raise NotImplementedError

    def begin_map(self, map_id: bytes, start: bytes) -> None:
        """Begin the journal of a map with its START, which is synced on return: call it in a thread.

        Call it after a format or a restore, before the journal records of the map. Older files stay as they are.

        Raises
        ------
        InputError
            If the START is of a formatted map and the folder holds another one, or the other way round.
        DataError
            If it could not be written.
        """
        raise NotImplementedError

    def append(self, records: bytes) -> None:
        """Append whole JOURNAL records in order, as they came from the device. Does not sync.

        Raises
        ------
        DataError
            If they could not be written. None of them was taken; give all of them again later.
        DamagedError
            If they do not follow those before. None of them was taken.
        """
        raise NotImplementedError

    def sync(self) -> int:
        """Wait until all that was appended before the call is on disk; return ``status.synced``. Call it in a thread.

        Now and then it begins a new segment.

        Raises
        ------
        DataError
            If that is not certain. What was appended is kept; the next call writes and syncs it again.
        """
        raise NotImplementedError

    def snapshot_writer(self, source: bytes) -> SnapshotWriter:
        """Begin a snapshot with its SOURCE. Syncs the journal first, so call it in a thread.

        Give all JOURNAL records before the SOURCE to :meth:`append` first, and those after the snapshot afterwards.

        Raises
        ------
        DamagedError
            If the SOURCE does not fit the journal.
        DataError
            If it could not be written.
        """
        raise NotImplementedError

    @property
    def status(self) -> JournalStatus:
        """How far the journal of the present map is."""
        raise NotImplementedError

    def backup_to(self, path: str | os.PathLike[str]) -> int:
        """Write all that is synced into one file, and return how many operations it holds. Call it in a thread.

        Any device with the same root key restores it, see :func:`restore_backup`.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Let the folder go. Does not sync. May be called again."""
        raise NotImplementedError


def restore_backup(file: str | os.PathLike[str], path: str | os.PathLike[str], params: Params) -> None:
    """Fill an empty folder, or one that is not there, from a backup. The next start restores it.

    Raises
    ------
    InputError
        If the folder holds anything, or the file is no backup, or of other parameters.
    DamagedError
        If the backup is not whole.
    DataError
        If it can't be read or written.
    """
    raise NotImplementedError
