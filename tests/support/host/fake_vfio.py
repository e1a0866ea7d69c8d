"""A stand-in for the machine that VFIO runs on: its kernel, its IOMMU, and a PCIe slot with a card in it.

The stand-in fails as a real machine does. Calls in a wrong order raise. If the card accesses memory that it was not
given, ``faults`` keeps the access, and the test that caused it fails.
"""

import errno
import os
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from host.device import vfio_abi as abi
from host.device.vfio import WANTED
from omap.regmap import State
from tests.support.host.cards import BusFaultError, ModelCard
from tests.support.host.fake_sysfs import ADDRESS, GROUP, FakeSysfs

MEMORY_SPACE, BUS_MASTER = 2, 4
CONFIGURATION, BAR = 7 << 40, 0  # where vfio-pci puts them in the device's file
INTEL = ((0, 0xFEDFFFFF), (0xFEF00000, (1 << 39) - 1))
"""What an IOMMU of 39 bits says that it translates."""


class BusError(Exception):
    """Stands for SIGBUS, which would end the process."""


class FakeVfio(FakeSysfs):
    """A machine. Use it as ``system``, and as a context around all uses of it.

    Each option is a property of the machine, and most tests set one, so that there are more than six.

    ``card`` is a card of :mod:`tests.support.host.cards`. ``ranges`` is what the IOMMU translates; None if it does not
    say. ``pages`` are the huge pages that are free, by their size. ``slow`` is how many loads read 0 after a reset.
    Flaws:

    ``no device``, ``second card``, ``no iommu``, ``not bound``, ``other driver``, ``shared``, ``neighbour``,
    ``no permission``, ``no vfio``, ``busy``, ``old api``, ``no type1``, ``not viable``, ``unsafe``, ``no descriptor``,
    ``not pci``, ``wrong ids``, ``small bar``, ``no reset``, ``reset fails``, ``left running``, ``wrong identity``,
    ``all ones``, ``lost at reset``, ``never ready``, ``hbm fails``,
    ``memory limit``, ``map refused``, ``no memory``, ``silent``, ``dies``,
    ``narrow link``.
    """

    def __init__(self, folder, params, root_key, *, card=None, ranges=INTEL, pages=None, slow=0, flaws=()):
        self.flaws = set(flaws)
        self.card = ModelCard(params, root_key) if card is None else card
        self.card.bus = self.reach
        if self.card.address is not None:  # then the IOMMU translates addresses from the card's buffer on
            ranges = ((self.card.address, self.card.address + (1 << 32) - 1),)
        self.ranges, self.slow, self.opening = ranges, slow, 0
        self.pages = {1 << 21: 64} if pages is None else pages
        self.log, self.faults = [], []
        self.files, self.live, self.mapped = {}, [], {}
        self.windows = 0
        self.command, self.iommu_set = 0, False
        self.dead = "all ones" in self.flaws
        self.lock = threading.RLock()
        self.stop = threading.Event()
        self.describe(Path(folder))
        if "left running" in self.flaws:
            self.card.running = True
            self.card.registers.write("CTRL", 1)
            self.card.step = lambda: 0
        self.thread = threading.Thread(target=self.work, daemon=True)

    def __enter__(self):
        if self.card.threaded:
            self.thread.start()
        return self

    def __exit__(self, kind, *_):
        self.stop.set()
        if self.thread.ident is not None:
            self.thread.join()
        if kind is None:
            assert not self.faults

    def work(self):
        while not self.stop.is_set():
            with self.lock:
                done = self.step()
            if not done:
                time.sleep(50e-6)

    @contextmanager
    def still(self):
        """Keep the card from taking a step, so that it can be looked at."""
        with self.lock:
            yield

    def step(self):
        try:
            return 0 if self.dead else self.card.step()
        except BusFaultError as fault:
            self.faults.append(str(fault))
            self.card.running = False
            return 0

    @property
    def clean(self):
        """Whether everything was given back."""
        return not (self.files or self.live or self.mapped or self.windows)

    # -- files --------------------------------------------------------------------------------------------------------

    def open(self, path):
        if path == self.device_files / "vfio":
            if "no vfio" in self.flaws:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
            return self.file("container")
        assert path == self.device_files / str(GROUP)
        if "busy" in self.flaws or "group" in self.files.values():
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        return self.file("group")

    def file(self, kind):
        self.files[descriptor := max(self.files, default=1000) + 1] = kind
        return descriptor

    def close(self, descriptor):
        kind = self.files.pop(descriptor)
        self.log.append(f"close {kind}")
        with self.lock:
            if kind == "device":
                self.command = 0
            elif kind == "container":
                self.mapped.clear()
                self.iommu_set = False

    def read(self, descriptor, size, offset):
        assert self.files[descriptor] == "device"
        if self.dead:
            return b"\xff" * size
        ids = (1, 2) if "wrong ids" in self.flaws else (WANTED.vendor, WANTED.device)
        space = b"".join(word.to_bytes(2, "little") for word in (*ids, self.command))
        return space[offset - CONFIGURATION :][:size]

    def write(self, descriptor, data, offset):
        assert self.files[descriptor] == "device"
        assert (offset, len(data)) == (CONFIGURATION + 4, 2)
        with self.lock:
            before, self.command = self.command, int.from_bytes(data, "little")
        if (before ^ self.command) & BUS_MASTER:
            self.log.append("bus master on" if self.command & BUS_MASTER else "bus master off")

    # -- ioctls -------------------------------------------------------------------------------------------------------

    def ioctl(self, descriptor, request, argument=0):
        names = {
            ("container", abi.GET_API_VERSION): self.version,
            ("container", abi.CHECK_EXTENSION): self.extension,
            ("container", abi.SET_IOMMU): self.set_iommu,
            ("container", abi.IOMMU_GET_INFO): self.iommu_info,
            ("container", abi.IOMMU_MAP_DMA): self.map_memory,
            ("container", abi.IOMMU_UNMAP_DMA): self.unmap_memory,
            ("group", abi.GROUP_GET_STATUS): self.status,
            ("group", abi.GROUP_SET_CONTAINER): self.set_container,
            ("group", abi.GROUP_GET_DEVICE_FD): self.device,
            ("device", abi.DEVICE_GET_INFO): self.device_info,
            ("device", abi.DEVICE_GET_REGION_INFO): self.region,
            ("device", abi.DEVICE_RESET): self.reset,
        }
        with self.lock:
            return names[self.files[descriptor], request](argument)

    def version(self, _):
        return 1 if "old api" in self.flaws else 0

    def extension(self, which):
        assert which == abi.TYPE1V2_IOMMU
        return int("no type1" not in self.flaws)

    def status(self, data):
        flags = 0 if "not viable" in self.flaws else abi.GROUP_VIABLE
        data[:] = abi.GROUP_STATUS.pack(abi.GROUP_STATUS.size, flags)
        return 0

    def set_container(self, data):
        assert self.files[abi.DESCRIPTOR.unpack(data)[0]] == "container"
        if "unsafe" in self.flaws:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        return 0

    def set_iommu(self, which):
        assert which == abi.TYPE1V2_IOMMU
        self.iommu_set = True
        return 0

    def device(self, name):
        assert self.iommu_set
        assert bytes(name) == ADDRESS.encode() + b"\0"
        if "no descriptor" in self.flaws:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return self.file("device")

    def device_info(self, data):
        flags = abi.DEVICE_IS_PCI * ("not pci" not in self.flaws) | abi.DEVICE_RESETS * ("no reset" not in self.flaws)
        data[:] = abi.DEVICE_INFO.pack(abi.DEVICE_INFO.size, flags, 9, 5)
        return 0

    def region(self, data):
        index = abi.REGION_INFO.unpack(data)[2]
        size = {abi.BAR0_REGION: 1 << (10 if "small bar" in self.flaws else 16), abi.CONFIG_REGION: 4096}[index]
        data[:] = abi.REGION_INFO.pack(abi.REGION_INFO.size, 7, index, 0, size, index << 40)
        return 0

    def reset(self, _):
        assert "no reset" not in self.flaws
        if "reset fails" in self.flaws:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self.log.append("reset")
        self.command = 0
        self.dead |= "lost at reset" in self.flaws
        self.opening = 1 << 30 if self.flaws & {"never ready", "hbm fails"} else self.slow
        self.flaws.discard("left running")
        self.card.__dict__.pop("step", None)
        self.card.reset()
        return 0

    # -- IOMMU --------------------------------------------------------------------------------------------------------

    def iommu_info(self, data):
        assert self.iommu_set
        room = int.from_bytes(data[:4], "little")
        chain = b""
        if self.ranges is not None:  # after a capability that the driver must skip
            first = abi.IOMMU_INFO.size
            second = first + 16
            chain = abi.CAPABILITY.pack(3, 1, second) + bytes(8)
            chain += abi.CAPABILITY.pack(abi.CAPABILITY_IOVA_RANGES, 1, 0) + abi.RANGE_COUNT.pack(len(self.ranges))
            chain += b"".join(abi.RANGE.pack(*limits) for limits in self.ranges)
        size = abi.IOMMU_INFO.size + len(chain)
        assert size <= room
        flags = 1 | abi.IOMMU_HAS_CAPABILITIES * bool(chain)
        head = abi.IOMMU_INFO.pack(size, flags, 0x40201000, abi.IOMMU_INFO.size if chain else 0)
        data[:size] = head + chain
        return 0

    def map_memory(self, data):
        assert self.iommu_set
        _, flags, address, bus, size = abi.DMA_MAP.unpack(data)
        (memory,) = [memory for memory in self.live if memory.address == address]
        assert (flags, size) == (3, len(memory.view))
        if "map refused" in self.flaws:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        ranges = INTEL if self.ranges is None else self.ranges
        if bus % 4096 or not any(first <= bus and bus + size - 1 <= last for first, last in ranges):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self.mapped[bus] = memory
        self.log.append("map")
        return 0

    def unmap_memory(self, data):
        _, _, bus, size = abi.DMA_UNMAP.unpack(data)
        assert len(self.mapped.pop(bus).view) == size
        self.log.append("unmap")
        return 0

    def reach(self, address, size):
        """Return the memory at a bus address, for the card."""
        if not self.command & BUS_MASTER:
            raise BusFaultError("the card has used the bus without being its master")
        for start, memory in self.mapped.items():
            if start <= address and address + size <= start + len(memory.view):
                return memory.view[address - start :][:size]
        raise BusFaultError(f"the IOMMU has refused {size} bytes at {address:#x}")

    def allocate(self, size, page):
        size = -(-size // page) * page
        if page > 4096:
            if size // page > self.pages.get(page, 0):
                raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        elif "no memory" in self.flaws:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        try:
            memory = FakeMemory(self, self.card.allocate(size), page)
        except MemoryError:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)) from None
        self.live.append(memory)
        return memory

    def map(self, descriptor, size, offset):
        assert self.files[descriptor] == "device"
        assert (size, offset) == (4096, BAR)
        self.windows += 1
        return FakeWindow(self)


