"""What a device takes while it restores a map, and in which order.

====================  ==================================================================================
of a snapshot         ``SOURCE``, its ``SNAPSHOT`` records, its ``START``: only at the very beginning
of a journal          ``JOURNAL`` records, from exactly the number on that the snapshot names
of a later map        ``SOURCE`` that begins a journal, ``START``, ``JOURNAL`` records from number 1 on
at the end            ``END``
====================  ==================================================================================

A map that was never in a snapshot begins with the SOURCE and the START of its own journal. Maps may form a chain: each
was restored from the one before. The START of each names the map before it as its parent, and as many operations of it
as were restored here. So no operation is left out, and none runs twice.

Each item is one operation of the new map, used or not. So how many operations a restore runs, and when, follows from
the lengths of its records alone. The new map has fresh secrets. Its draws have nothing to do with what was shown of the
map that is restored, and nothing with another restore of it.

A record that does not fit is refused, and with it the whole restore: nothing stays of the new map.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import Protocol

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from omap.bodies import command_items, unpack_columns
from omap.columns import Answers, Bytes
from omap.device_rings import Fetched
from omap.journal import JournalKeys, first_operation, journal_nonce, sealed_part
from omap.lineage import NO_ANCESTORS, NO_MAP, Lineage, Start, read_start
from omap.operations import Status
from omap.snapshot import snapshot_cipher
from omap.source import END_HEADER, SOURCE_HEADER, Source, read_source
from omap.wire import HEADER, LINE_BYTES, Header, RecordCodec, RecordType, Refusal, refusal


class Runs(Protocol):
    """What a restore asks of the new map."""

    def execute_arrays(self, kinds: Bytes, keys: Bytes, values: Bytes) -> Answers:
        """Run operations in order."""
        ...


class Phase(Enum):
    """What a restore waits for, if it still waits for something."""

    BEGIN = auto()
    CHUNKS = auto()
    LAST_OF_SNAPSHOT = auto()
    FIRST_OF_JOURNAL = auto()
    JOURNAL = auto()
    COMPLETE = auto()
    FAILED = auto()


EXPECTED = {
    RecordType.SOURCE: (Phase.BEGIN, Phase.JOURNAL),
    RecordType.SNAPSHOT: (Phase.CHUNKS,),
    RecordType.START: (Phase.LAST_OF_SNAPSHOT, Phase.FIRST_OF_JOURNAL),
    RecordType.JOURNAL: (Phase.JOURNAL,),
    RecordType.END: (Phase.JOURNAL,),
}
"""When a record of each type may come."""


class Restore:
    """Opens the records of a restore and demands their order.

    Parameters
    ----------
    codec : RecordCodec
        Sizes of the records.
    root_key : bytes
        32 secret bytes, under which snapshot and journals were sealed.

    Attributes
    ----------
    map_id : bytes
        Id of the map that is restored; the last one of a chain.
    operation : int
        Number of its next operation, as clients see it.
    """

    def __init__(self, codec: RecordCodec, root_key: bytes) -> None:
        self.codec = codec
        self.map_id, self.operation = NO_MAP, 0
        self._root_key = root_key
        self._lineage = NO_ANCESTORS
        self._phase, self._next = Phase.BEGIN, 0
        self._source, self._fields, self._cipher = Source(NO_MAP), b"", AESGCM(bytes(32))
        self._keys = JournalKeys(root_key, NO_MAP)

    @property
    def complete(self) -> bool:
        """Whether END was taken."""
        return self._phase is Phase.COMPLETE

    @property
    def failed(self) -> bool:
        """Whether a record was refused, or did not do what it should. Then nothing more is taken."""
        return self._phase is Phase.FAILED

    @property
    def lineage(self) -> Lineage:
        """Lineage of the new map, after END."""
        return self._lineage.child(self.map_id, self.operation)

    def lines(self, header: Header) -> int:
        """Return the lines of a record with a header, 0 if it is malformed. Commands have theirs, but are refused."""
        what = header.type, header.lines, header.count
        return self.codec.command_lines(*what) or self.codec.restore_lines(*what)

    def run(self, map_: Runs | None, records: Sequence[Fetched]) -> list[bytes]:
        """Take records, run their operations on the new map, and return one answer of one line for each.

        The record at fault is refused with what is wrong, and all after it as failed.

        Parameters
        ----------
        map_ : Runs or None
            The new map. None, if the restore has failed before.
        records : sequence of Fetched
            Records in the order in which they came.

        Reveals
            As :meth:`~omap.interface.ObliviousMap.execute_arrays`; and which record did not fit.
        """
        found = [self.take(each.header, each.data) for each in records]
        # SEC_CM: RESTORE.ITEMS.ALL -- what changes nothing runs as well, so that the count follows from the lengths
        items = [one if isinstance(one, bytes) else b"" for one in found]
        if any(items):
            assert map_ is not None
            columns = unpack_columns(self.codec, b"".join(items))
            answers = map_.execute_arrays(*columns)
            wrong = np.flatnonzero(answers.statuses != Status.OK)
            if len(wrong):
                ends = np.cumsum([len(one) // self.codec.item_bytes for one in items])
                at = int(np.searchsorted(ends, wrong[0], side="right"))
                found[at:] = [Refusal.RESTORE_FAILED] * (len(found) - at)
                self._phase = Phase.FAILED
        return [
            refusal(header, one) if isinstance(one, Refusal) else _taken(header)
            for (header, *_), one in zip(records, found, strict=True)
        ]

    def take(self, header: Header, record: bytes) -> bytes | Refusal:
        """Return the items of the next record, none if it has none; or why it is refused. :meth:`run` runs them."""
        if self.failed:
            return Refusal.RESTORE_FAILED
        what = header.type, header.lines, header.count
        if self.codec.command_lines(*what):
            # SEC_CM: RESTORE.CLIENT.WAITS -- nobody takes half a map for a whole one
            return Refusal.RESTORING
        found = self._take(header, record) if self.codec.restore_lines(*what) else Refusal.MALFORMED
        if isinstance(found, Refusal):
            self._phase = Phase.FAILED
        return found

    def _take(self, header: Header, record: bytes) -> bytes | Refusal:
        # SEC_CM: RESTORE.ORDER.STRICT -- nothing is left out, repeated or exchanged, and nothing comes after the end
        if self._phase not in EXPECTED.get(RecordType(header.type), ()):
            return Refusal.OUT_OF_TURN
        match header.type:
            case RecordType.SOURCE:
                return self._begin(header, record)
            case RecordType.END:
                self._phase = Phase.COMPLETE
                return b"" if header == END_HEADER else Refusal.MALFORMED
        if header.sequence != self._next:
            return Refusal.OUT_OF_TURN
        try:
            text = self._open(header, record)
        except InvalidTag:
            return Refusal.ALTERED
        self._next += 1
        match header.type:
            case RecordType.START:
                return self._started(read_start(text, header.count))
            case RecordType.SNAPSHOT:
                if self._next == self._source.chunks:
                    self._phase = Phase.LAST_OF_SNAPSHOT
            case RecordType.JOURNAL:
                if first_operation(text) != self.operation:
                    return Refusal.RESTORE_FAILED
                self.operation += header.count
        return command_items(self.codec, text, header.count)

    def _begin(self, header: Header, record: bytes) -> bytes | Refusal:
        source = self._source = read_source(record)
        self._fields = record[HEADER.size :]  # as they came, what has no meaning included
        if header != SOURCE_HEADER or (not source.chunks and record != Source(source.map_id).record()):
            return Refusal.MALFORMED
        self._next = 0
        if not source.chunks:
            self._keys, self._phase = JournalKeys(self._root_key, source.map_id), Phase.FIRST_OF_JOURNAL
            return b""
        if self._phase is not Phase.BEGIN:
            return Refusal.OUT_OF_TURN
        if (source.digest, source.chunks) != (self.codec.params.digest, self.codec.chunks):
            return Refusal.RESTORE_FAILED
        self._cipher, self._phase = snapshot_cipher(self._root_key, source), Phase.CHUNKS
        return b""

    def _open(self, header: Header, record: bytes) -> bytes:
        nonce, head = journal_nonce(header.type, header.sequence), record[: HEADER.size]
        if self._phase in (Phase.CHUNKS, Phase.LAST_OF_SNAPSHOT):
            return self._cipher.decrypt(nonce, sealed_part(record), head + self._fields)
        return self._keys.cipher(header.sequence).decrypt(nonce, sealed_part(record), head)

    def _started(self, start: Start) -> bytes | Refusal:
        source, of_snapshot = self._source, self._phase is Phase.LAST_OF_SNAPSHOT
        # SEC_CM: RESTORE.CHAIN.MATCHED -- a map goes on where its parent was restored up to, and nowhere else
        if not of_snapshot and start.parent != (self.map_id, self.operation):
            return Refusal.RESTORE_FAILED
        if (start.digest, start.map_id) != (self.codec.params.digest, source.map_id):
            return Refusal.RESTORE_FAILED
        if of_snapshot:
            self.operation, self._next = source.operation, source.journal
            self._keys = JournalKeys(self._root_key, source.map_id)
        self.map_id, self._lineage, self._phase = source.map_id, start.lineage, Phase.JOURNAL
        return b""


def _taken(header: Header) -> bytes:
    """Return the answer to a record that was taken."""
    return Header(header.type, 0, 1, 0, 0, header.sequence).pack().ljust(LINE_BYTES, b"\0")
