"""What the kernel says of its devices, for a stand-in of the machine that VFIO runs on."""

from host.device.vfio import WANTED
from host.device.vfio_system import System

ADDRESS = "0000:3b:00.0"
GROUP = 42


class FakeSysfs(System):
    """Folders that describe a card, its IOMMU group and huge pages, with the ``flaws`` and ``pages`` of the machine."""

    def describe(self, folder):
        """Make the folders."""
        flaws, self.sysfs, self.device_files = self.flaws, folder / "sys", folder / "dev/vfio"
        self.device_files.mkdir(parents=True)
        (self.device_files / "vfio").touch()
        (self.device_files / str(GROUP)).touch()
        for size in (1 << 21, 1 << 30):
            path = self.sysfs / f"kernel/mm/hugepages/hugepages-{size >> 10}kB"
            path.mkdir(parents=True)
            (path / "free_hugepages").write_text(f"{self.pages.get(size, 0)}\n")
        driver = "" if "not bound" in flaws else "xdma" if "other driver" in flaws else "vfio-pci"
        if "no device" not in flaws:
            self.add(ADDRESS, driver=driver)
        if "second card" in flaws:
            self.add("0000:af:00.0", group=GROUP + 1)
        self.add("0000:3a:00.0", ids=(0x8086, 0x2030), driver="pcieport", kind=0x060400)
        if "shared" in flaws or "neighbour" in flaws:
            self.add("0000:3b:00.1", ids=(1, 2), driver="nvme" if "shared" in flaws else "vfio-pci", kind=0x010802)

    def add(self, address, ids=(WANTED.vendor, WANTED.device), *, driver="vfio-pci", group=GROUP, kind=0x058000):
        """Add a PCI device."""
        path = self.sysfs / "bus/pci/devices" / address
        path.mkdir(parents=True)
        width = 8 if "narrow link" in self.flaws else WANTED.width
        for name, text in {
            "vendor": f"{ids[0]:#06x}",
            "device": f"{ids[1]:#06x}",
            "class": f"{kind:#08x}",
            "current_link_speed": f"{WANTED.speed} GT/s PCIe",
            "current_link_width": str(width),
        }.items():
            (path / name).write_text(text + "\n")
        if driver:
            (self.sysfs / "bus/pci/drivers" / driver).mkdir(parents=True, exist_ok=True)
            (path / "driver").symlink_to(self.sysfs / "bus/pci/drivers" / driver)
        if "no iommu" not in self.flaws:
            devices = self.sysfs / f"kernel/iommu_groups/{group}/devices"
            devices.mkdir(parents=True, exist_ok=True)
            (devices / address).symlink_to(path)
            (path / "iommu_group").symlink_to(devices.parent)

    def accessible(self, path):
        return "no permission" not in self.flaws and path.exists()

    def lockable(self):
        return 4096 if "memory limit" in self.flaws else None
