"""Memory and doorbell between a driver and a device that is a program: both ends, for threads and for processes.

The memory is ``window || shared buffer``. The window holds the registers and two flags: *device sleeps* and *host
waits*. An end that goes to sleep sets its flag, looks once more whether there is something to do, and then waits for a
byte on the doorbell, which is a socket. The other end rings only if it finds the flag set, so that two busy ends make
no system calls. No fence orders the flag and the look, so a ring can get lost; sleep has a time limit, which bounds the
harm. The socket's end of file says that the other end is gone.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable
from typing import Protocol

from host.device.transport import Transport
from omap.errors import DeviceError
from omap.regmap import REGISTER_BYTES, RegisterFile
from omap.wire import BufferLayout

WINDOW_BYTES = 4096
"""Bytes in front of the shared buffer."""

DEVICE_SLEEPS = 0x200
"""Offset of the flag that the device sets, and that the host clears when it rings."""

HOST_WAITS = 0x240
"""Offset of the flag that the host sets, and that the device clears when it rings."""

_LONGEST_SLEEP = 20
"""Milliseconds after which a sleeping end looks although nobody rang."""


class Device(Protocol):
    """What runs behind the memory: :class:`omap.device.DeviceModel`, or a simulation of the engine."""

    def step(self) -> int:
        """Run some records, show their answers, and return how much there was to do."""
        ...


def memory_bytes(layout: BufferLayout) -> int:
    """Return the size of window and shared buffer."""
    return WINDOW_BYTES + layout.size


def device_registers(memory: memoryview) -> RegisterFile:
    """Return the registers in a memory's window."""
    return RegisterFile(memory[:REGISTER_BYTES])


def run_device(
    device: Device, memory: memoryview, bell: socket.socket, also: Callable[[], object] | None = None
) -> None:
    """Run a device until the other end of ``bell`` is closed.

    Parameters
    ----------
    device : Device
        What works on the memory.
    memory : memoryview
        Window and shared buffer.
    bell : socket
        The device's end of the doorbell; non-blocking.
    also : callable, optional
        Called whenever the device has nothing to do, at least every 20 ms.
    """
    bell.setblocking(False)
    poll = select.poll()
    poll.register(bell, select.POLLIN)
    while True:
        if device.step():
            if memory[HOST_WAITS]:
                memory[HOST_WAITS] = 0
                ring(bell)
        elif not memory[DEVICE_SLEEPS]:
            memory[DEVICE_SLEEPS] = 1  # then look once more
        else:
            if also is not None:
                also()
            if poll.poll(_LONGEST_SLEEP) and not _listen(bell):
                memory[DEVICE_SLEEPS] = 0
                return
            memory[DEVICE_SLEEPS] = 0


def ring(bell: socket.socket) -> None:
    """Ring. Nothing happens if the bell rings already or the other end is gone."""
    with contextlib.suppress(OSError):
        bell.send(b"\0", socket.MSG_DONTWAIT)


def _listen(bell: socket.socket) -> bool:
    """Take the rings that came. Return whether the other end is still there."""
    try:
        return bool(bell.recv(4096, socket.MSG_DONTWAIT))
    except BlockingIOError:
        return True
    except OSError:
        return False


class SharedTransport(Transport):
    """The host's end of memory and doorbell.

    Parameters
    ----------
    layout : BufferLayout
        Where things lie in the shared buffer.
    memory : memoryview
        Window and shared buffer.
    bell : socket
        The host's end of the doorbell.
    """

    def __init__(self, layout: BufferLayout, memory: memoryview, bell: socket.socket) -> None:
        super().__init__(layout)
        self.buffer = memory[WINDOW_BYTES:]
        bell.setblocking(False)
        self._memory = memory
        self._registers = device_registers(memory)
        self._bell: socket.socket | None = bell
        self._poll = select.poll()
        self._poll.register(bell, select.POLLIN)

    def read(self, name: str) -> int:
        """Return a register's value."""
        self.check()
        return self._registers.read(name)

    def write(self, name: str, value: int) -> None:
        """Set a register and wake the device."""
        self.check()
        self._registers.write(name, value)
        self.notify()

    def check(self) -> None:
        """Raise DeviceError if this end is closed, or the other end was found closed."""
        if self._bell is None:
            raise DeviceError(f"the device is gone: {self.gone()}")

    def gone(self) -> str:
        """Return why there is no device any more, or what to do about it."""
        return "the transport was closed; open it again"

    def notify(self) -> None:
        """Wake the device if it sleeps."""
        if self._memory[DEVICE_SLEEPS] and self._bell is not None:
            self._memory[DEVICE_SLEEPS] = 0
            ring(self._bell)

    def arm(self) -> None:
        """Ask to be rung at the device's next progress."""
        self._memory[HOST_WAITS] = 1

    def fileno(self) -> int | None:
        """Return the doorbell's descriptor."""
        return None if self._bell is None else self._bell.fileno()

    def rest(self) -> None:
        """Take the rings that came, or note that the device is gone."""
        if self._bell is not None and not _listen(self._bell):
            self._hang_up()

    def wait(self, timeout: float, turn: int = 0) -> None:
        """Sleep until the device rings, at most ``timeout`` seconds or 20 ms."""
        self.check()
        if self._poll.poll(min(timeout * 1e3, _LONGEST_SLEEP)):
            self.rest()

    def close(self) -> None:
        """Close this end of the doorbell, which the device notices."""
        self._hang_up()

    def _hang_up(self) -> None:
        if self._bell is not None:
            self._poll.unregister(self._bell)
            self._bell.close()
            self._bell = None
