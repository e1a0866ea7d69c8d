"""A map on a device: made empty, or restored from records that the device sealed before.

The host gives the records back in order, and the device answers each (:mod:`omap.restore`). Nothing of a restore that
failed stays on the device, and the records are as they were.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from host.device.driver import Driver
from host.records import TYPE_AT
from omap.errors import DamagedError, DeviceError
from omap.regmap import State
from omap.source import read_source
from omap.wire import HEADER, HELLO_LINES, LINE_BYTES, SOURCE_LINES, Header, RecordType, Refusal, read_header

_ID_BYTES = 16
"""Bytes of a nonce, and of a map's id."""

_ANYBODY = b"\x03".ljust(32, b"\0")
"""A credential with all rights. Whoever asks for a map's id needs no key.

It is not made by :mod:`omap.credentials`, because the process of a relay loads no code that derives keys."""

_SOURCE_BYTES = SOURCE_LINES * LINE_BYTES

_LOOK_SECONDS = 0.02

_SLOW_LINES = 500
"""Lines of records that a slow device, such as the reference, restores within the driver's timeout.

A model answers all that it found in the ring at once, so that it may take longer the more there was."""

_SHARE = 2
"""A part of the ring is filled at once, so that the device works while the host reads on."""


def settle(driver: Driver) -> None:
    """Let a device end what another driver has begun, and drop the answers and the journal of that.

    Reveals
        When the device is done.

    Raises
    ------
    DeviceError
        If it does not end.
    """
    end = time.monotonic() + driver.timeout
    while driver.in_flight or driver.state in (State.EXPORTING, State.FORMATTING):
        if driver.take_journal() + driver.take():
            end = time.monotonic() + driver.timeout
        elif time.monotonic() > end:
            raise DeviceError(f"the device has not ended what another driver asked for in {driver.timeout:g} s")
        driver.transport.arm()
        driver.transport.wait(_LOOK_SECONDS)


def unused(driver: Driver) -> bool:
    """Return whether nobody has kept the journal of the device's map yet, so that nobody was told of the map."""
    records = driver.look_at_journal()
    return records[:1] == bytes([RecordType.SOURCE]) and not read_source(records).chunks


def begin_empty(driver: Driver) -> bytes:
    """Format the device, and return the SOURCE and the START that begin the journal of its map.

    They stay in the ring until they are kept and :meth:`~host.device.driver.Driver.take_journal` takes them.

    Reveals
        That the map was formatted.

    Raises
    ------
    DeviceFaultError, DeviceError
        If the device does not do it.
    """
    settle(driver)
    driver.format()
    return _begun(driver)


def restore(driver: Driver, records: Iterable[bytes], told: Callable[[int], object] = lambda lines: None) -> bytes:
    """Have the device restore a map, and return the SOURCE and the START that begin its journal.

    They stay in the ring, as with :func:`begin_empty`.

    Parameters
    ----------
    driver : Driver
        A device that writes a journal. What it holds is lost.
    records : iterable of bytes
        Whole records, in order, END at the end.
    told : callable, optional
        Called now and then with the lines that were answered.

    Reveals
        The records, which were public before, and the pages that their operations touch.

    Raises
    ------
    DamagedError
        If the device refuses a record. It holds nothing then.
    DeviceFaultError, DeviceError
        If the device does not do it.
    """
    settle(driver)
    driver.begin_restore()
    feed, most = _Feed(driver, told), driver.ring_lines // _SHARE * LINE_BYTES
    waiting = bytearray()
    for record in records:
        if waiting and len(waiting) + len(record) > most:
            feed.give(waiting)
            waiting.clear()
        waiting += record
    feed.give(waiting)
    feed.settle(0)
    driver.end_restore()
    return _begun(driver)


def map_id(driver: Driver) -> bytes:
    """Return the id of the device's map, which it tells everybody who opens a session.

    Reveals
        That somebody asked.
    """
    hello = Header(RecordType.HELLO, 0, HELLO_LINES, 0, 0, 0).pack() + bytes(_ID_BYTES) + _ANYBODY
    answer = driver.exchange(hello.ljust(HELLO_LINES * LINE_BYTES, b"\0"))
    if answer[TYPE_AT] != RecordType.HELLO:
        raise DeviceError("the device refuses to say which map it holds: restart it")
    return answer[HEADER.size + _ID_BYTES :][:_ID_BYTES]


def _begun(driver: Driver) -> bytes:
    records = driver.look_at_journal()
    types = records[TYPE_AT : TYPE_AT + 1], records[_SOURCE_BYTES:][TYPE_AT : TYPE_AT + 1]
    if types != (bytes([RecordType.SOURCE]), bytes([RecordType.START])):
        raise DeviceError("the device has not begun its journal with a SOURCE and a START: restart it")
    return records


class _Feed:
    """Puts records into the command ring and reads the answers."""

    def __init__(self, driver: Driver, told: Callable[[int], object]) -> None:
        self._driver, self._told = driver, told
        self._given = 0
        self._refused: Header | None = None  # of the first record that was refused

    def give(self, records: bytearray) -> None:
        """Put records, waiting for room."""
        at = 0
        with memoryview(records) as view:
            while at < len(view):
                size = self._driver.put(view[at:])
                at += size
                self._given += size // LINE_BYTES
                self.settle(self._driver.ring_lines // _SHARE)

    def settle(self, lines: int) -> None:
        """Wait until at most so many lines are not answered."""
        driver = self._driver
        while driver.in_flight > lines:
            patience = driver.timeout * (1 + driver.in_flight / _SLOW_LINES)
            if not driver.wait(patience):
                raise DeviceError(f"the device has not answered for {patience:.0f} s while it restored a map")
            answers = driver.take()
            refused = [at for at in range(0, len(answers), LINE_BYTES) if answers[at] == RecordType.REFUSED]
            if refused and not self._refused:
                self._refused = read_header(answers[refused[0] :])
                lines = 0  # the device answers what it still has, so that nobody finds it in the ring
        if self._refused:
            raise _refused(self._refused)
        self._told(self._given - driver.in_flight)


def _refused(header: Header) -> DamagedError:
    why = Refusal(header.count).name if header.count in list(Refusal) else str(header.count)
    return DamagedError(
        f"the device refuses to restore the map ({why}, at record {header.sequence} of its kind): the records were "
        "altered, cut, exchanged or mixed, or were sealed under another root key. The files are as they were: check "
        "which root key the device holds, or restore a backup"
    )
