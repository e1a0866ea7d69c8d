"""An engine whose map is kept, and the device model beside it: journals, snapshots and restores of both."""

import numpy as np

from host.records import split
from omap.bodies import unpack_columns
from omap.journal import journal_nonce, sealed_part
from omap.operations import Kind
from omap.regmap import Request, State
from omap.snapshot import snapshot_cipher
from omap.source import END, read_source
from omap.wire import (
    HEADER,
    LINE_BYTES,
    PREAMBLE_BYTES,
    Counter,
    RecordType,
    read_counter,
    read_header,
    write_counter,
)
from tests.support.rtl.engine_bench import Twin
from tests.support.rtl.session_bench import ROOT_KEY


class KeptTwin(Twin):
    """A twin whose host takes the journal, too. Snapshots are the same but for which waiting slot holds which tuple.

    Attributes
    ----------
    journal : list of bytes
        Records that the engine has written into the journal ring.
    """

    def __init__(self, seed, **options):
        self.journal, self.unfinished = [], b""
        super().__init__(seed, **options)

    # -- the journal's ring -------------------------------------------------------------------------------------

    @property
    def journalled(self):
        """Lines of the journal that the engine has written."""
        return read_counter(self.buffer, Counter.JOURNAL_WRITTEN)

    def keep(self):
        """Take what is in the journal's ring, each record of which must be the model's."""
        layout, written = self.layout, self.journalled
        taken = read_counter(self.buffer, Counter.JOURNAL_TAKEN)
        assert written - taken <= layout.ring_lines
        data = self.unfinished + layout.read_lines(self.buffer, layout.journal, taken, written - taken)
        write_counter(self.buffer, Counter.JOURNAL_TAKEN, written)
        wanted = split(self.model.journal)
        while data and len(data) >= (size := LINE_BYTES * read_header(data).lines):
            record, data = data[:size], data[size:]
            right = wanted[len(self.journal)]
            if read_header(record).type == RecordType.SNAPSHOT:
                assert (len(record), record[: HEADER.size]) == (len(right), right[: HEADER.size])
            else:
                assert record == right
            self.journal.append(record)
        self.unfinished = data

    def take(self):
        self.keep()
        super().take()
        # what is answered is in the journal
        ran = sum(read_header(answer).type == RecordType.DATA for answer in self.got)
        assert sum(read_header(record).type == RecordType.JOURNAL for record in self.journal) >= ran

    def compare(self):
        self.keep()
        assert (len(self.journal), self.unfinished) == (len(split(self.model.journal)), b"")
        if any(read_header(record).type == RecordType.SNAPSHOT for record in self.journal):
            layout = self.layout  # each record was compared; the ring may hold a part of a snapshot
            memoryview(self.model.buffer)[layout.journal : layout.pages] = self.buffer[layout.journal : layout.pages]
        super().compare()

    def arrives(self, done):
        self.keep()
        return done()

    @property
    def all_answered(self):
        self.keep()
        return super().all_answered

    # -- snapshots ----------------------------------------------------------------------------------------------

    def export(self, *, by_register=True):
        """Have both write a snapshot; compare and return the engine's: SOURCE, SNAPSHOT records, START."""
        begins = len(self.journal)
        self.request(Request.EXPORT, by_register=by_register)
        self.run.until(lambda: self.arrives(lambda: len(self.journal) == len(split(self.model.journal))), limit=5000)
        assert self.state is State.READY
        ours, theirs = self.journal[begins:], split(self.model.journal)[begins:]
        (kinds, rows), (their_kinds, their_rows) = self.slots(ours), self.slots(theirs)
        pages = self.params.pages * self.params.page_slots
        assert (kinds[:pages] == their_kinds[:pages]).all()
        assert (rows[:pages] == their_rows[:pages]).all()
        for rest in (kinds[self.params.slots :], their_kinds[self.params.slots :]):
            assert not rest.any()
        assert sorted(map(bytes, rows[pages:])) == sorted(map(bytes, their_rows[pages:]))
        return ours

    def slots(self, records):
        """Open a snapshot; return kind, and kind, key and value, of all its slots."""
        source = read_source(records[0])
        assert source.chunks == len(records) - 2 == self.codec.chunks
        cipher = snapshot_cipher(ROOT_KEY, source)
        items = b""
        for number, record in enumerate(records[1:-1]):
            head = record[: HEADER.size]
            nonce = journal_nonce(RecordType.SNAPSHOT, number)
            text = cipher.decrypt(nonce, sealed_part(record), head + source.fields())
            assert not any(text[:PREAMBLE_BYTES])
            items += text[PREAMBLE_BYTES:][: self.codec.most_operations * self.codec.item_bytes]
        columns = unpack_columns(self.codec, items)
        assert set(columns.kinds.tolist()) <= {Kind.NOP, Kind.PUT}
        rows = np.concatenate([columns.kinds[:, None], columns.keys, columns.values], axis=1)
        assert not rows[columns.kinds == Kind.NOP].any()
        return columns.kinds, rows

    # -- restores -----------------------------------------------------------------------------------------------

    def record_lines(self, header):
        restore = self.model.device._restore
        return restore.lines(header) if restore else super().record_lines(header)

    def restore(self, records, *, end=END, by_register=True):
        """Have both restore a map; return the answers to its records."""
        self.request(Request.RESTORE, by_register=by_register)
        assert self.state is State.RESTORING
        return self.feed_all([*records, end])

    def feed_all(self, records):
        """Give records to both and return the answers when the engine has given them all, too."""
        answers = [self.feed(record) for record in records]
        self.rest()
        return answers
