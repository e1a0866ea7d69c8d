"""What must be in place before a card can work, and what to do if it is not.

Each check answers a problem that people really have: XRT not in Python's path, host memory not enabled or too small,
huge pages missing, an xclbin for another platform, a kernel whose ports are linked to the wrong memory. Every check
raises :class:`~omap.errors.DeviceError` with a remedy. If XRT does not tell what a check needs to know, the check
passes.
"""

from __future__ import annotations

import importlib
import json
import os
import re
from pathlib import Path
from types import ModuleType
from typing import Any

from omap.board import BOARDS
from omap.errors import DeviceError

ENABLE_HOST_MEMORY = (
    "host memory must be enabled before the xclbin is loaded: "
    "`sudo xrt-smi configure --host-mem -d <bdf> --size 4G enable` (a power of two)"
)

_HUGE_PAGES = Path("/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages")
_WINDOW_BYTES = BOARDS["u55c"].host_window_bytes
"""Most host memory that a kernel reaches through HOST[0]. The windows of other cards are not known."""


def find_pyxrt() -> ModuleType:
    """Return the module ``pyxrt``."""
    try:
        return importlib.import_module("pyxrt")
    except ImportError as error:
        found = os.environ.get("XILINX_XRT")
        if found is None:
            remedy = "install XRT if it is not, then `source /opt/xilinx/xrt/setup.sh` in this shell"
        else:
            remedy = f"XILINX_XRT is {found}, so its pyxrt is for another Python: run with the one XRT was built for"
        raise DeviceError(f"XRT's Python binding can't be loaded ({error}): {remedy}") from None


def find_card(pyxrt: ModuleType, device: str | int) -> Any:
    """Return the card with this number or PCIe address."""
    name = str(device)
    try:
        card = pyxrt.device(int(name)) if name.isdigit() else pyxrt.device(name)
    except Exception as error:
        raise DeviceError(
            f"XRT finds no card {name} ({error}): `xrt-smi examine` lists those that are ready; is the xocl driver "
            "loaded, and are you in the group that may use it?"
        ) from None
    if _info(pyxrt, card, "offline") == "1":
        raise DeviceError(f"the card {name} is offline: `xrt-smi reset -d {name}`, or restart the machine")
    return card


def address(pyxrt: ModuleType, card: Any) -> str:
    """Return a card's PCIe address, or an empty text if XRT does not tell it."""
    return _info(pyxrt, card, "bdf")


def check_xclbin(pyxrt: ModuleType, card: Any, path: str | os.PathLike[str], kernel: str) -> None:
    """Check that an xclbin can be read, holds the kernel, and is linked to host memory and to HBM."""
    path = os.fspath(path)
    if not os.access(path, os.R_OK):
        raise DeviceError(f"the xclbin {path} can't be read: check the name; boards/u55c_vitis builds one")
    try:
        program = pyxrt.xclbin(path)
        kernels = [found.get_name() for found in program.get_kernels()]
    except Exception as error:
        raise DeviceError(f"{path} is no xclbin that XRT understands ({error}): build or copy it again") from None
    if kernel not in kernels:
        raise DeviceError(f"{path} has no kernel {kernel}, only {', '.join(kernels) or 'none'}: it is another program")
    platform, name = _platform(program.get_xsa_name()), _platform(_info(pyxrt, card, "name"))
    if platform and name and platform != name:
        raise DeviceError(f"{path} is built for the platform {platform}; this card runs {name}: build it for that one")
    if not hasattr(program, "get_mems"):
        return
    banks = [bank for bank in program.get_mems() if bank.get_used()]
    used = {bank.get_tag() for bank in banks}
    if not any(tag.startswith("HOST") for tag in used):
        raise DeviceError(f"{path} does not use host memory: link it with sp=omap_1.m_axi_host:HOST[0]")
    if not any(tag.startswith("HBM") for tag in used):
        raise DeviceError(f"{path} does not use HBM: link it with sp=omap_1.m_axi_hbm00:HBM[0], one line for each port")
    _check_addresses(path, platform, banks)


