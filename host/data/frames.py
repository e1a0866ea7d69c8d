"""Files of a data folder, byte by byte: a header, then frames of whole records.

========  =======================================================================================================
header    ``"omapdata" || version (8 bits) || kind (8) || zeros (16) || parameters (8 bytes) || map id (16) ||
          first record (64) || next operation (64) || milliseconds since 1970 (64) || CRC-32 (32)``
frame     ``"\\x93omF" || bytes of records (32) || synced (64) || CRC-32 (32) || records``
========  =======================================================================================================

``parameters`` are the first bytes of the digest of the map's parameters. A frame holds what was appended at once.
``synced`` is how much of the file was on disk when the frame was written. The CRC of a frame covers the frame, its
place in the file and the CRC of the header. So a frame that was moved, or comes from another file, does not fit.

CRCs tell accidents: they are no secret, and a host that lies can compute them. What it changes, the device finds out.

The end of a journal may be torn by a crash, because what was not synced may be there in parts. Something that does not
fit is *torn* if no later frame says that it was synced, and *damage* if one does.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from enum import IntEnum
from typing import BinaryIO, NamedTuple

from host.data.damage import Damage, damaged
from host.records import LINES_AT
from omap.errors import InputError
from omap.wire import LINE_BYTES

VERSION = 1
"""Version of folders, of their files and of backups."""

MAGIC, FRAME_MAGIC = b"omapdata", b"\x93omF"
PARAMS_BYTES = 8

_HEAD = struct.Struct(">8sBB2x8s16sQQQ")
_FRAME = struct.Struct(">4sIQ")
_CRC = struct.Struct(">I")
HEAD_BYTES = _HEAD.size + _CRC.size
FRAME_BYTES = _FRAME.size + _CRC.size
MOST_FRAME_BYTES = 8 << 20
"""Most bytes of records in a frame, so that a reader needs little memory."""


class FileKind(IntEnum):
    """What a file holds."""

    JOURNAL = 1
    """A part of the journal of one map, from some record on: a segment."""
    BASE = 2
    """A snapshot, and in a backup what a restore takes after it; then END."""


START_BYTES = 256
"""Bytes at the beginning of a file that tell what it is."""


def begins_as_backup(start: bytes) -> bool:
    """Return whether the first bytes of a file are those of a backup, of any version."""
    return len(start) > len(MAGIC) + 1 and start.startswith(MAGIC) and start[len(MAGIC) + 1] == FileKind.BASE


class FileHead(NamedTuple):
    """Header of a file.

    Parameters
    ----------
    kind : FileKind
        What it holds.
    params : bytes
        First 8 bytes of the digest of the map's parameters.
    map_id : bytes
        The map of a journal; zeros in others.
    first : int
        Number of the first record of a journal; 0 in others.
    operation : int
        Number of the operation that comes next where a journal begins, as clients see it; 0 in others.
    time : int
        When it was begun, in milliseconds since 1970.
    """

    kind: int
    params: bytes
    map_id: bytes
    first: int
    operation: int
    time: int

    def pack(self) -> bytes:
        """Return the bytes of the header."""
        head = _HEAD.pack(MAGIC, VERSION, *self)
        return head + _CRC.pack(zlib.crc32(head))


def frames(head: bytes, offset: int, synced: int, records: bytes) -> bytes:
    """Return whole records in frames, as few as can be, that stand at an offset of the file with a header."""
    parts = []
    for piece in _pieces(records):
        fields = _FRAME.pack(FRAME_MAGIC, len(piece), synced)
        parts += [fields, _CRC.pack(_check(head, offset, fields, piece)), piece]
        offset += FRAME_BYTES + len(piece)
    return b"".join(parts)


def _pieces(records: bytes) -> Iterator[bytes]:
    """Yield whole records in pieces that each fit a frame."""
    at = start = 0
    while len(records) - start > MOST_FRAME_BYTES:
        end = at + max(1, records[at + LINES_AT]) * LINE_BYTES
        if end - start > MOST_FRAME_BYTES:
            yield records[start:at]
            start = at
        at = end
    yield records[start:]


def _check(head: bytes, offset: int, fields: bytes, records: bytes | memoryview) -> int:
    return zlib.crc32(records, zlib.crc32(head[-_CRC.size :] + offset.to_bytes(8, "big") + fields))


class FrameReader:
    """Reads a file up to its end, or to the first frame that does not fit.

    Parameters
    ----------
    file : BinaryIO
        The file, at its beginning.
    path : str
        For messages.
    size : int, optional
        Bytes to read; all by default.

    Attributes
    ----------
    head : FileHead or None
        None if the file holds no more than a header, and this is not whole.
    size : int
        Bytes of the file that are read.
    end : int
        Where the last whole frame ended that was read.
    left : int
        Bytes behind it, after the last frame was read.

    Raises
    ------
    InputError
        If the file has another version.
    DamagedError
        If the header is altered.
    """

    def __init__(self, file: BinaryIO, path: str, size: int | None = None) -> None:
        self._file, self.path = file, path
        self.size = file.seek(0, 2) if size is None else size
        file.seek(0)
        self._head = file.read(min(HEAD_BYTES, self.size))
        self.end, self.left = HEAD_BYTES, 0
        self.head = self._read_head()

    def _read_head(self) -> FileHead | None:
        head, whole = self._head, len(self._head) == HEAD_BYTES
        if not whole or zlib.crc32(head[: _HEAD.size]) != _CRC.unpack_from(head, _HEAD.size)[0]:
            if self.size <= HEAD_BYTES:  # a header is on disk before anything follows it
                self.left = self.size
                return None
            raise damaged(self.path, Damage.ALTERED, "its header does not fit its checksum")
        magic, version, *fields = _HEAD.unpack_from(head)
        if magic != MAGIC or version != VERSION:
            raise InputError(f"{self.path} has version {version}, and {VERSION} is wanted: use the omap that wrote it")
        return FileHead._make(fields)

    def frames(self) -> Iterator[bytes]:
        """Yield the records of each frame."""
        if self.head is None:
            return
        while self.end < self.size:
            records = self._frame(self.end)
            if records is None:
                break
            yield records
            self.end += FRAME_BYTES + len(records)
        self.left = self.size - self.end

    def _frame(self, offset: int, above: int = -1) -> bytes | None:
        """Return the records of the frame at an offset, if there is one that says more than ``above`` was synced."""
        self._file.seek(offset)
        start = self._file.read(min(FRAME_BYTES, self.size - offset))
        if len(start) < FRAME_BYTES:
            return None
        magic, length, synced = _FRAME.unpack_from(start)
        fits = magic == FRAME_MAGIC and length <= min(MOST_FRAME_BYTES, self.size - offset - FRAME_BYTES)
        if not fits or synced <= above:
            return None
        records = self._file.read(length)
        if _check(self._head, offset, start[: _FRAME.size], records) != _CRC.unpack_from(start, _FRAME.size)[0]:
            return None
        return records

    def refuse_damage(self) -> None:
        """Refuse what is behind the last whole frame, unless a crash may have left it.

        Raises
        ------
        DamagedError
            If a later frame shows that it was on disk.
        """
        if not self.left or self.head is None:
            return
        self._file.seek(self.end)
        rest = self._file.read(self.left)
        at = rest.find(FRAME_MAGIC, 1)
        while at >= 0:
            # SEC_CM: DATA.DAMAGE.TOLD -- what was synced once and is no more is no crash's torn end
            if self._frame(self.end + at, above=self.end) is not None:
                what = f"{at} bytes from byte {self.end} on do not fit their checksum"
                raise damaged(self.path, Damage.ALTERED, what)
            at = rest.find(FRAME_MAGIC, at + 1)
