"""The driver: opens a device, formats it, and moves records through its rings in bulk.

It holds no key and looks into no record. Where it stands is in the counters of the shared buffer alone, so that a new
driver takes over from one that crashed: commands that were submitted run, and their answers wait in the ring.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Self

from host.device.transport import Transport
from host.framing import Greeting
from omap.errors import DeviceError, DeviceFaultError, InputError
from omap.params import Params
from omap.regmap import BY_NAME, IDENTITY, Fault, Request, State
from omap.wire import WIRE_VERSION, Counter

FAULT_TEXT = {
    Fault.NONE: "no reason is given",
    Fault.PAGE_TAG: "a page in host memory was altered, exchanged or replayed",
    Fault.RECORD_TAG: "a record was altered on its way to the device",
    Fault.RECORD_SEQUENCE: "a record was repeated, dropped or reordered on its way to the device",
    Fault.EXHAUSTED: "a structure in device memory ran out",
    Fault.BUS: "a transfer on the device's buses failed",
    Fault.INTERNAL: "it was stopped half way through an operation, or its source of entropy failed",
}
"""What each fault means."""


@dataclass
class Statistics:
    """What a driver has done. All of it is public: the device's host sees as much.

    Parameters
    ----------
    commands, responses : int
        Records put into the rings and taken out.
    batches : int
        Calls that put something.
    ring_full : int
        Calls that had to leave something out, for want of room.
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


