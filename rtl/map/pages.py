# amaranth: UnusedElaboratable=no
"""Pages in flight: they are read from host memory, handed on and written back in the order of operations."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.memory import Memory, ReadPort, WritePort
from amaranth.lib.wiring import In, Out, connect, flipped

from omap.params import Params
from rtl.config import EngineConfig
from rtl.constants import BLOCK_BITS, LINE_BITS, LINE_BYTES
from rtl.map.following import Following
from rtl.map.pacer import Pacer
from rtl.map.page_entries import PageEntries
from rtl.map.page_ids import PageIds
from rtl.map.spacing import Spacing
from rtl.map.turnaround import Turnaround
from rtl.memory.bursts import access
from rtl.memory.host_port import id_bits
from rtl.offsets import LEAST_FOLLOW, LEAST_TURNAROUND
from rtl.stream.fifo import Fifo
from rtl.stream.gearbox import Narrow, Widen
from rtl.stream.interfaces import page_beat
from rtl.stream.pick import encoded, one_hot


def page_layout(params: Params) -> StructLayout:
    """Return what says which page to touch; a ``blank`` one is written without having been read."""
    return StructLayout({"page": range(params.pages), "blank": 1})


@dataclass(frozen=True)
class Sealed:
    """Lines of sealed pages in order, and whether the last line of a page is being added."""

    lines: stream.Interface
    whole: Signal


class Pages(wiring.Component):
    """Moves pages between host memory and the cryptographic blocks.

    Every page is read when it comes, whatever else is in flight. The host may answer in any order; pages are handed on
    in their own order. A page *starts* in its turn when it is here, at most one each ``interval`` cycles, and at the
    earliest ``turnaround_cycles`` after its read was taken. Its write leaves ``merge_cycles`` after its start.

    If a page comes while an earlier touch of it is in flight, it *follows* that touch. The host's copy is read all the
    same and ignored; the page that was sealed for the earlier touch is handed on instead. It starts at the earliest
    ``follow_cycles`` after the start of the earlier touch, and is handed on when that one is sealed. The later write
    departs when the host has acknowledged the earlier one, so that neither overtakes the other. Page numbers cause no
    other stalls, and these are public.

    Parameters
    ----------
    config : EngineConfig
        The engine.

    Members
    -------
    base : In(64)
        Bus address of page 0, a multiple of 4096.
    i_page : In(stream.Signature({"page", "blank"}))
        Pages to touch, in order. A ``blank`` page is written as soon as it is sealed, and is not read before. A format
        writes blank pages; nothing else is in flight then.
    o_sealed : Out(stream.Signature(128 * lanes))
        What was read, page after page.
    i_sealed : In(stream.Signature(page_beat(lanes)))
        What is to be written, in the same order.
    started : Out(1)
        A page has started, which is the time base of its write and of its reply.
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
    PAGE.START.PACED
        No page starts before its turnaround has passed, however early the host answers.
    PAGE.FOLLOW.PACED
        A page that follows another starts a fixed time after the other has started, for which there are public reasons
        alone. It does not start when the other was sealed, because that time depends on what was merged.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        params, lanes = config.params, config.lanes
        self.id_bits = id_bits(config.page_ids)
        paced = not config.insecure_unpaced
        ids = {"ids": config.page_ids, "entries": config.page_entries}
        self.read_ids, self.write_ids = PageIds(**ids), PageIds(**ids)
        self.turnaround = Turnaround(
            cycles=config.turnaround_cycles if paced else LEAST_TURNAROUND, depth=config.page_entries
        )
        self.following = Following(config.page_entries, wait=config.follow_cycles - LEAST_FOLLOW if paced else 0)
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
        m.submodules.following = following = self.following
        m.submodules.read_ids, m.submodules.write_ids = self.read_ids, self.write_ids
        m.submodules.turnaround = self.turnaround
        m.submodules.first_lines = first_lines = Memory(
            shape=range(config.params.pages * config.page_lines), depth=n, init=[]
        )
        m.submodules.read_pages = read_pages = self._store()
        m.submodules.sealed_pages = sealed_pages = self._store()
        entries = PageEntries.of(n)

        pending = self._begin(m, entries, following, first_lines.write_port())
        arrived = self._receive(m, entries, read_pages.write_port())
        m.d.comb += entries.ready.eq(arrived & ~following.early)
        self._start(m, entries)
        sealed = self._gather(m, sealed_pages.write_port())
        self._hand_on(m, entries, following, [read_pages.read_port(), sealed_pages.read_port()], sealed.whole)
        self._write(m, entries, following.behind, first_lines.read_port(domain="comb"), sealed)

        ids = self.write_ids
        m.d.comb += [
            ids.seen.eq(self.i_written.p),
            ids.ended.eq(self.i_written.valid),
            entries.busy.eq(following.busy),
            self.idle.eq(~entries.busy.any() & ~pending),
            following.asked.eq(entries.asked),
            following.entry.eq(entries.next),
            following.skipped.eq(entries.skipped),
            following.started.eq(entries.started),
            following.written.eq(ids.ended),
            following.written_entry.eq(ids.owner),
            following.turn.eq(entries.turn),
        ]
        return m

    @property
    def _stride(self) -> int:
        """Lines from one page to the next where pages are kept."""
        return 1 << (self.config.page_lines - 1).bit_length()

    def _store(self) -> Memory:
        """Return a memory with a page for each page entry."""
        depth = self.config.page_entries * self._stride
        return Memory(shape=LINE_BITS, depth=depth, init=[], attrs={"ram_style": "block"})

    def _advance(self, m: Module, entry: Signal) -> None:
        """Go on to the next page entry."""
        last = self.config.page_entries - 1
        m.d.sync += entry.eq(Mux(entry == last, 0, entry + 1))

    # -- reading ------------------------------------------------------------------------------------------------

    def _begin(self, m: Module, entries: PageEntries, following: Following, first_line_write: WritePort) -> Signal:
        """Take a page, see whether it is in flight, wait for a page entry, and ask the host for it.

        Returns whether a page has been taken that has no page entry yet.
        """
        config, n = self.config, self.config.page_entries
        numbers = [Signal(range(config.params.pages), name=f"page_{k}") for k in range(n)]
        newest = Signal(n)  # no later touch of its page is under way
        candidate, first_line = Signal(self.page_shape), Signal(range(config.params.pages * config.page_lines))
        pending, held, same = Signal(), Signal(), Signal(n)
        m.submodules.reads = reads = Fifo(shape=self.o_read.p.shape(), depth=2)
        connect(m, reads.o, flipped(self.o_read))
        ids, compared = self.read_ids, Signal()
        m.d.comb += [
            entries.asked.eq(compared & ~held & reads.i.ready & ids.free),
            self.i_page.ready.eq(~pending | entries.asked),
        ]
        with m.If(self.i_page.ready):
            m.d.sync += [candidate.eq(self.i_page.p), pending.eq(self.i_page.valid)]
        # A page is compared with those in flight, then decided on. If it has to wait, both are done again.
        m.d.sync += [
            compared.eq(pending & ~compared),
            following.found.eq(same.any()),
            following.before.eq(encoded(same)),
            held.eq(entries.busy.bit_select(entries.next, 1)),
            first_line.eq(candidate.page * config.page_lines),
        ]
        with m.If(entries.asked):
            former = one_hot(following.before, n, following.found)
            m.d.sync += newest.eq((newest & ~former) | one_hot(entries.next, n))
            self._advance(m, entries.next)
        m.d.comb += same.eq(Cat(entries.busy[k] & newest[k] & (numbers[k] == candidate.page) for k in range(n)))
        for k in range(n):
            with m.If(entries.asked & (entries.next == k)):
                m.d.sync += numbers[k].eq(candidate.page)
        m.d.comb += [
            entries.skipped.eq(entries.asked & candidate.blank),
            first_line_write.en.eq(entries.asked),
            first_line_write.addr.eq(entries.next),
            first_line_write.data.eq(first_line),
            reads.i.valid.eq(entries.asked & ~candidate.blank),
            reads.i.p.address.eq(self.base + (first_line << LINE_BYTES.bit_length() - 1)),
            reads.i.p.lines.eq(config.page_lines),
            reads.i.p.id.eq(ids.id),
            ids.take.eq(reads.i.valid),
            ids.entry.eq(entries.next),
            self.turnaround.taken.eq(self.o_read.valid & self.o_read.ready),
        ]
        return pending

    def _receive(self, m: Module, entries: PageEntries, write: WritePort) -> Signal:
        """Put lines where they belong; return which pages have arrived, each with its last line."""
        n, lines, ids = self.config.page_entries, self.config.page_lines, self.read_ids
        arrived = Signal(n)
        data = self.i_data.p
        at: Value = Const(0, 1)
        m.d.comb += [ids.seen.eq(data.id), ids.ended.eq(self.i_data.valid & data.last)]
        if lines > 1:
            m.submodules.counts = counts = Memory(shape=range(lines), depth=ids.ids, init=[])
            kept, next_count = counts.read_port(domain="comb"), counts.write_port()
            begun = Signal(ids.ids)  # a reset in mid-page leaves the memory as it is
            line, ended = one_hot(data.id, ids.ids, self.i_data.valid), one_hot(data.id, ids.ids, ids.ended)
            at = Signal(range(lines), name="at")
            m.d.comb += [
                kept.addr.eq(data.id),
                at.eq(Mux(begun.bit_select(data.id, 1), kept.data, 0)),
                next_count.addr.eq(data.id),
                next_count.en.eq(self.i_data.valid),
                next_count.data.eq(at + 1),
            ]
            m.d.sync += begun.eq((begun | line) & ~ended)
        m.d.comb += [
            write.en.eq(self.i_data.valid),
            write.addr.eq(ids.owner * self._stride + at),
            write.data.eq(data.data),
            self.o_arrived.eq(ids.ended),
        ]
        came = one_hot(ids.owner, n, ids.ended)
        m.d.sync += arrived.eq((arrived & ~one_hot(entries.turn, n, entries.started)) | came)
        return arrived

    def _start(self, m: Module, entries: PageEntries) -> None:
        """Start pages in their turn, at the interval, after their turnaround. Blank pages are passed over."""
        ripe = self.turnaround.ripe
        m.submodules.spacing = spacing = Spacing(self.config.interval)
        here = Signal(name="here")
        m.d.comb += [
            entries.started.eq(here & spacing.free),
            spacing.event.eq(entries.started),
            self.started.eq(entries.started),
            self.turnaround.started.eq(entries.started),
        ]
        m.d.sync += here.eq(entries.ready.bit_select(entries.turn, 1) & ripe & ~entries.started)
        with m.If(entries.started | entries.skipped):
            self._advance(m, entries.turn)

    def _hand_on(
        self, m: Module, entries: PageEntries, following: Following, ports: list[ReadPort], whole: Value
    ) -> None:
        """Hand started pages on: what was read, or what was sealed for the touch that the page follows.

        Pages are sealed in the order in which they are handed on. So the earlier touch has been sealed when fewer pages
        have been handed on and not sealed than there are pages from it to this one.

        What was sealed for a page entry stays until the next page of this entry is sealed. That page is handed on after
        all that can follow the first one, so that the entry need not be kept for them.
        """
        config, n, lines = self.config, self.config.page_entries, self.config.page_lines
        # Where the content is, which may be another's entry, and how many pages lie between.
        shape = StructLayout({"entry": range(n), "follows": 1, "since": range(n)})
        m.submodules.turns = turns = Fifo(shape=shape, depth=n)
        turn, earlier, unsealed, sealed = entries.turn, following.earlier, Signal(range(n + 1)), Signal()
        m.d.comb += [
            turns.i.valid.eq(entries.started),
            turns.i.p.follows.eq(following.follows),
            turns.i.p.entry.eq(Mux(following.follows, earlier, turn)),
            turns.i.p.since.eq(turn - earlier + Mux(turn < earlier, n, 0)),
            sealed.eq(~turns.o.p.follows | (unsealed < turns.o.p.since)),
        ]
        m.submodules.lines_out = out = Fifo(shape=LINE_BITS, depth=4)
        m.submodules.narrow = narrow = Narrow(wide=LINE_BITS, narrow=config.lanes * BLOCK_BITS)
        connect(m, out.o, narrow.i)
        connect(m, narrow.o, flipped(self.o_sealed))
        # The memories answer a cycle later: no more is read than the FIFO has room for.
        line, reading, room = Signal(range(lines)), Signal(), Signal(range(out.depth + 1), init=out.depth)
        fetch, last, is_sealed = Signal(), Signal(), Signal()
        for port in ports:
            m.d.comb += [port.en.eq(fetch), port.addr.eq(turns.o.p.entry * self._stride + line)]
        m.d.comb += [
            fetch.eq(turns.o.valid & (room != 0) & sealed),
            last.eq(fetch & (line == lines - 1)),
            turns.o.ready.eq(last),
            out.i.valid.eq(reading),
            out.i.p.eq(Mux(is_sealed, ports[1].data, ports[0].data)),
        ]
        m.d.sync += unsealed.eq(unsealed + (last | entries.skipped) - whole)
        m.d.sync += [reading.eq(fetch), room.eq(room - fetch + (out.o.valid & out.o.ready))]
        with m.If(fetch):
            m.d.sync += [line.eq(Mux(last, 0, line + 1)), is_sealed.eq(turns.o.p.follows)]

    # -- writing ------------------------------------------------------------------------------------------------

    def _gather(self, m: Module, keep: WritePort) -> Sealed:
        """Gather sealed pages, and keep them for those that follow."""
        config, n, lines = self.config, self.config.page_entries, self.config.page_lines
        m.submodules.widen = widen = Widen(narrow=config.lanes * BLOCK_BITS, wide=LINE_BITS)
        m.submodules.sealed = sealed = Fifo(shape=LINE_BITS, depth=n * lines, ram_style="block")
        connect(m, widen.o, sealed.i)
        gathered = Signal(range(lines))
        gathering = Signal(range(n))
        whole = Signal()
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
            self._advance(m, gathering)
        return Sealed(sealed.o, whole)

    def _write(self, m: Module, entries: PageEntries, behind: Signal, first_line: ReadPort, sealed: Sealed) -> None:
        """Write each page at its time.

        From the time of a page to its offer takes two cycles: which page it is, then its address. The next page has its
        turn while the lines of this one leave.
        """
        config, n, lines, ids = self.config, self.config.page_entries, self.config.page_lines, self.write_ids
        m.submodules.pacer = pacer = Pacer(
            shape=1, offset=config.merge_cycles, depth=n, insecure_unpaced=config.insecure_unpaced
        )
        offered = Signal()
        held, next_due = Signal(), Signal.like(entries.due, init=1)
        allowed = Signal(range(2 * lines + 1))  # lines of pages whose write was taken
        line_moves = Signal()
        address = Signal(64)
        m.d.sync += [
            pacer.i.valid.eq(sealed.whole),  # never full: no more pages are under way than it has room for
            # Writes of one page must not overtake each other. Both are looked up, so that a departure comes late.
            held.eq(Mux(entries.departed, behind.bit_select(next_due, 1), behind.bit_select(entries.due, 1))),
        ]
        m.d.comb += [
            pacer.start.eq(entries.started),
            pacer.at_once.eq(entries.skipped),
            self.late.eq(pacer.late),
            pacer.o.ready.eq(~offered & (allowed <= lines) & ~held & ids.free),
            first_line.addr.eq(entries.due),
            self.o_write.valid.eq(offered),
            self.o_write.p.address.eq(address),
            self.o_write.p.lines.eq(lines),
            self.o_write.p.id.eq(ids.id),
            entries.departed.eq(offered & self.o_write.ready),
            ids.take.eq(entries.departed),
            ids.entry.eq(entries.due),
        ]
        with m.If(pacer.o.valid & pacer.o.ready):
            m.d.sync += [offered.eq(1), address.eq(self.base + (first_line.data << LINE_BYTES.bit_length() - 1))]
        with m.If(entries.departed):
            m.d.sync += [offered.eq(0), entries.due.eq(next_due)]
            self._advance(m, next_due)
        m.d.comb += [
            self.o_lines.valid.eq(sealed.lines.valid & (allowed != 0)),
            self.o_lines.p.eq(sealed.lines.p),
            sealed.lines.ready.eq((allowed != 0) & self.o_lines.ready),
            line_moves.eq(self.o_lines.valid & self.o_lines.ready),
        ]
        m.d.sync += allowed.eq(allowed + Mux(entries.departed, lines, 0) - line_moves)
