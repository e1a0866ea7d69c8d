"""Settings of the vendor's cores in the direct target: a PCIe bridge with one BAR and no DMA, and HBM out of its reach.

Names and values are those of public projects that make the same cores (AMD PG194, PG276); unverified with the tools,
:data:`UNSEEN` above all.
"""

from __future__ import annotations

from boards.gateware.clocks import CLOCK_MHZ
from boards.u55c_direct import vendor
from omap.board import DIRECT_DEVICE, LINK_RATES, MHZ, Board
from rtl.engine import HOST_AXI

Settings = dict[str, str]
"""Name of a parameter, without its ``CONFIG.``, to value."""

PCIE_CORE, HBM_CORE = ("xdma", "4.1"), ("hbm", "1.0")
"""Name and version in the catalogue."""

BAR_KIB = 64
"""Size of the register BAR: with 4 KiB in use, and pages of up to 64 KiB on the host, it has a page of its own."""

PCIE_BLOCK, PCIE_QUAD = "PCIE4C_X1Y0", "GTY_Quad_227"
"""PCIe block and the quad of lane 0, as public projects for cards with this package have them."""

ALL_ONES = "0xFFFFFFFFFFFFFFFF"
ZERO = "0x0000000000000000"

UNSEEN = frozenset(
    {
        ("xdma", "axibar_0"),
        ("xdma", "axibar_highaddr_0"),
        ("xdma", "s_axi_id_width"),
        ("xdma", "pf0_expansion_rom_enabled"),
        ("xdma", "ext_xvc_vsec_enable"),
        ("hbm", "USER_HBM_DENSITY 8GB with one stack"),
    }
)
"""Settings that were seen with sibling cores alone."""


def pcie(board: Board) -> Settings:
    """Return the settings of the PCIe bridge."""
    settings = {
        "functional_mode": "AXI_Bridge",  # no DMA engine at all
        "mode_selection": "Advanced",
        "device_port_type": "PCI_Express_Endpoint_device",
        "pcie_blk_locn": PCIE_BLOCK,
        "en_gt_selection": "true",
        "select_quad": PCIE_QUAD,
        "ref_clk_freq": f"{board.pcie_refclk_hz // MHZ}_MHz",
        "pl_link_cap_max_link_width": f"X{board.pcie_lanes}",
        "pl_link_cap_max_link_speed": f"{LINK_RATES[board.pcie_generation]}_GT/s",
        "axi_data_width": f"{HOST_AXI.data_width}_bit",
        "axisten_freq": str(CLOCK_MHZ),
        "axi_addr_width": str(HOST_AXI.addr_width),
        "axi_id_width": str(vendor.BAR_AXI.id_width),
        "s_axi_id_width": str(HOST_AXI.id_width),
        # logic to host memory: every bus address, as it is
        "en_axi_slave_if": "true",
        "axibar_num": "1",
        "axibar_0": ZERO,
        "axibar_highaddr_0": ALL_ONES,
        "axibar2pciebar_0": ZERO,
        "c_s_axi_supports_narrow_burst": "false",
        "c_s_axi_num_read": "32",
        "c_s_axi_num_write": "32",
        # who the card is
        "vendor_id": f"{board.pci_vendor:04X}",
        "pf0_device_id": f"{DIRECT_DEVICE:04X}",
        "pf0_class_code_base": "12",  # processing accelerator
        "pf0_class_code_sub": "00",
        "pf0_class_code_interface": "00",
        # one BAR, to the registers
        "pf0_bar0_enabled": "true",
        "pf0_bar0_64bit": "false",
        "pf0_bar0_prefetchable": "false",
        "pf0_bar0_scale": "Kilobytes",
        "pf0_bar0_size": str(BAR_KIB),
        "pciebar2axibar_0": ZERO,
        "pf0_expansion_rom_enabled": "false",
        # no interrupts: the driver polls
        "pf0_msi_enabled": "false",
        "pf0_msix_enabled": "false",
        "pf0_interrupt_pin": "NONE",
    }
    settings |= {f"pf0_bar{bar}_enabled": "false" for bar in range(1, 6)}
    return settings | CLOSED["xdma"]  # SEC_CM: BUILD.CORES.CLOSED -- the host would have ways around the logic


CLOSED: dict[str, Settings] = {
    "xdma": {
        "mcap_enablement": "None",  # no configuration over PCIe
        "enable_jtag_dbg": "false",
        "enable_ltssm_dbg": "false",
        "enable_ibert": "false",
        "enable_mark_debug": "false",
        "enable_pcie_debug": "False",
        "enable_pcie_debug_ports": "False",
        "ext_xvc_vsec_enable": "false",
        "en_ext_ch_gt_drp": "false",
        "en_pcie_drp": "false",
        "en_transceiver_status_ports": "false",
        "cfg_mgmt_if": "false",
        "xdma_axilite_slave": "false",
        "pipe_sim": "false",
    },
    "hbm": {
        "USER_XSDB_INTF_EN": "FALSE",  # the debug port, through which HBM could be read over JTAG
        "USER_DEBUG_EN": "FALSE",
        "USER_APB_EN": "false",
        "USER_SWITCH_ENABLE_00": "FALSE",  # a port reaches its own pseudo-channel alone
        "USER_SWITCH_ENABLE_01": "FALSE",
    },
}
"""Ways in that are closed, by core."""


def hbm(board: Board, channels: int) -> Settings:
    """Return the settings of the HBM core whose first ``channels`` ports are used."""
    stacks = vendor.stacks(channels)
    gigabytes = board.hbm_bytes // board.hbm_stacks * stacks >> 30
    settings = {"USER_HBM_DENSITY": f"{gigabytes}GB", "USER_HBM_STACK": str(stacks)}
    if stacks == 1:
        settings["USER_SINGLE_STACK_SELECTION"] = "LEFT"
    for stack in range(stacks):
        reference = str(board.hbm_refclk_hz // MHZ)
        settings |= {
            f"USER_HBM_REF_CLK_{stack}": reference,
            f"USER_APB_PCLK_{stack}": reference,
            f"USER_AXI_INPUT_CLK{stack or ''}_FREQ": str(CLOCK_MHZ),
            f"USER_CLK_SEL_LIST{stack}": f"{vendor.hbm_prefix(stack * vendor.STACK_CHANNELS)}ACLK",
        }
    # SEC_CM: BUILD.CORES.CLOSED -- HBM could be read over JTAG, or from another port
    settings |= {name: value for name, value in CLOSED["hbm"].items() if stacks == 2 or not name.endswith("_01")}
    ports = stacks * vendor.STACK_CHANNELS
    settings |= {f"USER_SAXI_{port:02d}": str(port < channels).lower() for port in range(ports)}
    # a memory controller serves two pseudo-channels
    settings |= {f"USER_MC_ENABLE_{pair:02d}": str(2 * pair < channels).upper() for pair in range(ports // 2)}
    return settings


def cores(board: Board, channels: int) -> dict[str, tuple[tuple[str, str], Settings]]:
    """Return core and settings by the name that the design has for it."""
    return {vendor.PCIE: (PCIE_CORE, pcie(board)), vendor.HBM: (HBM_CORE, hbm(board, channels))}
