"""One PCI function behind VFIO: its IOMMU group, its registers, its configuration and the memory that it may reach.

A card reaches only memory that was mapped for it here; the IOMMU refuses the rest. However this process ends, the
kernel then takes bus mastering from the card, resets the card if it can, and undoes the mapping, in this order.
"""

from __future__ import annotations

import errno
import struct
from contextlib import ExitStack

from host.device import vfio_abi as abi
from host.device.vfio_system import Mapping, Memory, System
from omap.errors import DeviceError

SUPERPAGE = 1 << 21
"""Bytes that an IOMMU translates with one entry, if the addresses on both sides allow it."""

RAISE_LIMIT = "`ulimit -l`, memlock in /etc/security/limits.conf, or LimitMEMLOCK= of a systemd unit"
"""Where the limit of locked memory is set."""

_ABOVE = 1 << 32
"""Bus addresses from here on are preferred, because windows of devices and of interrupts lie below."""

_IDS, _COMMAND = (0, 4), (4, 2)  # offset and bytes in the configuration space
_MEMORY_SPACE, _BUS_MASTER, _NO_INTERRUPTS = 1 << 1, 1 << 2, 1 << 10

_INFO_BYTES = 4096


class VfioCard:
    """A card that is open. Its bus mastering is off.

    Parameters
    ----------
    system : System
        The machine.
    address : str
        PCIe address, such as ``0000:3b:00.0``.
    group : int
        Its IOMMU group.

    Attributes
    ----------
    resets : bool
        Whether the card can be reset.

    Raises
    ------
    DeviceError
        If the card can't be opened. The error says what to do.
    """

    def __init__(self, system: System, address: str, group: int) -> None:
        self.address = address
        self._system = system
        with ExitStack() as stack:
            self._container = self._open("vfio", stack)
            self._check_container()
            self._group = self._open(str(group), stack)
            self._check_group(group)
            self._attach()
            self._device = self._descriptor(stack)
            flags = self._ask(self._device, abi.DEVICE_GET_INFO, abi.DEVICE_INFO)[1]
            if not flags & abi.DEVICE_IS_PCI:
                raise DeviceError(f"{address} is no PCI device for VFIO: check the address with `lspci`")
            self.resets = bool(flags & abi.DEVICE_RESETS)
            self._configuration = self._region(abi.CONFIG_REGION)[1]
            self._stack = stack.pop_all()

    # -- opening --------------------------------------------------------------------------------------------------

    def _open(self, name: str, stack: ExitStack) -> int:
        path = self._system.device_files / name
        try:
            descriptor = self._system.open(path)
        except OSError as error:
            raise DeviceError(f"{path} can't be opened ({error.strerror}): {self._why(error, path)}") from None
        stack.callback(self._system.close, descriptor)
        return descriptor

    def _why(self, error: OSError, path: object) -> str:
        if error.errno == errno.EBUSY:
            return "another program drives the card; end it first (`sudo fuser -v` with this path names it)"
        if error.errno in (errno.EACCES, errno.EPERM):
            return f"this user may not use the card: `sudo chown $USER {path}`, or a udev rule for it"
        return f"`sudo modprobe vfio-pci`, and bind {self.address} to it"

    def _check_container(self) -> None:
        ioctl, container = self._system.ioctl, self._container
        version = ioctl(container, abi.GET_API_VERSION)
        if version != abi.API_VERSION:
            raise DeviceError(
                f"this kernel's VFIO has version {version} of its interface, this driver uses {abi.API_VERSION}: "
                "use a kernel and a release of this package that fit"
            )
        if not ioctl(container, abi.CHECK_EXTENSION, abi.TYPE1V2_IOMMU):
            raise DeviceError(
                "VFIO has no IOMMU of type 1, version 2: `sudo modprobe vfio_iommu_type1`, and see that the IOMMU is "
                "on in the firmware (VT-d, AMD-Vi) and on the kernel's command line (intel_iommu=on)"
            )

    def _check_group(self, group: int) -> None:
        flags = self._ask(self._group, abi.GROUP_GET_STATUS, abi.GROUP_STATUS)[1]
        if not flags & abi.GROUP_VIABLE:
            raise DeviceError(
                f"the IOMMU group {group} is not viable: a device in it has another driver than vfio-pci; `ls "
                f"{self._system.sysfs}/kernel/iommu_groups/{group}/devices` names them all: unbind each, or move the "
                "card to a PCIe slot of its own"
            )

    def _attach(self) -> None:
        """Put the group behind the IOMMU."""
        try:
            container = bytearray(abi.DESCRIPTOR.pack(self._container))
            self._system.ioctl(self._group, abi.GROUP_SET_CONTAINER, container)
            self._system.ioctl(self._container, abi.SET_IOMMU, abi.TYPE1V2_IOMMU)
        except OSError as error:
            raise DeviceError(
                f"VFIO can't put {self.address} behind the IOMMU ({error.strerror}): `dmesg` says why; without "
                "interrupt remapping the firmware has to switch that on"
            ) from None

    def _descriptor(self, stack: ExitStack) -> int:
        try:
            name = bytearray(self.address.encode("ascii") + b"\0")
            device = self._system.ioctl(self._group, abi.GROUP_GET_DEVICE_FD, name)
        except OSError as error:
            raise DeviceError(
                f"VFIO does not open {self.address} ({error.strerror}): `dmesg` says why; if the card does not come "
                "out of its reset, load its bitstream again and restart the machine"
            ) from None
        stack.callback(self._system.close, device)
        return device

    def _ask(self, descriptor: int, request: int, layout: struct.Struct) -> tuple[int, ...]:
        """Return a structure that an ioctl fills in."""
        data = bytearray(layout.size)
        data[:4] = layout.size.to_bytes(4, "little")
        self._system.ioctl(descriptor, request, data)
        return layout.unpack(data)

    def _region(self, index: int) -> tuple[int, int, int]:
        """Return size, offset and flags of a region."""
        data = bytearray(abi.REGION_INFO.pack(abi.REGION_INFO.size, 0, index, 0, 0, 0))
        self._system.ioctl(self._device, abi.DEVICE_GET_REGION_INFO, data)
        _, flags, _, _, size, offset = abi.REGION_INFO.unpack(data)
        return size, offset, flags

    # -- configuration --------------------------------------------------------------------------------------------

    def _read(self, place: tuple[int, int]) -> int:
        offset, size = place
        return int.from_bytes(self._system.read(self._device, size, self._configuration + offset), "little")

    def ids(self) -> tuple[int, int]:
        """Return the ids of the card's vendor and of the card. All ones if the card does not answer."""
        word = self._read(_IDS)
        return word & 0xFFFF, word >> 16

    def enable(self, *, bus_master: bool) -> None:
        """Let the card answer at its registers. ``bus_master`` says whether it may use the bus by itself."""
        offset, size = _COMMAND
        command = self._read(_COMMAND) & ~_BUS_MASTER | _MEMORY_SPACE | _NO_INTERRUPTS
        if bus_master:
            command |= _BUS_MASTER
        self._system.write(self._device, command.to_bytes(size, "little"), self._configuration + offset)

    def reset(self) -> None:
        """Reset the card. What it holds is lost, and it does not answer until it is enabled again."""
        try:
            self._system.ioctl(self._device, abi.DEVICE_RESET)
        except OSError as error:
            raise DeviceError(
                f"the card {self.address} was not reset ({error.strerror}): load its bitstream again, or restart the "
                "machine"
            ) from None

    # -- registers and memory -------------------------------------------------------------------------------------

    def registers(self, size: int) -> Mapping:
        """Return the first bytes of BAR 0."""
        have, offset, flags = self._region(abi.BAR0_REGION)
        wanted = abi.REGION_READ | abi.REGION_WRITE | abi.REGION_MMAP
        if have < size or flags & wanted != wanted:
            raise DeviceError(
                f"BAR 0 of {self.address} has {have} bytes and flags {flags:#x}; registers take {size} bytes that can "
                "be mapped: another bitstream is loaded, or the firmware gave the BAR no room (`lspci -vv`)"
            )
        return self._system.map(self._device, size, offset)

    def share(self, memory: Memory, reach: range) -> int:
        """Map memory for the card and return its address on the bus.

        Parameters
        ----------
        memory : Memory
            The memory. It must stay where it is until :meth:`unshare`.
        reach : range
            Bus addresses that the card can form.
        """
        size = len(memory.view)
        address = self._place(memory, reach)
        access = abi.DMA_READ | abi.DMA_WRITE
        request = bytearray(abi.DMA_MAP.pack(abi.DMA_MAP.size, access, memory.address, address, size))
        try:
            self._system.ioctl(self._container, abi.IOMMU_MAP_DMA, request)
        except OSError as error:
            raise DeviceError(
                f"the IOMMU takes no mapping of {size} bytes at {address:#x} ({error.strerror}): raise the limit of "
                f"locked memory to that and more ({RAISE_LIMIT}); `dmesg` says more"
            ) from None
        return address

    def unshare(self, address: int, size: int) -> None:
        """Take memory from the card."""
        request = bytearray(abi.DMA_UNMAP.pack(abi.DMA_UNMAP.size, 0, address, size))
        self._system.ioctl(self._container, abi.IOMMU_UNMAP_DMA, request)

    def _place(self, memory: Memory, reach: range) -> int:
        """Return a bus address that the IOMMU translates, aligned as the memory is, so that superpages are used."""
        info = bytearray(_INFO_BYTES)
        info[:4] = _INFO_BYTES.to_bytes(4, "little")
        self._system.ioctl(self._container, abi.IOMMU_GET_INFO, info)
        step, size = max(memory.page, SUPERPAGE), len(memory.view)
        ranges = list(abi.iova_ranges(info)) or [reach]
        for lowest in (_ABOVE, step):  # never at 0
            for have in ranges:
                start = max(have.start, reach.start, lowest)
                start += (memory.address - start) % step
                if start + size <= min(have.stop, reach.stop):
                    return start
        raise DeviceError(
            f"no {size} bytes of bus addresses are free for {self.address}; the IOMMU has "
            + ", ".join(f"{have.start:#x} to {have.stop - 1:#x}" for have in ranges)
            + f", and the card reaches {reach.start:#x} to {reach.stop - 1:#x}: plan a smaller map"
        )

    def close(self) -> None:
        """Give the card back. If it may still use the bus, the kernel ends that. May be called again."""
        self._stack.close()
