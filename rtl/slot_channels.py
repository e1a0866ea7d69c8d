"""Waiting slots in HBM, spread over channels: reads and writes answered in order."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from rtl.fifo import Fifo
from rtl.hbm import BEAT_BYTES, CHANNEL_BITS, HBM_AXI, PSEUDO_CHANNELS, TIMEOUT, ReadPort, WritePort, join
from rtl.interfaces import require, require_one_of, require_whole


class SlotChannels(wiring.Component):
    """Reads and writes waiting slots, as :class:`~rtl.waiting.WaitingBins` asks for them.

    Slot ``n`` lies in channel ``n % channels`` at ``n // channels * slot_bytes``; what of it the entry does not need is
    written as zero. One read and one write a cycle go in. A read that comes after a write was reported sees it; two
    writes of one slot take effect in their order.

    Nothing resets this block, and no transfer under way is dropped, whatever becomes of those it serves.

    Parameters
    ----------
    slots : int
        Slots, in all channels together.
    entry_bytes, slot_bytes : int
        Bytes of an entry, and of the slot it lies in: a multiple of 32.
    channels, first_channel : int
        Pseudo-channels, 1, 2, 4 or 8, and the number of the first.
    timeout : int
        Cycles without an answer that are an error.

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
        HBM reported an error, or gave no answer for ``timeout`` cycles. Stays.
    """

    def __init__(
        self,
        *,
        slots: int,
        entry_bytes: int,
        slot_bytes: int,
        channels: int,
        first_channel: int,
        timeout: int = TIMEOUT,
    ) -> None:
        require_one_of("channels", channels, (1, 2, 4, 8))
        require_whole("first_channel", first_channel, 0, PSEUDO_CHANNELS - channels)
        require_whole("slot_bytes", slot_bytes, BEAT_BYTES, 1 << 16)
        require(slot_bytes % BEAT_BYTES == 0, f"slot_bytes is {slot_bytes}; it must be a multiple of {BEAT_BYTES}")
        require_whole("entry_bytes", entry_bytes, 1, slot_bytes)
        require_whole("slots", slots, 1, channels * ((1 << CHANNEL_BITS) // slot_bytes))
        self.entry_bytes, self.channels = entry_bytes, channels
        self.slot_bits = max(1, (slots - 1).bit_length())
        self.choice_bits = (channels - 1).bit_length()
        common = {
            "item_bytes": slot_bytes,
            "item_bits": max(1, (-(-slots // channels) - 1).bit_length()),
            "note_bits": 0,
            "timeout": timeout,
        }
        numbers = range(first_channel, first_channel + channels)
        self.reads = [ReadPort(**common, channel=number, outstanding=32) for number in numbers]
        writes = 32 if self.reads[0].bursts.beats == 1 else 16
        self.writes = [WritePort(**common, channel=number, outstanding=writes) for number in numbers]
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
        ports = range(self.channels)
        bursts = self.reads[0].bursts
        choice = max(1, self.choice_bits)
        # Room for whatever a channel holds, so that this is never what holds a request up.
        m.submodules.reading = reading = Fifo(shape=choice, depth=64 * self.channels)
        m.submodules.writing = writing = Fifo(shape=choice, depth=64 * self.channels)
        idle, error = Signal(self.channels), Signal(self.channels)

        def spread(slot: Value, flow: stream.Interface, order: Fifo, ends: list[stream.Interface]) -> None:
            """Pass an item to its channel, and note the choice."""
            which = Signal(choice)
            m.d.comb += which.eq(slot[: self.choice_bits])
            m.d.comb += order.i.payload.eq(which)
            for k, end in enumerate(ends):
                m.d.comb += end.payload.item.eq(slot >> self.choice_bits)
                with m.If(which == k):
                    m.d.comb += [
                        end.valid.eq(flow.valid & order.i.ready),
                        order.i.valid.eq(flow.valid & end.ready),
                        flow.ready.eq(order.i.ready & end.ready),
                    ]

        for k, (read, write) in enumerate(zip(self.reads, self.writes, strict=True)):
            m.submodules[f"read_{k}"], m.submodules[f"write_{k}"] = read, write
            join(m, self.m_axi[k], read, write)
            m.d.comb += write.i.payload.data.eq(self.i_write.payload.data)
            m.d.comb += [idle[k].eq(read.idle & write.idle), error[k].eq(read.error | write.error)]
        spread(self.i_fetch.payload, self.i_fetch, reading, [read.i for read in self.reads])
        spread(self.i_write.payload.slot, self.i_write, writing, [write.i for write in self.writes])

        # The bursts of the oldest read, first to last, become its entry.
        whole = Signal(bursts.each * bursts.bits)
        burst, part, take = Signal(bursts.bits), Signal(range(bursts.each)), Signal()
        here = Cat(reading.o.valid & (reading.o.payload == k) & self.reads[k].o.valid for k in ports)
        free = ~self.o_fetched.valid | self.o_fetched.ready
        m.d.comb += [
            take.eq(here.any() & free),
            reading.o.ready.eq(take & (part == bursts.each - 1)),
            self.o_fetched.payload.eq(whole),
        ]
        for k, read in enumerate(self.reads):
            m.d.comb += read.o.ready.eq(here[k] & free)
            with m.If(here[k]):
                m.d.comb += burst.eq(read.o.payload.data)
        with m.If(free):
            m.d.sync += self.o_fetched.valid.eq(reading.o.ready)
        with m.If(take):
            m.d.sync += [
                whole.eq(Cat(whole, burst)[bursts.bits :]),
                part.eq(0),
            ]
            with m.If(part != bursts.each - 1):
                m.d.sync += part.eq(part + 1)

        # The oldest write is reported when its channel reports it.
        done = Cat(writing.o.valid & (writing.o.payload == k) & self.writes[k].o.valid for k in ports)
        unsaid = ~self.o_written.valid | self.o_written.ready
        m.d.comb += writing.o.ready.eq(done.any() & unsaid)
        for k, write in enumerate(self.writes):
            m.d.comb += write.o.ready.eq(done[k] & unsaid)
        with m.If(unsaid):
            m.d.sync += self.o_written.valid.eq(done.any())

        m.d.sync += self.error.eq(self.error | error.any())
        m.d.comb += self.quiet.eq(idle.all() & ~self.o_fetched.valid & ~self.o_written.valid)
        return m