def _check_addresses(path: str, platform: str, banks: list[Any]) -> None:
    """Check that each bank of HBM lies where the kernel expects it: the kernel's ports carry no base address."""
    boards = [board for board in BOARDS.values() if _platform(board.platform) == platform]
    for bank in banks:
        found = re.fullmatch(r"HBM\[(\d+)\]", bank.get_tag())
        if found is None or not boards or not hasattr(bank, "get_base_address"):
            continue
        have, wanted = bank.get_base_address(), int(found[1]) << boards[0].channel_bits
        if have != wanted:
            raise DeviceError(
                f"{path} has {found[0]} at {have:#x}, and the kernel looks for it at {wanted:#x}: build both for one "
                f"platform, with one bank to a port (sp=omap_1.m_axi_hbm{int(found[1]):02}:{found[0]})"
            )


def check_host_memory(pyxrt: ModuleType, card: Any, size: int) -> None:
    """Check that as many bytes of host memory are enabled, and that huge pages are there if they are needed."""
    if _WINDOW_BYTES is not None and size > _WINDOW_BYTES:
        raise DeviceError(f"rings and pages take {size} bytes; a kernel reaches {_WINDOW_BYTES}: plan a smaller map")
    enabled = _enabled_bytes(_info(pyxrt, card, "pcie_info"))
    if enabled is None or enabled >= size:
        return
    have = f"{enabled} bytes of host memory are enabled" if enabled else "no host memory is enabled"
    text = f"rings and pages take {size} bytes, and {have}: {ENABLE_HOST_MEMORY}"
    if size > 1 << 30 and (pages := _huge_pages()) is not None and pages << 30 < size:
        text += (
            f"; over 1 GB that takes huge pages of 1 GB, of which there are {pages}: boot with "
            f"`default_hugepagesz=1G hugepagesz=1G hugepages={-(-size >> 30)}` or more"
        )
    raise DeviceError(text)


def reset_card(pyxrt: ModuleType, card: Any) -> str:
    """Return the command that makes a card forget the program that is on it."""
    return f"`xrt-smi reset -d {address(pyxrt, card) or '<bdf>'}`"


def load_failed(pyxrt: ModuleType, card: Any, path: str, error: Exception) -> str:
    """Return the text about an xclbin that XRT refuses."""
    text, lower = f"XRT did not load {path} ({error}): ", str(error).lower()
    if "busy" in lower:
        return text + f"another program uses the card; end it, or {reset_card(pyxrt, card)}"
    if "permission" in lower or "not permitted" in lower:
        return text + "this user may not use the card; see the groups of /dev/dri/renderD*"
    if "kernel" in lower and ("no such" in lower or "not found" in lower):
        return text + "the kernel is not in it; build it again"
    platform = _info(pyxrt, card, "name") or "unknown"
    return text + f"it must be built for the card's platform, {platform}; `dmesg` says more"


def _info(pyxrt: ModuleType, card: Any, name: str) -> str:
    """Return what XRT says of a card; an empty text if it says nothing."""
    try:
        return str(card.get_info(getattr(pyxrt.xrt_info_device, name)))
    except Exception:
        return ""


def _platform(name: str) -> str:
    """Return the part of a platform's name that shells and programs have in common.

    A program is built for ``xilinx_u55c_gen3x16_xdma_3_202210_1``, its card runs ``xilinx_u55c_gen3x16_xdma_base_3``.
    """
    found = re.match(r"(xilinx_\w+?_(?:xdma|qdma|nodma))_(?:base_)?(\d+)", name)
    return f"{found[1]}_{found[2]}" if found else ""


def _enabled_bytes(text: str) -> int | None:
    """Return the enabled host memory in what XRT says of PCIe: a number, or a text such as ``4 GB``, by version."""
    try:
        facts = json.loads(text)
        said = facts.get("enabled_host_mem_size_bytes", facts.get("shared_host_mem_size_bytes"))
    except (ValueError, AttributeError):
        return None
    found = re.fullmatch(r"\s*(?:0x([0-9a-fA-F]+)|(\d+))\s*(Byte|KB|MB|GB|TB)?\s*", str(said))
    if found is None:
        return None
    number = int(found[1], 16) if found[1] else int(found[2])
    return number << 10 * ("Byte", "KB", "MB", "GB", "TB").index(found[3] or "Byte")


def _huge_pages() -> int | None:
    try:
        return int(_HUGE_PAGES.read_text("ascii"))
    except (OSError, ValueError):
        return None
