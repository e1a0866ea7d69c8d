"""The kernel as the linker and XRT see it: its arguments in the register map, and the memory that each port is for."""

from __future__ import annotations

import re

from boards.gateware.ports import Ports
from boards.tcl.kernel import Register
from boards.u55c_vitis.top import CONTROL, HOST, hbm_port
from omap.errors import InputError
from omap.regmap import BY_NAME, hbm_pointer

INSTANCE = "omap_1"
"""Name of the one compute unit."""

CONTROLS = {"CTRL": "CTRL", "GIER": "GIER", "IP_IER": "IER", "IP_ISR": "ISR"}
"""Registers of the protocol: AMD's names to those of :mod:`omap.regmap`."""


def channels(ports: Ports) -> int:
    """Return how many HBM ports a kernel has.

    Raises
    ------
    InputError
        If they are not those of the first channels, each once.
    """
    found = sorted({match[0] for name in ports if (match := re.match(r"m_axi_hbm\d+(?=_)", name))})
    if found != [hbm_port(channel) for channel in range(len(found))]:
        raise InputError(f"HBM ports are {', '.join(found)}; they should be numbered from 00 without a gap")
    return len(found)


def masters(ports: Ports) -> dict[str, str]:
    """Return the memory ports by name, and the memory that each is connected to."""
    return {HOST: "HOST[0]"} | {hbm_port(channel): f"HBM[{channel}]" for channel in range(channels(ports))}


def registers(ports: Ports) -> tuple[Register, ...]:
    """Return control registers and arguments of a kernel, in the order in which it is called with them.

    Registers that are only read are no arguments, and the packager must not hear of them.
    """
    low, high = BY_NAME["BUFFER_LOW"], BY_NAME["BUFFER_HIGH"]
    assert high.offset == low.offset + 4
    found = [Register(name, BY_NAME[ours].offset, 32) for name, ours in CONTROLS.items()]
    found.append(Register("buffer", low.offset, 64, HOST))
    found += [Register(name.lower(), BY_NAME[name].offset, 32) for name in ("RING_LINES", "REQUEST")]
    for channel in range(channels(ports)):
        # it names the port to the linker; the kernel ignores it
        found.append(Register(f"hbm_{channel:02d}", hbm_pointer(channel), 64, hbm_port(channel)))
    return tuple(found)


def id_values(ports: Ports, bus: str) -> int:
    """Return how many accesses a port may have under way: each has an ID of its own."""
    return 1 << ports[f"{bus}_AWID"][1]


def control_bytes(ports: Ports) -> int:
    """Return the size of the register window that the address lines reach."""
    return 1 << ports[f"{CONTROL}_AWADDR"][1]