class Driver:
    """A device, checked, with its rings. Not safe for several threads.

    Whoever drives a device is alone on it: the counters that the host writes have one writer.

    Parameters
    ----------
    transport : Transport
        An open transport. The driver closes it.
    params : Params
        The map that the device must be.
    timeout : float
        Seconds that the device may take to answer; times the transport's patience.

    Attributes
    ----------
    record_bytes : int
        Bytes of every record.
    ring_entries : int
        Records in each ring.
    mode : dict of str to bool
        What the board says it guarantees, the fields of MODE.
    statistics : Statistics
        Numbers since this driver attached.

    Raises
    ------
    DeviceError
        If the device is none, speaks another version, is made for other parameters, or its counters make no sense.

    Reveals
        Nothing beyond what its host sees anyway: when and how many records come and go.
    """

    def __init__(self, transport: Transport, params: Params, *, timeout: float = 10.0) -> None:
        self.transport = transport
        self.params = params
        self.timeout = timeout * transport.patience
        self.layout = transport.layout
        self.record_bytes = self.layout.record_bytes
        self.ring_entries = self.layout.ring_entries
        self.statistics = Statistics()
        self._check_identity()
        mode = transport.read("MODE")
        self.mode = {field.name: bool(BY_NAME["MODE"].field(field.name, mode)) for field in BY_NAME["MODE"].fields}
        self._buffer = transport.buffer
        self._counters = self._buffer[: self.layout.commands].cast("Q")
        self._attach()

    # -- opening --------------------------------------------------------------------------------------------------

    def _check_identity(self) -> None:
        read = self.transport.read
        identity = read("IDENTITY")
        if identity != IDENTITY:
            raise DeviceError(
                f"this is no oblivious map: its identity is {identity:#010x}, not {IDENTITY:#010x}; "
                "check which device it is and that its bitstream is loaded"
            )
        version = BY_NAME["VERSION"].field("wire", read("VERSION"))
        if version != WIRE_VERSION:
            raise DeviceError(
                f"the device speaks version {version} of the records, this driver version {WIRE_VERSION}: "
                "load a bitstream and install a package of one release"
            )
        digest = b"".join(read(f"DIGEST_{word}").to_bytes(4, "big") for word in range(8))
        if digest != self.params.digest:
            raise DeviceError(
                f"the device is built for other parameters: its digest is {digest.hex()}, not "
                f"{self.params.digest.hex()}; give the parameters it was built for, or load another bitstream"
            )
        entries = read("RING_ENTRIES")
        if entries != self.ring_entries:
            raise DeviceError(
                f"the device runs with {entries} entries in each ring, not {self.ring_entries}: attach with as many"
            )
        if len(self.transport.buffer) < self.layout.size:
            raise DeviceError(
                f"the shared buffer has {len(self.transport.buffer)} bytes; rings and pages need {self.layout.size}"
            )

    def _attach(self) -> None:
        written, taken = self._get(Counter.COMMANDS_WRITTEN), self._get(Counter.RESPONSES_TAKEN)
        self._written, self._taken = written, taken
        self._fetched, self._answered = taken, taken
        self._look()
        self.statistics.inherited = self.in_flight

    def _get(self, counter: Counter) -> int:
        return self._counters[counter >> 3]

    def _look(self) -> None:
        """Read the device's counters, which must lie where they can have got to."""
        fetched, answered = self._get(Counter.COMMANDS_FETCHED), self._get(Counter.RESPONSES_WRITTEN)
        if not (
            self._fetched <= fetched <= self._written
            and self._answered <= answered <= self._written
            and answered - self._taken <= self.ring_entries
            and self._written - fetched <= self.ring_entries
        ):
            raise DeviceError(
                f"the device's counters make no sense: {fetched} commands fetched and {answered} responses written, "
                f"of {self._written} commands written and {self._taken} responses taken; restart the device"
            )
        self._fetched, self._answered = fetched, answered

    # -- state ----------------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """What the device is doing."""
        status = BY_NAME["STATUS"].field("state", self.transport.read("STATUS"))
        try:
            return State(status)
        except ValueError:
            raise DeviceError(f"the device is in state {status}, which this version does not know") from None

    @property
    def fault(self) -> Fault:
        """Why the device has erased its keys; NONE if it has not."""
        code = self.transport.read("FAULT")
        try:
            return Fault(code)
        except ValueError:
            raise DeviceError(f"the device reports fault {code}, which this version does not know") from None

    def check(self) -> None:
        """Raise unless the device is ready.

        Raises
        ------
        DeviceFaultError
            If it has latched a fault; names it.
        DeviceError
            If it is gone, stopped, or was never formatted.
        """
        self.transport.check()
        state = self.state
        if state is State.FAULT:
            fault = self.fault
            raise DeviceFaultError(
                f"the device has latched the fault {fault.name} and erased its keys: {FAULT_TEXT[fault]}; "
                "its map is lost, restart the device"
            )
        if state is not State.READY:
            remedy = "restart it" if state is State.STOPPED else "format it"
            raise DeviceError(f"the device is {state.name.lower()}, not ready: {remedy}")

    def start(self, timeout: float | None = None) -> None:
        """Format the device if it never was; a map that is there stays. Raises as :meth:`check`."""
        if self.state is State.IDLE:
            self.format(timeout)
        else:
            if self.state is State.FORMATTING:  # a driver asked for it and did not live to see the end
                self._until(lambda: self.state is not State.FORMATTING, "format", timeout)
            self.check()

    def format(self, timeout: float | None = None) -> None:
        """Empty the map under fresh secrets: whatever it held is lost, and all sessions end.

        Parameters
        ----------
        timeout : float, optional
            Seconds; the time grows with the pages. Without it, as long as 20 us a page, times the transport's patience,
            and the driver's timeout allow.

        Reveals
            That the map was formatted.
        """
        self._request(Request.FORMAT, timeout)
        self.check()

    def stop(self) -> None:
        """Make the device erase its keys. The map is lost."""
        self._request(Request.STOP, None)

    def _request(self, request: Request, timeout: float | None) -> None:
        self.transport.write("REQUEST", request)
        self._until(lambda: self.transport.read("REQUEST") == Request.NONE, request.name.lower(), timeout)

    def _until(self, done: Callable[[], bool], what: str, timeout: float | None) -> None:
        if timeout is None:
            timeout = self.timeout + 20e-6 * self.params.pages * self.transport.patience
        end, turn = time.monotonic() + timeout, 0
        self.transport.arm()
        while not done():
            if time.monotonic() > end:
                raise DeviceError(f"the device has not finished to {what} in {timeout:g} s; it is stuck, or slow")
            self.transport.wait(0.02, turn)
            self.transport.arm()
            turn += 1

    # -- rings ----------------------------------------------------------------------------------------------------

    @property
    def in_flight(self) -> int:
        """Commands submitted whose answers were not taken."""
        return self._written - self._taken

    @property
    def room(self) -> int:
        """Commands that fit now.

        Never more are in flight than the ring has entries: so the device can always write its answers.
        """
        return self.ring_entries - self.in_flight

    @property
    def answered(self) -> int:
        """Answers that can be taken now."""
        self._look()
        return self._answered - self._taken

    def put(self, records: bytes | bytearray | memoryview) -> int:
        """Put records into the ring, as many as fit, and return how many.

        Parameters
        ----------
        records : bytes-like
            Whole records, one after the other.

        Raises
        ------
        InputError
            If these are not whole records.
        DeviceError
            If the device is gone.
        """
        with memoryview(records) as view:
            count, rest = divmod(len(view), self.record_bytes)
            if rest:
                raise InputError(f"{len(view)} bytes are no whole number of {self.record_bytes}-byte records")
            if count > self.room:
                self.statistics.ring_full += 1
                count = self.room
            if not count:
                return 0
            self._copy_in(view, count)
        self._written += count
        # the bytes are there before the counter says so; stores of this host are seen in their order (x86)
        self._counters[Counter.COMMANDS_WRITTEN >> 3] = self._written
        self.transport.notify()
        statistics = self.statistics
        statistics.commands += count
        statistics.batches += 1
        statistics.most_in_flight = max(statistics.most_in_flight, self.in_flight)
        return count

    def _copy_in(self, view: memoryview, count: int) -> None:
        size, ring = self.record_bytes, self.layout.commands
        place = self._written % self.ring_entries
        first = min(count, self.ring_entries - place)
        at = ring + place * size
        self._buffer[at : at + first * size] = view[: first * size]
        if count > first:
            self._buffer[ring : ring + (count - first) * size] = view[first * size : count * size]

    def take(self, limit: int | None = None) -> bytes:
        """Take answers out of the ring and return their records, one after the other; without any, ``b""``.

        Answer n belongs to command n. A driver that crashed right after this may have left its successor the same
        answers once more: the counter follows the copy.

        Parameters
        ----------
        limit : int, optional
            Most records to take.
        """
        self._look()
        count = self._answered - self._taken
        if limit is not None:
            count = min(count, limit)
        if not count:
            return b""
        size, ring = self.record_bytes, self.layout.responses
        place = self._taken % self.ring_entries
        first = min(count, self.ring_entries - place)
        at = ring + place * size
        answers = bytes(self._buffer[at : at + first * size])
        if count > first:
            answers += bytes(self._buffer[ring : ring + (count - first) * size])
        self._taken += count
        self._counters[Counter.RESPONSES_TAKEN >> 3] = self._taken
        self.transport.notify()  # it may wait for room
        self.statistics.responses += count
        return answers

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep until an answer is there, and return whether there is one.

        Parameters
        ----------
        timeout : float, optional
            Most seconds to wait.

        Raises
        ------
        DeviceFaultError, DeviceError
            If the device will not answer any more.
        """
        end = time.monotonic() + (self.timeout if timeout is None else timeout)
        turn = 0
        while True:
            self.transport.arm()
            self._look()
            if self._answered > self._taken:
                return True
            self.check()
            rest = end - time.monotonic()
            if rest <= 0:
                return False
            self.transport.wait(rest, turn)
            turn += 1

    def exchange(self, records: bytes | bytearray | memoryview) -> bytes:
        """Put any number of records and return as many answers: a simple way for one user who waits.

        Raises
        ------
        DeviceError
            If answers of an earlier user are still to be taken, or the device did not answer in time.
        """
        if self.in_flight:
            raise DeviceError(f"{self.in_flight} commands are in flight: take their answers first")
        answers = []
        with memoryview(records) as view:
            at = 0
            while at < len(view) or self.in_flight:
                at += self.put(view[at:]) * self.record_bytes
                if not self.wait():
                    raise DeviceError(f"the device has not answered for {self.timeout:g} s")
                answers.append(self.take())
        return b"".join(answers)

    def recover(self) -> bytes:
        """Wait for all that was in flight when this driver attached, and return the answers.

        Raises
        ------
        DeviceError
            If they did not come in time.
        """
        answers = []
        while self.in_flight:
            if not self.wait():
                raise DeviceError(f"{self.in_flight} commands were not answered within {self.timeout:g} s")
            answers.append(self.take())
        return b"".join(answers)

    # -- the rest -------------------------------------------------------------------------------------------------

    def greeting(self, refused: str = "") -> Greeting:
        """Return what a relay says of this device."""
        return Greeting(self.params, self.ring_entries, self.mode, refused)

    def close(self) -> None:
        """Let go of the device, which goes on running if it is not the transport's own."""
        self._counters.release()
        self.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
