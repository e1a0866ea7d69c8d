"""Our end of PCIe, with the names that its ports have at the vendor's core."""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Member, Out

from boards.gateware.flat import clock
from boards.u55c_direct import vendor
from rtl.pcie.endpoint import BLOCK, PcieEndpoint
from rtl.pcie.layouts import BEAT

PORTS = {
    "max_payload": "cfg_max_payload",
    "max_read_request": "cfg_max_read_req",
    "bus_master": "cfg_function_status",
    "credit": "pcie_cq_np_req",
    "mgmt_address": "cfg_mgmt_addr",
    "mgmt_read": "cfg_mgmt_read",
    "mgmt_data": "cfg_mgmt_read_data",
    "mgmt_done": "cfg_mgmt_read_write_done",
    "reset_asked": "cfg_flr_in_process",
    "reset_done": "cfg_flr_done",
}
"""Members of the endpoint to ports of the core. A port with more bits has ours lowest, unless :data:`PLACES` says."""

PLACES = {"bus_master": 2}
"""Bit 2 of the status of a function says whether it may ask for host memory (AMD PG213)."""

ALWAYS = ("cfg_power_state_change_ack", "cfg_config_space_enable", "cfg_link_training_enable")
"""Ports of the core that are 1. Our end is always ready for another state of power and for the host's configuration."""


class Link(wiring.Component):
    """The endpoint between the PCIe core and the card. A reset of the function resets the card, but not the link.

    Parameters
    ----------
    id_bits : int
        Width of an AXI id.
    **options : int
        Others of :class:`rtl.pcie.endpoint.PcieEndpoint`, in simulations alone.

    Members
    -------
    s_axi, m_axi
        Host memory and the registers, as those of the endpoint.
    card_reset : Out(1)
        All on the other side of these two must be in reset. A register, because HBM's ports take it as it is.
    user_clk, user_reset, s_axis_*, m_axis_*, pcie_*, cfg_*
        Ports of the core, see :func:`boards.u55c_direct.vendor.pcie_ports`. Those that are not here are 0.
    """

    def __init__(self, *, id_bits: int, **options: int) -> None:
        self.endpoint = PcieEndpoint(id_bits=id_bits, **options)
        mine = ("user_", "pcie_rq_", *vendor.TO_CORE, *vendor.FROM_CORE, *PORTS.values(), *ALWAYS)
        members: dict[str, Member] = {name: self.endpoint.signature.members[name] for name in ("s_axi", "m_axi")}
        for name, (way, width) in vendor.pcie_ports().items():
            if name.startswith(mine):
                members[name] = In(width) if way == "output" else Out(width)
        super().__init__(members | {"card_reset": Out(1, init=1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        clock(m, self.user_clk, ~self.user_reset)
        m.submodules.endpoint = endpoint = self.endpoint
        for name in ("s_axi", "m_axi"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(endpoint, name))
        self._streams(m)
        for number, sent in enumerate(endpoint.sent):
            m.d.comb += [
                sent.number.eq(getattr(self, f"pcie_rq_seq_num{number}")),
                sent.valid.eq(getattr(self, f"pcie_rq_seq_num_vld{number}")),
            ]
        for name, port in PORTS.items():
            ours, theirs = getattr(endpoint, name), getattr(self, port)
            m.d.comb += ours.eq(theirs >> PLACES.get(name, 0)) if BLOCK[name].flow is In else theirs.eq(ours)
        m.d.comb += [getattr(self, name).eq(1) for name in ALWAYS]
        m.d.sync += self.card_reset.eq(endpoint.card_reset)
        return m

    def _streams(self, m: Module) -> None:
        for prefix, name in (vendor.TO_CORE | vendor.FROM_CORE).items():
            outward = prefix in vendor.TO_CORE
            flow = getattr(self.endpoint, f"o_{name}" if outward else f"i_{name}")
            pairs = [(getattr(self, f"{prefix}_t{field}"), flow.p[field]) for field, _ in BEAT[name]]
            pairs.append((getattr(self, f"{prefix}_tvalid"), flow.valid))
            m.d.comb += [theirs.eq(ours) if outward else ours.eq(theirs) for theirs, ours in pairs]
            ready = getattr(self, f"{prefix}_tready")
            m.d.comb += flow.ready.eq(ready) if outward else ready.eq(flow.ready)
