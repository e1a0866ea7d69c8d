"""Host memory, which an observer watches, and device memory (HBM), which nobody outside the device sees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from omap.trace import Observer


class HostMemory:
    """Bytes on the untrusted host. The host can read and change :attr:`data` at any time.

    Parameters
    ----------
    data : int, bytearray or memoryview
        The number of bytes, all zero at first; or the bytes themselves, in memory that others share.
    observer : Observer, optional
        Told of every access of the device.
    """

    def __init__(self, data: int | bytearray | memoryview, observer: Observer | None = None) -> None:
        self.data = bytearray(data) if isinstance(data, int) else data
        self.observer = observer

    def read(self, address: int, length: int) -> bytes:
        """Return ``length`` bytes from ``address``. Reveals address, length and direction."""
        if self.observer is not None:
            self.observer.read(address, length)
        return bytes(self.data[address : address + length])

    def write(self, address: int, data: bytes) -> None:
        """Store ``data`` at ``address``. Reveals address, length, direction and the bytes."""
        if self.observer is not None:
            self.observer.write(address, len(data))
        self.data[address : address + len(data)] = data

    def read_rows(self, places: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.uint8]:
        """Return a copy of the pages at ``places``, as an (n, size) array. No observer is told: there must be none."""
        assert self.observer is None
        return self._rows(size)[places]

    def write_rows(self, places: npt.NDArray[np.int64], rows: Sequence[bytes]) -> None:
        """Store one page at each of ``places``. No observer is told: there must be none."""
        assert self.observer is None
        size = len(rows[0])
        self._rows(size)[places] = np.frombuffer(b"".join(rows), np.uint8).reshape(-1, size)

    def _rows(self, size: int) -> npt.NDArray[np.uint8]:
        return np.frombuffer(self.data, np.uint8, len(self.data) // size * size).reshape(-1, size)


class Region:
    """One structure in HBM, and how many of its lines were read and written.

    The fields of a line are little-endian, so that each has the same bits as in the layouts of the RTL. Code that reads
    or writes :attr:`data` counts the lines itself.
    """

    __slots__ = ("data", "reads", "writes")

    def __init__(self, size: int) -> None:
        self.data = bytearray(size)
        self.reads = 0
        self.writes = 0


class DeviceMemory:
    """HBM: its regions by name, and how many bytes each has."""

    def __init__(self) -> None:
        self.regions: dict[str, Region] = {}

    def allocate(self, name: str, size: int) -> Region:
        """Return a new zeroed region of ``size`` bytes."""
        self.regions[name] = Region(size)
        return self.regions[name]

    def account(self) -> dict[str, int]:
        """Return the bytes of every region."""
        return {name: len(region.data) for name, region in self.regions.items()}
