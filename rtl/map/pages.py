# amaranth: UnusedElaboratable=no
"""Pages on their way: read from host memory in the order of operations, handed on in that order, written back."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect, flipped

from omap.params import Params
from rtl.config import EngineConfig
from rtl.constants import BLOCK_BITS, LINE_BITS, LINE_BYTES
from rtl.map.pacer import Pacer
from rtl.memory.bursts import access
from rtl.memory.host_port import id_bits
from rtl.stream.fifo import Fifo
from rtl.stream.gearbox import Narrow, Widen
from rtl.stream.interfaces import page_beat
from rtl.stream.pick import encoded, one_hot


def page_layout(params: Params) -> StructLayout:
    """Return what says which page to touch; a ``blank`` one is written without having been read."""
    return StructLayout({"page": range(params.pages), "blank": 1})


class Pages(wiring.Component):
    """Moves pages between host memory and the cryptographic blocks.

    Every page is read when it comes, whatever is under way. Replies of the host may come in any order; pages are handed
    on in theirs. A page *starts* in its turn when it is here, at most one each ``interval`` cycles; its write leaves
    ``merge_cycles`` after its start.

    A page that comes while an earlier touch of it is under way *follows* that one: what the host answers is put aside,
    and what was sealed for the earlier touch is handed on instead, once its write has left. Its own write leaves when
    the host has acknowledged the earlier one, lest they overtake each other. These are the only stalls that page
    numbers cause, and they are public.

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
        The page client of :class:`rtl.memory.host_port.HostPort`.
    o_arrived : Out(1)
        For reports: a page has come.
    idle : Out(1)
        No page is under way.

    Countermeasures
    ---------------
    PAGE.FOLLOW.PACED
        A page that follows another starts when the other's write has left, for which there are public reasons alone:
        never when it was sealed, which depends on what was merged.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        params, lanes = config.params, config.lanes
        self.id_bits = id_bits(config.page_entries)
        request = access(config.host_lines, self.id_bits)
        self.page_shape = page_layout(params)
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
        slots = range(n)
        # Slots go round: for what is asked for next, what starts next, what is written next.
        slot, turn, due = Signal(slots), Signal(slots), Signal(slots)
        go, start, left = Signal(), Signal(), Signal()  # it is asked for; it starts; its write leaves
        busy = Signal(n)
        places = Memory(shape=range(config.params.pages * config.page_lines), depth=n, init=[])
        m.submodules.places = places  # first line of each page under way

        begun = self._begin(m, busy, slot, go, places.write_port())
        followed = self._follow(m, busy, begun, slot, go, turn, due, left)
        arrived = self._receive(m, turn, start)
        self._hand_on(m, arrived & ~followed["early"], begun["skip"], turn, start, followed)
        self._write(m, begun["skip"], start, due, left, followed["behind"], places.read_port(domain="comb"))

        written = self.i_written
        m.d.sync += busy.eq((busy & ~one_hot(written.p, n, written.valid)) | one_hot(slot, n, go))
        m.d.comb += self.idle.eq(~busy.any() & ~begun["pending"])
        return m

    def _next(self, m: Module, slot: Signal) -> None:
        """Go on to the next slot."""
        last = self.config.page_entries - 1
        m.d.sync += slot.eq(Mux(slot == last, 0, slot + 1))

    # -- reading ------------------------------------------------------------------------------------------------

    def _begin(self, m: Module, busy: Signal, slot: Signal, go: Signal, place_write: Any) -> dict[str, Signal]:
        """Take a page, see whether it is under way, wait for a slot, and ask the host for it."""
        config, n = self.config, self.config.page_entries
        numbers = [Signal(range(config.params.pages), name=f"page_{k}") for k in range(n)]
        newest = Signal(n)  # no later touch of its page is under way
        candidate, first_line = Signal(self.page_shape), Signal(range(config.params.pages * config.page_lines))
        pending, held, same, skip = Signal(), Signal(), Signal(n), Signal()
        found, before = Signal(), Signal(range(n))
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
                m.d.sync += [
                    found.eq(same.any()),
                    before.eq(encoded(same)),
                    held.eq(busy.bit_select(slot, 1)),
                    first_line.eq(candidate.page * config.page_lines),
                ]
                m.next = "DECIDE"
            with m.State("DECIDE"):
                with m.If(held | ~reads.i.ready):
                    m.next = "COMPARE"
                with m.Else():
                    m.d.comb += go.eq(1)
                    m.d.sync += [pending.eq(0), newest.eq((newest & ~one_hot(before, n, found)) | one_hot(slot, n))]
                    self._next(m, slot)
                    m.next = "TAKE"
        m.d.comb += same.eq(Cat(busy[k] & newest[k] & (numbers[k] == candidate.page) for k in range(n)))
        for k in range(n):
            with m.If(go & (slot == k)):
                m.d.sync += numbers[k].eq(candidate.page)
        m.d.comb += [
            skip.eq(go & candidate.blank),
            place_write.en.eq(go),
            place_write.addr.eq(slot),
            place_write.data.eq(first_line),
            reads.i.valid.eq(go & ~candidate.blank),
            reads.i.p.address.eq(self.base + (first_line << LINE_BYTES.bit_length() - 1)),
            reads.i.p.lines.eq(config.page_lines),
            reads.i.p.id.eq(slot),
        ]
        return {"found": found, "before": before, "skip": skip, "pending": pending}

    def _follow(
        self,
        m: Module,
        busy: Signal,
        begun: dict[str, Signal],
        slot: Signal,
        go: Signal,
        turn: Signal,
        due: Signal,
        left: Signal,
    ) -> dict[str, Any]:
        """Keep account of which touch follows which, and how far the earlier one is."""
        n = self.config.page_entries
        before, written = begun["before"], self.i_written
        m.submodules.earlier = earlier = Memory(shape=range(n), depth=n, init=[])
        m.submodules.later = later = Memory(shape=range(n), depth=n, init=[])
        own = earlier.read_port(domain="comb")
        of_left, of_written = later.read_port(domain="comb"), later.read_port(domain="comb")
        follows, out = Signal(n), Signal(n)  # follows another; its write has left
        followed = Signal(n)
        early, behind = Signal(n), Signal(n)  # the earlier one's write has not left; was not acknowledged
        now, not_left = Signal(), Signal()
        for port, address, content in ((earlier.write_port(), slot, before), (later.write_port(), before, slot)):
            m.d.comb += [port.en.eq(now), port.addr.eq(address), port.data.eq(content)]
        m.d.comb += [
            now.eq(
                go & begun["found"] & busy.bit_select(before, 1) & ~(written.valid & (written.p == before))
            ),  # else it was acknowledged since pages were compared: the host has it
            not_left.eq(~out.bit_select(before, 1) & ~(left & (due == before))),
            own.addr.eq(turn),
            of_left.addr.eq(due),
            of_written.addr.eq(written.p),
        ]
        new = one_hot(slot, n, go)
        ended = one_hot(of_written.data, n, written.valid & followed.bit_select(written.p, 1))
        # SEC_CM: PAGE.FOLLOW.PACED -- until the earlier one's write has left, however long ago it was sealed
        gone = one_hot(of_left.data, n, left & followed.bit_select(due, 1))
        m.d.sync += [
            follows.eq((follows & ~new) | one_hot(slot, n, now)),
            followed.eq((followed & ~new) | one_hot(before, n, now)),
            out.eq((out | one_hot(due, n, left)) & ~new),
            early.eq((early & ~gone) | one_hot(slot, n, now & not_left)),
            behind.eq((behind & ~ended) | one_hot(slot, n, now)),
        ]
        return {"early": early, "behind": behind, "follows": follows, "earlier": own.data}

    def _receive(self, m: Module, turn: Signal, start: Signal) -> Signal:
        """Put lines where they belong; return which pages have arrived, each with its last line."""
        n, lines = self.config.page_entries, self.config.page_lines
        self._stride = 1 << (lines - 1).bit_length()
        self._read = self._store(m, "read")
        write, arrived = self._read.write_port(), Signal(n)
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
        m.d.sync += arrived.eq((arrived & ~one_hot(turn, n, start)) | came)
        return arrived

    def _store(self, m: Module, name: str) -> Memory:
        """Return a memory with a page for each slot."""
        store = Memory(
            shape=LINE_BITS, depth=self.config.page_entries * self._stride, init=[], attrs={"ram_style": "block"}
        )
        m.submodules[f"{name}_pages"] = store
        return store

    def _hand_on(
        self, m: Module, ready: Value, skip: Signal, turn: Signal, start: Signal, followed: dict[str, Any]
    ) -> None:
        """Start pages in their turn, at the interval, and hand them on.

        What was sealed in a slot stays there until the next page of that slot is sealed, which starts after all that
        can follow the first: the slot need not be kept for them.
        """
        config, n, lines = self.config, self.config.page_entries, self.config.page_lines
        gap, here = Signal(range(config.interval)), Signal()
        m.d.comb += [start.eq(here & (gap == 0)), self.started.eq(start)]
        m.d.sync += here.eq(ready.bit_select(turn, 1) & ~start)
        with m.If(start):
            m.d.sync += gap.eq(config.interval - 1)
        with m.Elif(gap != 0):
            m.d.sync += gap.eq(gap - 1)
        with m.If(start | skip):
            self._next(m, turn)

        self._sealed = self._store(m, "sealed")
        shape = StructLayout({"slot": range(n), "follows": 1})  # of the page's content, which may be another's
        m.submodules.turns = turns = Fifo(shape=shape, depth=n)
        follows = followed["follows"].bit_select(turn, 1)
        m.d.comb += [
            turns.i.valid.eq(start),
            turns.i.p.follows.eq(follows),
            turns.i.p.slot.eq(Mux(follows, followed["earlier"], turn)),
        ]
        m.submodules.lines_out = out = Fifo(shape=LINE_BITS, depth=4)
        m.submodules.narrow = narrow = Narrow(wide=LINE_BITS, narrow=config.lanes * BLOCK_BITS)
        connect(m, out.o, narrow.i)
        connect(m, narrow.o, flipped(self.o_sealed))
        # The memories answer a cycle later: no more is read than the FIFO has room for.
        line, reading, room = Signal(range(lines)), Signal(), Signal(range(out.depth + 1), init=out.depth)
        fetch, last, is_sealed = Signal(), Signal(), Signal()
        ports = [store.read_port() for store in (self._read, self._sealed)]
        for port in ports:
            m.d.comb += [port.en.eq(fetch), port.addr.eq(turns.o.p.slot * self._stride + line)]
        m.d.comb += [
            fetch.eq(turns.o.valid & (room != 0)),
            last.eq(fetch & (line == lines - 1)),
            turns.o.ready.eq(last),
            out.i.valid.eq(reading),
            out.i.p.eq(Mux(is_sealed, ports[1].data, ports[0].data)),
        ]
        m.d.sync += [reading.eq(fetch), room.eq(room - fetch + (out.o.valid & out.o.ready))]
        with m.If(fetch):
            m.d.sync += [line.eq(Mux(last, 0, line + 1)), is_sealed.eq(turns.o.p.follows)]

    # -- writing ------------------------------------------------------------------------------------------------

    def _write(
        self, m: Module, skip: Signal, start: Signal, due: Signal, left: Signal, behind: Signal, place_of: Any
    ) -> None:
        """Gather sealed pages, keep them for those that follow, and write each at its time."""
        config, n, lines = self.config, self.config.page_entries, self.config.page_lines
        m.submodules.widen = widen = Widen(narrow=config.lanes * BLOCK_BITS, wide=LINE_BITS)
        m.submodules.sealed = sealed = Fifo(shape=LINE_BITS, depth=n * lines, ram_style="block")
        m.submodules.pacer = pacer = Pacer(
            shape=1, offset=config.merge_cycles, depth=n, insecure_unpaced=config.insecure_unpaced
        )
        connect(m, widen.o, sealed.i)
        keep = self._sealed.write_port()
        gathered, gathering = Signal(range(lines)), Signal(range(n))
        whole = Signal()  # the last line of a page goes into the FIFO
        m.d.comb += [
            widen.i.valid.eq(self.i_sealed.valid),
            widen.i.p.eq(self.i_sealed.p.data),
            self.i_sealed.ready.eq(widen.i.ready),
            keep.en.eq(sealed.i.valid & sealed.i.ready),
            keep.addr.eq(gathering * self._stride + gathered),
            keep.data.eq(sealed.i.p),
            whole.eq(keep.en & (gathered == lines - 1)),
        ]
        with m.If(keep.en):
            m.d.sync += gathered.eq(Mux(whole, 0, gathered + 1))
        with m.If(whole):
            self._next(m, gathering)

        # Two cycles from the time of a page to its offer: which page it is, then its address.
        offered, held = Signal(), Signal()
        allowed = Signal(range(2 * lines + 1))  # lines of pages whose write was taken
        line_moves, address = Signal(), Signal(64)
        m.d.sync += [
            pacer.i.valid.eq(whole),  # never full: no more pages are under way than it has room for
            held.eq(behind.bit_select(due, 1)),  # writes of one page must not overtake each other
        ]
        m.d.comb += [
            pacer.start.eq(start),
            pacer.at_once.eq(skip),
            self.late.eq(pacer.late),
            pacer.o.ready.eq(~offered & (allowed == 0) & ~held),
            place_of.addr.eq(due),
            self.o_write.valid.eq(offered),
            self.o_write.p.address.eq(address),
            self.o_write.p.lines.eq(lines),
            self.o_write.p.id.eq(due),
            left.eq(offered & self.o_write.ready),
        ]
        with m.If(pacer.o.valid & pacer.o.ready):
            m.d.sync += [offered.eq(1), address.eq(self.base + (place_of.data << LINE_BYTES.bit_length() - 1))]
        with m.If(left):
            m.d.sync += offered.eq(0)
            self._next(m, due)
        m.d.comb += [
            self.o_lines.valid.eq(sealed.o.valid & (allowed != 0)),
            self.o_lines.p.eq(sealed.o.p),
            sealed.o.ready.eq((allowed != 0) & self.o_lines.ready),
            line_moves.eq(self.o_lines.valid & self.o_lines.ready),
        ]
        m.d.sync += allowed.eq(allowed + Mux(left, lines, 0) - line_moves)
