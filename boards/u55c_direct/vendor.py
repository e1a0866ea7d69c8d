"""Ports of the vendor's blocks that the direct target instantiates, from public documents; unverified on a card.

One table for the top, for the empty modules that lint uses, and for the scripts that make the IP cores and compare what
the tools made with what is expected here. Only ports that are used are listed; other outputs stay open.

Sources: AMD PG194 (AXI bridge mode of the DMA subsystem for PCIe), PG276 (HBM controller), UG974 (primitives).
"""

from __future__ import annotations

from amaranth.lib.wiring import In

from boards.gateware.flat import TIES
from boards.gateware.ports import Ports
from rtl.constants import LINE_BITS, PSEUDO_CHANNELS
from rtl.engine import HOST_AXI
from rtl.memory.hbm import HBM_AXI
from rtl.stream.axi import AxiSignature

PCIE, HBM = "omap_pcie", "omap_hbm"
"""Names of the IP cores."""

LANES = 16
BAR_AXI = AxiSignature(addr_width=64, data_width=LINE_BITS, id_width=4)
"""Port of the bridge toward the registers: a BAR of the card, PCIe addresses translated to begin at 0."""

STACK_CHANNELS = PSEUDO_CHANNELS // 2
"""Pseudo-channels of one HBM stack."""


def stacks(channels: int) -> int:
    """Return how many HBM stacks so many channels need."""
    return -(-channels // STACK_CHANNELS)


def _axi(prefix: str, signature: AxiSignature, *, block_is_master: bool, upper: bool = False) -> Ports:
    """Return the ports of one AXI interface of a block."""
    found: Ports = {}
    for name, member in signature.members.items():
        inward = (member.flow is In) == block_is_master
        found[prefix + (name.upper() if upper else name)] = ("input" if inward else "output", _bits(member.shape))
    return found


def _bits(shape: object) -> int:
    return shape if isinstance(shape, int) else shape.width  # type: ignore[attr-defined]


def pcie_ports() -> Ports:
    """Return the ports of the PCIe core: reference clock, lanes, BAR to logic, logic to host memory."""
    region = TIES["REGION"][0]
    control: Ports = {  # the bridge's own registers: nothing here uses them
        f"s_axil_{name}": ("input", width)
        for name, width in {
            "awaddr": 32, "awprot": 3, "awvalid": 1, "wdata": 32, "wstrb": 4, "wvalid": 1, "bready": 1,
            "araddr": 32, "arprot": 3, "arvalid": 1, "rready": 1,
        }.items()
    }  # fmt: skip
    return {
        "sys_clk": ("input", 1),
        "sys_clk_gt": ("input", 1),
        "sys_rst_n": ("input", 1),
        "pci_exp_txp": ("output", LANES),
        "pci_exp_txn": ("output", LANES),
        "pci_exp_rxp": ("input", LANES),
        "pci_exp_rxn": ("input", LANES),
        "axi_aclk": ("output", 1),
        "axi_aresetn": ("output", 1),
        **_axi("m_axib_", BAR_AXI, block_is_master=True),
        **_axi("s_axib_", HOST_AXI, block_is_master=False),
        "s_axib_awregion": ("input", region),
        "s_axib_arregion": ("input", region),
        **control,
    }


def hbm_prefix(channel: int) -> str:
    """Return what the names of a channel's ports begin with."""
    return f"AXI_{channel:02d}_"


def hbm_ports(channels: int) -> Ports:
    """Return the ports of the HBM core with the first ``channels`` AXI ports enabled and no APB or debug port."""
    found: Ports = {}
    for stack in range(stacks(channels)):
        found |= {
            f"HBM_REF_CLK_{stack}": ("input", 1),
            f"APB_{stack}_PCLK": ("input", 1),
            f"APB_{stack}_PRESET_N": ("input", 1),
            f"apb_complete_{stack}": ("output", 1),
            f"DRAM_{stack}_STAT_CATTRIP": ("output", 1),
        }
    for channel in range(channels):
        prefix = hbm_prefix(channel)
        found |= {f"{prefix}ACLK": ("input", 1), f"{prefix}ARESET_N": ("input", 1)}
        found |= _axi(prefix, HBM_AXI, block_is_master=False, upper=True)
        found[f"{prefix}WDATA_PARITY"] = ("input", HBM_AXI.beat_bytes)
    return found


PRIMITIVES: dict[str, Ports] = {
    "IBUFDS_GTE4": {
        "I": ("input", 1),
        "IB": ("input", 1),
        "CEB": ("input", 1),
        "O": ("output", 1),
        "ODIV2": ("output", 1),
    },
    "IBUFDS": {"I": ("input", 1), "IB": ("input", 1), "O": ("output", 1)},
    "BUFG": {"I": ("input", 1), "O": ("output", 1)},
}
"""Primitives of the device that are instantiated by name; the tools add plain buffers to the other pins."""


def blocks(channels: int) -> dict[str, Ports]:
    """Return the ports of every block by its name."""
    return {PCIE: pcie_ports(), HBM: hbm_ports(channels), **PRIMITIVES}
