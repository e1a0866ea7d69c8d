"""Writes of host memory: bursts become posted requests, and are answered when nothing can overtake them any more."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from rtl.constants import LINE_BITS
from rtl.memory.bursts import ADDRESS_BITS
from rtl.pcie.cutter import BurstCutter, take_bursts
from rtl.pcie.layouts import BEAT, DWORD_BITS, DWORDS, ORDERED, REQUEST, SEQUENCE, Type
from rtl.pcie.request import begin_request
from rtl.stream.axi import RESP_OKAY, RESP_SLVERR, AxiWriteSignature
from rtl.stream.fifo import Fifo
from rtl.stream.skid import SkidBuffer

MOST_LINES = 16
"""Lines of the longest write that the hard block is made for, 1024 bytes."""

SENT = 32
"""Writes between request and sequence number. The number has one bit more, which tells them from reads."""


class WriteSide(wiring.Component):
    """Writes lines for AXI bursts, one after the other, by posted requests that leave in the order of the bursts.

    **Written** means: the block has given back the sequence number of the last request. From then on no completion of
    ours overtakes the write (AMD PG213, "Maintaining Transaction Order"). No later write overtakes it, and no later
    read of ours either, by the rules of :mod:`rtl.pcie.request`. So whoever reads the page again after ``written``
    reads what was written, and a host that sees a later write, or that reads a register later, sees this one too.
    It does not mean that the bytes are in DRAM: nobody on a PCIe bus learns that of a posted write.

    A request leaves when all its lines are here, so that the link never waits within one. Posted writes have no other
    answer: a write that the host refuses is lost without a word, and the host sees that.

    Parameters
    ----------
    id_bits : int
        Width of an AXI id.

    Members
    -------
    s_axi : In(AxiWriteSignature(addr_width=64, data_width=512, id_width=id_bits))
        Bursts of whole lines, as :class:`rtl.pcie.cutter.BurstCutter` takes them. Strobes are not looked at.
    limit : In(range(17))
        Most lines of a request, a power of two: what the host allows.
    o : Out(stream.Signature(BEAT["rq"]))
        Requests.
    sent : In(SEQUENCE).array(2)
        Sequence numbers from the block, the lower one first. If they come in another order than they were given,
        bursts are answered SLVERR from then on.
    idle : Out(1)
        No request is between here and its sequence number.
    """

    def __init__(self, *, id_bits: int) -> None:
        self.cutter = BurstCutter(id_bits=id_bits)
        self.id_bits = id_bits
        super().__init__(
            {
                "s_axi": In(AxiWriteSignature(addr_width=ADDRESS_BITS, data_width=LINE_BITS, id_width=id_bits)),
                "limit": In(range(MOST_LINES + 1)),
                "o": Out(stream.Signature(BEAT["rq"])),
                "sent": In(SEQUENCE).array(2),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.cutter = self.cutter
        m.submodules.lines = self._lines = Fifo(shape=LINE_BITS, depth=2 * MOST_LINES)
        m.submodules.whole = self._whole = SkidBuffer(shape=self.cutter.o.p.shape())
        m.submodules.account = account = Fifo(shape=StructLayout({"id": self.id_bits, "last": 1}), depth=SENT)
        take_bursts(m, self.s_axi, "aw", self.cutter)
        m.d.comb += [
            self.cutter.limit.eq(self.limit),
            self._lines.i.valid.eq(self.s_axi.wvalid),
            self._lines.i.p.eq(self.s_axi.wdata),
            self.s_axi.wready.eq(self._lines.i.ready),
        ]
        self._gather(m)
        sending = self._send(m, account)
        self._answer(m, account)
        m.d.comb += self.idle.eq(~sending & ~account.o.valid)
        return m

    def _gather(self, m: Module) -> None:
        """Pass each piece on once all its lines are here."""
        piece, whole = self.cutter.o, self._whole.i
        spare = Signal(range(2 * MOST_LINES + 1))  # lines that belong to no piece that was passed on
        enough, passes = Signal(), Signal()
        m.d.comb += [
            enough.eq(spare >= piece.p.lines),
            whole.valid.eq(piece.valid & enough),
            whole.p.eq(piece.p),
            piece.ready.eq(whole.ready & enough),
            passes.eq(whole.valid & whole.ready),
        ]
        taken = self._lines.i.valid & self._lines.i.ready
        m.d.sync += spare.eq(spare + taken - Mux(passes, piece.p.lines, 0))

    def _send(self, m: Module, account: Fifo) -> Signal:
        """Send a request for each piece; return whether one is begun. Its beats follow each other without a gap."""
        piece, lines = self._whole.o, self._lines
        first, later = Signal(BEAT["rq"]), Signal(BEAT["rq"])
        begun, remaining, final = Signal(), Signal(range(MOST_LINES + 1)), Signal()
        rest = Signal(REQUEST.size)  # the line's end, which goes into the next beat
        number = Signal(range(SENT))
        ready, moves = Signal(), Signal()
        head, room = REQUEST.size, LINE_BITS - REQUEST.size
        begin_request(m, first, kind=Type.WRITE, line=piece.p.line, lines=piece.p.lines)
        m.d.comb += [
            first.data[head:].eq(lines.o.p[:room]),
            first.keep.eq(~0),
            first.user.sequence.eq(number | ORDERED),
            later.data.eq(Cat(rest, Mux(final, 0, lines.o.p[:room]))),
            later.keep.eq(Mux(final, (1 << head // DWORD_BITS) - 1, (1 << DWORDS) - 1)),
            later.last.eq(final),
            later.user.ends[0].eq(final),
            later.user.end_at.eq(Mux(final, head // DWORD_BITS - 1, 0)),
            final.eq(remaining == 0),
            ready.eq(piece.valid & account.i.ready),
            self.o.valid.eq(begun | ready),
            self.o.p.eq(Mux(begun, later, first)),
            moves.eq(self.o.valid & self.o.ready),
            lines.o.ready.eq(moves & ~(begun & final)),
            piece.ready.eq(moves & ~begun),
            account.i.valid.eq(moves & ~begun),
            account.i.p.id.eq(piece.p.id),
            account.i.p.last.eq(piece.p.last),
        ]
        with m.If(moves):
            m.d.sync += rest.eq(lines.o.p[room:])
            with m.If(begun):
                m.d.sync += [remaining.eq(remaining - 1), begun.eq(~final)]
            with m.Else():
                m.d.sync += [remaining.eq(piece.p.lines - 1), begun.eq(1), number.eq(number + 1)]
        return begun

    def _answer(self, m: Module, account: Fifo) -> None:
        """Answer a burst when the sequence numbers of all its requests have come back."""
        axi, mine = self.s_axi, [Signal(name=f"mine_{k}") for k in range(2)]
        awaited, back = Signal(range(SENT)), Signal(range(2 * SENT))
        came, out_of_turn, wrong, take = Signal(2), Signal(), Signal(), Signal()
        m.d.comb += [
            *(ours.eq(sent.valid & sent.number[-1]) for ours, sent in zip(mine, self.sent, strict=True)),
            take.eq(account.o.valid & (back != 0) & (~account.o.p.last | ~axi.bvalid | axi.bready)),
            account.o.ready.eq(take),
        ]
        turns = awaited, (awaited + mine[0])[: len(awaited)]
        m.d.sync += [
            came.eq(mine[0] + mine[1]),
            out_of_turn.eq(
                Cat(
                    ours & (sent.number[:-1] != turn) for ours, sent, turn in zip(mine, self.sent, turns, strict=True)
                ).any()
            ),
            awaited.eq(awaited + mine[0] + mine[1]),
            back.eq(back + came - take),
            wrong.eq(wrong | out_of_turn),
        ]
        with m.If(take & account.o.p.last):
            m.d.sync += [
                axi.bvalid.eq(1),
                axi.bid.eq(account.o.p.id),
                axi.bresp.eq(Mux(wrong, RESP_SLVERR, RESP_OKAY)),
            ]
        with m.Elif(axi.bready):
            m.d.sync += axi.bvalid.eq(0)
