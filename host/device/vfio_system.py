"""All that the VFIO driver asks of the operating system, behind one class: a test puts a machine of its own here."""

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
    """Memory of this process that can be put before a card.

    Attributes
    ----------
    view : memoryview
        Its bytes, in whole pages.
    address : int
        Where it starts, for this process.
    page : int
        Bytes of its pages.
    """

    view: memoryview
    address: int
    page: int

    def clear(self) -> None:
        """Fill it with zeros."""
        ...

    def close(self) -> None:
        """Give it back. Whoever holds a view of it keeps it until then."""
        ...


class System:
    """The machine that this process runs on.

    Attributes
    ----------
    sysfs : Path
        Where the kernel describes its devices.
    device_files : Path
        Folder of the files of VFIO.
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
        result: int = fcntl.ioctl(descriptor, request, argument)  # what is given as bytearray is written to
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
        """Return fresh memory of whole pages of ``page`` bytes; raises OSError if there are not as many."""
        return _Pages(size, page)

    def lockable(self) -> int | None:
        """Return how many bytes this process may lock, as far as it can raise that itself; None if without limit."""
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
    """Registers, mapped. A view of 32-bit words moves each with one instruction, and never reads before it writes."""

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
        # a child's copy would share the pages until one of the two writes, which then moves away from the card's
        self._map.madvise(mmap.MADV_DONTFORK)
        if page == mmap.PAGESIZE:
            with contextlib.suppress(OSError):
                self._map.madvise(mmap.MADV_HUGEPAGE)  # if the kernel likes
        self.page = page
        self.view = memoryview(self._map)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))

    def clear(self) -> None:
        ctypes.memset(self.address, 0, len(self.view))

    def close(self) -> None:
        self.view.release()
        with contextlib.suppress(BufferError):  # somebody looks at it still
            self._map.close()
