"""SOURCE and END: the records of a restore that are in the clear.

SOURCE says which map or snapshot the records after it belong to. Its fields are ``map id (16) || export id (16) ||
digest (32) || number of the next operation (64 bits) || number of the next journal record (64) || SNAPSHOT records (32)
|| zeros``. It begins each snapshot, and also the journal of each map: then all fields but the map id are zeros. Nothing
of it is authentic before a record that was sealed for it opens.

END says that a restore has all its records. It is a header and zeros.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from omap.wire import HEADER, LINE_BYTES, SOURCE_LINES, Header, RecordType

_FIELDS = struct.Struct(">16s16s32sQQI28x")
assert HEADER.size + _FIELDS.size == SOURCE_LINES * LINE_BYTES

SOURCE_HEADER = Header(RecordType.SOURCE, 0, SOURCE_LINES, 0, 0, 0)
"""Header of every SOURCE."""

END_HEADER = Header(RecordType.END, 0, 1, 0, 0, 0)
"""Header of END."""

END = END_HEADER.pack().ljust(LINE_BYTES, b"\0")
"""The last record of a restore."""


class Source(NamedTuple):
    """What the records that follow belong to.

    Parameters
    ----------
    map_id, export_id, digest : bytes
        16, 16 and 32 bytes. The latter two are zeros before a journal.
    operation : int
        Number of the next operation, as clients see it; 0 before a journal.
    journal : int
        Number of the journal record that comes next; 0 before a journal.
    chunks : int
        SNAPSHOT records that follow; 0 before a journal.
    """

    map_id: bytes
    export_id: bytes = bytes(16)
    digest: bytes = bytes(32)
    operation: int = 0
    journal: int = 0
    chunks: int = 0

    def fields(self) -> bytes:
        """Return the 112 bytes after the header."""
        return _FIELDS.pack(*self)

    def record(self) -> bytes:
        """Return the whole record."""
        return SOURCE_HEADER.pack() + self.fields()


def read_source(record: bytes) -> Source:
    """Return what a SOURCE says."""
    return Source._make(_FIELDS.unpack_from(record, HEADER.size))
