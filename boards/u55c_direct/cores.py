"""Settings of the vendor's cores in the direct target: the bare PCIe block with one BAR, and HBM out of its reach.

Names and values are those of public projects that make the same cores (AMD PG213, PG276); unverified with the tools,
:data:`UNSEEN` above all.
"""

from __future__ import annotations

from boards.gateware.clocks import CLOCK_MHZ
from boards.u55c_direct import vendor
from omap.board import DIRECT_DEVICE, LINK_RATES, MHZ, Board
from rtl.constants import LINE_BITS, LINE_BYTES
from rtl.pcie.writes import MOST_LINES

Settings = dict[str, str]
"""Name of a parameter, without its ``CONFIG.``, to value."""

PCIE_CORE, HBM_CORE = ("pcie4c_uscale_plus", "1.0"), ("hbm", "1.0")
"""Name and version in the catalogue."""

BAR_KIB = 64
"""Size of the register BAR: with 4 KiB in use, and pages of up to 64 KiB on the host, it has a page of its own."""

PCIE_BLOCK, PCIE_QUAD = "X1Y0", "GTY_Quad_227"
"""PCIe block and the quad of lane 0, as public projects for cards with this package have them."""

UNSEEN = frozenset(
    {
        ("pcie4c_uscale_plus", "en_gt_selection"),
        ("pcie4c_uscale_plus", "select_quad"),
        ("pcie4c_uscale_plus", "REF_CLK_FREQ"),
        ("pcie4c_uscale_plus", "AXISTEN_IF_EXT_512_RC_STRADDLE"),
        ("pcie4c_uscale_plus", "PF0_DEV_CAP_FUNCTION_LEVEL_RESET_CAPABLE"),
        ("pcie4c_uscale_plus", "PF0_INTERRUPT_PIN"),
        ("pcie4c_uscale_plus", "pf0_expansion_rom_enabled"),
        ("pcie4c_uscale_plus", "mcap_enablement"),
        ("pcie4c_uscale_plus", "enable_jtag_dbg"),
        ("pcie4c_uscale_plus", "enable_ltssm_dbg"),
        ("pcie4c_uscale_plus", "enable_ibert"),
        ("pcie4c_uscale_plus", "en_ext_ch_gt_drp"),
        ("pcie4c_uscale_plus", "en_pcie_drp"),
        ("pcie4c_uscale_plus", "ext_startup_primitive"),
        ("hbm", "USER_HBM_DENSITY 8GB with one stack"),
    }
)
"""Settings that were seen with sibling cores alone."""


def pcie(board: Board) -> Settings:
    """Return the settings of the PCIe core."""
    settings = {
        "mode_selection": "Advanced",
        "device_port_type": "PCI_Express_Endpoint_device",
        "pcie_blk_locn": PCIE_BLOCK,
        "en_gt_selection": "true",
        "select_quad": PCIE_QUAD,
        "REF_CLK_FREQ": f"{board.pcie_refclk_hz // MHZ}_MHz",
        "PL_LINK_CAP_MAX_LINK_WIDTH": f"X{board.pcie_lanes}",
        "PL_LINK_CAP_MAX_LINK_SPEED": f"{LINK_RATES[board.pcie_generation]}_GT/s",
        # the streams: a TLP begins in the lowest bits of a beat
        "axisten_if_width": f"{LINE_BITS}_bit",
        "axisten_freq": str(CLOCK_MHZ),
        "AXISTEN_IF_RQ_ALIGNMENT_MODE": "DWORD_Aligned",
        "AXISTEN_IF_CQ_ALIGNMENT_MODE": "DWORD_Aligned",
        "AXISTEN_IF_EXT_512_RQ_STRADDLE": "false",
        "AXISTEN_IF_EXT_512_RC_STRADDLE": "false",
        "AXISTEN_IF_EXT_512_RC_4TLP_STRADDLE": "false",
        "AXISTEN_IF_EXT_512_CQ_STRADDLE": "false",
        "AXISTEN_IF_EXT_512_CC_STRADDLE": "false",
        # tags are ours, and have 8 bits if the host allows it
        "axisten_if_enable_client_tag": "true",
        "extended_tag_field": "true",
        "pf0_dev_cap_max_payload": f"{MOST_LINES * LINE_BYTES}_bytes",
        # the host may reset the function; the ports for that, and those that tell what the host has set
        "PF0_DEV_CAP_FUNCTION_LEVEL_RESET_CAPABLE": "true",
        "cfg_ctl_if": "true",
        "cfg_mgmt_if": "true",
        # who the card is: one function
        "TL_PF_ENABLE_REG": "1",
        "SRIOV_CAP_ENABLE": "false",
        "vendor_id": f"{board.pci_vendor:04X}",
        "PF0_DEVICE_ID": f"{DIRECT_DEVICE:04X}",
        "PF0_Use_Class_Code_Lookup_Assistant": "false",
        "PF0_CLASS_CODE": "120000",  # processing accelerator
        # one BAR, to the registers
        "pf0_bar0_enabled": "true",
        "pf0_bar0_64bit": "false",
        "pf0_bar0_prefetchable": "false",
        "pf0_bar0_scale": "Kilobytes",
        "pf0_bar0_size": str(BAR_KIB),
        "pf0_expansion_rom_enabled": "false",
        # no interrupts: the driver polls
        "pf0_msi_enabled": "false",
        "pf0_msix_enabled": "false",
        "MSI_X_OPTIONS": "None",
        "PF0_INTERRUPT_PIN": "NONE",
    }
    settings |= {f"pf0_bar{bar}_enabled": "false" for bar in range(1, 6)}
    return settings | CLOSED[PCIE_CORE[0]]  # SEC_CM: BUILD.CORES.CLOSED -- the host would have ways around the logic


CLOSED: dict[str, Settings] = {
    "pcie4c_uscale_plus": {
        "mcap_enablement": "None",  # no configuration over PCIe
        "ext_startup_primitive": "false",
        "enable_jtag_dbg": "false",
        "enable_ltssm_dbg": "false",
        "enable_ibert": "false",
        "en_ext_ch_gt_drp": "false",
        "en_pcie_drp": "false",
        "en_transceiver_status_ports": "false",
        "ext_pcie_cfg_space_enabled": "false",
        "legacy_ext_pcie_cfg_space_enabled": "false",
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
