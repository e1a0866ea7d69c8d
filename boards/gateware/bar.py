"""From the register BAR of a PCIe bridge, 512 bits wide, to the registers, 32 bits wide.

The host is not trusted, and the bridge hands on whatever the host does: any burst of any size may come. The registers
take one word at a time. So every other access is answered with an error, and touches nothing.

AMD PG194 ("AXI Transactions for PCIe") says that a PCIe request longer than one word appears with beats as wide as the
bus. So a 32-bit access of the host is a single beat of AxSIZE 2, and wider ones are not (unverified on a card).
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.rings.csr import ADDRESS_BITS, WORD_BITS
from rtl.stream.axi import RESP_SLVERR, AxiLiteSignature, AxiSignature
from rtl.stream.interfaces import require_whole

ADDR_BITS, DATA_BITS = 64, 512
WORD_BYTES = WORD_BITS // 8
WORD_SIZE = (WORD_BYTES - 1).bit_length()
"""AxSIZE of a word."""

LANES = DATA_BITS // WORD_BITS


class BarAdapter(wiring.Component):
    """Serves single beats of one aligned word; answers all else SLVERR, with zeros, and passes none of it on.

    Address bits above the window of the registers belong to the BAR and are ignored. The strobes of a word are
    passed on; a strobe outside the word makes a write an error. A write ends with the beat marked last or with the
    last one that AxLEN promised, whichever comes first; where the two differ it is an error. So every access is
    answered, as often as it asked for and under its ID, provided that ``m_axi`` answers. Reads and writes do not wait
    for each other; there is one of each at a time.

    Parameters
    ----------
    id_width : int
        Bits of an ID on the side of the bridge.

    Members
    -------
    s_axi : In(AxiSignature(addr_width=64, data_width=512))
        From the bridge. A word read is on all lanes of its beat.
    m_axi : Out(AxiLiteSignature(addr_width=12))
        To the registers.
    """

    def __init__(self, id_width: int = 4) -> None:
        require_whole("id_width", id_width, 1, 16)
        super().__init__(
            {
                "s_axi": In(AxiSignature(addr_width=ADDR_BITS, data_width=DATA_BITS, id_width=id_width)),
                "m_axi": Out(AxiLiteSignature(addr_width=ADDRESS_BITS, data_width=WORD_BITS)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._write(m)
        self._read(m)
        return m

    def _write(self, m: Module) -> None:
        bus, registers = self.s_axi, self.m_axi
        served, remaining = Signal(), Signal.like(bus.awlen)
        lane = registers.awaddr[WORD_SIZE:][: (LANES - 1).bit_length()]
        strobes = [bus.wstrb.word_select(at, WORD_BYTES) for at in range(LANES)]
        outside, ended, as_promised = Signal(), Signal(), Signal()
        m.d.comb += [
            outside.eq(Cat(strobes[at].any() & (lane != at) for at in range(LANES)).any()),
            ended.eq(bus.wlast | (remaining == 0)),
            as_promised.eq(bus.wlast == (remaining == 0)),
        ]
        with m.FSM(name="write"):
            with m.State("ADDRESS"):
                m.d.comb += bus.awready.eq(1)
                m.d.sync += [
                    bus.bid.eq(bus.awid),
                    remaining.eq(bus.awlen),
                    registers.awaddr.eq(bus.awaddr),
                    served.eq((bus.awlen == 0) & (bus.awsize == WORD_SIZE) & (bus.awaddr[:WORD_SIZE] == 0)),
                ]
                with m.If(bus.awvalid):
                    m.next = "DATA"
            with m.State("DATA"):
                m.d.comb += bus.wready.eq(1)
                m.d.sync += [
                    registers.wdata.eq(bus.wdata.word_select(lane, WORD_BITS)),
                    registers.wstrb.eq(bus.wstrb.word_select(lane, WORD_BYTES)),
                    bus.bresp.eq(RESP_SLVERR),
                ]
                with m.If(bus.wvalid):
                    m.d.sync += remaining.eq(remaining - 1)
                    with m.If(ended):
                        m.next = "ANSWER"
                        with m.If(served & as_promised & ~outside):
                            m.d.sync += [registers.awvalid.eq(1), registers.wvalid.eq(1)]
                            m.next = "PASS"
            with m.State("PASS"):
                m.d.comb += registers.bready.eq(1)
                with m.If(registers.awready):
                    m.d.sync += registers.awvalid.eq(0)
                with m.If(registers.wready):
                    m.d.sync += registers.wvalid.eq(0)
                m.d.sync += bus.bresp.eq(registers.bresp)
                with m.If(registers.bvalid):
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += bus.bvalid.eq(1)
                with m.If(bus.bready):
                    m.next = "ADDRESS"

    def _read(self, m: Module) -> None:
        bus, registers = self.s_axi, self.m_axi
        word, remaining = Signal(WORD_BITS), Signal.like(bus.arlen)
        served = (bus.arlen == 0) & (bus.arsize == WORD_SIZE) & (bus.araddr[:WORD_SIZE] == 0)
        m.d.comb += [bus.rdata.eq(word.replicate(LANES)), bus.rlast.eq(remaining == 0)]
        with m.FSM(name="read"):
            with m.State("ADDRESS"):
                m.d.comb += bus.arready.eq(1)
                m.d.sync += [
                    bus.rid.eq(bus.arid),
                    remaining.eq(bus.arlen),
                    registers.araddr.eq(bus.araddr),
                    word.eq(0),
                    bus.rresp.eq(RESP_SLVERR),
                ]
                with m.If(bus.arvalid):
                    m.next = "ANSWER"
                    with m.If(served):
                        m.d.sync += registers.arvalid.eq(1)
                        m.next = "PASS"
            with m.State("PASS"):
                m.d.comb += registers.rready.eq(1)
                with m.If(registers.arready):
                    m.d.sync += registers.arvalid.eq(0)
                m.d.sync += [word.eq(registers.rdata), bus.rresp.eq(registers.rresp)]
                with m.If(registers.rvalid):
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += bus.rvalid.eq(1)
                with m.If(bus.rready):
                    m.d.sync += remaining.eq(remaining - 1)
                    with m.If(bus.rlast):
                        m.next = "ADDRESS"
