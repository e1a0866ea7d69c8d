"""The order of records that restore a map, as far as their clear headers show it.

:mod:`omap.restore` is the law and the device enforces it, with keys. Here the host finds out before it asks a device
for anything whether what it has can be right, and how much it is.
"""

from __future__ import annotations

from enum import Enum, auto

from host.data.damage import Damage, damaged
from omap.lineage import NO_MAP
from omap.source import SOURCE_HEADER, Source, read_source
from omap.wire import HEADER, LINE_BYTES, MOST_ANCESTORS, Header, RecordCodec, RecordType


class Phase(Enum):
    """What may come next."""

    BEGIN = auto()
    CHUNKS = auto()
    LAST_OF_SNAPSHOT = auto()
    FIRST_OF_JOURNAL = auto()
    JOURNAL = auto()


_EXPECTED = {
    RecordType.SOURCE: (Phase.BEGIN, Phase.JOURNAL),
    RecordType.SNAPSHOT: (Phase.CHUNKS,),
    RecordType.START: (Phase.LAST_OF_SNAPSHOT, Phase.FIRST_OF_JOURNAL),
    RecordType.JOURNAL: (Phase.JOURNAL,),
    RecordType.END: (),
}


class Chain:
    """Follows the records of a restore up to END, and counts them.

    Parameters
    ----------
    codec : RecordCodec
        Sizes of the records.

    Attributes
    ----------
    phase : Phase
        What may come next.
    maps : list of bytes
        Ids of the maps so far, each made from the one before.
    next : int
        Number of the next record of the present snapshot or journal.
    operation : int
        Number of the next operation, as clients see it.
    records, lines : int
        Records so far, and their lines.
    ancestors : int
        How many ancestors the present map remembers; -1 before its START.
    """

    def __init__(self, codec: RecordCodec) -> None:
        self.codec = codec
        self.phase = Phase.BEGIN
        self.maps: list[bytes] = []
        self.next = self.operation = self.records = self.lines = 0
        self.ancestors = -1
        self._source = Source(NO_MAP)

    @property
    def map_id(self) -> bytes:
        """The present map."""
        return self.maps[-1] if self.maps else NO_MAP

    def take(self, records: bytes, path: str) -> None:
        """Follow whole records.

        Raises
        ------
        DamagedError
            If they can't follow those before; names ``path``. Some may have been taken.
        """
        at, end, unpack = 0, len(records), HEADER.unpack_from
        sizes, journal = self.codec.sizes, RecordType.JOURNAL.value
        while at < end:
            fits = end - at >= LINE_BYTES
            if fits and self.phase is Phase.JOURNAL:  # nearly all records, so it goes quickly
                type_, index, lines, count, session, sequence = unpack(records, at)
                known = type_ == journal and 0 < count < len(sizes) and lines == sizes[count]
                after = at + lines * LINE_BYTES
                if known and sequence == self.next and after <= end and not index and not session:
                    self.next, self.operation = sequence + 1, self.operation + count
                    self.records, self.lines, at = self.records + 1, self.lines + lines, after
                    continue
            header = Header._make(unpack(records, at)) if fits else SOURCE_HEADER
            lines = self.codec.restore_lines(header.type, header.lines, header.count) if fits else 0
            if not lines or header.session or header.session_index or end - at < lines * LINE_BYTES:
                raise damaged(path, Damage.ALTERED, "a record in it has a header that no device writes")
            self._take(header, records[at : at + lines * LINE_BYTES], path)
            self.records += 1
            self.lines += lines
            at += lines * LINE_BYTES

    def _take(self, header: Header, record: bytes, path: str) -> None:
        what = RecordType(header.type)
        if self.phase not in _EXPECTED[what]:
            raise damaged(path, Damage.REPEATED, f"a record of type {what.name} is where none may be")
        if what is RecordType.SOURCE:
            self._begin(read_source(record), record, path)
            return
        if header.sequence != self.next:
            damage = Damage.MISSING if header.sequence > self.next else Damage.REPEATED
            raise damaged(
                path, damage, f"{what.name} record {header.sequence} comes where {self.next} is the next that can be"
            )
        self.next += 1
        if what is RecordType.START:
            self._start(header.count, path)
        elif self.next == self._source.chunks:
            self.phase = Phase.LAST_OF_SNAPSHOT

    def _begin(self, source: Source, record: bytes, path: str) -> None:
        digest = self.codec.params.digest
        if record[: HEADER.size] != SOURCE_HEADER.pack():
            raise damaged(path, Damage.ALTERED, "a SOURCE has a header that no device writes")
        if source.map_id in self.maps:
            raise damaged(path, Damage.REPEATED, f"the map {source.map_id.hex()} comes a second time")
        self.next, self._source = 0, source
        if not source.chunks:
            if record != Source(source.map_id).record():
                raise damaged(path, Damage.ALTERED, "a SOURCE of a journal says more than the map's id")
            self.phase = Phase.FIRST_OF_JOURNAL
            return
        if self.phase is not Phase.BEGIN:
            raise damaged(path, Damage.REPEATED, "a snapshot comes behind other records")
        if (source.digest, source.chunks) != (digest, self.codec.chunks):
            raise damaged(path, Damage.FOREIGN, "the snapshot in it is of a map with other parameters")
        self.operation, self.phase = source.operation, Phase.CHUNKS

    def _start(self, ancestors: int, path: str) -> None:
        if self.phase is Phase.LAST_OF_SNAPSHOT:
            self.next = self._source.journal
        elif ancestors != min(self.ancestors + 1, MOST_ANCESTORS):
            raise damaged(
                path, Damage.FOREIGN, f"its map has {ancestors} ancestors, and was not made from the one before"
            )
        self.maps.append(self._source.map_id)
        self.ancestors, self.phase = ancestors, Phase.JOURNAL
