# amaranth: UnusedElaboratable=no
"""Records on their way into a ring: gathered to lines, kept until they are whole, and where they go."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from omap.params import Params
from omap.wire import RecordCodec
from rtl.constants import BLOCK_BITS, LINE_BITS
from rtl.memory.bursts import ADDRESS_BITS
from rtl.rings.record import LINE_BEATS
from rtl.rings.ring_commands import COUNTER_BITS, LINE_SHIFT, RING_BITS, clamped, lesser
from rtl.stream.fifo import Fifo
from rtl.stream.interfaces import page_beat

PACKET_LINES = 4
"""Lines that fill a packet of PCIe. So many don't wait to be gathered with others."""


class RingLines(wiring.Component):
    """Keeps the lines of records for one ring. Two of the longest records have room.

    Parameters
    ----------
    params : Params
        The map.
    most : int
        Most lines of one access.
    gather_cycles : int
        Cycles from one access to the next at least, unless the lines fill a packet.

    Members
    -------
    base : In(64)
        Bus address of the ring.
    ring_lines : In(17)
        Lines of the ring, a power of two.
    i_record : In(stream.Signature(page_beat(1)))
        Records of whole lines.
    whole : Out(1)
        A record has become whole.
    whole_lines : Out(range(most_lines + 1))
        Its lines.
    waiting : Out(range(2 * most_lines + 1))
        Lines of whole records that no access has taken yet.
    due : Out(1)
        They are to be written now.
    address, taking : Out
        Where the next access goes, and how many lines it takes.
    take : In(1)
        The access begins.
    o_line : Out(stream.Signature(StructLayout({"data": 512, "last": 1})))
        The lines; ``last`` marks the last one of a record.
    written : Out(64)
        Lines of whole records ever handed on.
    begun : Out(1)
        Part of a record is here.
    """

    def __init__(self, params: Params, *, most: int, gather_cycles: int) -> None:
        self.most_lines, self.most, self.gather_cycles = RecordCodec(params).most_lines, most, gather_cycles
        self.depth = 2 * self.most_lines
        super().__init__(
            {
                "base": In(ADDRESS_BITS),
                "ring_lines": In(RING_BITS),
                "i_record": In(stream.Signature(page_beat(1))),
                "whole": Out(1),
                "whole_lines": Out(range(self.most_lines + 1)),
                "waiting": Out(range(self.depth + 1)),
                "due": Out(1),
                "address": Out(ADDRESS_BITS),
                "taking": Out(range(most + 1)),
                "take": In(1),
                "o_line": Out(stream.Signature(StructLayout({"data": LINE_BITS, "last": 1}))),
                "written": Out(COUNTER_BITS),
                "begun": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.lines = kept = Fifo(shape=self.o_line.p.shape(), depth=self.depth, ram_style="block")
        wiring.connect(m, kept.o, wiring.flipped(self.o_line))
        self._gather(m, kept)

        place, ahead = Signal(RING_BITS), Signal(range(self.most + 1))  # of the next line, and lines from it to the end
        gathering = Signal(range(self.gather_cycles))
        m.d.comb += [
            self.taking.eq(lesser(clamped(self.waiting, self.most), ahead)),
            self.due.eq((self.waiting >= PACKET_LINES) | ((self.waiting != 0) & (gathering == 0))),
        ]
        m.d.sync += [
            ahead.eq(clamped(self.ring_lines - place, self.most)),
            self.address.eq(self.base + (place << LINE_SHIFT)),
            self.waiting.eq(self.waiting + Mux(self.whole, self.whole_lines, 0) - Mux(self.take, self.taking, 0)),
        ]
        with m.If(self.take):
            m.d.sync += [
                place.eq((place + self.taking) & (self.ring_lines - 1)),  # no comparison, as in CommandFetch
                gathering.eq(self.gather_cycles - 1),
            ]
        with m.Elif(gathering != 0):
            m.d.sync += gathering.eq(gathering - 1)

        at = Signal(COUNTER_BITS)  # lines handed on
        with m.If(self.o_line.ready & self.o_line.valid):
            m.d.sync += at.eq(at + 1)
            with m.If(self.o_line.p.last):
                m.d.sync += self.written.eq(at + 1)
        return m

    def _gather(self, m: Module, kept: Fifo) -> None:
        """Turn beats into lines."""
        gathered, beat = Signal(LINE_BITS - BLOCK_BITS), Signal(range(LINE_BEATS))
        lines = Signal(range(self.most_lines + 1), init=1)  # of the record, with the one that is gathered
        moved = Signal()
        m.d.comb += [
            self.i_record.ready.eq(kept.i.ready),
            moved.eq(self.i_record.valid & self.i_record.ready),
            kept.i.valid.eq(moved & (beat == LINE_BEATS - 1)),
            kept.i.p.data.eq(Cat(gathered, self.i_record.p.data)),
            kept.i.p.last.eq(self.i_record.p.last),
            self.whole.eq(moved & self.i_record.p.last),
            self.whole_lines.eq(lines),
        ]
        with m.If(moved):
            m.d.sync += [
                beat.eq(beat + 1),
                gathered.eq(Cat(gathered, self.i_record.p.data)[BLOCK_BITS:]),
                self.begun.eq(~self.i_record.p.last),
            ]
        with m.If(self.whole):
            m.d.sync += lines.eq(1)
        with m.Elif(kept.i.valid):
            m.d.sync += lines.eq(lines + 1)
