"""The driver: checks a device, formats it, and moves records through its rings (:mod:`host.device.rings`) in bulk.

The driver holds no key, and reads nothing of a record but its header.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from host.device.rings import Rings, Statistics
from host.device.transport import MAP_LOST, Transport
from host.framing import Greeting
from host.records import Run
from omap.errors import DeviceError, DeviceFaultError
from omap.params import Params
from omap.regmap import BY_NAME, IDENTITY, Fault, Request, State
from omap.wire import WIRE_VERSION, RecordCodec

SERVING = State.READY, State.EXPORTING
"""States in which a device takes commands."""

FAULT_TEXT = {
    Fault.NONE: "no reason is given",
    Fault.PAGE_TAG: "a page in host memory was altered, exchanged or replayed",
    Fault.EXHAUSTED: "a structure in device memory ran out",
    Fault.BUS: "a transfer on the device's buses failed",
    Fault.INTERNAL: "it was stopped half way through an operation, or its source of entropy failed",
}
"""What each fault means."""


class Driver:
    """A device that was checked, with its rings. Not safe for several threads.

    A device has one driver at a time, because the counters that the host writes have one writer.

    Parameters
    ----------
    transport : Transport
        An open transport. The driver closes it.
    params : Params
        The map that the device must be.
    timeout : float
        Seconds that the device may take to answer, before they are multiplied by the transport's patience.

    Attributes
    ----------
    codec : RecordCodec
        Sizes of the records.
    ring_lines : int
        Lines of each ring.
    mode : dict of str to bool
        What the board says that it guarantees: the fields of MODE.

    Raises
    ------
    DeviceError
        If this is no device, or a device of another version or for other parameters, or its counters make no sense.

    Reveals
        When and how many records come and go; the host of the device sees that anyway.
    """

    def __init__(self, transport: Transport, params: Params, *, timeout: float = 10.0) -> None:
        self.transport = transport
        self.params = params
        self.timeout = timeout * transport.patience
        self.layout = transport.layout
        self.codec = RecordCodec(params)
        self.ring_lines = self.layout.ring_lines
        self._check_identity()
        mode = transport.read("MODE")
        self.mode = {field.name: bool(BY_NAME["MODE"].field(field.name, mode)) for field in BY_NAME["MODE"].fields}
        # a driver before this one may have ended half way through a restore
        restoring = self.mode["journal"] and self.state in (State.RESTORING, State.IDLE)
        self._rings = Rings(self.layout, transport.buffer, transport.notify, restoring=restoring)

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
        lines = read("RING_LINES")
        if lines != self.ring_lines:
            raise DeviceError(f"the device runs with {lines} lines in each ring, not {self.ring_lines}: give as many")
        if len(self.transport.buffer) < self.layout.size:
            raise DeviceError(
                f"the shared buffer has {len(self.transport.buffer)} bytes; rings and pages need {self.layout.size}"
            )

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
        """Raise unless the device is ready, or will be as soon as it has written a snapshot.

        Raises
        ------
        DeviceFaultError
            If the device has latched a fault. The error names the fault.
        DeviceError
            If the device is gone, stopped, or was never formatted.
        """
        self.transport.check()
        state = self.state
        if state is State.FAULT:
            fault = self.fault
            raise DeviceFaultError(
                f"the device has latched the fault {fault.name} and erased its keys: {FAULT_TEXT[fault]}; "
                f"restart the device; {MAP_LOST}"
            )
        if state not in SERVING:
            remedy = "restart it" if state is State.STOPPED else "format it"
            raise DeviceError(f"the device is {state.name.lower()}, not ready: {remedy}")

    def start(self, timeout: float | None = None) -> None:
        """Format the device if it was never formatted. A map that is there stays. Raises as :meth:`check`.

        Reveals
            That the map was formatted, if it was.
        """
        if self.state is State.IDLE:
            self.format(timeout)
        else:
            if self.state is State.FORMATTING:  # another driver asked for it and crashed before the end
                self._until(lambda: self.state is not State.FORMATTING, "format", timeout)
            self.check()

    def format(self, timeout: float | None = None) -> None:
        """Empty the map and draw fresh secrets. All that the map held is lost, and all sessions end.

        Parameters
        ----------
        timeout : float, optional
            Most seconds to wait. By default 20 us a page, times the transport's patience, and the driver's timeout.

        Reveals
            That the map was formatted.
        """
        self._rings.take_journal()  # of a map that is gone now
        self._rings.restoring = False
        self._request(Request.FORMAT, timeout)
        self.check()

    def begin_restore(self) -> None:
        """Have the device take records that restore a map, see :mod:`host.device.restoring`. Its own map is lost.

        Reveals
            That a restore begins.

        Raises
        ------
        DeviceError
            If the device does not do it.
        """
        self._request(Request.RESTORE, None)
        if self.state is not State.RESTORING:
            raise DeviceError(f"the device is {self.state.name.lower()} and does not restore a map: restart it")
        self._rings.take_journal()
        self._rings.restoring = True

    def end_restore(self) -> None:
        """Take note that all records were answered; raise as :meth:`check`."""
        self._rings.restoring = False
        self.check()

    @property
    def asked(self) -> bool:
        """Whether the device still works for a request."""
        return self.transport.read("REQUEST") != Request.NONE

    def ask_export(self) -> None:
        """Have the device write a snapshot of its map into the journal ring. Does not wait for it.

        No other request may be under way, see :attr:`asked`.

        Reveals
            That a snapshot is taken.
        """
        self.transport.write("REQUEST", Request.EXPORT)

    def stop(self) -> None:
        """Make the device erase its keys. The map is lost.

        Reveals
            That the device was stopped.
        """
        self._request(Request.STOP, None)

    def _request(self, request: Request, timeout: float | None) -> None:
        self.transport.write("REQUEST", request)
        self._until(lambda: not self.asked, request.name.lower(), timeout)

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
    def statistics(self) -> Statistics:
        """Numbers since this driver attached."""
        return self._rings.statistics

    @property
    def in_flight(self) -> int:
        """Lines of the commands that were submitted and whose answers were not taken."""
        return self._rings.in_flight

    @property
    def due(self) -> list[Run]:
        """The commands that were submitted and whose answers were not taken, in their order."""
        return self._rings.due

    @property
    def room(self) -> int:
        """Lines of commands that fit now, see :attr:`host.device.rings.Rings.room`."""
        return self._rings.room

    @property
    def answered(self) -> int:
        """Lines of answers that can be taken now."""
        return self._rings.answered

    def put(self, records: bytes | bytearray | memoryview) -> int:
        """Put as many records into the ring as fit, and return their bytes; see :meth:`host.device.rings.Rings.put`."""
        return self._rings.put(records)

    def submit(self, records: memoryview, found: Sequence[Run]) -> None:
        """Put records into the ring that were looked through, see :meth:`host.device.rings.Rings.submit`."""
        self._rings.submit(records, found)

    def take(self) -> bytes:
        """Take all answers out of the ring and return their records, see :meth:`host.device.rings.Rings.take`."""
        return self._rings.take()

    @property
    def journalled(self) -> int:
        """Lines of the journal ring that can be taken now."""
        return self._rings.journalled

    def look_at_journal(self) -> bytes:
        """Return what is in the journal ring, see :meth:`host.device.rings.Rings.look_at_journal`."""
        return self._rings.look_at_journal()

    def take_journal(self) -> bytes:
        """Take all records out of the journal ring, see :meth:`host.device.rings.Rings.take_journal`."""
        return self._rings.take_journal()

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep until an answer is there. Return whether there is one.

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
            if self.answered:
                return True
            if not self._rings.restoring or self.state not in (State.RESTORING, State.READY, State.IDLE):
                self.check()
            rest = end - time.monotonic()
            if rest <= 0:
                return False
            self.transport.wait(rest, turn)
            turn += 1

    def exchange(self, records: bytes | bytearray | memoryview) -> bytes:
        """Put any number of records and return as many answers: a simple way for one user who waits.

        Reveals
            When and how many records come and go.

        Raises
        ------
        DeviceError
            If answers of an earlier user were not taken, or the device did not answer in time.
        """
        if self.in_flight:
            raise DeviceError(f"{self.in_flight} lines of commands are in flight: take their answers first")
        answers = []
        with memoryview(records) as view:
            at = 0
            while at < len(view) or self.in_flight:
                at += self.put(view[at:])
                if not self.wait():
                    raise DeviceError(f"the device has not answered for {self.timeout:g} s")
                answers.append(self.take())
        return b"".join(answers)

    def recover(self) -> bytes:
        """Wait for all commands that were in flight when this driver attached, and return the answers.

        Reveals
            When and how many records were taken.

        Raises
        ------
        DeviceError
            If they did not come in time.
        """
        answers = []
        while self.in_flight:
            if not self.wait():
                raise DeviceError(f"{self.in_flight} lines of commands were not answered within {self.timeout:g} s")
            answers.append(self.take())
        return b"".join(answers)

    # -- for a relay ------------------------------------------------------------------------------------------------

    def greeting(self, refused: str = "", kept: Mapping[str, Any] | None = None) -> Greeting:
        """Return what a relay tells its clients of this device."""
        return Greeting(self.params, self.ring_lines, self.mode, refused, dict(kept or {}))

    def close(self) -> None:
        """Let go of the device. A device that the transport did not start goes on running."""
        self._rings.close()
        self.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
