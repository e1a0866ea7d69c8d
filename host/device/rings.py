"""The rings of a device: copies records into the shared buffer and out of it, and counts them.

The counters in the shared buffer alone say how far a driver has come, so that a new driver can take over from one that
crashed: commands that were submitted run, and their answers wait in the ring.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

from omap.errors import DeviceError, InputError
from omap.wire import BufferLayout, Counter


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
        Most commands whose answers were not taken yet.
    inherited : int
        Commands that were in flight when this driver attached.
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
    """The host's end of both rings. The counters that the host writes have one writer: this object.

    Parameters
    ----------
    layout : BufferLayout
        Where things lie in the shared buffer.
    buffer : memoryview
        The shared buffer.
    notify : callable
        Tells the device that there is something to do.

    Attributes
    ----------
    entries : int
        Records in each ring.
    statistics : Statistics
        Numbers since this object was made.

    Raises
    ------
    DeviceError
        If the device's counters make no sense.

    Reveals
        When and how many records come and go; the host of the device sees that anyway.
    """

    def __init__(self, layout: BufferLayout, buffer: memoryview, notify: Callable[[], None]) -> None:
        self.entries = layout.ring_entries
        self.statistics = Statistics()
        self._layout, self._buffer, self._notify = layout, buffer, notify
        self._size = layout.record_bytes
        self._counters = buffer[: layout.commands].cast("Q")
        written, taken = self._get(Counter.COMMANDS_WRITTEN), self._get(Counter.RESPONSES_TAKEN)
        self._written, self._taken = written, taken
        self._fetched, self._answered = taken, taken
        self._look()
        self.statistics.inherited = self.in_flight

    def _get(self, counter: Counter) -> int:
        return self._counters[counter >> 3]

    def _look(self) -> None:
        """Read the device's counters. They must lie where the device can have got to."""
        fetched, answered = self._get(Counter.COMMANDS_FETCHED), self._get(Counter.RESPONSES_WRITTEN)
        if not (
            self._fetched <= fetched <= self._written
            and self._answered <= answered <= self._written
            and answered - self._taken <= self.entries
            and self._written - fetched <= self.entries
        ):
            raise DeviceError(
                f"the device's counters make no sense: {fetched} commands fetched and {answered} responses written, "
                f"of {self._written} commands written and {self._taken} responses taken; restart the device"
            )
        self._fetched, self._answered = fetched, answered

    @property
    def in_flight(self) -> int:
        """Commands that were submitted and whose answers were not taken."""
        return self._written - self._taken

    @property
    def room(self) -> int:
        """Commands that fit now.

        There are never more in flight than the ring has entries, so that the device can always write its answers.
        """
        return self.entries - self.in_flight

    @property
    def answered(self) -> int:
        """Answers that can be taken now. Raises DeviceError if the device's counters make no sense."""
        self._look()
        return self._answered - self._taken

    def put(self, records: bytes | bytearray | memoryview) -> int:
        """Put as many records into the ring as fit, and return how many.

        Parameters
        ----------
        records : bytes-like
            Whole records, one after the other.

        Reveals
            When and how many records were put.

        Raises
        ------
        InputError
            If these are not whole records.
        DeviceError
            If the device is gone.
        """
        with memoryview(records) as view:
            count, rest = divmod(len(view), self._size)
            if rest:
                raise InputError(f"{len(view)} bytes are no whole number of {self._size}-byte records")
            if count > self.room:
                self.statistics.ring_full += 1
                count = self.room
            if not count:
                return 0
            self._copy_in(view, count)
        self._written += count
        # the bytes are there before the counter says so; stores of this host are seen in their order (x86)
        self._counters[Counter.COMMANDS_WRITTEN >> 3] = self._written
        self._notify()
        statistics = self.statistics
        statistics.commands += count
        statistics.batches += 1
        statistics.most_in_flight = max(statistics.most_in_flight, self.in_flight)
        return count

    def _copy_in(self, view: memoryview, count: int) -> None:
        size, ring = self._size, self._layout.commands
        place = self._written % self.entries
        first = min(count, self.entries - place)
        at = ring + place * size
        self._buffer[at : at + first * size] = view[: first * size]
        if count > first:
            self._buffer[ring : ring + (count - first) * size] = view[first * size : count * size]

    def take(self, limit: int | None = None) -> bytes:
        """Take answers out of the ring and return their records, one after the other; ``b""`` if there are none.

        Answer n belongs to command n. If a driver crashes right after it took answers, its successor may get them once
        more, because the counter is written after the copy.

        Parameters
        ----------
        limit : int, optional
            Most records to take.

        Reveals
            When and how many records were taken.

        Raises
        ------
        DeviceError
            If the device's counters make no sense.
        """
        count = self.answered if limit is None else min(self.answered, limit)
        if not count:
            return b""
        size, ring = self._size, self._layout.responses
        place = self._taken % self.entries
        first = min(count, self.entries - place)
        at = ring + place * size
        answers = bytes(self._buffer[at : at + first * size])
        if count > first:
            answers += bytes(self._buffer[ring : ring + (count - first) * size])
        self._taken += count
        self._counters[Counter.RESPONSES_TAKEN >> 3] = self._taken
        self._notify()  # the device may wait for room
        self.statistics.responses += count
        return answers

    def close(self) -> None:
        """Let go of the buffer."""
        self._counters.release()
