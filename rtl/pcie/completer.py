"""From the register BAR to the registers, one word at a time.

The host is not trusted, and the hard block hands on whatever the host asks for that hits a BAR. The registers take one
word at a time. So every other request touches nothing: what asks for a completion gets one with an error, and what does
not is dropped, because PCIe has no other answer to a posted request.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from rtl.pcie.layouts import ANSWER, ASKED, BEAT, DWORD_BITS, REFUSED, Status, Type
from rtl.rings.csr import ADDRESS_BITS, WORD_BITS
from rtl.stream.axi import RESP_OKAY, AxiLiteSignature
from rtl.stream.skid import SkidBuffer

WORD_BYTES = WORD_BITS // 8
WHOLE_WORD = (1 << WORD_BYTES) - 1

HEARD = StructLayout({"asked": ASKED, "first_enable": WORD_BYTES, "last_enable": WORD_BYTES, "word": WORD_BITS})
"""What is kept of a request."""


class Completer(wiring.Component):
    """Serves reads of a word, and writes of a word or of some of its bytes. One request at a time, in their order.

    A read without any byte enabled reads nothing: it is answered with a word of zeros, as PCI Express 4.0, section
    2.2.5, wants of what a host uses to push its writes. Address bits above the window of the registers belong to the
    BAR and are ignored. Every request that asks for a completion gets one, provided that ``m_axi`` answers.

    A posted request must be taken even if completions can't leave, or two ends could wait for each other (PCI Express
    4.0, section 2.4.1). So the block is given credit for one request with a completion at a time, and the next one when
    that completion has left. What comes meanwhile is posted, and waits for the registers alone.

    Members
    -------
    i : In(stream.Signature(BEAT["cq"]))
        From the hard block.
    o : Out(stream.Signature(BEAT["cc"]))
        To the hard block; a completion is one beat.
    m_axi : Out(AxiLiteSignature(addr_width=12))
        To the registers.
    open_ : In(1)
        Requests may touch the registers; while it is low all are treated as those that may not.
    credit : Out(1)
        Credit for one request that asks for a completion: one cycle. The first is given after reset.
    idle : Out(1)
        No request is under way, though a completion may wait to leave.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "i": In(stream.Signature(BEAT["cq"])),
                "o": Out(stream.Signature(BEAT["cc"])),
                "m_axi": Out(AxiLiteSignature(addr_width=ADDRESS_BITS, data_width=WORD_BITS)),
                "open_": In(1),
                "credit": Out(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.answer = answer = SkidBuffer(shape=BEAT["cc"])
        wiring.connect(m, answer.o, wiring.flipped(self.o))
        registers = self.m_axi
        heard, fresh = Signal(HEARD), Signal(HEARD)
        status, word = Signal(3), Signal(WORD_BITS)
        m.d.comb += [
            fresh.asked.eq(self.i.p.data[: ASKED.size]),
            fresh.first_enable.eq(self.i.p.user.first_enable),
            fresh.last_enable.eq(self.i.p.user.last_enable),
            fresh.word.eq(self.i.p.data[ASKED.size :]),
            registers.araddr.eq(heard.asked.address * WORD_BYTES),
            registers.awaddr.eq(registers.araddr),
            registers.wdata.eq(heard.word),
            registers.wstrb.eq(heard.first_enable),
        ]
        one = Signal()  # one word of the register BAR, in one beat
        m.d.comb += one.eq((fresh.asked.bar == 0) & (fresh.asked.dwords == 1) & self.i.p.last & self.open_)
        reads, writes = fresh.asked.type == Type.READ, fresh.asked.type == Type.WRITE
        with m.FSM(name="completer"):
            with m.State("HEAR"):
                m.d.comb += [self.i.ready.eq(1), self.idle.eq(1)]
                m.d.sync += [heard.eq(fresh), status.eq(Status.UNSUPPORTED), word.eq(0)]
                with m.If(self.i.valid & self.i.p.user.begins[0]):
                    with m.If(~self.i.p.last):
                        m.next = "DRAIN"
                    with m.Elif(writes):
                        with m.If(one & ~self.i.p.user.discontinue & fresh.first_enable.any()):
                            m.d.sync += [registers.awvalid.eq(1), registers.wvalid.eq(1)]
                            m.next = "WRITE"
                    with m.Elif(fresh.asked.type <= Type.LAST_COMPLETED):
                        m.next = "ANSWER"
                        with m.If(reads & one & (fresh.first_enable == WHOLE_WORD)):
                            m.d.sync += registers.arvalid.eq(1)
                            m.next = "READ"
                        with m.Elif(reads & one & (fresh.first_enable == 0)):
                            m.d.sync += status.eq(Status.SUCCESSFUL)
            with m.State("DRAIN"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid & self.i.p.last):
                    m.next = "HEAR"
                    with m.If((heard.asked.type != Type.WRITE) & (heard.asked.type <= Type.LAST_COMPLETED)):
                        m.next = "ANSWER"
            with m.State("WRITE"):
                m.d.comb += registers.bready.eq(1)
                with m.If(registers.awready):
                    m.d.sync += registers.awvalid.eq(0)
                with m.If(registers.wready):
                    m.d.sync += registers.wvalid.eq(0)
                with m.If(registers.bvalid):
                    m.next = "HEAR"
            with m.State("READ"):
                m.d.comb += registers.rready.eq(1)
                with m.If(registers.arready):
                    m.d.sync += registers.arvalid.eq(0)
                m.d.sync += [
                    word.eq(registers.rdata),
                    status.eq(Mux(registers.rresp == RESP_OKAY, Status.SUCCESSFUL, Status.ABORTED)),
                ]
                with m.If(registers.rvalid):
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += answer.i.valid.eq(1)
                with m.If(answer.i.ready):
                    m.next = "HEAR"
        self._answer(m, answer.i.p, heard, status, word)
        began = Signal()
        m.d.sync += [began.eq(1), self.credit.eq(~began | (self.o.valid & self.o.ready))]
        return m

    def _answer(self, m: Module, beat: data.View, heard: data.View, status: Signal, word: Signal) -> None:
        """Make the completion of what was heard."""
        asked, refused = heard.asked, Signal(REFUSED)
        answer, served, is_read = refused.answer, Signal(), Signal()
        total, before, after = Signal(13), Signal(2), Signal(2)  # bytes asked for, and those of the words beside them
        first, final = heard.first_enable, Mux(asked.dwords == 1, heard.first_enable, heard.last_enable)
        for bytes_ in range(1, WORD_BYTES):
            with m.If(first.any() & (first[:bytes_] == 0)):
                m.d.comb += before.eq(bytes_)
            with m.If(final.any() & (final[-bytes_:] == 0)):
                m.d.comb += after.eq(bytes_)
        m.d.comb += [
            served.eq(status == Status.SUCCESSFUL),
            is_read.eq(asked.type == Type.READ),
            total.eq(Mux(first.any(), asked.dwords * WORD_BYTES - before - after, 1)),
            answer.address.eq(Mux(is_read, Cat(before, asked.address[:5]), 0)),
            answer.translation.eq(asked.translation),
            answer.bytes.eq(Mux(is_read, total, WORD_BYTES)),
            answer.locked.eq(asked.type == Type.READ_LOCKED),
            answer.dwords.eq(served),
            answer.status.eq(status),
            answer.requester.eq(asked.requester),
            answer.tag.eq(asked.tag),
            answer.function.eq(asked.function),
            answer.traffic_class.eq(asked.traffic_class),
            answer.attributes.eq(asked.attributes),
            refused.first_enable.eq(heard.first_enable),
            refused.last_enable.eq(heard.last_enable),
            refused.asked.eq(asked),
        ]
        dwords = ANSWER.size // DWORD_BITS + 1, REFUSED.size // DWORD_BITS
        m.d.comb += [
            beat.data.eq(Mux(served, Cat(answer, word), refused)),
            beat.keep.eq(Mux(served, *((1 << count) - 1 for count in dwords))),
            beat.last.eq(1),
            beat.user.begins.eq(1),
            beat.user.ends.eq(1),
            beat.user.end_at.eq(Mux(served, *(count - 1 for count in dwords))),
        ]
