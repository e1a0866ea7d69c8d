"""What must be in place before a card works without XRT, and what to do if it is not.

An error says what makes the card unusable, a remark what makes it slow. All facts come from the kernel's description of
its devices. If a card does not tell a fact, the check passes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from host.device.vfio_card import RAISE_LIMIT
from host.device.vfio_system import System
from omap.errors import DeviceError, InputError

DRIVER = "vfio-pci"

_ADDRESS = re.compile(r"(?:([0-9a-f]{4}):)?([0-9a-f]{2}:[0-9a-f]{2}\.[0-7])", re.IGNORECASE)
_BRIDGE = 0x0604
"""Class of a bridge between PCI buses. A bridge is on the path to a card and uses no memory by itself."""


@dataclass(frozen=True)
class Wanted:
    """How a card of this kind identifies itself on its bus.

    Parameters
    ----------
    vendor, device : int
        Its ids.
    speed : float
        GT/s of its link.
    width : int
        Lanes of its link.
    """

    vendor: int
    device: int
    speed: float
    width: int

    @property
    def ids(self) -> str:
        """The ids as ``lspci`` writes them."""
        return f"{self.vendor:04x}:{self.device:04x}"


def find_card(system: System, device: str | None, wanted: Wanted) -> str:
    """Return the full PCIe address of a card; without a name, of the only card.

    Raises
    ------
    InputError
        If the name is no address.
    DeviceError
        If there is none, or more than one.
    """
    devices = system.sysfs / "bus/pci/devices"
    if device is not None:
        found = _ADDRESS.fullmatch(device)
        if found is None:
            raise InputError(f"{device!r} is no PCIe address: write it as `lspci -D` does, such as 0000:3b:00.0")
        address = f"{found[1] or '0000'}:{found[2]}".lower()
        if not (devices / address).is_dir():
            raise DeviceError(
                f"there is no PCIe device {address}: `lspci -D -d {wanted.ids}` lists the cards; one that has just got "
                "its bitstream appears after `echo 1 | sudo tee /sys/bus/pci/rescan`, or after a restart"
            )
        return address
    there = sorted(path.name for path in devices.glob("*") if _ids(path) == (wanted.vendor, wanted.device))
    if len(there) != 1:
        raise DeviceError(
            f"{len(there) or 'no'} cards {wanted.ids} are on the bus{': ' * bool(there)}{', '.join(there)}; "
            + ("choose one with --device" if there else "load the bitstream, then rescan the bus or restart")
        )
    return there[0]


def check_card(system: System, address: str) -> int:
    """Check that a card can be opened through VFIO, and return its IOMMU group."""
    path = system.sysfs / "bus/pci/devices" / address
    link = path / "iommu_group"
    if not link.exists():
        raise DeviceError(
            f"{address} is behind no IOMMU: switch it on in the firmware (VT-d, AMD-Vi) and boot with intel_iommu=on "
            "or amd_iommu=on; iommu=pt is fine"
        )
    group = int(link.resolve().name)
    if (driver := _driver(path)) != DRIVER:
        raise DeviceError(f"{address} has {driver or 'no driver'}, not {DRIVER}: {_bind(address, driver)}")
    others = [other for other in _group(path) if other.name != address and _class(other) != _BRIDGE]
    if held := [f"{other.name} ({_driver(other)})" for other in others if _driver(other) not in ("", DRIVER)]:
        raise DeviceError(
            f"{address} shares its IOMMU group {group} with {', '.join(held)}: bind these to {DRIVER} as well or "
            "unbind them; a PCIe slot whose bridges have ACS gives the card a group of its own"
        )
    file = system.device_files / str(group)
    if not system.accessible(file):
        raise DeviceError(f"this user may not use {file}: `sudo chown $USER {file}`, or a udev rule for it")
    return group


def check_limit(system: System, size: int) -> None:
    """Check that this process may lock so many bytes, because memory that a card reaches must be locked."""
    limit = system.lockable()
    if limit is not None and limit < size:
        raise DeviceError(f"rings and pages take {size} bytes, and this process may lock {limit}: raise {RAISE_LIMIT}")


def remarks(system: System, address: str, wanted: Wanted) -> Iterator[str]:
    """Yield what is worth a warning."""
    path = system.sysfs / "bus/pci/devices" / address
    speed, width = _number(path / "current_link_speed"), _number(path / "current_link_width")
    if speed is not None and width is not None and (speed < wanted.speed or width < wanted.width):
        yield (
            f"the link of {address} runs at {speed:g} GT/s with {width:g} lanes, not {wanted.speed:g} with "
            f"{wanted.width}: use a PCIe slot with all lanes, see its settings in the firmware, and restart"
        )
    if shared := [other.name for other in _group(path) if other.name != address and _class(other) != _BRIDGE]:
        yield (
            f"{address} is in one IOMMU group with {', '.join(shared)}: they reach each other past the IOMMU; a PCIe "
            "slot whose bridges have ACS keeps them apart"
        )


def huge_pages_missing(system: System, size: int, page: int) -> str:
    """Return the text about missing huge pages."""
    folder = system.sysfs / f"kernel/mm/hugepages/hugepages-{page >> 10}kB"
    free = _number(folder / "free_hugepages") or 0
    count = -(-size // page)
    return (
        f"there are {free:g} free huge pages of {page >> 20} MB, rings and pages take {count}: small pages are used, "
        "so that the IOMMU looks an address up at most accesses, which costs much of the speed; `echo "
        f"{count} | sudo tee {folder}/nr_hugepages`, best right after the start of the machine"
    )


def _bind(address: str, driver: str) -> str:
    """Return the commands that give a card to VFIO."""
    device = f"/sys/bus/pci/devices/{address}"
    commands = ["sudo modprobe vfio-pci", f"echo {DRIVER} | sudo tee {device}/driver_override"]
    if driver:
        commands.append(f"echo {address} | sudo tee {device}/driver/unbind")
    commands.append(f"echo {address} | sudo tee /sys/bus/pci/drivers_probe")
    return "`" + "; ".join(commands) + "`"


def _driver(path: Path) -> str:
    link = path / "driver"
    return link.resolve().name if link.exists() else ""


def _group(path: Path) -> list[Path]:
    """Return the devices of a device's group."""
    return sorted((path / "iommu_group/devices").glob("*"))


def _class(path: Path) -> int | None:
    word = _hexadecimal(path / "class")
    return None if word is None else word >> 8


def _ids(path: Path) -> tuple[int | None, int | None]:
    return _hexadecimal(path / "vendor"), _hexadecimal(path / "device")


def _hexadecimal(path: Path) -> int | None:
    try:
        return int(path.read_text("ascii"), 16)
    except (OSError, ValueError):
        return None


def _number(path: Path) -> float | None:
    """Return the number that a file begins with, such as ``8.0 GT/s PCIe``."""
    try:
        return float(path.read_text("ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return None
