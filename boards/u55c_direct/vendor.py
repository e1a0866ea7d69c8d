"""Ports of the vendor's blocks that the direct target instantiates, from public documents; unverified on a card.

One table for the top, for the empty modules that lint uses, and for the scripts that make the IP cores and compare what
the tools made with what is expected here. Only ports that are used are listed; other outputs stay open.

Sources: AMD PG213 (PCIe block of UltraScale+), PG276 (HBM controller), UG974 (primitives). Which ports the PCIe core
has is from public projects that instantiate it.
"""

from __future__ import annotations

from amaranth.lib.wiring import In

from boards.gateware.ports import Ports
from rtl.constants import PSEUDO_CHANNELS
from rtl.memory.hbm import HBM_AXI
from rtl.pcie.layouts import BEAT, SEQUENCE

PCIE, HBM = "omap_pcie", "omap_hbm"
"""Names of the IP cores."""

LANES = 16

TO_CORE, FROM_CORE = {"s_axis_rq": "rq", "s_axis_cc": "cc"}, {"m_axis_rc": "rc", "m_axis_cq": "cq"}
"""What the names of the PCIe core's streams begin with, to their names in :mod:`rtl.pcie.layouts`."""

READY_COPIES = 4
"""Bits of the ready of a stream to the core, which are all the same."""

FUNCTIONS = 4
"""Physical functions that the core has ports for; it has the first one alone."""

STACK_CHANNELS = PSEUDO_CHANNELS // 2
"""Pseudo-channels of one HBM stack."""


def _bits(shape: object) -> int:
    return shape if isinstance(shape, int) else shape.width  # type: ignore[attr-defined]


def stacks(channels: int) -> int:
    """Return how many HBM stacks so many channels need."""
    return -(-channels // STACK_CHANNELS)


def pcie_ports() -> Ports:
    """Return the ports of the PCIe core: reference clock, lanes, the streams of TLPs, and what it tells and is told.

    All inputs are here that the core has with the options of :func:`boards.u55c_direct.cores.pcie`.
    """
    found: Ports = {
        "sys_clk": ("input", 1),
        "sys_clk_gt": ("input", 1),
        "sys_reset": ("input", 1),  # active while low
        "pci_exp_txp": ("output", LANES),
        "pci_exp_txn": ("output", LANES),
        "pci_exp_rxp": ("input", LANES),
        "pci_exp_rxn": ("input", LANES),
        "user_clk": ("output", 1),
        "user_reset": ("output", 1),
    }
    for streams, way, back, copies in ((TO_CORE, "input", "output", READY_COPIES), (FROM_CORE, "output", "input", 1)):
        for prefix, name in streams.items():
            found |= {f"{prefix}_t{key}": (way, field.width) for key, field in BEAT[name]}
            found[f"{prefix}_tvalid"] = (way, 1)
            found[f"{prefix}_tready"] = (back, copies)
    for number in range(2):
        found[f"pcie_rq_seq_num{number}"] = ("output", SEQUENCE["number"].width)
        found[f"pcie_rq_seq_num_vld{number}"] = ("output", 1)
    outputs = {
        "cfg_max_payload": 2, "cfg_max_read_req": 3, "cfg_function_status": 4 * FUNCTIONS,
        "cfg_mgmt_read_data": 32, "cfg_mgmt_read_write_done": 1, "cfg_flr_in_process": FUNCTIONS,
    }  # fmt: skip
    inputs = {
        "pcie_cq_np_req": 2,
        "cfg_mgmt_addr": 10, "cfg_mgmt_function_number": 8, "cfg_mgmt_write": 1, "cfg_mgmt_write_data": 32,
        "cfg_mgmt_byte_enable": 4, "cfg_mgmt_read": 1, "cfg_mgmt_debug_access": 1,
        "cfg_msg_transmit": 1, "cfg_msg_transmit_type": 3, "cfg_msg_transmit_data": 32, "cfg_fc_sel": 3,
        "cfg_dsn": 64, "cfg_power_state_change_ack": 1, "cfg_err_cor_in": 1, "cfg_err_uncor_in": 1,
        "cfg_flr_done": FUNCTIONS, "cfg_vf_flr_func_num": 8, "cfg_vf_flr_done": 1, "cfg_link_training_enable": 1,
        "cfg_config_space_enable": 1, "cfg_req_pm_transition_l23_ready": 1, "cfg_hot_reset_in": 1,
        "cfg_pm_aspm_l1_entry_reject": 1, "cfg_pm_aspm_tx_l0s_entry_disable": 1,
        "cfg_ds_port_number": 8, "cfg_ds_bus_number": 8, "cfg_ds_device_number": 5,
        "cfg_interrupt_int": 4, "cfg_interrupt_pending": FUNCTIONS,
    }  # fmt: skip
    return (
        found
        | {name: ("output", width) for name, width in outputs.items()}
        | {name: ("input", width) for name, width in inputs.items()}
    )


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
        for name, member in HBM_AXI.members.items():
            found[prefix + name.upper()] = ("output" if member.flow is In else "input", _bits(member.shape))
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
