"""The device's end of the rings in the shared buffer: what it fetches, and what it writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from omap.params import Params
from omap.wire import (
    HEADER,
    LINE_BYTES,
    RING_LINES,
    SEQUENCE_AT,
    BufferLayout,
    Counter,
    Header,
    RecordType,
    read_counter,
    write_counter,
)


class Fetched(NamedTuple):
    """A record as it was fetched, or several DATA records that differ in what is sealed and in their sequence alone.

    Parameters
    ----------
    header : Header
        The header of the first.
    data : bytes
        All of them.
    fits : bool
        Whether the lines fit type and count.
    records : int
        How many there are.
    """

    header: Header
    data: bytes
    fits: bool
    records: int = 1


class Output:
    """Records that go into the journal ring, for which nothing else runs.

    Parameters
    ----------
    records : iterator of bytes
        The records.
    done : callable
        Called when all of them are there.
    """

    def __init__(self, records: Iterator[bytes], done: Callable[[], None]) -> None:
        self._records, self.done = records, done
        self.record = next(records, None)

    def advance(self) -> None:
        """Go on to the next record."""
        self.record = next(self._records, None)


def _equal(data: bytes, at: int, size: int, most: int) -> int:
    """Return how many records of ``size`` bytes follow each other from a place on whose headers differ in sequence."""
    start, end = data[at : at + SEQUENCE_AT], len(data) - size
    count, at = 1, at + size
    while count < most and at <= end and data.startswith(start, at):
        count, at = count + 1, at + size
    return count


class DeviceRings:
    """Fetches commands, and writes responses and a journal.

    Parameters
    ----------
    params : Params
        The map.
    buffer : memoryview
        The shared buffer.
    ring_lines : int
        Lines of each ring, a power of two.
    journal : bool
        Whether commands are journalled, so that they need room in the journal ring.

    Reveals
        How many lines were fetched and written, and when.
    """

    def __init__(
        self, params: Params, buffer: memoryview, *, ring_lines: int = RING_LINES, journal: bool = False
    ) -> None:
        self.layout = BufferLayout(params, ring_lines)
        self.buffer = buffer
        self._journals = journal
        self._saved = 0  # lines by which responses were shorter than their commands

    def fetch(
        self, limit: int, lines_of: Callable[[Header], int], *, single: bool = False
    ) -> tuple[list[Fetched], int]:
        """Return whole records that wait in the command ring, none after an END, and their lines; these are fetched.

        Parameters
        ----------
        limit : int
            Operations after which no further record is fetched. A record without operations counts as one.
        lines_of : callable
            Lines of the record with a header; 0 if it is malformed, and then one line is fetched.
        single : bool
            Return each record by itself.
        """
        layout, ring = self.layout, self.layout.ring_lines
        fetched = read_counter(self.buffer, Counter.COMMANDS_FETCHED)
        written = read_counter(self.buffer, Counter.COMMANDS_WRITTEN)
        answered = read_counter(self.buffer, Counter.RESPONSES_WRITTEN)
        # what can't have been taken is not believed; whatever the host writes, no more than a whole ring is fetched
        taken = min(read_counter(self.buffer, Counter.RESPONSES_TAKEN), answered)
        room = self.journal_room() if self._journals else ring
        available = max(0, min(written - fetched, taken + self._saved + ring - fetched, room, ring))
        data = layout.read_lines(self.buffer, layout.commands, fetched, available)  # each line is read once
        records: list[Fetched] = []
        at = 0
        while at < len(data) and limit > 0:
            header = Header._make(HEADER.unpack_from(data, at))
            lines = lines_of(header)
            size = LINE_BYTES * (lines or 1)
            if at + size > len(data):
                break  # the rest is not there yet, or there is no room for its response
            count = 1
            if header.type == RecordType.DATA and lines and not single:
                count = _equal(data, at, size, -(-limit // header.count))
            records.append(Fetched(header, data[at : at + count * size], lines > 0, count))
            limit -= count * max(1, header.count)
            at += count * size
            if header.type == RecordType.END:
                break
        if records:
            write_counter(self.buffer, Counter.COMMANDS_FETCHED, fetched + at // LINE_BYTES)
        return records, at // LINE_BYTES

    def answer(self, answers: list[bytes], lines: int) -> None:
        """Write the answers to commands of so many lines."""
        self._saved += lines - self._write(self.layout.responses, Counter.RESPONSES_WRITTEN, b"".join(answers))

    def journal(self, records: list[bytes]) -> None:
        """Write records into the journal ring, which must have room."""
        self._write(self.layout.journal, Counter.JOURNAL_WRITTEN, b"".join(records))

    def write_output(self, output: Output) -> bool:
        """Write as many records of an output into the journal ring as fit; return whether there was one."""
        room, records = self.journal_room(), []
        while output.record is not None and len(output.record) // LINE_BYTES <= room:
            room -= len(output.record) // LINE_BYTES
            records.append(output.record)
            output.advance()
        self.journal(records)
        return bool(records)

    def journal_room(self) -> int:
        """Return how many lines of the journal ring are free."""
        written = read_counter(self.buffer, Counter.JOURNAL_WRITTEN)
        return self.layout.ring_lines - written + min(read_counter(self.buffer, Counter.JOURNAL_TAKEN), written)

    def _write(self, ring: int, counter: Counter, data: bytes) -> int:
        written, lines = read_counter(self.buffer, counter), len(data) // LINE_BYTES
        self.layout.write_lines(self.buffer, ring, written, data)
        write_counter(self.buffer, counter, written + lines)
        return lines