class FakeMemory:
    """Memory that is not zero."""

    def __init__(self, machine, view, page):
        self.machine, self.view, self.page = machine, view, page
        self.address = 0x7F00_0000_0000
        if page == 4096 and machine.card.address is None:
            self.address += 0x12_3000

    def clear(self):
        self.view[:] = bytes(len(self.view))

    def close(self):
        assert self not in self.machine.mapped.values(), "memory was freed that the card reaches"
        self.machine.live.remove(self)
        self.machine.log.append("free")


class FakeWindow:
    """BAR 0."""

    def __init__(self, machine):
        self.machine = machine

    def load(self, offset):
        with self.machine.lock:
            self.enabled()
            if self.machine.dead:
                return 0xFFFFFFFF
            if offset == 0x40 and "wrong identity" in self.machine.flaws:
                return 0x12345678
            if self.machine.opening:
                self.machine.opening -= 1
                broken = offset == 0x4C and "hbm fails" in self.machine.flaws
                return int(State.FAULT) if broken else 0
            try:
                return self.machine.card.load(offset)
            except BusFaultError as fault:
                self.machine.faults.append(str(fault))
                return 0

    def store(self, offset, value):
        machine = self.machine
        with machine.lock:
            self.enabled()
            if machine.dead:
                return
            if offset == 0:
                machine.log.append("start")
                assert not any(machine.reach(min(machine.mapped), 1 << 12)), "the buffer is not zero"
                if "silent" in machine.flaws:
                    return
            try:
                machine.card.store(offset, value)
            except BusFaultError as fault:
                machine.faults.append(str(fault))
                machine.card.running = False
            if offset == 0 and "dies" in machine.flaws:
                machine.dead = True

    def enabled(self):
        if not self.machine.command & MEMORY_SPACE and not self.machine.dead:
            raise BusError("the card's registers were used while its memory space is off")

    def close(self):
        self.machine.windows -= 1
