"""The host port and our end of PCIe, as they stand together on a card: clients on one side, the block's streams on the
other."""

from amaranth.hdl import Module, ResetInserter
from amaranth.lib import wiring

from rtl.memory.host_port import AXI_ID_BITS, HostPort
from rtl.pcie.endpoint import PcieEndpoint
from rtl.stream.ways import through
from tests.support.designs.pcie_rig import SENT, join_sent

SETTINGS_EVERY, PATIENCE = 64, 3000
PAGE_IDS, RING_IDS, MAX_LINES, TIMEOUT = 12, 4, 70, 4000


class HostPortOnPcie(wiring.Component):
    """The host port, reset with the card, on an endpoint. Sequence numbers are streams, as in ``PcieRig``."""

    def __init__(self):
        self.port = HostPort(page_ids=PAGE_IDS, ring_ids=RING_IDS, max_lines=MAX_LINES, timeout=TIMEOUT)
        self.endpoint = PcieEndpoint(id_bits=AXI_ID_BITS, settings_every=SETTINGS_EVERY, patience=PATIENCE)
        self.inner = {
            self.port: [name for name in self.port.signature.members if name not in ("m_axi", "abort")],
            self.endpoint: [name for name in self.endpoint.signature.members if name not in ("s_axi", "sent")],
        }
        members = {name: part.signature.members[name] for part, names in self.inner.items() for name in names}
        super().__init__(members | SENT)

    def elaborate(self, platform):
        m = Module()
        m.submodules.endpoint = endpoint = self.endpoint
        m.submodules.port = ResetInserter(endpoint.card_reset)(self.port)
        wiring.connect(m, self.port.m_axi, endpoint.s_axi)
        for part, names in self.inner.items():
            through(m, self, dict.fromkeys(names, part))
        join_sent(m, self, endpoint)
        return m
