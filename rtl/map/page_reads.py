# amaranth: UnusedElaboratable=no
"""Reads some pages from host memory at once, and hands them on in order when it is told to."""

from __future__ import annotations

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl.config import EngineConfig
from rtl.constants import BLOCK_BITS, LINE_BITS
from rtl.memory.bursts import access
from rtl.memory.host_port import id_bits
from rtl.stream.fifo import Fifo
from rtl.stream.gearbox import Narrow


class PageReads(wiring.Component):
    """Reads pages one after the other, some at once; the host may answer in any order.

    Parameters
    ----------
    config : EngineConfig
        The engine.
    most : int
        Most pages at once, at most the ids of pages.

    Members
    -------
    base : In(64)
        Bus address of page 0.
    restart : In(1)
        For one cycle: the next page is page 0.
    begin : In(1)
        For one cycle: the next ``count`` pages are read. Those before were handed on.
    count : In(range(most + 1))
        See ``begin``; stays.
    o_read, i_data : streams
        Of the page client of :class:`rtl.memory.host_port.HostPort`.
    here : Out(1)
        All of them have come.
    go : In(1)
        For one cycle when ``here``: hand them on.
    o_sealed : Out(stream.Signature(128 * lanes))
        What was read, page after page.
    """

    def __init__(self, config: EngineConfig, *, most: int) -> None:
        self.config, self.most = config, most
        self.id_bits = id_bits(config.page_ids)
        data = StructLayout({"id": self.id_bits, "data": LINE_BITS, "last": 1})
        super().__init__(
            {
                "base": In(64),
                "restart": In(1),
                "begin": In(1),
                "count": In(range(most + 1)),
                "o_read": Out(stream.Signature(access(config.host_lines, self.id_bits))),
                "i_data": In(stream.Signature(data, always_ready=True)),
                "here": Out(1),
                "go": In(1),
                "o_sealed": Out(stream.Signature(config.lanes * BLOCK_BITS)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, lines = self.config, self.config.page_lines
        stride = 1 << (lines - 1).bit_length()
        m.submodules.pages = pages = Memory(
            shape=LINE_BITS, depth=max(2, self.most * stride), init=[], attrs={"ram_style": "block"}
        )
        write, read = pages.write_port(), pages.read_port()

        numbers = range(self.most + 1)
        asked, to_ask, to_come, address = Signal(numbers), Signal(numbers), Signal(numbers), Signal(64)
        places = Array(Signal(range(stride), name=f"place_{k}") for k in range(self.most))
        data, taken = self.i_data.p, Signal()
        m.d.comb += [
            self.o_read.valid.eq(to_ask != 0),
            self.o_read.p.address.eq(address),
            self.o_read.p.lines.eq(lines),
            self.o_read.p.id.eq(asked),
            taken.eq(self.o_read.valid & self.o_read.ready),
            self.here.eq(to_come == 0),
            write.en.eq(self.i_data.valid),
            write.addr.eq(data.id * stride + places[data.id]),
            write.data.eq(data.data),
        ]
        with m.If(taken):
            m.d.sync += [asked.eq(asked + 1), to_ask.eq(to_ask - 1), address.eq(address + config.params.page_bytes)]
        with m.If(self.i_data.valid):
            m.d.sync += [places[data.id].eq(places[data.id] + 1), to_come.eq(to_come - data.last)]
        with m.If(self.begin):
            m.d.sync += [
                asked.eq(0),
                to_ask.eq(self.count),
                to_come.eq(self.count),
                *(place.eq(0) for place in places),
            ]
        with m.If(self.restart):
            m.d.sync += address.eq(self.base)

        # The memory answers a cycle later: no more is read than the FIFO has room for.
        m.submodules.out = out = Fifo(shape=LINE_BITS, depth=4)
        m.submodules.narrow = narrow = Narrow(wide=LINE_BITS, narrow=config.lanes * BLOCK_BITS)
        connect(m, out.o, narrow.i)
        connect(m, narrow.o, flipped(self.o_sealed))
        left, page, line = Signal(numbers), Signal(range(self.most)), Signal(range(lines))
        fetch, last, reading, room = Signal(), Signal(), Signal(), Signal(range(out.depth + 1), init=out.depth)
        m.d.comb += [
            fetch.eq((left != 0) & (room != 0)),
            last.eq(fetch & (line == lines - 1)),
            read.addr.eq(page * stride + line),
            out.i.valid.eq(reading),
            out.i.p.eq(read.data),
        ]
        m.d.sync += [reading.eq(fetch), room.eq(room - fetch + (out.o.valid & out.o.ready))]
        with m.If(fetch):
            m.d.sync += line.eq(Mux(last, 0, line + 1))
        with m.If(last):
            m.d.sync += [left.eq(left - 1), page.eq(page + 1)]
        with m.If(self.go):
            m.d.sync += [left.eq(self.count), page.eq(0)]
        return m
