"""Our end of PCIe with its streams under the names that the hard block has, as a top joins the two."""

from amaranth.hdl import Module, ResetSignal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.memory.host_port import AXI_ID_BITS
from rtl.pcie.endpoint import BLOCK, PcieEndpoint
from rtl.pcie.layouts import BEAT, USER
from rtl.stream.ways import through

SETTINGS_EVERY, PATIENCE = 32, 2000
STREAMS = {"s_axis_rq": "o_rq", "m_axis_rc": "i_rc", "m_axis_cq": "i_cq", "s_axis_cc": "o_cc"}
FIELDS = ("data", "keep", "last", "user")


class PcieFlat(wiring.Component):
    """The endpoint; ``axi_reset`` is the reset of whoever drives its AXI ports."""

    def __init__(self):
        self.endpoint = PcieEndpoint(id_bits=AXI_ID_BITS, settings_every=SETTINGS_EVERY, patience=PATIENCE)
        members = {name: self.endpoint.signature.members[name] for name in ("s_axi", "m_axi")}
        for prefix, name in STREAMS.items():
            outward, inward = (Out, In) if name.startswith("o_") else (In, Out)
            layout = BEAT[name[2:]]
            for field in FIELDS:
                width = USER[name[2:]].size if field == "user" else layout[field].width
                members[f"{prefix}_t{field}"] = outward(width)
            members |= {f"{prefix}_tvalid": outward(1), f"{prefix}_tready": inward(1)}
        for k in range(2):
            members |= {f"pcie_rq_seq_num{k}": In(6), f"pcie_rq_seq_num_vld{k}": In(1)}
        super().__init__(members | BLOCK | {"axi_reset": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.endpoint = endpoint = self.endpoint
        through(m, self, dict.fromkeys(("s_axi", "m_axi", *BLOCK), endpoint))
        for prefix, name in STREAMS.items():
            flow, outward = getattr(endpoint, name), name.startswith("o_")
            pairs = [(getattr(self, f"{prefix}_t{field}"), flow.p[field]) for field in FIELDS]
            pairs.append((getattr(self, f"{prefix}_tvalid"), flow.valid))
            m.d.comb += [flat.eq(ours) if outward else ours.eq(flat) for flat, ours in pairs]
            ready = getattr(self, f"{prefix}_tready")
            m.d.comb += flow.ready.eq(ready) if outward else ready.eq(flow.ready)
        for k, sent in enumerate(endpoint.sent):
            m.d.comb += [
                sent.number.eq(getattr(self, f"pcie_rq_seq_num{k}")),
                sent.valid.eq(getattr(self, f"pcie_rq_seq_num_vld{k}")),
            ]
        m.d.comb += self.axi_reset.eq(ResetSignal() | endpoint.card_reset)
        return m
