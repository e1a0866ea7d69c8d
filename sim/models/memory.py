"""The bytes behind a memory model: one array, which Python and the compiled models share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from omap.errors import ParamsError
from sim.errors import SimulationError


class Memory:
    """Bytes ``[base, base + size)`` of an address space, zero at first. Untouched bytes take no room.

    Several ports may serve one memory; a test, in the role of the host or of a thief, may alter it at any time.

    Parameters
    ----------
    size : int
        Bytes; a multiple of 4096, so that no legal burst straddles its end.
    base : int
        Address of the first byte; a multiple of 4096.

    Attributes
    ----------
    data : (size,) array of uint8
        The bytes.
    """

    def __init__(self, size: int, base: int = 0) -> None:
        if size <= 0 or size % 4096 or base < 0 or base % 4096:
            raise ParamsError(f"size is {size!r} and base {base!r}; both must be multiples of 4096, size positive")
        self.size, self.base = size, base
        self.data: npt.NDArray[np.uint8] = np.zeros(size, np.uint8)

    def __contains__(self, span: tuple[int, int]) -> bool:
        """Whether all of ``(address, length)`` lies inside."""
        address, length = span
        return self.base <= address and address + length <= self.base + self.size

    def read(self, address: int, length: int) -> bytes:
        """Return ``length`` bytes at ``address``."""
        return self.data[self._slice(address, length)].tobytes()

    def write(self, address: int, data: bytes) -> None:
        """Put ``data`` at ``address``."""
        self.data[self._slice(address, len(data))] = np.frombuffer(data, np.uint8)

    def _slice(self, address: int, length: int) -> slice:
        if (address, length) not in self:
            raise SimulationError(
                f"bytes {address:#x} to {address + length:#x} are not in the memory at "
                f"{self.base:#x} to {self.base + self.size:#x}"
            )
        return slice(address - self.base, address - self.base + length)
