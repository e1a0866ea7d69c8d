"""The seam between the driver and whatever runs the map: registers, one shared buffer, a doorbell.

A back end is a factory registered in the entry-point group ``omap.transports`` and called as
``factory(params, ring_entries=..., key_file=..., **options)``; it returns an open :class:`Transport`. ``model`` runs
the device's program in a thread of this process, ``process`` in a process of its own, ``xrt`` and ``vfio`` talk to a
card. A simulator registers its own.
"""

from __future__ import annotations

import inspect
import os
import time
from abc import ABC, abstractmethod
from importlib import metadata
from types import TracebackType
from typing import Any, Protocol, Self

from omap.errors import InputError
from omap.params import Params
from omap.wire import BufferLayout

GROUP = "omap.transports"
"""Entry-point group of the factories."""

_NAPS = (0.0, 0.0, 20e-6, 50e-6, 100e-6, 200e-6, 500e-6)
"""Seconds to wait in turn where there is no doorbell."""


class Transport(ABC):
    """Registers by name and one buffer that host and device share. Of one user; not safe for several threads.

    Parameters
    ----------
    layout : BufferLayout
        Where things lie in the buffer.

    Attributes
    ----------
    buffer : memoryview
        The shared buffer, at least ``layout.size`` bytes. What the device writes shows up here.
    patience : float
        By how much limits of time are longer than for a card: more than 1 for one that is emulated.
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
        """Set a register; raises as :meth:`read`."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the device. A device that is not this object's own goes on running. May be called again."""

    def check(self) -> None:
        """Raise DeviceError if the device is gone; say why."""
        return None

    # -- doorbell: a back end without one is polled ---------------------------------------------------------------

    def notify(self) -> None:
        """Tell the device that there is something to do, if it may be asleep."""
        return None

    def arm(self) -> None:
        """Ask to be told of the device's next progress. Look again for it after this call, then wait."""
        return None

    def fileno(self) -> int | None:
        """Return a descriptor that gets readable with the next progress after :meth:`arm`, or None: then poll."""
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
            How often this was called without any progress: without a doorbell, naps get longer.
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
    """Refuse a root key for a card.

    Raises
    ------
    InputError
        If there is one; says that it is to be left out.
    """
    if key_file is not None:
        raise InputError("a card holds its own root key and takes none from a file: leave --key-file out")


class Factory(Protocol):
    """Opens a transport."""

    def __call__(
        self, params: Params, *, ring_entries: int, key_file: str | os.PathLike[str] | None, **options: Any
    ) -> Transport:
        """Return an open transport to a device for ``params``; ``key_file`` is for devices that are programs."""
        ...


def names() -> list[str]:
    """Return the names of all installed back ends."""
    return sorted(metadata.entry_points(group=GROUP).names)


def load(name: str) -> Factory:
    """Return the factory called ``name``.

    Raises
    ------
    InputError
        No back end has this name; lists those that are installed.
    """
    for entry_point in metadata.entry_points(group=GROUP, name=name):
        factory: Factory = entry_point.load()
        return factory
    raise InputError(f"no transport is called {name!r}; installed are {', '.join(names()) or 'none'}")


def open_transport(
    name: str,
    params: Params,
    *,
    ring_entries: int = 1024,
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
    ring_entries : int
        Records in each ring, a power of two.
    key_file : path, optional
        Root key file, for a device that is a program; it is read by the device alone.
    **options
        What the back end takes.

    Raises
    ------
    InputError
        No such back end, or an option it does not take.
    DeviceError
        The device could not be opened.
    """
    factory = load(name)
    try:
        inspect.signature(factory).bind(params, ring_entries=ring_entries, key_file=key_file, **options)
    except TypeError as error:
        raise InputError(f"the transport {name!r} does not take this: {error}") from None
    return factory(params, ring_entries=ring_entries, key_file=key_file, **options)
