"""The rings of a device: copies whole records into the shared buffer and out of it, and counts their lines.

The counters in the shared buffer alone say how far a driver has come, so that a new driver can take over from one that
crashed: commands that were submitted run, and their answers wait in the ring. Answers have no more lines than their
commands, so the commands from COMMANDS_SETTLED on say which answers are due.

The work is done for each run of records of one length, not for each operation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

from host.records import LINES_AT, LOOK, TYPE_AT, Run, runs
from omap.errors import DeviceError, InputError
from omap.wire import LINE_BYTES, MOST_ANCESTORS, BufferLayout, Counter, RecordCodec, RecordType, start_lines

_SHORT = frozenset({RecordType.REFUSED, *range(RecordType.JOURNAL, RecordType.END + 1)})
"""Answers of one line to commands of any length: refusals, and answers to records that restore a map."""

_HALF = 32
_MASK = (1 << _HALF) - 1


@dataclass
class Statistics:
    """What was done with the rings. All of it is public: the device's host sees as much.

    Parameters
    ----------
    commands, responses : int
        Records put into the rings and taken out.
    batches : int
        Calls that put something.
    ring_full : int
        Calls that did not put everything, because there was no room.
    most_in_flight : int
        Most lines of commands whose answers were not taken yet.
    inherited : int
        Lines of commands that were in flight when this driver attached.
    """

    commands: int = 0
    responses: int = 0
    batches: int = 0
    ring_full: int = 0
    most_in_flight: int = 0
    inherited: int = 0

    def to_dict(self) -> dict[str, int]:
        """Return the numbers by name."""
        return asdict(self)


class Rings:
    """The host's end of all rings. The counters that the host writes have one writer: this object.

    Parameters
    ----------
    layout : BufferLayout
        Where things lie in the shared buffer.
    buffer : memoryview
        The shared buffer.
    notify : callable
        Tells the device that there is something to do.
    restoring : bool
        Whether the records in flight, if there are any, were meant to restore a map.

    Attributes
    ----------
    statistics : Statistics
        Numbers since this object was made.
    restoring : bool
        Whether records that are put from now on restore a map.

    Raises
    ------
    DeviceError
        If the device's counters make no sense.

    Reveals
        When and how many records come and go, and of how many lines; the host of the device sees that anyway.
    """

    def __init__(
        self, layout: BufferLayout, buffer: memoryview, notify: Callable[[], None], *, restoring: bool = False
    ) -> None:
        self.statistics = Statistics()
        self._layout, self._buffer, self._notify = layout, buffer, notify
        self._codec = RecordCodec(layout.params)
        self._most_lines = max(self._codec.most_lines, start_lines(MOST_ANCESTORS))
        self.restoring = restoring
        self._due: deque[Run] = deque()
        self._counters = buffer[: layout.commands].cast("Q")
        self._attach()
        self.statistics.inherited = self.in_flight

    def _get(self, counter: Counter) -> int:
        return self._counters[counter >> 3]

    def _attach(self) -> None:
        """Go on where the last driver has come to."""
        written, taken, both = map(
            self._get, (Counter.COMMANDS_WRITTEN, Counter.RESPONSES_TAKEN, Counter.COMMANDS_SETTLED)
        )
        self._written, self._settled = written, written - (written - (both >> _HALF) & _MASK)
        # a driver that ended between the two stores of take() has taken what only the first one says
        self._taken = taken + (both - taken & _MASK)
        self._fetched, self._answered = self._settled, self._taken
        self._journalled = self._get(Counter.JOURNAL_TAKEN)
        if self._settled < 0 or self.in_flight > self._layout.ring_lines:
            raise self._nonsense(self._get(Counter.COMMANDS_FETCHED), self._get(Counter.RESPONSES_WRITTEN))
        self._look()
        self._counters[Counter.RESPONSES_TAKEN >> 3] = self._taken
        commands = self._layout.read_lines(self._buffer, self._layout.commands, self._settled, self.in_flight)
        try:
            self._expect(runs(self._codec, memoryview(commands), self.in_flight, restoring=self.restoring))
        except InputError as error:
            raise DeviceError(f"the command ring makes no sense: {error}; restart the device") from None

    def _look(self) -> None:
        """Read the device's counters. They must lie where the device can have got to."""
        fetched, answered = self._get(Counter.COMMANDS_FETCHED), self._get(Counter.RESPONSES_WRITTEN)
        if not (
            self._fetched <= fetched <= self._written
            and self._answered <= answered <= self._taken + self._written - self._settled
        ):
            raise self._nonsense(fetched, answered)
        self._fetched, self._answered = fetched, answered

    def _nonsense(self, fetched: int, answered: int) -> DeviceError:
        return DeviceError(
            f"the device's counters make no sense: {fetched} lines of commands fetched and {answered} of responses "
            f"written, of {self._written} of commands written, {self._settled} settled, and {self._taken} of responses "
            "taken; restart the device"
        )

    def _expect(self, commands: Iterable[Run]) -> None:
        """Take note of commands whose answers are due."""
        due = self._due
        for run in commands:
            if due and due[-1].lines == run.lines:
                due[-1] = Run(run.lines, due[-1].records + run.records)
            else:
                due.append(run)

    @property
    def due(self) -> list[Run]:
        """The commands that were submitted and whose answers were not taken, in their order."""
        return list(self._due)

    @property
    def in_flight(self) -> int:
        """Lines of the commands that were submitted and whose answers were not taken."""
        return self._written - self._settled

    @property
    def room(self) -> int:
        """Lines of commands that fit now.

        There are never more in flight than the ring has, so that the device can always write its answers.
        """
        return self._layout.ring_lines - self.in_flight

    @property
    def answered(self) -> int:
        """Lines of answers that can be taken now. Raises DeviceError if the device's counters make no sense."""
        self._look()
        return self._answered - self._taken

    def put(self, records: bytes | bytearray | memoryview) -> int:
        """Put as many records into the ring as fit, and return how many bytes they have.

        Parameters
        ----------
        records : bytes-like
            Whole records, one after the other. What is malformed is put as records of one line, as the device takes it.

        Reveals
            When and how many records were put, and of how many lines.

        Raises
        ------
        InputError
            If these are not whole records. None was put then.
        DeviceError
            If the device is gone.
        """
        with memoryview(records) as view:
            if len(view) % LINE_BYTES:
                raise InputError(f"{len(view)} bytes are no whole number of {LINE_BYTES}-byte lines")
            found = list(runs(self._codec, view, self.room, restoring=self.restoring))
            lines = sum(run.lines * run.records for run in found)
            size = lines * LINE_BYTES
            self.statistics.ring_full += size < len(view)
            if lines:
                with view[:size] as part:
                    self.submit(part, found)
        return size

    def submit(self, records: memoryview, found: Sequence[Run]) -> None:
        """Put records into the ring that were looked through already, and for which there is room.

        Parameters
        ----------
        records : memoryview
            Whole records, one after the other.
        found : sequence of Run
            What :func:`host.records.runs` finds in them.
        """
        self._copy_in(records)
        self._expect(found)
        self._written += len(records) // LINE_BYTES
        # the bytes are there before the counter says so; stores of this host are seen in their order (x86)
        self._counters[Counter.COMMANDS_WRITTEN >> 3] = self._written
        self._notify()
        statistics = self.statistics
        statistics.commands += sum([run.records for run in found])
        statistics.batches += 1
        statistics.most_in_flight = max(statistics.most_in_flight, self.in_flight)

    def _copy_in(self, records: memoryview) -> None:
        self._layout.write_lines(self._buffer, self._layout.commands, self._written, records)

    def take(self) -> bytes:
        """Take all answers out of the ring and return their records, one after the other; ``b""`` if there are none.

        The answers come in the order of the commands. Each has the lines of its command, or has one line: a refusal, or
        the answer to a record that restores a map.
        If a driver crashes right after it took answers, its successor may get them once more, because the counter is
        written after the copy.

        Reveals
            When and how many records were taken.

        Raises
        ------
        DeviceError
            If the device's counters make no sense, or the answers do not fit their commands.
        """
        lines = self.answered
        if not lines:
            return b""
        answers = self._layout.read_lines(self._buffer, self._layout.responses, self._taken, lines)
        self._settle(answers)
        self._taken += lines
        # both in one store, so that a driver that attaches later never finds one without the other
        self._counters[Counter.COMMANDS_SETTLED >> 3] = (self._settled & _MASK) << _HALF | self._taken & _MASK
        self._counters[Counter.RESPONSES_TAKEN >> 3] = self._taken  # no device waits for that, see `room`
        return answers

    @property
    def journalled(self) -> int:
        """Lines of the journal ring that can be taken now."""
        return self._get(Counter.JOURNAL_WRITTEN) - self._journalled

    def look_at_journal(self) -> bytes:
        """Return all records of the journal ring, one after the other, and leave them there. Raises as taking does."""
        lines = self.journalled
        if not 0 <= lines <= self._layout.ring_lines:
            raise DeviceError(
                f"the device's counters make no sense: {lines} lines of the journal were written and not taken; "
                "restart the device"
            )
        return self._layout.read_lines(self._buffer, self._layout.journal, self._journalled, lines)

    def take_journal(self) -> bytes:
        """Take all records out of the journal ring and return them, one after the other; ``b""`` if there are none.

        If answers were taken before, the journal records of their commands are among these, or were taken before.

        Reveals
            When and how many records were taken.

        Raises
        ------
        DeviceError
            If the device's counter makes no sense.
        """
        records = self.look_at_journal()
        if records:
            taken, self._journalled = self._journalled, self._journalled + len(records) // LINE_BYTES
            self._counters[Counter.JOURNAL_TAKEN >> 3] = self._journalled
            # to wake a device takes as long as some operations: only one that found no room for a record has to be
            if self._get(Counter.JOURNAL_WRITTEN) - taken + self._most_lines > self._layout.ring_lines:
                self._notify()
        return records

    def _settle(self, answers: bytes) -> None:
        """Strike out the commands that were answered."""
        at, due = 0, self._due
        while at < len(answers):
            lines, records = due[0] if due else (0, 0)
            size = lines * LINE_BYTES
            here = answers[at + LINES_AT : at + min(records, LOOK) * size : size] if size else b""
            fit = min(len(here) - len(here.lstrip(bytes([lines]))), (len(answers) - at) // (size or 1))
            if not fit:
                if not size or answers[at + TYPE_AT] not in _SHORT or answers[at + LINES_AT] != 1:
                    raise DeviceError(
                        f"the device's answers make no sense: one of {answers[at + LINES_AT]} lines answers a command "
                        f"of {lines}; restart the device"
                    )
                fit, size = 1, LINE_BYTES
            at += fit * size
            self._settled += fit * lines
            self.statistics.responses += fit
            if fit == records:
                due.popleft()
            else:
                due[0] = Run(lines, records - fit)

    def close(self) -> None:
        """Let go of the buffer."""
        self._counters.release()
