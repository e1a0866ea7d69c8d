"""Waiting slots in HBM, spread over channels: reads and writes answered in order."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from omap.sizing.channels import Layout
from rtl.constants import CHANNEL_BITS, PSEUDO_CHANNELS
from rtl.memory.hbm import BEAT_BYTES, HBM_AXI, TIMEOUT, Items, join
from rtl.memory.places import Places
from rtl.memory.read_port import ReadPort
from rtl.memory.write_port import WritePort
from rtl.stream.fifo import Fifo
from rtl.stream.interfaces import require, require_whole

OUTSTANDING_READS = 32
"""Bursts that are read at a time from each channel, if a slot is one."""

MANY_READS = 64
"""... if it is several: so that one comes in each cycle."""


class SlotChannels(wiring.Component):
    """Reads and writes waiting slots, as :class:`~rtl.map.waiting.WaitingBins` asks for them.

    A slot lies where its layout says. If an entry is shorter than its slot, the rest is written as zeros. One read and
    one write a cycle go in. A read that comes after a write was reported sees it; two writes of one slot take effect in
    their order.

    Nothing resets this block, and no transfer under way is dropped, even if the blocks that asked for it are reset.

    Parameters
    ----------
    layout : Layout
        How many slots there are, of a multiple of 32 bytes, and how they lie in their channels.
    entry_bytes : int
        Bytes of a slot's entry.
    first_channel : int
        Number of the first pseudo-channel.
    timeout : int
        Cycles without an answer that are an error.
    channel_bits : int
        Address bits within a pseudo-channel.

    Members
    -------
    i_fetch : In(stream.Signature(slot))
        Slots to read.
    o_fetched : Out(stream.Signature(entry))
        Their entries, in order.
    i_write : In(stream.Signature({"slot", "data"}))
        Slots to write.
    o_written : Out(stream.Signature(0))
        One item for each write, in order: it and all before it have arrived.
    m_axi : Out(AxiSignature).array(channels)
        HBM, 256-bit AXI3.
    quiet : Out(1)
        No transfer is under way, nor an answer on offer.
    error : Out(1)
        As :class:`~rtl.memory.read_port.ReadPort` has it. Stays.
    """

    def __init__(
        self,
        *,
        layout: Layout,
        entry_bytes: int,
        first_channel: int,
        timeout: int = TIMEOUT,
        channel_bits: int = CHANNEL_BITS,
    ) -> None:
        slot_bytes, channels = layout.item_bytes, layout.channels
        require_whole("channels", channels, 1, PSEUDO_CHANNELS)
        require_whole("first_channel", first_channel, 0, PSEUDO_CHANNELS - channels)
        require_whole("item_bytes", slot_bytes, BEAT_BYTES, 1 << 16)
        require(slot_bytes % BEAT_BYTES == 0, f"item_bytes is {slot_bytes}; it must be a multiple of {BEAT_BYTES}")
        require_whole("entry_bytes", entry_bytes, 1, slot_bytes)
        require_whole("per_group", layout.per_group, 1, (1 << channel_bits) // slot_bytes)
        self.layout, self.entry_bytes, self.channels = layout, entry_bytes, channels
        self.slot_bits = max(1, (layout.items - 1).bit_length())
        self.places = Places(layout)
        items = Items(
            item_bytes=slot_bytes,
            item_bits=self.places.row_bits,
            note_bits=0,
            timeout=timeout,
            channel_bits=channel_bits,
        )
        numbers = range(first_channel, first_channel + channels)
        reads = OUTSTANDING_READS if items.each == 1 else MANY_READS
        self.reads = [ReadPort(items, channel=number, outstanding=reads) for number in numbers]
        writes = 32 if items.beats == 1 else 16
        self.writes = [WritePort(items, channel=number, outstanding=writes) for number in numbers]
        super().__init__(
            {
                "i_fetch": In(stream.Signature(self.slot_bits)),
                "o_fetched": Out(stream.Signature(8 * entry_bytes)),
                "i_write": In(stream.Signature(StructLayout({"slot": self.slot_bits, "data": 8 * entry_bytes}))),
                "o_written": Out(stream.Signature(0)),
                "m_axi": Out(HBM_AXI).array(channels),
                "quiet": Out(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        items, places = self.reads[0].items, self.places
        choice = max(1, places.channel_bits)
        # There is room for all requests that a group's channels hold, so that these FIFOs never hold a request up.
        # Further groups add room but no traffic.
        m.submodules.reading = reading = Fifo(shape=choice, depth=64 << self.layout.spread)
        m.submodules.writing = writing = Fifo(shape=choice, depth=64 << self.layout.spread)
        idle, error = Signal(self.channels), Signal(self.channels)

        def spread(slot: Value, flow: stream.Interface, order: Fifo, ends: list[stream.Interface]) -> None:
            """Pass an item to its channel, and note the choice."""
            chosen, ready = Signal(self.channels), Signal()
            m.d.comb += [
                chosen.eq(places.chosen(slot)),
                ready.eq((chosen & Cat(end.ready for end in ends)).any()),
                order.i.p.eq(places.channel(slot)),
                order.i.valid.eq(flow.valid & ready),
                flow.ready.eq(order.i.ready & ready),
            ]
            for k, end in enumerate(ends):
                m.d.comb += [
                    end.p.item.eq(places.row(slot, k)),
                    end.valid.eq(flow.valid & order.i.ready & chosen[k]),
                ]

        for k, (read, write) in enumerate(zip(self.reads, self.writes, strict=True)):
            m.submodules[f"read_{k}"], m.submodules[f"write_{k}"] = read, write
            join(m, self.m_axi[k], read, write)
            m.d.comb += write.i.p.data.eq(self.i_write.p.data)
            m.d.comb += [idle[k].eq(read.idle & write.idle), error[k].eq(read.error | write.error)]
        spread(self.i_fetch.p, self.i_fetch, reading, [read.i for read in self.reads])
        spread(self.i_write.p.slot, self.i_write, writing, [write.i for write in self.writes])

        # The oldest read leaves when its entry is whole.
        entries = [self._whole(m, k, items) for k in range(self.channels)]
        whole = Array(entry.p for entry in entries)[reading.o.p]
        free = ~self.o_fetched.valid | self.o_fetched.ready
        m.d.comb += reading.o.ready.eq(Array(entry.valid for entry in entries)[reading.o.p] & free)
        for k, entry in enumerate(entries):
            m.d.comb += entry.ready.eq(reading.o.valid & (reading.o.p == k) & free)
        with m.If(free):
            m.d.sync += self.o_fetched.valid.eq(reading.o.valid & reading.o.ready)
        with m.If(reading.o.valid & reading.o.ready):
            m.d.sync += self.o_fetched.p.eq(whole)

        # The oldest write is reported when its channel reports it.
        done = writing.o.valid & Array(write.o.valid for write in self.writes)[writing.o.p]
        unsaid = ~self.o_written.valid | self.o_written.ready
        m.d.comb += writing.o.ready.eq(done & unsaid)
        for k, write in enumerate(self.writes):
            m.d.comb += write.o.ready.eq(writing.o.valid & (writing.o.p == k) & unsaid)
        with m.If(unsaid):
            m.d.sync += self.o_written.valid.eq(done)

        m.d.sync += self.error.eq(self.error | error.any())
        m.d.comb += self.quiet.eq(idle.all() & ~reading.o.valid & ~self.o_fetched.valid & ~self.o_written.valid)
        return m

    def _whole(self, m: Module, channel: int, items: Items) -> stream.Interface:
        """Return the entries of a channel. The bursts of an entry, first to last, come one a cycle.

        Channels do this beside each other, because a long list has tuples in all of them.
        """
        burst, whole = self.reads[channel].o, stream.Signature(items.each * items.burst_bits).create()
        if items.each == 1:
            m.d.comb += [whole.valid.eq(burst.valid), whole.p.eq(burst.p.data), burst.ready.eq(whole.ready)]
            return whole
        part = Signal(range(items.each), name=f"part_{channel}")
        m.d.comb += burst.ready.eq(~whole.valid | whole.ready)
        with m.If(whole.valid & whole.ready):
            m.d.sync += whole.valid.eq(0)
        with m.If(burst.valid & burst.ready):
            m.d.sync += [whole.p.eq(Cat(whole.p, burst.p.data)[items.burst_bits :]), part.eq(0)]
            with m.If(part == items.each - 1):
                m.d.sync += whole.valid.eq(1)
            with m.Else():
                m.d.sync += part.eq(part + 1)
        return whole
