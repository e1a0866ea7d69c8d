"""The journal of a map: for each command record that ran, a sealed record of what it changed.

====================  ==================================================================================
body of a record      ``number of the first operation (64 bits) || zeros (64) || item || ... || zeros``, an item is
                      ``kind || key || value``
====================  ==================================================================================

A journal holds *effects*: the PUTs and DELETEs that answered OK. All other operations are NOPs with zeros in it. So
running a journal again gives the same map, whatever the clients' rights are and whether or not the map was full. A
record has the lines and the count of its command, whatever the operations are.

A journal begins with a SOURCE in the clear, which names its map (:mod:`omap.source`). Record n after that has n as its
sequence, and the nonce ``type (32 bits) || n (64)``. Record 0 is a START (:mod:`omap.lineage`).
:data:`omap.kdf.JOURNAL` gives a key for each map and each 2^32 records. The header is the additional data.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import groupby

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from omap.bodies import column_items, texts
from omap.columns import Answers, Columns
from omap.kdf import JOURNAL
from omap.lineage import Lineage, start_text
from omap.operations import Kind, Status
from omap.source import Source
from omap.wire import HEADER, PREAMBLE_BYTES, RecordCodec, RecordType, start_lines

ERA_BITS = 32
"""log2 of the records that one journal key seals."""

_NOP, _PUT, _DELETE, _OK = map(int, (Kind.NOP, Kind.PUT, Kind.DELETE, Status.OK))  # an enum is slow to look into
assert not _NOP

_OPERATION = struct.Struct(">Q")
_PREAMBLE = np.dtype([("operation", ">u8"), ("zeros", ">u8")])
assert _PREAMBLE.itemsize == PREAMBLE_BYTES


def journal_nonce(type_: int, number: int) -> bytes:
    """Return the 12-byte nonce of a record of a journal or a snapshot."""
    # SEC_CM: JOURNAL.NONCE.UNIQUE -- type and number are in every nonce, so none repeats under one key
    return (type_ << 64 | number).to_bytes(12, "big")


def effects(columns: Columns, answers: Answers) -> Columns:
    """Return what operations changed: a NOP with zeros in place of each that changed nothing."""
    kinds, keys, values = columns
    puts = kinds == _PUT
    # SEC_CM: JOURNAL.EFFECTS.UNIFORM -- each operation has its item, whatever it is and whatever it found
    changed = (puts | (kinds == _DELETE)) & (answers.statuses == _OK)
    return Columns(kinds * changed, keys * changed[:, None], values * (puts & changed)[:, None])


class JournalKeys:
    """The ciphers of a map's journal.

    Parameters
    ----------
    root_key : bytes
        32 secret bytes.
    map_id : bytes
        16 bytes.
    """

    def __init__(self, root_key: bytes, map_id: bytes) -> None:
        self._root_key, self._map_id = root_key, map_id
        self._era, self._cipher = -1, AESGCM(bytes(32))

    def cipher(self, number: int) -> AESGCM:
        """Return the cipher of record ``number``."""
        era = number >> ERA_BITS
        if era != self._era:
            self._cipher = AESGCM(JOURNAL.derive(self._root_key, self._map_id, era.to_bytes(4, "big")))
            self._era = era
        return self._cipher


class Journal:
    """Seals the journal of a map.

    Parameters
    ----------
    codec : RecordCodec
        Sizes of the records.
    root_key : bytes
        32 secret bytes.
    map_id : bytes
        16 bytes.
    lineage : Lineage
        Ancestors of the map.

    Attributes
    ----------
    next : int
        Number of the next record.

    Reveals
        The map id; how many records there are, of how many operations; for a START, how many ancestors the map has.
    """

    def __init__(self, codec: RecordCodec, root_key: bytes, map_id: bytes, lineage: Lineage) -> None:
        self.codec, self.lineage, self.next = codec, lineage, 0
        self._map_id, self._keys = map_id, JournalKeys(root_key, map_id)

    def begin(self) -> list[bytes]:
        """Return the SOURCE and the START that begin the journal."""
        assert not self.next
        count = len(self.lineage.ancestors)
        text = start_text(self.codec.params.digest, self._map_id, self.lineage)
        return [Source(self._map_id).record(), self._seal(RecordType.START, start_lines(count), count, text)]

    def records(self, counts: Sequence[int], columns: Columns, answers: Answers, first: int) -> list[bytes]:
        """Return the records of commands that ran.

        Parameters
        ----------
        counts : sequence of int
            Operations of each command record.
        columns : Columns
            All their operations, as they ran.
        answers : Answers
            What the map answered to them.
        first : int
            Number of the first of them, as clients see it.
        """
        codec, size = self.codec, self.codec.item_bytes
        items, end, records = column_items(codec, effects(columns, answers)), 0, []
        for count, equal in groupby(counts):
            number = len(list(equal))
            start, end = end, end + count * number
            preambles = np.zeros(number, _PREAMBLE)
            preambles["operation"] = first + start + count * np.arange(number, dtype=np.uint64)
            for text in texts(codec, count, preambles, items[start * size : end * size]):
                records.append(self._seal(RecordType.JOURNAL, codec.sizes[count], count, text))
        return records

    def _seal(self, type_: int, lines: int, count: int, text: bytes) -> bytes:
        number = self.next
        head = HEADER.pack(type_, 0, lines, count, 0, number)
        self.next += 1
        return head + self._keys.cipher(number).encrypt(journal_nonce(type_, number), text, head)


def first_operation(text: bytes) -> int:
    """Return the number of the first operation, from the body of a record."""
    number: int = _OPERATION.unpack_from(text)[0]
    return number


def sealed_part(record: bytes) -> bytes:
    """Return the sealed body and the tag of a record."""
    return record[HEADER.size :]
