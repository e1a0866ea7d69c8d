"""A block of the PCIe end with its AXI slave port and its sequence numbers as streams, for benches."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.pcie.layouts import SEQUENCE
from rtl.stream.axi import CHANNELS
from rtl.stream.ways import through

SENT = {f"i_sent_{k}": In(stream.Signature(SEQUENCE["number"].shape)) for k in range(2)}
"""Streams of sequence numbers from the block."""


def join_sent(m, rig, part):
    """Have a sequence number come back in the cycle in which one of the rig's streams :data:`SENT` has it."""
    for name, sent in zip(SENT, part.sent, strict=True):
        flow = getattr(rig, name)
        m.d.comb += [flow.ready.eq(1), sent.number.eq(flow.p), sent.valid.eq(flow.valid)]


class PcieRig(wiring.Component):
    """Shows a block whose port ``s_axi`` is a slave: a stream for each channel, :data:`SENT`, all else as it is."""

    def __init__(self, dut):
        self.dut = dut
        self.axi = dut.signature.members["s_axi"].signature
        members = {name: member for name, member in dut.signature.members.items() if name not in ("s_axi", "sent")}
        self.plain = list(members)
        for channel in self.axi.channels:
            flow = self.axi.stream(channel)
            members |= {f"o_{channel}": Out(flow)} if channel in "br" else {f"i_{channel}": In(flow)}
        self.sent = "sent" in dut.signature.members
        super().__init__(members | (SENT if self.sent else {}))

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
        through(m, self, dict.fromkeys(self.plain, dut))
        if self.sent:
            join_sent(m, self, dut)
        return m
