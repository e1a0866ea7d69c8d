"""The few file operations that a data folder is made of. Everything that it does to a disk goes through here.

So a test can put another layer in this one's place, which records what was written and synced, and gives back what a
crash may leave.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol

from omap.errors import DataError, InputError, UnwrittenError
from omap.outfiles import DISK_FAILS

_MODE = 0o600


class File(Protocol):
    """A file that is being written. Each write goes to its end."""

    def write(self, data: bytes) -> None:
        """Write all of the data, or raise OSError; then some of it may be there."""
        ...

    def sync(self) -> None:
        """Wait until data and size are on disk."""
        ...

    def truncate(self, size: int) -> None:
        """Cut the file."""
        ...

    def close(self) -> None:
        """Let the file go. Does not sync."""
        ...


class Layer(Protocol):
    """What a data folder asks of a file system. All paths are whole; all methods raise OSError."""

    def names(self, folder: str) -> list[str]:
        """Return what is in a folder."""
        ...

    def make_folder(self, folder: str) -> None:
        """Make a folder, on disk on return, unless it is there."""
        ...

    def lock(self, path: str) -> Callable[[], None]:
        """Lock a file, making it if need be; return what unlocks it. Raise BlockingIOError if another user has it."""
        ...

    def reader(self, path: str) -> BinaryIO:
        """Open a file to read it. What it holds stays readable if somebody unlinks it."""
        ...

    def start(self, path: str, size: int) -> bytes | None:
        """Return the first bytes of a file; None if none is there. Raise OSError for a pipe, a device or a folder."""
        ...

    def create(self, path: str) -> File:
        """Make a new file, which its owner alone can use. Raise FileExistsError if there is one."""
        ...

    def replace(self, old: str, new: str) -> None:
        """Rename a file; another one of the new name goes."""
        ...

    def unlink(self, path: str) -> None:
        """Remove a file."""
        ...

    def sync_file(self, path: str) -> None:
        """Wait until data and size of a file that nobody here has open are on disk."""
        ...

    def sync_folder(self, folder: str) -> None:
        """Wait until the names in a folder are on disk."""
        ...


class DiskFile:
    """A :class:`File` of the operating system."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)

    def write(self, data: bytes) -> None:
        """Write all of the data."""
        with memoryview(data) as view:
            at = 0
            while at < len(view):
                at += os.write(self._descriptor, view[at:])

    def sync(self) -> None:
        """Wait until data and size are on disk."""
        os.fdatasync(self._descriptor)

    def truncate(self, size: int) -> None:
        """Cut the file."""
        os.ftruncate(self._descriptor, size)

    def close(self) -> None:
        """Let the file go."""
        os.close(self._descriptor)


class Disk:
    """The :class:`Layer` of the operating system."""

    def names(self, folder: str) -> list[str]:
        """Return what is in a folder."""
        return os.listdir(folder)

    def make_folder(self, folder: str) -> None:
        """Make a folder, on disk on return, unless it is there."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)
            self.sync_folder(os.path.dirname(folder))

    def lock(self, path: str) -> Callable[[], None]:
        """Lock a file until the process ends or unlocks it."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(descriptor)
            raise
        return lambda: os.close(descriptor)

    def reader(self, path: str) -> BinaryIO:
        """Open a file to read it."""
        return open(path, "rb")

    def start(self, path: str, size: int) -> bytes | None:
        """Return the first bytes of a file. A pipe is not opened, because that would wait for its other end."""
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise OSError(errno.EINVAL, "a pipe, a device or a folder has this name")
            with open(path, "rb") as file:
                return file.read(size)
        except FileNotFoundError:
            return None

    def create(self, path: str) -> File:
        """Make a new file."""
        return DiskFile(path)

    def replace(self, old: str, new: str) -> None:
        """Rename a file."""
        os.replace(old, new)

    def unlink(self, path: str) -> None:
        """Remove a file."""
        os.unlink(path)

    def sync_file(self, path: str) -> None:
        """Sync a file."""
        _sync(path, os.O_RDONLY)

    def sync_folder(self, folder: str) -> None:
        """Sync the names in a folder."""
        _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: str, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


DISK = Disk()
"""The layer that is used unless a test gives another."""


@contextlib.contextmanager
def telling(path: str, what: str, then: str) -> Iterator[None]:
    """Raise an OSError of the block as a :class:`DataError` that says what can't be done, and what holds then.

    It is an :class:`UnwrittenError` if a disk is full or fails while it is written.
    """
    try:
        yield
    except OSError as error:
        kind = DataError if what == "read" else unwritten(error)
        raise kind(f"{path} can't be {what}: {error.strerror or error}; {then}") from None


def unwritten(error: OSError) -> type[DataError]:
    """Return the kind of error that a failed write is: its own one if the disk is full or fails."""
    return UnwrittenError if error.errno in DISK_FAILS else DataError


def write_whole(layer: Layer, path: str, data: bytes) -> None:
    """Write a small file beside its place, and rename it when it is on disk."""
    beside = path + PART
    remove(layer, beside)
    file = layer.create(beside)
    try:
        file.write(data)
        file.sync()
    finally:
        file.close()
    layer.replace(beside, path)
    layer.sync_folder(os.path.dirname(path))


def remove(layer: Layer, path: str) -> None:
    """Remove a file, if it is there and can be."""
    with contextlib.suppress(OSError):
        layer.unlink(path)


PART = ".part"
"""What the name of a file ends in that is not in force yet."""


def hold(layer: Layer, folder: str) -> Callable[[], None]:
    """Make a folder and lock it; return what unlocks it.

    Raises
    ------
    InputError
        If another user has it.
    DataError
        If it can't be made.
    """
    with telling(folder, "used as a data folder", "give one that can be written"):
        layer.make_folder(folder)
        try:
            # SEC_CM: DATA.FOLDER.HELD -- two devices that append to one journal would lose what each was told is kept
            return layer.lock(os.path.join(folder, LOCK))
        except BlockingIOError:
            raise InputError(
                f"the data folder {folder} is in use by another process: end it first, or give another folder"
            ) from None


LOCK = "lock"
"""Name of the file that is locked."""
