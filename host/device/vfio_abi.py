"""The part of ``linux/vfio.h`` that a driver of one PCI function needs: numbers of ioctls, flags, layouts.

Every structure starts with the size that its caller gives it, ``argsz``. A test compares this module with the header.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

API_VERSION = 0
TYPE1V2_IOMMU = 3

_BASE = ord(";") << 8 | 100  # _IO(VFIO_TYPE, VFIO_BASE): no size, no direction

GET_API_VERSION = _BASE + 0
CHECK_EXTENSION = _BASE + 1
SET_IOMMU = _BASE + 2
GROUP_GET_STATUS = _BASE + 3
GROUP_SET_CONTAINER = _BASE + 4
GROUP_GET_DEVICE_FD = _BASE + 6
DEVICE_GET_INFO = _BASE + 7
DEVICE_GET_REGION_INFO = _BASE + 8
DEVICE_RESET = _BASE + 11
IOMMU_GET_INFO = _BASE + 12
IOMMU_MAP_DMA = _BASE + 13
IOMMU_UNMAP_DMA = _BASE + 14

DESCRIPTOR = struct.Struct("=i")
"""What GROUP_SET_CONTAINER points at."""

GROUP_STATUS = struct.Struct("=II")
"""argsz, flags."""
GROUP_VIABLE = 1 << 0

DEVICE_INFO = struct.Struct("=IIII")
"""argsz, flags, regions, interrupts. What newer headers add is not asked for."""
DEVICE_RESETS = 1 << 0
DEVICE_IS_PCI = 1 << 1

REGION_INFO = struct.Struct("=IIIIQQ")
"""argsz, flags, index, offset of capabilities, size, offset in the device's file."""
REGION_READ, REGION_WRITE, REGION_MMAP = 1 << 0, 1 << 1, 1 << 2
BAR0_REGION = 0
CONFIG_REGION = 7

IOMMU_INFO = struct.Struct("=IIQI4x")
"""argsz, flags, page sizes, offset of capabilities."""
IOMMU_HAS_CAPABILITIES = 1 << 1
CAPABILITY = struct.Struct("=HHI")
"""id, version, offset of the next."""
CAPABILITY_IOVA_RANGES = 1
RANGE_COUNT = struct.Struct("=I4x")
RANGE = struct.Struct("=QQ")
"""First and last address."""

DMA_MAP = struct.Struct("=IIQQQ")
"""argsz, flags, address in the process, address on the bus, size."""
DMA_READ, DMA_WRITE = 1 << 0, 1 << 1

DMA_UNMAP = struct.Struct("=IIQQ")
"""argsz, flags, address on the bus, size."""


def iova_ranges(info: bytes | bytearray) -> Iterator[range]:
    """Yield the bus addresses that an IOMMU translates, from all that IOMMU_GET_INFO wrote; nothing if it is silent."""
    size, flags, _, at = IOMMU_INFO.unpack_from(info)
    if not flags & IOMMU_HAS_CAPABILITIES:
        return
    while at and at + CAPABILITY.size <= min(size, len(info)):
        kind, _, following = CAPABILITY.unpack_from(info, at)
        if kind == CAPABILITY_IOVA_RANGES:
            at += CAPABILITY.size
            (count,) = RANGE_COUNT.unpack_from(info, at)
            for place in range(count):
                first, last = RANGE.unpack_from(info, at + RANGE_COUNT.size + place * RANGE.size)
                yield range(first, last + 1)
            return
        at = following
