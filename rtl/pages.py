# amaranth: UnusedElaboratable=no
"""Pages on their way: read from host memory in the order of operations, handed on in that order, written back."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl.bursts import LINE_BITS, LINE_BYTES, access
from rtl.config import EngineConfig
from rtl.fifo import Fifo
from rtl.gearbox import Narrow, Widen
from rtl.host_port import id_bits
from rtl.interfaces import BLOCK_BITS, page_beat
from rtl.pacer import Pacer
from rtl.pick import one_hot


class Pages(wiring.Component):
    """Moves pages between host memory and the cryptographic blocks.

    A page is read when it comes, unless it is under way already: then it waits until its write has arrived. That is
    the only stall that page numbers cause, and they are public. Replies of the host may come in any order; pages are
    handed on in theirs. A page *starts* in its turn when it is here, at most one each ``interval`` cycles; its write
    leaves ``merge_cycles`` after its start.

    Parameters
    ----------
    config : EngineConfig
        The engine.

    Members
    -------
    base : In(64)
        Bus address of page 0, a multiple of 4096.
    i_page : In(stream.Signature({"page", "blank"}))
        Pages to touch, in order. A ``blank`` one is written without having been read, as soon as it is sealed: a
        format writes them, and nothing else is under way then.
    o_sealed : Out(stream.Signature(128 * lanes))
        What was read, page after page.
    i_sealed : In(stream.Signature(page_beat(lanes)))
        What is to be written, in the same order.
    started : Out(1)
        A page has started: the time base of its write and of its reply.
    late : Out(1)
        A page was not sealed in time.
    o_read, i_data, o_write, o_lines, i_written
        The page client of :class:`rtl.host_port.HostPort`.
    o_arrived : Out(1)
        For reports: a page has come.
    idle : Out(1)
        No page is under way.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        params, lanes = config.params, config.lanes
        self.id_bits = id_bits(config.page_entries)
        request = access(config.host_lines, self.id_bits)
        self.page_shape = StructLayout({"page": range(params.pages), "blank": 1})
        super().__init__(
            {
                "base": In(64),
                "i_page": In(stream.Signature(self.page_shape)),
                "o_sealed": Out(stream.Signature(lanes * BLOCK_BITS)),
                "i_sealed": In(stream.Signature(page_beat(lanes))),
                "started": Out(1),
                "late": Out(1),
                "o_read": Out(stream.Signature(request)),
                "i_data": In(
                    stream.Signature(
                        StructLayout({"id": self.id_bits, "data": LINE_BITS, "last": 1}), always_ready=True
                    )
                ),
                "o_write": Out(stream.Signature(request)),
                "o_lines": Out(stream.Signature(LINE_BITS)),
                "i_written": In(stream.Signature(self.id_bits, always_ready=True)),
                "o_arrived": Out(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, n = self.config, self.config.page_entries
        slot_shape = range(n)
        busy, arrived = Signal(n), Signal(n)
        start_slot, start = Signal(slot_shape), Signal()
        place_of = Memory(shape=range(config.params.pages * config.page_lines), depth=n, init=[])
        m.submodules.place_of = place_of  # first line of each page under way
        place_write = place_of.write_port()

        begin = self._begin(m, busy, place_write)
        self._receive(m, arrived, start, start_slot)
        self._hand_on(m, begin, arrived, start, start_slot)
        written = self._write(m, begin, start, place_of.read_port(domain="comb"))

        m.d.sync += busy.eq((busy & ~one_hot(self.i_written.p, n, written)) | one_hot(begin["slot"], n, begin["go"]))
        m.d.comb += self.idle.eq(~busy.any() & ~begin["pending"])
        return m

    # -- reading ------------------------------------------------------------------------------------------------

    def _begin(self, m: Module, busy: Signal, place_write) -> dict[str, Signal]:
        """Take a page, wait until it is under way nowhere and a place is free, and ask the host for it."""
        config, n = self.config, self.config.page_entries
        numbers = [Signal(range(config.params.pages), name=f"page_{k}") for k in range(n)]
        candidate, first_line = Signal(self.page_shape), Signal(range(config.params.pages * config.page_lines))
        pending, go, held = Signal(), Signal(), Signal()
        slot = Signal(range(n))
        m.submodules.reads = reads = Fifo(shape=self.o_read.payload.shape(), depth=2)
        connect(m, reads.o, flipped(self.o_read))
        m.d.comb += [self.i_page.ready.eq(~pending), go.eq(0)]
        with m.FSM(name="begin"):
            with m.State("TAKE"):
                m.d.sync += candidate.eq(self.i_page.p)
                with m.If(self.i_page.valid):
                    m.d.sync += pending.eq(1)
                    m.next = "COMPARE"
            with m.State("COMPARE"):
                clash = Cat(busy[k] & (numbers[k] == candidate.page) for k in range(n)).any()
                m.d.sync += [
                    held.eq(clash | busy.bit_select(slot, 1)),
                    first_line.eq(candidate.page * config.page_lines),
                ]
                m.next = "DECIDE"
            with m.State("DECIDE"):
                with m.If(held | ~reads.i.ready):
                    m.next = "COMPARE"
                with m.Else():
                    m.d.comb += go.eq(1)
                    m.d.sync += [pending.eq(0), slot.eq(Mux(slot == n - 1, 0, slot + 1))]
                    m.next = "TAKE"
        for k in range(n):
            with m.If(go & (slot == k)):
                m.d.sync += numbers[k].eq(candidate.page)
        m.d.comb += [
            place_write.en.eq(go),
            place_write.addr.eq(slot),
            place_write.data.eq(first_line),
            reads.i.valid.eq(go & ~candidate.blank),
            reads.i.p.address.eq(self.base + (first_line << LINE_BYTES.bit_length() - 1)),
            reads.i.p.lines.eq(config.page_lines),
            reads.i.p.id.eq(slot),
        ]
        return {"go": go, "slot": slot, "blank": candidate.blank, "pending": pending}

    def _receive(self, m: Module, arrived: Signal, start: Signal, start_slot: Signal) -> None:
        """Put lines where they belong; a page has arrived with its last one."""
        n, lines = self.config.page_entries, self.config.page_lines
        self._stride = 1 << (lines - 1).bit_length()
        m.submodules.store = store = Memory(
            shape=LINE_BITS, depth=n * self._stride, init=[], attrs={"ram_style": "block"}
        )
        self._store_read = store.read_port()
        write = store.write_port()
        data = self.i_data.p
        at: Value = Const(0, 1)
        came = one_hot(data.id, n, self.i_data.valid & data.last)
        if lines > 1:
            m.submodules.counts = counts = Memory(shape=range(lines), depth=n, init=[])
            kept, next_count = counts.read_port(domain="comb"), counts.write_port()
            begun, at = Signal(n), Signal(range(lines))  # a reset in mid-page leaves the memory as it is
            m.d.comb += [
                kept.addr.eq(data.id),
                at.eq(Mux(begun.bit_select(data.id, 1), kept.data, 0)),
                next_count.addr.eq(data.id),
                next_count.en.eq(self.i_data.valid),
                next_count.data.eq(at + 1),
            ]
            m.d.sync += begun.eq((begun | one_hot(data.id, n, self.i_data.valid)) & ~came)
        m.d.comb += [
            write.en.eq(self.i_data.valid),
            write.addr.eq(data.id * self._stride + at),
            write.data.eq(data.data),
            self.o_arrived.eq(self.i_data.valid & data.last),
        ]
        m.d.sync += arrived.eq((arrived & ~one_hot(start_slot, n, start)) | came)

    def _hand_on(self, m: Module, begin: dict[str, Signal], arrived: Signal, start: Signal, turn: Signal) -> None:
        """Start pages in their turn, at the interval, and hand on what was read of them."""
        config, n, lines = self.config, self.config.page_entries, self.config.page_lines
        gap = Signal(range(config.interval))
        here, skip = Signal(), Signal()
        m.d.comb += [start.eq(here & (gap == 0)), skip.eq(begin["go"] & begin["blank"]), self.started.eq(start)]
        m.d.sync += here.eq(arrived.bit_select(turn, 1) & ~start)
        with m.If(start):
            m.d.sync += gap.eq(config.interval - 1)
        with m.Elif(gap != 0):
            m.d.sync += gap.eq(gap - 1)
        with m.If(start | skip):
            m.d.sync += turn.eq(Mux(turn == n - 1, 0, turn + 1))

        m.submodules.turns = turns = Fifo(shape=range(n), depth=n)
        m.d.comb += [turns.i.valid.eq(start), turns.i.p.eq(turn)]
        m.submodules.lines_out = out = Fifo(shape=LINE_BITS, depth=4)
        m.submodules.narrow = narrow = Narrow(wide=LINE_BITS, narrow=config.lanes * BLOCK_BITS)
        connect(m, out.o, narrow.i)
        connect(m, narrow.o, flipped(self.o_sealed))
        # The memory answers a cycle later: no more is read than the FIFO has room for.
        line, reading, room = Signal(range(lines)), Signal(), Signal(range(out.depth + 1), init=out.depth)
        fetch = Signal()
        m.d.comb += [
            fetch.eq(turns.o.valid & (room != 0)),
            self._store_read.en.eq(fetch),
            self._store_read.addr.eq(turns.o.p * self._stride + line),
            turns.o.ready.eq(fetch & (line == lines - 1)),
            out.i.valid.eq(reading),
            out.i.p.eq(self._store_read.data),
        ]
        m.d.sync += [reading.eq(fetch), room.eq(room - fetch + (out.o.valid & out.o.ready))]
        with m.If(fetch):
            m.d.sync += line.eq(Mux(line == lines - 1, 0, line + 1))

    # -- writing ------------------------------------------------------------------------------------------------

    def _write(self, m: Module, begin: dict[str, Signal], start: Signal, place_of) -> Signal:
        """Gather sealed pages and write each at its time."""
        config, n, lines = self.config, self.config.page_entries, self.config.page_lines
        m.submodules.widen = widen = Widen(narrow=config.lanes * BLOCK_BITS, wide=LINE_BITS)
        m.submodules.sealed = sealed = Fifo(shape=LINE_BITS, depth=n * lines, ram_style="block")
        m.submodules.pacer = pacer = Pacer(
            shape=1, offset=config.merge_cycles, depth=n, insecure_unpaced=config.insecure_unpaced
        )
        connect(m, widen.o, sealed.i)
        gathered = Signal(range(lines))
        whole = Signal()  # the last line of a page goes into the FIFO
        m.d.comb += [
            widen.i.valid.eq(self.i_sealed.valid),
            widen.i.p.eq(self.i_sealed.p.data),
            self.i_sealed.ready.eq(widen.i.ready),
            whole.eq(sealed.i.valid & sealed.i.ready & (gathered == lines - 1)),
        ]
        with m.If(sealed.i.valid & sealed.i.ready):
            m.d.sync += gathered.eq(Mux(whole, 0, gathered + 1))

        # Two cycles from the time of a page to its offer: which page it is, then its address.
        slot, offered = Signal(range(n)), Signal()
        allowed = Signal(range(2 * lines + 1))  # lines of pages whose write was taken
        taken, line_moves = Signal(), Signal()
        due_at = Signal(64)
        m.d.sync += pacer.i.valid.eq(whole)  # never full: no more pages are under way than it has room for
        m.d.comb += [
            pacer.start.eq(start),
            pacer.at_once.eq(begin["go"] & begin["blank"]),
            self.late.eq(pacer.late),
            pacer.o.ready.eq(~offered & (allowed == 0)),
            place_of.addr.eq(slot),
            self.o_write.valid.eq(offered),
            self.o_write.p.address.eq(due_at),
            self.o_write.p.lines.eq(lines),
            self.o_write.p.id.eq(slot),
            taken.eq(offered & self.o_write.ready),
        ]
        with m.If(pacer.o.valid & pacer.o.ready):
            m.d.sync += [offered.eq(1), due_at.eq(self.base + (place_of.data << LINE_BYTES.bit_length() - 1))]
        with m.If(taken):
            m.d.sync += [offered.eq(0), slot.eq(Mux(slot == n - 1, 0, slot + 1))]
        m.d.comb += [
            self.o_lines.valid.eq(sealed.o.valid & (allowed != 0)),
            self.o_lines.p.eq(sealed.o.p),
            sealed.o.ready.eq((allowed != 0) & self.o_lines.ready),
            line_moves.eq(self.o_lines.valid & self.o_lines.ready),
        ]
        m.d.sync += allowed.eq(allowed + Mux(taken, lines, 0) - line_moves)
        return self.i_written.valid
