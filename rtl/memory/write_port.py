"""Writes of one channel of HBM: each offered with all its data, and none to an address that still awaits an answer."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.memory.hbm import HBM_AXI, WIDTHS, BurstFront, Items, check_port, overdue
from rtl.stream.axi import BURST_INCR, RESP_OKAY, AxiWriteSignature
from rtl.stream.pick import one_hot

SIEVE = 64
"""Kinds of addresses that are told apart among the writes under way."""


class WritePort(wiring.Component):
    """Writes items of one channel.

    No burst is offered while an earlier one to the same address is under way: AXI promises no order under different
    IDs, and a slot may be freed, taken and written again while its first write is on its way. What is compared are the
    last bits of the burst's number, so that one in :data:`SIEVE` is held up without need.

    Parameters
    ----------
    items : Items
        What is written; the note comes back once for each item.
    channel : int
        Pseudo-channel, 0 to 31.
    outstanding : int
        Bursts under way, a power of two from 2 to 64.

    Members
    -------
    i : In(stream.Signature({"item", "note", "initial", "data"}))
        Items to write; zeros in place of ``data`` where ``initial`` is set.
    o : Out(stream.Signature({"note"}))
        Items that have arrived, in order; none for initial ones.
    m_axi : Out(AxiWriteSignature)
        The channel.
    idle : Out(1)
        Nothing is under way.
    error : Out(1)
        As :class:`~rtl.memory.read_port.ReadPort`.
    """

    def __init__(self, items: Items, *, channel: int, outstanding: int = 16) -> None:
        check_port(channel, outstanding)
        self.items, self.channel, self.outstanding = items, channel, outstanding
        item = StructLayout(
            {"item": items.item_bits, "note": items.note_bits, "initial": 1, "data": 8 * items.item_bytes}
        )
        super().__init__(
            {
                "i": In(stream.Signature(item)),
                "o": Out(stream.Signature(StructLayout({"note": items.note_bits}))),
                "m_axi": Out(AxiWriteSignature(**WIDTHS)),
                "idle": Out(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        items, axi, n = self.items, self.m_axi, self.outstanding
        front = BurstFront(m, self.i, items, n)
        launch, number, newest, oldest = front.launch, front.number, front.newest, front.oldest
        note, initial, data = (front.item[name] for name in ("note", "initial", "data"))
        pending = Signal(n)  # not answered yet
        written = Signal(SIEVE)  # what is not answered yet, by the last bits of its number
        sieve_bits = min(items.number_bits, (SIEVE - 1).bit_length())
        clash, line_free = Signal(), Signal()
        m.d.comb += [
            clash.eq(written.bit_select(number[:sieve_bits], 1)),
            line_free.eq(~axi.wvalid | (axi.wready & axi.wlast)),
            launch.eq(front.able & ~clash & (~axi.awvalid | axi.awready) & line_free),
            axi.awlen.eq(items.beats - 1),
            axi.awsize.eq(HBM_AXI.full_size),
            axi.awburst.eq(BURST_INCR),
        ]

        # Offer: address and first beat together.
        line, beats_remaining = Signal(items.burst_bits), Signal(range(items.beats))
        m.d.comb += [axi.wdata.eq(line), axi.wstrb.eq(~0), axi.wlast.eq(beats_remaining == 0)]
        with m.If(launch):
            m.d.sync += [
                *(axi.awvalid.eq(1), axi.awaddr.eq(items.address(number, self.channel)), axi.awid.eq(newest)),
                *(axi.wvalid.eq(1), line.eq(Mux(initial, 0, data)), beats_remaining.eq(items.beats - 1)),
            ]
        with m.Else():
            with m.If(axi.awready):
                m.d.sync += axi.awvalid.eq(0)
            with m.If(axi.wready):
                m.d.sync += [axi.wvalid.eq(~axi.wlast & axi.wvalid), line.eq(line >> HBM_AXI.data_width)]
                m.d.sync += beats_remaining.eq(beats_remaining - 1)

        # Report: the oldest first, once it is answered.
        fate = StructLayout({"note": len(note), "report": 1})
        fates = Memory(shape=fate, depth=n, init=[], attrs={"ram_style": "distributed"})
        m.submodules.fates = fates
        keep, recall = fates.write_port(), fates.read_port(domain="comb")
        targets = Memory(shape=sieve_bits, depth=n, init=[], attrs={"ram_style": "distributed"})
        m.submodules.targets = targets
        target, answered = targets.write_port(), targets.read_port(domain="comb")
        answer, came, answer_valid, stray = Signal(HBM_AXI.layout("b")["id"].shape), Signal(), Signal(), Signal()
        settled = Signal()
        m.d.comb += [
            axi.bready.eq(1),
            *(keep.addr.eq(newest), keep.en.eq(launch), recall.addr.eq(oldest)),
            *(keep.data.note.eq(note), keep.data.report.eq(~initial & front.last)),
            *(target.addr.eq(newest), target.en.eq(launch), target.data.eq(number)),
            answered.addr.eq(answer),
            *(answer_valid.eq(came & pending.bit_select(answer, 1)), stray.eq(came & ~answer_valid)),
            settled.eq(front.any & ~pending.bit_select(oldest, 1)),
            self.o.valid.eq(settled & recall.data.report),
            self.o.p.note.eq(recall.data.note),
            front.retire.eq(settled & (self.o.ready | ~recall.data.report)),
            self.idle.eq(front.idle),
        ]
        m.d.sync += [
            *(came.eq(axi.bvalid), answer.eq(axi.bid)),
            pending.eq((pending & ~one_hot(answer, n, answer_valid)) | one_hot(newest, n, launch)),
            written.eq(
                (written & ~one_hot(answered.data, SIEVE, answer_valid)) | one_hot(number[:sieve_bits], SIEVE, launch)
            ),
        ]
        late = overdue(m, pending, axi.bvalid, items.timeout)
        with m.If(late | stray | (axi.bvalid & (axi.bresp != RESP_OKAY))):
            m.d.sync += self.error.eq(1)
        return m
