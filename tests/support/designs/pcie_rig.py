"""A block of the PCIe end with its AXI slave port and its sequence numbers as streams, for benches."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.stream.axi import CHANNELS


class PcieRig(wiring.Component):
    """Shows a block whose port ``s_axi`` is a slave: a stream for each channel, all else as it is.

    A sequence number comes back in the cycle in which ``i_sent_0`` or ``i_sent_1`` has one.
    """

    def __init__(self, dut):
        self.dut = dut
        self.axi = dut.signature.members["s_axi"].signature
        members = {name: member for name, member in dut.signature.members.items() if name not in ("s_axi", "sent")}
        self.plain = dict(members)
        for channel in self.axi.channels:
            flow = self.axi.stream(channel)
            members |= {f"o_{channel}": Out(flow)} if channel in "br" else {f"i_{channel}": In(flow)}
        self.sent = "sent" in dut.signature.members
        if self.sent:
            members |= {f"i_sent_{k}": In(stream.Signature(6)) for k in range(2)}
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        for channel in self.axi.channels:
            inward = channel not in "br"
            flow = getattr(self, ("i_" if inward else "o_") + channel)
            pairs = [(getattr(dut.s_axi, channel + name), flow.p[name]) for name in CHANNELS[channel]]
            pairs += [(getattr(dut.s_axi, f"{channel}valid"), flow.valid)]
            m.d.comb += [pin.eq(ours) if inward else ours.eq(pin) for pin, ours in pairs]
            ready = getattr(dut.s_axi, f"{channel}ready")
            m.d.comb += flow.ready.eq(ready) if inward else ready.eq(flow.ready)
        for name, member in self.plain.items():
            ours, inner = getattr(self, name), getattr(dut, name)
            if member.is_signature:
                wiring.connect(m, wiring.flipped(ours), inner)
            else:
                m.d.comb += inner.eq(ours) if member.flow is In else ours.eq(inner)
        for k in range(2 * self.sent):
            flow = getattr(self, f"i_sent_{k}")
            m.d.comb += [flow.ready.eq(1), dut.sent[k].number.eq(flow.p), dut.sent[k].valid.eq(flow.valid)]
        return m
