"""Registers for tests of what leads to them: they tell of every access, and hold back as they are told."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from rtl.rings.csr import ADDRESS_BITS, WORD_BITS
from rtl.stream.axi import AxiLiteSignature

WROTE = StructLayout({"addr": ADDRESS_BITS, "data": WORD_BITS, "strb": WORD_BITS // 8})
GATES = ("aw", "w", "b", "ar", "r")


def word_at(address):
    """What a register reads: told by its address."""
    return address * 0x100001 ^ 0xA5A5_0000


def response_at(address):
    """How an access to a register is answered: told by its address."""
    return address >> ADDRESS_BITS - 2


class TellingRegisters(wiring.Component):
    """Registers; each quarter of them has an AXI response of its own, the first one OKAY.

    Members
    -------
    s_axi : In(AxiLiteSignature)
        Accesses: a write and a read at a time.
    i_gate : In(stream.Signature(5))
        Which of :data:`GATES` may move in a cycle, the first one in the lowest bit; all of them while there is no item.
    o_wrote : Out(stream.Signature(WROTE, always_ready=True))
        Writes.
    o_read : Out(stream.Signature(12, always_ready=True))
        Addresses of reads.
    """

    def __init__(self):
        super().__init__(
            {
                "s_axi": In(AxiLiteSignature(addr_width=ADDRESS_BITS, data_width=WORD_BITS)),
                "i_gate": In(stream.Signature(len(GATES))),
                "o_wrote": Out(stream.Signature(WROTE, always_ready=True)),
                "o_read": Out(stream.Signature(ADDRESS_BITS, always_ready=True)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        lite, gates, wrote, read = self.s_axi, Signal(len(GATES)), Signal(2), Signal()
        aw, w, b, ar, r = gates
        m.d.comb += [
            self.i_gate.ready.eq(1),
            gates.eq(self.i_gate.p | ~self.i_gate.valid.replicate(len(GATES))),
            lite.awready.eq(aw & ~wrote[0]),
            lite.wready.eq(w & ~wrote[1]),
            lite.bvalid.eq(wrote.all() & b),
            lite.bresp.eq(response_at(self.o_wrote.p.addr)),
            self.o_wrote.valid.eq(lite.bvalid & lite.bready),
            lite.arready.eq(ar & ~read),
            lite.rvalid.eq(read & r),
            lite.rdata.eq(word_at(self.o_read.p)),
            lite.rresp.eq(response_at(self.o_read.p)),
            self.o_read.valid.eq(lite.rvalid & lite.rready),
        ]
        with m.If(lite.awvalid & lite.awready):
            m.d.sync += [wrote[0].eq(1), self.o_wrote.p.addr.eq(lite.awaddr)]
        with m.If(lite.wvalid & lite.wready):
            m.d.sync += [wrote[1].eq(1), self.o_wrote.p.data.eq(lite.wdata), self.o_wrote.p.strb.eq(lite.wstrb)]
        with m.If(self.o_wrote.valid):
            m.d.sync += wrote.eq(0)
        with m.If(lite.arvalid & lite.arready):
            m.d.sync += [read.eq(1), self.o_read.p.eq(lite.araddr)]
        with m.If(self.o_read.valid):
            m.d.sync += read.eq(0)
        return m
