"""Accesses cut into AXI bursts, and the account of bursts under way."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.constants import HOST_IDS, LINE_BYTES
from rtl.stream.interfaces import require, require_whole

ADDRESS_BITS = 64

WINDOW_LINES = 4096 // LINE_BYTES
"""Lines of the window that an AXI burst must not leave. Bursts are never longer, whatever AXI allows."""


def access(max_lines: int, id_bits: int) -> StructLayout:
    """Return the payload of a stream of accesses: ``address`` (a multiple of 64), ``lines`` (at least 1), ``id``."""
    return StructLayout({"address": ADDRESS_BITS, "lines": range(max_lines + 1), "id": id_bits})


class BurstSplitter(wiring.Component):
    """Cuts each access at multiples of 4096 bytes. One burst a cycle.

    Parameters
    ----------
    max_lines : int
        Longest access, 1 to 1024 lines.
    id_bits : int
        Width of an id.

    Members
    -------
    i : In(stream.Signature(access(max_lines, id_bits)))
        Accesses.
    o : Out(stream.Signature({"address", "beats", "id", "last"}))
        Their bursts, in order; ``beats`` is one less than the number, ``last`` marks the last of an access.
    waiting : Out(1)
        An access is here, and none of its bursts has departed.
    begun : Out(1)
        An access is here, and some of its bursts have departed.
    drop : In(1)
        Forget what is ``waiting``, offered or not.
    """

    def __init__(self, *, max_lines: int, id_bits: int) -> None:
        require_whole("max_lines", max_lines, 1, 1024)
        self.max_lines = max_lines
        burst = StructLayout({"address": ADDRESS_BITS, "beats": 8, "id": id_bits, "last": 1})
        super().__init__(
            {
                "i": In(stream.Signature(access(max_lines, id_bits))),
                "o": Out(stream.Signature(burst)),
                "waiting": Out(1),
                "begun": Out(1),
                "drop": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        here = Signal()
        begun = Signal()
        remaining = Signal(self.i.p.shape())
        room = Signal(range(WINDOW_LINES + 1))  # lines to the end of the window
        beats = Signal(range(WINDOW_LINES + 1))
        sent = Signal()
        m.d.comb += [
            room.eq(WINDOW_LINES - remaining.address[6:12]),
            self.o.p.last.eq(remaining.lines <= room),
            beats.eq(Mux(self.o.p.last, remaining.lines, room)),
            self.o.p.beats.eq(beats - 1),
            self.o.p.address.eq(Cat(remaining.address[:6] & 0, remaining.address[6:])),
            self.o.p.id.eq(remaining.id),
            self.o.valid.eq(here & (begun | ~self.drop)),
            self.waiting.eq(here & ~begun),
            self.begun.eq(here & begun),
            sent.eq(self.o.valid & self.o.ready),
            self.i.ready.eq(~here | (sent & self.o.p.last)),
        ]
        with m.If(self.i.ready):
            m.d.sync += [here.eq(self.i.valid), begun.eq(0), remaining.eq(self.i.p)]
        with m.Elif(sent):
            m.d.sync += [
                begun.eq(1),
                remaining.lines.eq(remaining.lines - beats),
                remaining.address.eq(Cat(remaining.address[:12] & 0, remaining.address[12:] + 1)),
            ]
        with m.Elif(self.waiting & self.drop):
            m.d.sync += here.eq(0)
        return m


class BurstAccount(wiring.Component):
    """Knows of each id which bursts are under way: AXI answers them in order.

    After reset nothing can begin for as many cycles as there are ids.

    Parameters
    ----------
    ids : int
        Number of ids, 2 to 128.
    depth : int
        A power of two; one burst less can be under way under one id.
    timeout : int
        Cycles without an answer under an id, after which it is late; noticed within twice as many.

    Members
    -------
    begin : In(1)
        A burst of ``begin_id`` begins; only with ``room``.
    begin_id, begin_last : In
        Id of the burst that begins or would begin, and what ``last`` shows when that burst is the oldest.
    room : Out(1)
        A burst of ``begin_id`` can begin.
    seen : In(1)
        Part of an answer came under ``end_id``.
    end : In(1)
        That part ended its burst.
    end_id : In
        Id of the answer.
    known : Out(1)
        A burst of ``end_id`` is under way; what is not ``known`` changes nothing.
    last : Out(1)
        ``begin_last`` of the oldest burst of ``end_id``.
    late : Out(1)
        Something is under way and was not answered in time.
    idle : Out(1)
        Nothing is under way.
    """

    def __init__(self, *, ids: int, depth: int, timeout: int) -> None:
        require_whole("ids", ids, 2, HOST_IDS[-1])
        require_whole("timeout", timeout, 1, 1 << 32)
        require(depth in (2, 4, 8, 16, 32, 64), f"depth is {depth!r}; it must be a power of two from 2 to 64")
        self.ids, self.depth, self.timeout = ids, depth, timeout
        id_bits = (ids - 1).bit_length()
        super().__init__(
            {
                "begin": In(1),
                "begin_id": In(id_bits),
                "begin_last": In(1),
                "room": Out(1),
                "seen": In(1),
                "end": In(1),
                "end_id": In(id_bits),
                "known": Out(1),
                "last": Out(1),
                "late": Out(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = (self.depth - 1).bit_length()
        distributed = {"ram_style": "distributed"}

        # Two small memories count the bursts begun and ended under each id, modulo the depth. Reset is
        # followed by a sweep that zeroes them.
        begins = Memory(shape=bits, depth=self.ids, init=[], attrs=distributed)
        ends = Memory(shape=bits, depth=self.ids, init=[], attrs=distributed)
        lasts = Memory(shape=1, depth=self.ids * self.depth, init=[], attrs=distributed)
        m.submodules.begins, m.submodules.ends, m.submodules.lasts = begins, ends, lasts
        begin_write, end_write, last_write = begins.write_port(), ends.write_port(), lasts.write_port()
        # (begun, ended) of the id that begins and of the one that ends
        at_begin = begins.read_port(domain="comb"), ends.read_port(domain="comb")
        at_end = begins.read_port(domain="comb"), ends.read_port(domain="comb")
        last_read = lasts.read_port(domain="comb")

        sweep = Signal(range(self.ids + 1))
        swept = Signal()
        ended = Signal()
        following, after = Signal(bits), Signal(bits)
        m.d.comb += [
            *(port.addr.eq(self.begin_id) for port in at_begin),
            *(port.addr.eq(self.end_id) for port in at_end),
            following.eq(at_begin[0].data + 1),
            after.eq(at_end[1].data + 1),
            self.room.eq(swept & (following != at_begin[1].data)),
            begin_write.en.eq(self.begin | ~swept),
            begin_write.addr.eq(Mux(swept, self.begin_id, sweep)),
            begin_write.data.eq(Mux(swept, following, 0)),
            last_write.en.eq(self.begin),
            last_write.addr.eq(Cat(at_begin[0].data, self.begin_id)),
            last_write.data.eq(self.begin_last),
            ended.eq(self.end & self.known),
            end_write.en.eq(ended | ~swept),
            end_write.addr.eq(Mux(swept, self.end_id, sweep)),
            end_write.data.eq(Mux(swept, after, 0)),
            last_read.addr.eq(Cat(at_end[1].data, self.end_id)),
            self.last.eq(last_read.data),
        ]
        with m.If(~swept):
            m.d.sync += [sweep.eq(sweep + 1), swept.eq(sweep == self.ids - 1)]

        # An id is `quiet` if no answer came under it since the last tick.
        busy, quiet = Signal(self.ids), Signal(self.ids)
        ticks = Signal(range(self.timeout))
        tick = Signal()
        m.d.comb += [self.idle.eq(busy == 0), self.known.eq(busy.bit_select(self.end_id, 1))]
        m.d.sync += [ticks.eq(Mux(tick, 0, ticks + 1)), tick.eq(ticks == self.timeout - 1)]
        m.d.sync += self.late.eq(tick & (busy & quiet).any())
        emptied = Signal()
        m.d.comb += emptied.eq(ended & (after == at_end[0].data))
        for k in range(self.ids):
            begins_now, heard = self.begin & (self.begin_id == k), self.seen & (self.end_id == k)
            with m.If(begins_now):
                m.d.sync += busy[k].eq(1)
            with m.Elif(emptied & (self.end_id == k)):
                m.d.sync += busy[k].eq(0)
            with m.If(heard | ~busy[k]):
                m.d.sync += quiet[k].eq(0)
            with m.Elif(tick):
                m.d.sync += quiet[k].eq(1)
        return m
