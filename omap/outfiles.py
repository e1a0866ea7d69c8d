"""Files that commands write: beside their place, and renamed into it when they are whole.

So a full disk, an error or Ctrl-C never costs the file that was there before. :func:`try_file` finds out before long
work whether its result can be written. A file that holds a key is never replaced.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from omap.errors import InputError, OutputError

Place = str | os.PathLike[str]
"""Where a file goes."""

ROOT_KEY, CLIENT_KEY = "omap root key", "omap client key"
"""First lines of the files that hold keys, which `host.keyfile` writes."""

DISK_FAILS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""Numbers of the errors of a disk that is full or fails, and not of a place that takes no file."""

_START_BYTES = 256
"""Bytes at the beginning of a file that tell whether it holds a key."""


def holds_key(start: bytes) -> bool:
    """Return whether the bytes at the beginning of a file are those of a key file."""
    return start.lstrip().startswith((ROOT_KEY.encode(), CLIENT_KEY.encode()))


def key_kept(path: Place) -> InputError:
    """Return the error for a key file that would have to be replaced. It says what to do."""
    return InputError(f"{os.fspath(path)} exists and holds a key: choose another name, or move it away")


def try_file(path: Place) -> None:
    """Refuse a path that no file can be written to. Nothing is left there, and what is there stays as it is.

    Raises
    ------
    InputError
        If the file can't be written, or holds a key; says why.
    """
    with _refusing(path, InputError):
        _spare_key(path)
        if not _in_place(path):
            beside, descriptor = _beside(path)
            os.close(descriptor)
            os.unlink(beside)
        elif not os.access(path, os.W_OK):
            raise PermissionError(None, "Permission denied")


@contextlib.contextmanager
def writing(path: Place) -> Iterator[BinaryIO]:
    """Open a file to be written beside ``path``, which takes its place at the end of the block.

    Devices and pipes are written where they are. A symbolic link stays one. A file that is replaced keeps its mode.

    Raises
    ------
    InputError
        If no file can be written there, or the file that is there holds a key.
    OutputError
        If writing fails later, for want of room. A file that was there before is unchanged.
    """
    with _refusing(path, InputError):
        _spare_key(path)
        in_place = _in_place(path)
        beside, descriptor = ("", os.open(path, os.O_WRONLY)) if in_place else _beside(path)
    with _refusing(path, OutputError):
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                if not in_place:
                    os.fsync(descriptor)
            if not in_place:
                os.replace(beside, os.path.realpath(path))
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(beside)
            raise


def write_text(path: Place, text: str) -> None:
    """Write a text in UTF-8. Raises as :func:`writing`."""
    with writing(path) as file:
        file.write(text.encode())


@contextlib.contextmanager
def _refusing(path: Place, kind: type[InputError | OutputError]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        folder = Path(path).parent
        reason = error.strerror or str(error) if folder.is_dir() else f"the folder {folder} does not exist"
        same = "; the file that was there is unchanged" if kind is OutputError and os.path.isfile(path) else ""
        raise kind(f"{os.fspath(path)} can't be written: {reason}{same}") from None


def _spare_key(path: Place) -> None:
    """Refuse a file that holds a key, by whatever name it is reached."""
    if os.path.isfile(path):
        with open(path, "rb") as file:
            # it may be the only copy, without which a map and its backups can't be opened
            if holds_key(file.read(_START_BYTES)):
                raise key_kept(path)


def _in_place(path: Place) -> bool:
    """Whether ``path`` is a device, a pipe or an open file, whose name must not come to stand for another file."""
    try:
        regular = stat.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError:
        return False
    if os.path.isdir(path):
        raise IsADirectoryError(None, "it is a folder")
    return not regular or os.path.abspath(path).startswith(("/dev/", "/proc/"))


def _beside(path: Place) -> tuple[str, int]:
    """Make an empty file in the same folder, of the mode that the file has or would get; return name and descriptor."""
    goal = os.path.realpath(path)
    old = os.stat(goal) if os.path.exists(goal) else None
    if old is not None and not os.access(goal, os.W_OK):
        raise PermissionError(None, "Permission denied")
    beside = os.path.join(os.path.dirname(goal), f".{secrets.token_hex(8)}.omap")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    if old is not None:
        with contextlib.suppress(OSError):  # a file system without owners or modes
            os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
            os.fchown(descriptor, old.st_uid, old.st_gid)
    return beside, descriptor
