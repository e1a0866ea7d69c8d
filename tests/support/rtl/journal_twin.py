# amaranth: UnusedElaboratable=no
"""The sessions block with a journal and the reference side by side: what both write for the host's disk, compared."""

from omap.journal import Journal
from omap.lineage import NO_ANCESTORS
from omap.snapshot import snapshot
from omap.source import Source
from omap.wire import RecordType, read_header
from tests.support.rtl.session_bench import Twin, records_of
from tests.support.rtl.session_ends import MAP_ID
from tests.support.rtl.snapshots import drawn_slots, slot_items


class JournalTwin(Twin):
    """A run whose journal is compared, too."""

    def __init__(self, *args, **options):
        self.journalled, self.got_journal = [], []
        super().__init__(*args, **options)

    def format(self):
        self.begin_format()
        self.begin_journal(NO_ANCESTORS, 0)

    def begin_format(self):
        """Format, but let no journal begin."""
        for name, value in (("room", 1), ("fits", 1), ("begin", 0)):
            self.bench.set(name, value)
        super().format()

    def begin_journal(self, lineage, operation):
        """Let the journal of a map begin whose next operation has this number."""
        self.operation = operation
        self.journal = Journal(self.codec, self.root_key, MAP_ID, lineage)
        self.journalled += self.journal.begin()
        self.bench.set("begin", 1)

    def export(self):
        """Have both write a snapshot, of drawn slots, and go on."""
        self.settle()
        self.bench.set("open_", 0)
        source = Source(
            MAP_ID, self.fresh.export_id(), self.params.digest, self.operation, self.journal.next, self.codec.chunks
        )
        slots = drawn_slots(self.params, self.rng.randrange(1 << 30))
        self.journalled += snapshot(self.codec, self.root_key, source, [slots], self.journal.lineage)
        self.bench.set("export", 1)
        self.bench.run(1)
        self.bench.set("export", 0)
        self.bench.source("i_slot").push(slot_items(self.params, slots))
        self.bench.run_until(limit=1 << 16, values={"exported": 1})
        self.bench.set("open_", 1)

    def ran(self, columns, answers, first):
        self.operation += len(columns.kinds)
        self.journalled += self.journal.records([len(columns.kinds)], columns, answers, first)

    def step(self, cycles):
        super().step(cycles)
        self.got_journal += self.bench.sink("o_journal").take()

    def settle(self, limit=200000):
        super().settle(limit)
        end = self.bench.cycle + limit
        while self.bench.get("begin") and not self.bench.get("begun"):
            assert self.bench.cycle < end
            self.step(40)
        assert records_of(self.got_journal) == self.journalled
        self.check_order()

    def check_order(self):
        """Compare when the last beats of responses and of their journal records left."""
        sinks = {name: self.bench.sink(name).cycles for name in ("o_record", "o_journal")}
        ends = {
            "o_record": [sinks["o_record"][at] for at, beat in enumerate(self.got_beats) if beat >> 128],
            "o_journal": [sinks["o_journal"][at] for at, beat in enumerate(self.got_journal) if beat >> 128],
        }
        responses = [
            end
            for end, answer in zip(ends["o_record"], self.answers, strict=True)
            if read_header(answer).type == RecordType.DATA
        ]
        records = [
            end
            for end, record in zip(ends["o_journal"], self.journalled, strict=True)
            if read_header(record).type == RecordType.JOURNAL
        ]
        assert all(record < response for record, response in zip(records, responses, strict=True))
