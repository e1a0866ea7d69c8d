"""The interface between the driver and a device: registers, one shared buffer, a doorbell.

A back end is a factory that is registered in the entry-point group ``omap.transports`` and called as
``factory(params, ring_lines=..., key_file=..., **options)``. It returns an open :class:`Transport`. ``model`` runs
the model in a thread of this process, ``process`` in a process of its own; ``xrt`` and ``vfio`` talk to a card. A
simulator registers its own factory.
"""

from __future__ import annotations

import inspect
import os
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from importlib import metadata
from types import TracebackType
from typing import Any, Protocol, Self

from omap.errors import InputError
from omap.params import Params
from omap.regmap import Request
from omap.wire import RING_LINES, BufferLayout, Counter, read_counter, write_counter

GROUP = "omap.transports"
"""Entry-point group of the factories."""

MAP_LOST = "the map of the device is lost unless a data folder or a backup restores it"
"""What a message says of the map when a device has erased its keys or is gone: the device can't know the rest."""

_NAPS = (0.0, 0.0, 20e-6, 50e-6, 100e-6, 200e-6, 500e-6)
"""Seconds to wait, one after the other, where there is no doorbell."""


class Transport(ABC):
    """Registers by name, and one buffer that host and device share. It has one user, and is not safe for threads.

    Parameters
    ----------
    layout : BufferLayout
        Where things lie in the buffer.

    Attributes
    ----------
    buffer : memoryview
        The shared buffer, at least ``layout.size`` bytes. What the device writes appears here.
    patience : float
        How many times longer than a card this device may take: more than 1 for an emulated card.
    """

    buffer: memoryview
    patience: float = 1.0

    def __init__(self, layout: BufferLayout) -> None:
        self.layout = layout

    @abstractmethod
    def read(self, name: str) -> int:
        """Return a register of :mod:`omap.regmap`.

        Raises
        ------
        DeviceError
            If the device is gone.
        """

    @abstractmethod
    def write(self, name: str, value: int) -> None:
        """Set a register. Raises as :meth:`read`."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the device. A device that this object did not start goes on running. May be called again."""

    def check(self) -> None:
        """Raise DeviceError if the device is gone. The error says why."""
        return None

    def _stopped(self, seconds: float) -> bool:
        """Have the device stop when it is done with what it works for. Return whether it stopped within some seconds.

        Nobody takes any more what it still writes into its journal ring, such as a snapshot, so room is made there.

        Raises
        ------
        DeviceError
            If the device is gone.
        """
        end = time.monotonic() + seconds
        for request in (Request.STOP, Request.NONE):
            self.check()
            while self.read("REQUEST") != Request.NONE:
                if time.monotonic() > end:
                    return False
                write_counter(self.buffer, Counter.JOURNAL_TAKEN, read_counter(self.buffer, Counter.JOURNAL_WRITTEN))
                time.sleep(1e-3)
                self.check()
            if request is not Request.NONE:
                self.write("REQUEST", request)
        return True

    # -- doorbell; a back end without one is polled ---------------------------------------------------------------

    def notify(self) -> None:
        """Tell the device that there is something to do, if it may be asleep."""
        return None

    def arm(self) -> None:
        """Ask to be told of the device's next progress. After this call look once more for progress, then wait."""
        return None

    def fileno(self) -> int | None:
        """Return a descriptor that becomes readable at the next progress after :meth:`arm`; None if there is none."""
        return None

    def rest(self) -> None:
        """Take note that the descriptor was readable."""
        return None

    def wait(self, timeout: float, turn: int = 0) -> None:
        """Sleep until the device may have made progress, at most ``timeout`` seconds.

        Parameters
        ----------
        timeout : float
            Seconds.
        turn : int
            How often this was called without any progress. Without a doorbell, the naps become longer.
        """
        nap = _NAPS[min(turn, len(_NAPS) - 1)]
        time.sleep(min(timeout, nap))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def refuse_key(key_file: str | os.PathLike[str] | None) -> None:
    """Refuse a root key file for a card.

    Raises
    ------
    InputError
        If there is one. The error says to leave it out.
    """
    if key_file is not None:
        raise InputError("a card holds its own root key and takes none from a file: leave --key-file out")


class Factory(Protocol):
    """Opens a transport."""

    def __call__(
        self, params: Params, *, ring_lines: int, key_file: str | os.PathLike[str] | None, **options: Any
    ) -> Transport:
        """Return an open transport to a device for ``params``. ``key_file`` is for devices that are programs."""
        ...


def names() -> list[str]:
    """Return the names of all installed back ends."""
    return sorted(metadata.entry_points(group=GROUP).names)


def load(name: str) -> Factory:
    """Return the factory called ``name``.

    Raises
    ------
    InputError
        No back end has this name. The error lists the installed ones.
    """
    for entry_point in metadata.entry_points(group=GROUP, name=name):
        factory: Factory = entry_point.load()
        return factory
    raise InputError(f"no transport is called {name!r}; installed are {', '.join(names()) or 'none'}")


def takes(factory: Factory, option: str) -> bool:
    """Return whether a factory takes an option of this name."""
    parameters = inspect.signature(factory).parameters
    return option in parameters or any(each.kind is each.VAR_KEYWORD for each in parameters.values())


def takers(option: str) -> list[str]:
    """Return the names of the installed back ends that take an option. One that can't be loaded takes none."""
    found = []
    for name in names():
        with suppress(ImportError):
            if takes(load(name), option):
                found.append(name)
    return found


def open_transport(
    name: str,
    params: Params,
    *,
    ring_lines: int = RING_LINES,
    key_file: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Transport:
    """Open the back end called ``name``.

    Parameters
    ----------
    name : str
        Back end, see :func:`names`.
    params : Params
        The map.
    ring_lines : int
        Lines of each ring, a power of two.
    key_file : path, optional
        Root key file, for a device that is a program. Only the device reads it.
    **options
        What the back end takes.

    Raises
    ------
    InputError
        No such back end, or an option that it does not take.
    DeviceError
        The device could not be opened.
    """
    factory = load(name)
    for option in options:
        if not takes(factory, option):
            others = " and ".join(takers(option)) or "no other"
            raise InputError(f"the transport {name!r} takes no option {option!r}: leave it out, or take {others}")
    try:
        inspect.signature(factory).bind(params, ring_lines=ring_lines, key_file=key_file, **options)
    except TypeError as error:
        raise InputError(f"the transport {name!r} can't be opened so: {error}") from None
    return factory(params, ring_lines=ring_lines, key_file=key_file, **options)
