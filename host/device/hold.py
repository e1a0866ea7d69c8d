"""One driver at a time: a card is held by a lock, which the kernel lets go of however its holder ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omap.errors import DeviceError

PCI_DEVICES = Path("/sys/bus/pci/devices")
"""Where the kernel shows the devices of its PCIe buses. Everybody may open the files there."""


@contextmanager
def held(address: str) -> Iterator[None]:
    """Hold the card at a PCIe address, so that no other driver of this package can open it.

    An address that the kernel does not show, as of an emulated card, is held by nobody.

    Raises
    ------
    DeviceError
        If another process holds the card.

    Reveals
        To all users of this machine: that the card is held.
    """
    try:
        descriptor = os.open(PCI_DEVICES / address / "vendor", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DeviceError(
                f"another process drives the card {address}: end it first (`sudo lslocks` names it), because a card "
                "has one driver at a time"
            ) from None
        yield
    finally:
        os.close(descriptor)
