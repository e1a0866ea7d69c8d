"""A snapshot: all slots of a map, used or not, sealed in records of one size.

A snapshot is a SOURCE in the clear (:mod:`omap.source`), :attr:`omap.wire.RecordCodec.chunks` SNAPSHOT records, and a
START (:mod:`omap.lineage`). A SNAPSHOT record has as many items as a record can have, ``kind || key || value`` after 16
zero bytes: a PUT for each used slot, and a NOP with zeros for each free one. The slots of all pages come first, in
order, then the waiting slots, and NOPs fill up the last record. So size and number of the records follow from the
parameters alone.

The key is of this snapshot alone (:data:`omap.kdf.SNAPSHOT`). The nonce of SNAPSHOT record n is ``type (32 bits) || n
(64)``, and START has as its number how many they are. The additional data are the header and all fields of SOURCE.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from omap.bodies import column_items
from omap.columns import Columns
from omap.journal import journal_nonce
from omap.kdf import SNAPSHOT
from omap.lineage import Lineage, start_text
from omap.source import Source
from omap.wire import (
    PREAMBLE_BYTES,
    Header,
    RecordCodec,
    RecordType,
    start_lines,
)


def snapshot_cipher(root_key: bytes, source: Source) -> AESGCM:
    """Return the cipher of a snapshot."""
    return AESGCM(SNAPSHOT.derive(root_key, source.map_id, source.export_id))


def snapshot(
    codec: RecordCodec, root_key: bytes, source: Source, slots: Iterable[Columns], lineage: Lineage
) -> Iterator[bytes]:
    """Yield the records of a snapshot.

    Parameters
    ----------
    codec : RecordCodec
        Sizes of the records.
    root_key : bytes
        32 secret bytes.
    source : Source
        What stands in its SOURCE. No other snapshot may have its map id and export id.
    slots : iterable of Columns
        All slots of the map, in order, as :meth:`omap.reference.ReferenceMap.export` yields them.
    lineage : Lineage
        Ancestors of the map.

    Reveals
        SOURCE, and how many ancestors the map has.
    """
    cipher, fields, number = snapshot_cipher(root_key, source), source.fields(), 0
    yield source.record()
    head = Header(RecordType.SNAPSHOT, 0, codec.chunk_lines, codec.most_operations, 0, 0)
    size, waiting = codec.most_operations * codec.item_bytes, bytearray()

    def seal(header: Header, text: bytes) -> bytes:
        packed = header.pack()
        return packed + cipher.encrypt(journal_nonce(header.type, header.sequence), text, packed + fields)

    def chunk(items: bytes | bytearray) -> bytes:
        text = (bytes(PREAMBLE_BYTES) + items).ljust(codec.text_bytes(codec.most_operations), b"\0")
        return seal(head._replace(sequence=number), text)

    for columns in slots:
        waiting += column_items(codec, columns)
        whole = len(waiting) // size * size
        for at in range(0, whole, size):
            yield chunk(waiting[at : at + size])
            number += 1
        del waiting[:whole]
    if waiting:
        yield chunk(waiting)
        number += 1
    assert number == source.chunks, "an export yields each slot once"
    count = len(lineage.ancestors)
    text = start_text(source.digest, source.map_id, lineage)
    yield seal(Header(RecordType.START, 0, start_lines(count), count, 0, number), text)
