"""A host that keeps the journal and the snapshots of a device model, and gives them back to it."""

from collections.abc import Iterable
from typing import Any

from omap.params import Params
from omap.regmap import Request, State
from omap.source import END
from omap.wire import Counter, RecordType, read_header, write_counter
from tests.support.ring_host import RingHost


class JournalHost(RingHost):
    """Takes whatever the device writes into the journal ring, as soon as it is there.

    Attributes
    ----------
    journal : list of bytes
        Records of the present map's journal: SOURCE, START, then one for each command record that ran.
    """

    def __init__(self, ring_lines: int = 128, params: Params | None = None, **options: Any) -> None:
        self.journal: list[bytes] = []
        super().__init__(ring_lines, params, journal=True, **options)
        self.take_journal()

    def taken(self) -> list[bytes]:
        """Take all records out of the journal ring and return them."""
        taken, written, records = self.counter(Counter.JOURNAL_TAKEN), self.counter(Counter.JOURNAL_WRITTEN), []
        with memoryview(self.buffer) as view:
            while taken < written:
                lines = read_header(self.layout.read_lines(view, self.layout.journal, taken, 1)).lines
                assert taken + lines <= written
                records.append(self.layout.read_lines(view, self.layout.journal, taken, lines))
                taken += lines
        write_counter(self.buffer, Counter.JOURNAL_TAKEN, taken)
        return records

    def take_journal(self) -> list[bytes]:
        """Take the journal so far and return what is new."""
        new = self.taken()
        for record in new:
            if read_header(record).type == RecordType.SOURCE:
                self.journal = []
            self.journal.append(record)
        return new

    def exchange(self, *records: bytes) -> list[bytes]:
        """Put commands and return the responses, see :meth:`RingHost.exchange`."""
        for record in records:
            self.put(record)
        while self.device.step() or self.take_journal():
            pass
        answers = [self.take() for _ in records]
        assert self.counter(Counter.RESPONSES_TAKEN) == self.counter(Counter.RESPONSES_WRITTEN)
        return answers

    @property
    def map_id(self) -> bytes:
        """Id of the present map, which is public."""
        return self.device._map.map_id

    def export(self) -> list[bytes]:
        """Return the records of a snapshot."""
        self.take_journal()
        self.device.registers.write("REQUEST", Request.EXPORT)
        records: list[bytes] = []
        while self.device.step():
            records += self.taken()
        assert self.device.state is State.READY
        assert self.device.registers.read("REQUEST") == Request.NONE
        return records

    def give(self, records: Iterable[bytes]) -> list[bytes]:
        """Have the device restore from records, as many as it takes; return the answers so far."""
        self.request(Request.RESTORE)
        assert self.device.state is State.RESTORING
        answers = []
        for record in records:
            self.put(record)
            while self.device.step() or self.take_journal():
                pass
            while self.counter(Counter.RESPONSES_TAKEN) < self.counter(Counter.RESPONSES_WRITTEN):
                answers.append(self.take())
                if read_header(answers[-1]).type == RecordType.REFUSED:
                    self.drop_responses()
            if read_header(answers[-1]).type == RecordType.REFUSED:
                break
        return answers

    def drop_responses(self) -> None:
        """Take all responses: lines of a record that is malformed are refused one by one."""
        write_counter(self.buffer, Counter.RESPONSES_TAKEN, self.counter(Counter.RESPONSES_WRITTEN))

    def restore(self, records: Iterable[bytes]) -> None:
        """Have the device restore from records, and demand that it does."""
        records = [*records, END]
        answers = self.give(records)
        assert [read_header(answer)[:4] for answer in answers] == [(read_header(one).type, 0, 1, 0) for one in records]
        assert self.device.state is State.READY
