"""All that the VFIO driver asks of the operating system, in one class, which tests replace."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import resource
from pathlib import Path
from typing import Protocol

_MAP_HUGETLB = 0x40000  # linux/mman.h; with the logarithm of the page size from bit 26
_MAP_HUGE_SHIFT = 26
_CAP_IPC_LOCK = 14


class Mapping(Protocol):
    """A window of a card's registers."""

    def load(self, offset: int) -> int:
        """Return the 32-bit word at a byte offset, by one load."""
        ...

    def store(self, offset: int, value: int) -> None:
        """Set the 32-bit word at a byte offset, by one store."""
        ...

    def close(self) -> None:
        """Give the window back."""
        ...


class Memory(Protocol):
    """Memory of this process that can be mapped for a card.

    Attributes
    ----------
    view : memoryview
        The bytes, in whole pages.
    address : int
        Where the memory starts, for this process.
    page : int
        Bytes of a page.
    """

    view: memoryview
    address: int
    page: int

    def clear(self) -> None:
        """Fill the memory with zeros."""
        ...

    def close(self) -> None:
        """Give the memory back. If somebody holds a view of it, it stays until the view is released."""
        ...


class System:
    """The machine that this process runs on.

    Attributes
    ----------
    sysfs : Path
        Folder in which the kernel describes its devices.
    device_files : Path
        Folder of VFIO's device files.
    """

    sysfs = Path("/sys")
    device_files = Path("/dev/vfio")

    def accessible(self, path: Path) -> bool:
        """Whether this process may read and write a file."""
        return os.access(path, os.R_OK | os.W_OK)

    def open(self, path: Path) -> int:
        """Return a descriptor of a file, for reading and writing."""
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def close(self, descriptor: int) -> None:
        """Close a descriptor."""
        os.close(descriptor)

    def ioctl(self, descriptor: int, request: int, argument: int | bytearray = 0) -> int:
        """Return what an ioctl returns; it may write into ``argument``. Raises OSError."""
        result: int = fcntl.ioctl(descriptor, request, argument)  # the kernel writes into a bytearray
        return result

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        """Return bytes of a file."""
        return os.pread(descriptor, size, offset)

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        """Write bytes into a file."""
        if os.pwrite(descriptor, data, offset) != len(data):
            raise OSError(f"{len(data)} bytes were not written in one go")

    def map(self, descriptor: int, size: int, offset: int) -> Mapping:
        """Return a window of a device's registers."""
        return _Window(descriptor, size, offset)

    def allocate(self, size: int, page: int) -> Memory:
        """Return fresh memory in whole pages of ``page`` bytes. Raises OSError if there are not enough pages."""
        return _Pages(size, page)

    def lockable(self) -> int | None:
        """Raise the limit of locked memory as far as this process may, and return it in bytes; None for no limit."""
        soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
        if soft != hard:
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))
                soft = hard
        if soft == resource.RLIM_INFINITY or _may_lock():
            return None
        return soft


def _may_lock() -> bool:
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> _CAP_IPC_LOCK & 1)
    return False


class _Window:
    """Registers, mapped. A view of 32-bit words moves each word by one instruction, and never reads before a write."""

    def __init__(self, descriptor: int, size: int, offset: int) -> None:
        self._map = mmap.mmap(descriptor, size, flags=mmap.MAP_SHARED, offset=offset)
        self._words = memoryview(self._map).cast("I")

    def load(self, offset: int) -> int:
        return self._words[offset >> 2]

    def store(self, offset: int, value: int) -> None:
        self._words[offset >> 2] = value

    def close(self) -> None:
        self._words.release()
        self._map.close()


class _Pages:
    """Anonymous memory, which the kernel hands out filled with zeros."""

    def __init__(self, size: int, page: int) -> None:
        size = -(-size // page) * page
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        if page > mmap.PAGESIZE:
            flags |= _MAP_HUGETLB | page.bit_length() - 1 << _MAP_HUGE_SHIFT
        self._map = mmap.mmap(-1, size, flags=flags)
        # after a fork, the first of the two processes that writes would get new pages, which the card does not see
        self._map.madvise(mmap.MADV_DONTFORK)
        if page == mmap.PAGESIZE:
            with contextlib.suppress(OSError):
                self._map.madvise(mmap.MADV_HUGEPAGE)  # a hint, which the kernel may ignore
        self.page = page
        self.view = memoryview(self._map)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))

    def clear(self) -> None:
        ctypes.memset(self.address, 0, len(self.view))

    def close(self) -> None:
        self.view.release()
        with contextlib.suppress(BufferError):  # somebody holds a view of it
            self._map.close()
