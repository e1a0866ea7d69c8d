"""Reads of one channel of HBM: bursts answered in any order, items handed on in the order of the requests."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.memory.hbm import HBM_AXI, WIDTHS, BurstFront, Items, check_port, overdue
from rtl.stream.axi import BURST_INCR, RESP_OKAY, AxiReadSignature
from rtl.stream.pick import one_hot


class ReadPort(wiring.Component):
    """Reads items of one channel, in order, burst by burst.

    Parameters
    ----------
    items : Items
        What is read.
    channel : int
        Pseudo-channel, 0 to 31.
    outstanding : int
        Bursts under way, a power of two from 2 to 64.

    Members
    -------
    i : In(stream.Signature({"item", "note"}))
        Items to read.
    o : Out(stream.Signature({"note", "data"}))
        Their bursts, in order.
    m_axi : Out(AxiReadSignature)
        The channel.
    idle : Out(1)
        Nothing is under way.
    error : Out(1)
        HBM reported an error, gave an answer that nobody asked for, or owes one for too long. Stays.
    """

    def __init__(self, items: Items, *, channel: int, outstanding: int = 32) -> None:
        check_port(channel, outstanding)
        self.items, self.channel, self.outstanding = items, channel, outstanding
        item = StructLayout({"item": items.item_bits, "note": items.note_bits})
        burst = StructLayout({"note": items.note_bits, "data": items.burst_bits})
        super().__init__(
            {
                "i": In(stream.Signature(item)),
                "o": Out(stream.Signature(burst)),
                "m_axi": Out(AxiReadSignature(**WIDTHS)),
                "idle": Out(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        items, axi, n = self.items, self.m_axi, self.outstanding
        front = BurstFront(m, self.i, items, n)
        launch, newest, oldest = front.launch, front.newest, front.oldest

        # Ask.
        m.d.comb += [
            launch.eq(front.able & (~axi.arvalid | axi.arready)),
            axi.arlen.eq(items.beats - 1),
            axi.arsize.eq(HBM_AXI.full_size),
            axi.arburst.eq(BURST_INCR),
        ]
        with m.If(launch):
            m.d.sync += [
                axi.arvalid.eq(1),
                axi.araddr.eq(items.address(front.number, self.channel)),
                axi.arid.eq(newest),
            ]
        with m.Elif(axi.arready):
            m.d.sync += axi.arvalid.eq(0)

        # Collect: each beat goes to its place, for which there is room since its burst was asked for.
        beat, came, beat_valid, stray = Signal(HBM_AXI.layout("r")), Signal(), Signal(), Signal()
        asked, arrived = Signal(n), Signal(n)
        m.d.comb += [
            axi.rready.eq(1),
            beat_valid.eq(came & asked.bit_select(beat.id, 1)),
            stray.eq(came & ~beat_valid),
        ]
        m.d.sync += [came.eq(axi.rvalid), *(beat[name].eq(getattr(axi, "r" + name)) for name in ("id", "data"))]
        tag = beat.id[: len(newest)]
        lines = [
            Memory(shape=HBM_AXI.data_width, depth=n, init=[], attrs={"ram_style": "distributed"})
            for _ in range(items.beats)
        ]
        last = Signal()
        if items.beats == 1:
            places = [beat_valid]
            m.d.comb += last.eq(beat_valid)
        else:
            counts = Memory(shape=range(items.beats), depth=n, init=[], attrs={"ram_style": "distributed"})
            m.submodules.counts = counts
            kept, next_count = counts.read_port(domain="comb"), counts.write_port()
            begun, count = Signal(n), Signal(range(items.beats))  # a reset in mid-burst leaves the memory as it is
            m.d.comb += [
                kept.addr.eq(tag),
                count.eq(Mux(begun.bit_select(tag, 1), kept.data, 0)),
                next_count.addr.eq(tag),
                next_count.en.eq(beat_valid),
                next_count.data.eq(count + 1),
                last.eq(beat_valid & (count == items.beats - 1)),
            ]
            m.d.sync += begun.eq((begun | one_hot(tag, n, beat_valid)) & ~one_hot(tag, n, last))
            places = [beat_valid & (count == place) for place in range(items.beats)]
        for place, line in enumerate(lines):
            m.submodules[f"line_{place}"] = line
            write, read = line.write_port(), line.read_port(domain="comb")
            m.d.comb += [write.addr.eq(tag), write.data.eq(beat.data), write.en.eq(places[place])]
            m.d.comb += read.addr.eq(oldest)
            m.d.comb += self.o.p.data[256 * place : 256 * (place + 1)].eq(read.data)
        note = front.item["note"]
        if len(note):
            notes = Memory(shape=len(note), depth=n, init=[], attrs={"ram_style": "distributed"})
            m.submodules.notes = notes
            keep, recall = notes.write_port(), notes.read_port(domain="comb")
            m.d.comb += [
                keep.addr.eq(newest),
                keep.data.eq(note),
                keep.en.eq(launch),
                recall.addr.eq(oldest),
                self.o.p.note.eq(recall.data),
            ]

        whole = one_hot(tag, n, last)
        m.d.comb += [
            self.o.valid.eq(arrived.bit_select(oldest, 1)),
            front.retire.eq(self.o.valid & self.o.ready),
            self.idle.eq(front.idle),
        ]
        m.d.sync += [
            asked.eq((asked & ~whole) | one_hot(newest, n, launch)),
            arrived.eq((arrived & ~one_hot(oldest, n, front.retire)) | whole),
        ]
        late = overdue(m, asked, axi.rvalid, items.timeout)
        with m.If(late | stray | (axi.rvalid & (axi.rresp != RESP_OKAY))):
            m.d.sync += self.error.eq(1)
        return m
