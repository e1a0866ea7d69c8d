"""Lines in HBM, spread over channels: fetches and flushes answered in any order."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from omap.sizing.channels import Layout
from rtl.constants import CHANNEL_BITS, PSEUDO_CHANNELS
from rtl.memory.hbm import HBM_AXI, TIMEOUT, Items, join
from rtl.memory.places import Places
from rtl.memory.read_port import ReadPort
from rtl.memory.write_port import WritePort
from rtl.stream.interfaces import require_one_of, require_whole
from rtl.stream.merge import Merge


class LineChannels(wiring.Component):
    """Serves fetches and flushes of lines, as :class:`~rtl.memory.line_buffer.LineBuffer` asks for them.

    A line lies where its layout says. One fetch and one flush a cycle go in; each channel is as fast as HBM. As
    long as its queue has room, it does not hold up the others. A fetch that comes after a flush was answered sees it;
    two flushes of one line take effect in their order.

    Nothing resets this block, and no transfer under way is dropped, even if the blocks that asked for it are reset.

    Parameters
    ----------
    layout : Layout
        How many lines there are, of 32, 64 or 128 bytes, and how they lie in their channels.
    id_bits : int
        Width of the id that an answer brings back, 1 to 9.
    first_channel : int
        Number of the first pseudo-channel.
    address_bits : int
        Width of a line's number; at least what the lines need.
    initial_lines : int
        Into how many lines ``fill`` writes zeros, from line 0.
    timeout : int
        Cycles without an answer that are an error.
    channel_bits : int
        Address bits within a pseudo-channel.

    Members
    -------
    i_fetch : In(stream.Signature({"address", "id"}))
        Lines to read.
    o_fetched : Out(stream.Signature({"id", "data"}))
        What was read.
    i_flush : In(stream.Signature({"address", "id", "data"}))
        Lines to write.
    o_flushed : Out(stream.Signature(id))
        Lines that were written: a fetch from now on sees them.
    m_axi : Out(AxiSignature).array(channels)
        HBM, 256-bit AXI3.
    fill : In(1)
        One cycle of it writes zeros to the initial lines, to all channels in parallel.
    filling : Out(1)
        From the cycle after ``fill`` until all has arrived; no fetch or flush is taken then.
    quiet : Out(1)
        No transfer is under way, nor an answer on offer.
    error : Out(1)
        As :class:`~rtl.memory.read_port.ReadPort` has it. Stays.
    """

    # Many: the structures that lie in such channels differ in all of them; each names what it needs.
    def __init__(
        self,
        *,
        layout: Layout,
        id_bits: int,
        first_channel: int,
        address_bits: int | None = None,
        initial_lines: int = 0,
        timeout: int = TIMEOUT,
        channel_bits: int = CHANNEL_BITS,
    ) -> None:
        lines, line_bytes, channels = layout.items, layout.item_bytes, layout.channels
        require_one_of("item_bytes", line_bytes, (32, 64, 128))
        require_whole("channels", channels, 1, PSEUDO_CHANNELS)
        require_whole("first_channel", first_channel, 0, PSEUDO_CHANNELS - channels)
        require_whole("per_group", layout.per_group, 1, (1 << channel_bits) // line_bytes)
        require_whole("id_bits", id_bits, 1, 9)
        address_bits = max(1, (lines - 1).bit_length()) if address_bits is None else address_bits
        require_whole("address_bits", address_bits, max(1, (lines - 1).bit_length()), 48)
        require_whole("initial_lines", initial_lines, 0, lines)
        self.layout, self.id_bits, self.channels, self.initial_lines = layout, id_bits, channels, initial_lines
        self.places = Places(layout)
        items = Items(
            item_bytes=line_bytes,
            item_bits=self.places.row_bits,
            note_bits=id_bits,
            timeout=timeout,
            channel_bits=channel_bits,
        )
        numbers = range(first_channel, first_channel + channels)
        reads, writes = min(32, 1 << id_bits), min(32 if line_bytes == 32 else 16, 4 << id_bits)
        self.reads = [ReadPort(items, channel=number, outstanding=reads) for number in numbers]
        self.writes = [WritePort(items, channel=number, outstanding=writes) for number in numbers]
        self.fetched_shape = StructLayout({"id": id_bits, "data": 8 * line_bytes})
        super().__init__(
            {
                "i_fetch": In(stream.Signature(StructLayout({"address": address_bits, "id": id_bits}))),
                "o_fetched": Out(stream.Signature(self.fetched_shape)),
                "i_flush": In(
                    stream.Signature(StructLayout({"address": address_bits, "id": id_bits, "data": 8 * line_bytes}))
                ),
                "o_flushed": Out(stream.Signature(id_bits)),
                "m_axi": Out(HBM_AXI).array(channels),
                "fill": In(1),
                "filling": Out(1),
                "quiet": Out(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.fetched = fetched = Merge(shape=self.fetched_shape, ways=self.channels)
        m.submodules.flushed = flushed = Merge(shape=self.id_bits, ways=self.channels)
        wiring.connect(m, fetched.o, wiring.flipped(self.o_fetched))
        wiring.connect(m, flushed.o, wiring.flipped(self.o_flushed))

        places, fetch, flush = self.places, self.i_fetch.p, self.i_flush.p
        fetched_from, flushed_to = Signal(self.channels), Signal(self.channels)
        m.d.comb += [
            fetched_from.eq(places.chosen(fetch.address)),
            flushed_to.eq(places.chosen(flush.address)),
            self.i_fetch.ready.eq((fetched_from & Cat(read.i.ready for read in self.reads)).any() & ~self.filling),
            self.i_flush.ready.eq((flushed_to & Cat(write.i.ready for write in self.writes)).any() & ~self.filling),
        ]
        filled, idle, error = Signal(self.channels), Signal(self.channels), Signal(self.channels)
        for k, (read, write) in enumerate(zip(self.reads, self.writes, strict=True)):
            m.submodules[f"read_{k}"], m.submodules[f"write_{k}"] = read, write
            join(m, self.m_axi[k], read, write)
            mine = self.layout.below(self.initial_lines, k)
            line = Signal(range(mine + 1))  # the next one to fill
            m.d.comb += [
                read.i.valid.eq(self.i_fetch.valid & fetched_from[k] & ~self.filling),
                read.i.p.item.eq(places.row(fetch.address, k)),
                read.i.p.note.eq(fetch.id),
                filled[k].eq(line == mine),
                write.i.valid.eq(Mux(self.filling, ~filled[k], self.i_flush.valid & flushed_to[k])),
                write.i.p.item.eq(Mux(self.filling, line, places.row(flush.address, k))),
                write.i.p.note.eq(flush.id),
                write.i.p.initial.eq(self.filling),
                write.i.p.data.eq(flush.data),
                fetched.i[k].valid.eq(read.o.valid),
                fetched.i[k].p.id.eq(read.o.p.note),
                fetched.i[k].p.data.eq(read.o.p.data),
                read.o.ready.eq(fetched.i[k].ready),
                flushed.i[k].valid.eq(write.o.valid),
                flushed.i[k].p.eq(write.o.p.note),
                write.o.ready.eq(flushed.i[k].ready),
                idle[k].eq(read.idle & write.idle),
                error[k].eq(read.error | write.error),
            ]
            with m.If(~self.filling):
                m.d.sync += line.eq(0)
            with m.Elif(~filled[k] & write.i.ready):
                m.d.sync += line.eq(line + 1)

        with m.If(self.fill):
            m.d.sync += self.filling.eq(1)
        with m.Elif(filled.all() & Cat(write.idle for write in self.writes).all()):
            m.d.sync += self.filling.eq(0)
        m.d.sync += self.error.eq(self.error | error.any())
        m.d.comb += self.quiet.eq(idle.all() & ~self.filling & ~fetched.o.valid & ~flushed.o.valid)
        return m
