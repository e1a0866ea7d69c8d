"""The one AXI master on host memory: whole lines for the pages and for the rings."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from rtl.constants import HOST_IDS, LINE_BITS
from rtl.memory.bursts import ADDRESS_BITS, BurstAccount, BurstSplitter, access
from rtl.stream.axi import BURST_INCR, RESP_OKAY, AxiSignature, connect_channel
from rtl.stream.fifo import Fifo
from rtl.stream.interfaces import require, require_one_of, require_whole
from rtl.stream.skid import SkidBuffer

AXI_ID_BITS = (HOST_IDS[0] - 1).bit_length()
"""Width of the bus' ids, unless a port has more of them."""

BURSTS_PER_ID = 32
QUEUED_WRITES = 8
"""Whole accesses that wait for the bus, besides those in the lanes."""


def id_bits(ids: int) -> int:
    """Return the width of one of ``ids`` ids, at least 1."""
    return max((ids - 1).bit_length(), 1)


class WriteLane(wiring.Component):
    """Takes write accesses with their lines, and passes an access on once it is whole.

    Parameters
    ----------
    max_lines : int
        Longest access.
    bits : int
        Width of an id.

    Members
    -------
    i_write : In(stream.Signature(access(max_lines, bits)))
        Accesses.
    i_lines : In(stream.Signature(512))
        Their lines, taken after them.
    o_whole : Out(stream.Signature(access(max_lines, bits)))
        Accesses whose lines are all here.
    o_lines : Out(stream.Signature(512))
        Lines, in order.
    drop : In(1)
        Forget what has not been passed on, and take nothing.
    idle : Out(1)
        No access is here that was not passed on.
    """

    def __init__(self, *, max_lines: int, bits: int) -> None:
        self.max_lines = max_lines
        accesses = stream.Signature(access(max_lines, bits))
        super().__init__(
            {
                "i_write": In(accesses),
                "i_lines": In(stream.Signature(LINE_BITS)),
                "o_whole": Out(accesses),
                "o_lines": Out(stream.Signature(LINE_BITS)),
                "drop": In(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        depth = max(16, 2 * self.max_lines)
        style = "distributed" if depth <= 64 else "block"
        m.submodules.lines = lines = Fifo(shape=LINE_BITS, depth=depth, ram_style=style)
        wiring.connect(m, lines.o, wiring.flipped(self.o_lines))

        filling = Signal()
        current = Signal(self.i_write.p.shape())
        remaining = Signal(range(self.max_lines + 1))
        final, take, whole = Signal(), Signal(), Signal()
        m.d.comb += [
            final.eq(remaining == 1),
            self.i_lines.ready.eq(filling & lines.i.ready & ~(final & self.o_whole.valid & ~self.o_whole.ready)),
            take.eq(self.i_lines.valid & self.i_lines.ready),
            lines.i.valid.eq(take),
            lines.i.p.eq(self.i_lines.p),
            whole.eq(take & final),
            self.i_write.ready.eq((~filling | whole) & ~self.drop),
            self.idle.eq(~filling & ~self.o_whole.valid),
        ]
        with m.If(take):
            m.d.sync += remaining.eq(remaining - 1)
        with m.If(whole):
            m.d.sync += [self.o_whole.valid.eq(1), self.o_whole.p.eq(current)]
        with m.Elif(self.o_whole.ready):
            m.d.sync += self.o_whole.valid.eq(0)
        with m.If(self.i_write.ready):
            m.d.sync += [
                filling.eq(self.i_write.valid),
                current.eq(self.i_write.p),
                remaining.eq(self.i_write.p.lines),
            ]
        with m.If(self.drop):
            m.d.sync += [filling.eq(0), self.o_whole.valid.eq(0)]
        return m


class HostPort(wiring.Component):
    """Reads and writes lines of host memory for two clients, ``page`` and ``ring``, over one AXI4 master.

    An access is some whole lines from an address on. It becomes one burst, or more where it crosses 4096 bytes, all
    under the client's id; it is answered once. Accesses of one id are done in order, in each direction; others may
    overtake each other, and lines of several reads may come in turns. Up to 31 bursts can be under way under one id.

    A write goes on the bus when all its lines are here, so that a client that vanishes leaves no burst unfinished.
    Writes of both clients leave in the order in which they became whole. If both clients offer something at once, they
    take turns; one address and one line a cycle move in each direction.

    Parameters
    ----------
    page_ids, ring_ids : int
        Ids of each client, from 0. The ring's follow the pages' on the bus.
    max_lines : int
        Longest access, 1 to 1024 lines.
    timeout : int
        Cycles that an id may stay without an answer; noticed within twice as many.
    bus_ids : int
        Ids of the bus, 64 or 128.

    Members
    -------
    m_axi : Out(AxiSignature(addr_width=64, data_width=512, id_width=6 or 7))
        Host memory. Never reset by anything but reset: what was offered is ended.
    i_page_read, i_ring_read : In(stream.Signature({"address", "lines", "id"}))
        Accesses to read; addresses are multiples of 64.
    o_page_data, o_ring_data : Out(stream.Signature({"id", "data", "last"}, always_ready=True))
        What was read, line by line; ``last`` on the last line of an access. Latency 2 from the bus.
    i_page_write, i_ring_write : In(stream.Signature({"address", "lines", "id"}))
        Accesses to write.
    i_page_lines, i_ring_lines : In(stream.Signature(512))
        Their lines in order, each taken after its access.
    o_page_written, o_ring_written : Out(stream.Signature(id, always_ready=True))
        Accesses that are written: all their bursts were answered. Latency 2.
    abort : In(1)
        The page client is gone for good: accesses of it not begun on the bus are forgotten, those begun are ended,
        and answers to it are dropped from the next cycle on. The ring's go on.
    error : Out(1)
        The bus refused an access, answered what was not asked, or did not answer in time. Stays.
    quiet : Out(1)
        Nothing is under way or waits.
    """

    def __init__(
        self,
        *,
        page_ids: int,
        ring_ids: int = 8,
        max_lines: int,
        timeout: int = 1 << 16,
        bus_ids: int = HOST_IDS[0],
    ) -> None:
        require_one_of("bus_ids", bus_ids, HOST_IDS)
        require_whole("page_ids", page_ids, 1, bus_ids - 1)
        require_whole("ring_ids", ring_ids, 1, bus_ids - 1)
        require(
            page_ids + ring_ids <= bus_ids, f"page_ids + ring_ids is {page_ids + ring_ids}; the bus has {bus_ids} ids"
        )
        self.bus_id_bits = (bus_ids - 1).bit_length()
        require_whole("max_lines", max_lines, 1, 1024)
        require_whole("timeout", timeout, 1, 1 << 32)
        self.ids = {"page": page_ids, "ring": ring_ids}
        self.first = {"page": 0, "ring": page_ids}
        self.max_lines, self.timeout = max_lines, timeout
        members = {}
        for client, ids in self.ids.items():
            bits = id_bits(ids)
            accesses = stream.Signature(access(max_lines, bits))
            line = StructLayout({"id": bits, "data": LINE_BITS, "last": 1})
            members |= {
                f"i_{client}_read": In(accesses),
                f"o_{client}_data": Out(stream.Signature(line, always_ready=True)),
                f"i_{client}_write": In(accesses),
                f"i_{client}_lines": In(stream.Signature(LINE_BITS)),
                f"o_{client}_written": Out(stream.Signature(bits, always_ready=True)),
            }
        super().__init__(
            members
            | {
                "m_axi": Out(AxiSignature(addr_width=ADDRESS_BITS, data_width=LINE_BITS, id_width=self.bus_id_bits)),
                "abort": In(1),
                "error": Out(1),
                "quiet": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        gone = Signal()  # the page client
        with m.If(self.abort):
            m.d.sync += gone.eq(1)
        reads_idle, reads_wrong = self._reads(m, gone)
        writes_idle, writes_wrong = self._writes(m, gone)
        m.d.comb += self.quiet.eq(reads_idle & writes_idle)
        with m.If(reads_wrong | writes_wrong):
            m.d.sync += self.error.eq(1)
        return m

    def _is_page(self, bus_id: Value) -> Value:
        return bus_id < self.first["ring"]

    def _merge(self, m: Module, page: stream.Interface, ring: stream.Interface, name: str) -> stream.Interface:
        """Return the accesses of both clients as one stream, with ids of the bus. They take turns."""
        merged = stream.Signature(access(self.max_lines, self.bus_id_bits)).create(path=(name,))
        ring_next, ring_now = Signal(name=f"{name}_ring_next"), Signal(name=f"{name}_ring_now")
        m.d.comb += [
            ring_now.eq(ring.valid & (ring_next | ~page.valid)),
            merged.valid.eq(page.valid | ring.valid),
            page.ready.eq(merged.ready & ~ring_now),
            ring.ready.eq(merged.ready & ring_now),
        ]
        for now, flow, client in ((~ring_now, page, "page"), (ring_now, ring, "ring")):
            with m.If(now):
                m.d.comb += [
                    merged.p.address.eq(flow.p.address),
                    merged.p.lines.eq(flow.p.lines),
                    merged.p.id.eq(flow.p.id + self.first[client]),
                ]
        with m.If(merged.valid & merged.ready):
            m.d.sync += ring_next.eq(~ring_now)
        return merged

    def _bursts(self, m: Module, name: str, gone: Value) -> tuple[BurstSplitter, BurstAccount, stream.Interface]:
        """Return splitter and account of one direction, and the channel that carries its addresses."""
        m.submodules[f"{name}_splitter"] = splitter = BurstSplitter(max_lines=self.max_lines, id_bits=self.bus_id_bits)
        m.submodules[f"{name}_account"] = account = BurstAccount(
            ids=1 << self.bus_id_bits, depth=BURSTS_PER_ID, timeout=self.timeout
        )
        layout = self.m_axi.signature.layout(name)
        m.submodules[f"{name}_channel"] = channel = SkidBuffer(shape=layout)
        connect_channel(m, self.m_axi, name, channel.o)
        burst = splitter.o
        m.d.comb += [
            splitter.drop.eq(gone & self._is_page(burst.p.id)),
            account.begin.eq(burst.valid & burst.ready),
            account.begin_id.eq(burst.p.id),
            account.begin_last.eq(burst.p.last),
            channel.i.p.id.eq(burst.p.id),
            channel.i.p.addr.eq(burst.p.address),
            channel.i.p.len.eq(burst.p.beats),
            channel.i.p.size.eq(self.m_axi.signature.full_size),
            channel.i.p.burst.eq(BURST_INCR),
        ]
        return splitter, account, channel.i

    def _answers(self, m: Module, name: str, account: BurstAccount) -> tuple[Value, Value, data.View]:
        """Take every answer of channel ``name``; return whether it is for somebody, whether it is wrong, and it."""
        layout = self.m_axi.signature.layout(name)
        valid, answer = Signal(name=f"{name}_here"), Signal(layout, name=f"{name}_answer")
        channel = stream.Signature(layout, always_ready=True).create(path=(name,))
        connect_channel(m, self.m_axi, name, channel)
        m.d.sync += valid.eq(channel.valid)
        with m.If(channel.valid):
            m.d.sync += answer.eq(channel.p)
        m.d.comb += [
            account.seen.eq(valid),
            account.end.eq(valid & (answer.last if name == "r" else 1)),
            account.end_id.eq(answer.id),
        ]
        wrong = valid & (~account.known | (answer.resp != RESP_OKAY))
        return valid & account.known, wrong | account.late, answer

    def _reads(self, m: Module, gone: Value) -> tuple[Value, Value]:
        page = stream.Signature(self.i_page_read.p.shape()).create(path=("page_read",))
        m.d.comb += [
            page.valid.eq(self.i_page_read.valid & ~gone),
            page.p.eq(self.i_page_read.p),
            self.i_page_read.ready.eq(page.ready & ~gone),
        ]
        splitter, account, channel = self._bursts(m, "ar", gone)
        # a register, so that the clients' ready does not depend on what the splitter waits for
        m.submodules.asked = asked = SkidBuffer(shape=access(self.max_lines, self.bus_id_bits))
        wiring.connect(m, self._merge(m, page, wiring.flipped(self.i_ring_read), "read"), asked.i)
        wiring.connect(m, asked.o, splitter.i)
        m.d.comb += [
            channel.valid.eq(splitter.o.valid & account.room),
            splitter.o.ready.eq(channel.ready & account.room),
        ]
        known, wrong, answer = self._answers(m, "r", account)
        is_page = self._is_page(answer.id)
        for client, mine in (("page", is_page & ~gone), ("ring", ~is_page)):
            line = getattr(self, f"o_{client}_data")
            m.d.sync += [
                line.valid.eq(known & mine),
                line.p.id.eq(answer.id - self.first[client]),
                line.p.data.eq(answer.data),
                line.p.last.eq(answer.last & account.last),
            ]
        return account.idle & ~splitter.waiting & ~splitter.begun & ~asked.o.valid, wrong

    def _writes(self, m: Module, gone: Value) -> tuple[Value, Value]:
        lanes = {}
        for client, ids in self.ids.items():
            lanes[client] = lane = WriteLane(max_lines=self.max_lines, bits=id_bits(ids))
            m.submodules[f"{client}_lane"] = lane
            wiring.connect(m, wiring.flipped(getattr(self, f"i_{client}_write")), lane.i_write)
            wiring.connect(m, wiring.flipped(getattr(self, f"i_{client}_lines")), lane.i_lines)
        m.d.comb += lanes["page"].drop.eq(gone)
        m.submodules.queue = queue = Fifo(shape=access(self.max_lines, self.bus_id_bits), depth=QUEUED_WRITES)
        wiring.connect(m, self._merge(m, lanes["page"].o_whole, lanes["ring"].o_whole, "write"), queue.i)
        splitter, account, channel = self._bursts(m, "aw", gone)
        wiring.connect(m, queue.o, splitter.i)

        # Each burst goes two ways: its address goes to AW, and its length tells W which lines come next.
        m.submodules.runs = runs = Fifo(shape=StructLayout({"beats": 8, "page": 1}), depth=4)
        m.d.comb += [
            channel.valid.eq(splitter.o.valid & account.room & runs.i.ready),
            runs.i.valid.eq(splitter.o.valid & account.room & channel.ready),
            runs.i.p.beats.eq(splitter.o.p.beats),
            runs.i.p.page.eq(self._is_page(splitter.o.p.id)),
            splitter.o.ready.eq(account.room & channel.ready & runs.i.ready),
        ]
        m.submodules.w_channel = w = SkidBuffer(shape=StructLayout({"data": LINE_BITS, "last": 1}))
        self._lines(m, runs.o, lanes, w.i)
        m.d.comb += [
            self.m_axi.wvalid.eq(w.o.valid),
            w.o.ready.eq(self.m_axi.wready),
            self.m_axi.wdata.eq(w.o.p.data),
            self.m_axi.wlast.eq(w.o.p.last),
            self.m_axi.wstrb.eq(~0),
        ]
        known, wrong, answer = self._answers(m, "b", account)
        is_page = self._is_page(answer.id)
        for client, mine in (("page", is_page & ~gone), ("ring", ~is_page)):
            written = getattr(self, f"o_{client}_written")
            m.d.sync += [
                written.valid.eq(known & mine & account.last),
                written.p.eq(answer.id - self.first[client]),
            ]
        waiting = splitter.waiting | splitter.begun | queue.o.valid
        return account.idle & lanes["page"].idle & lanes["ring"].idle & ~waiting, wrong

    def _lines(self, m: Module, runs: stream.Interface, lanes: dict[str, WriteLane], w: stream.Interface) -> None:
        """Send the lines of each run."""
        running, page = Signal(), Signal()
        remaining = Signal(8)
        sent = Signal()
        for client, mine in (("page", page), ("ring", ~page)):
            flow = lanes[client].o_lines
            m.d.comb += flow.ready.eq(running & mine & w.ready)
            with m.If(mine):
                m.d.comb += [w.valid.eq(running & flow.valid), w.p.data.eq(flow.p)]
        m.d.comb += [
            w.p.last.eq(remaining == 0),
            sent.eq(w.valid & w.ready),
            runs.ready.eq(~running | (sent & w.p.last)),
        ]
        with m.If(runs.ready):
            m.d.sync += [running.eq(runs.valid), remaining.eq(runs.p.beats), page.eq(runs.p.page)]
        with m.Elif(sent):
            m.d.sync += remaining.eq(remaining - 1)
