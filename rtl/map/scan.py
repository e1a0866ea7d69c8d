# amaranth: UnusedElaboratable=no
"""All slots of the map, one after the other: those of all pages in order, then the waiting slots."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from omap.operations import Kind
from rtl.config import EngineConfig
from rtl.map.descriptor_walk import DescriptorWalk
from rtl.map.format import SETTLE
from rtl.map.page_reads import PageReads
from rtl.map.page_slots import PageSlots
from rtl.map.scan_times import ScanTimes
from rtl.map.slot_marks import MARK_BITS, MARKS, SlotMarks
from rtl.map.waiting import WaitingBins
from rtl.rings.record import command_layout
from rtl.stream.fifo import Fifo


class Scan(wiring.Component):
    """Yields all slots as :meth:`omap.reference.ReferenceMap.export` does, and changes nothing.

    A used slot is a PUT of its tuple, and a free one is a NOP with zeros. NOPs fill up the last chunk of a snapshot.
    Which waiting slot a tuple lies in differs from the reference.

    A scan begins a fixed time after the last operation, when HBM holds all bins. Some pages at once are read from host
    memory, and their descriptors from HBM. When all is here, and a time has passed that covers the longest chains of
    descriptor lines, the pages are opened and their slots leave. The descriptors say which waiting slots are used:
    each that they name is marked. The waiting slots come last, used or not, some at once, and a fixed time after they
    were asked for. So times follow from the host's answers and from when slots are taken. If HBM needs longer than a
    fixed time, the scan waits, and that is counted as an overrun.

    Parameters
    ----------
    config : EngineConfig
        The engine.
    bins : WaitingBins
        Gives the shapes of lines and slots.

    Members
    -------
    scan : In(1)
        For one cycle: a scan begins. Given when no operation and no page is under way.
    base : In(64)
        Bus address of page 0.
    quiet : In(1)
        HBM holds all bins.
    busy : Out(1)
        From the cycle after ``scan`` until the last slot is taken.
    borrows : Out(1)
        The same, but from when HBM holds all bins. The streams below are the scan's then.
    o_line_fetch, i_line_fetched, o_slot_fetch, i_slot_fetched : streams
        Descriptors and waiting slots, as :class:`rtl.map.waiting.WaitingBins` has them.
    o_read, i_data : streams
        Of the page client of :class:`rtl.memory.host_port.HostPort`.
    o_page, o_version, o_sealed, i_text : streams
        Pages to open, see :class:`rtl.map.sealing.Sealing`.
    fault : In(1)
        A page failed authentication: no text is taken any more, so that none of its slots leaves.
    o_slot : Out(stream.Signature(command_layout(params)))
        All slots, :attr:`rtl.map.scan_times.ScanTimes.slots`. Zero while none is on offer.
    late : Out(1)
        For one cycle if HBM needed longer than a fixed time.

    Countermeasures
    ---------------
    SCAN.TIME.FIXED
        Slots leave a fixed time after public events, however many tuples wait and wherever.
    SCAN.SLOTS.ALL
        Free slots leave as used ones do.
    """

    def __init__(self, config: EngineConfig, bins: WaitingBins) -> None:
        self.config = config
        self.times = ScanTimes(config, bins.shapes)
        self.marks = SlotMarks(config.params.waiting_slots)
        self.walk = DescriptorWalk(bins.shapes, most=self.times.pages)
        self.reads = PageReads(config, most=self.times.pages)
        self.slots = PageSlots(config.params, lanes=config.lanes)
        uses, walk, reads = bins.signature.members, self.walk.signature.members, self.reads.signature.members
        super().__init__(
            {
                "scan": In(1),
                "base": In(64),
                "quiet": In(1),
                "busy": Out(1),
                "borrows": Out(1),
                **{name: uses[name] for name in ("o_line_fetch", "i_line_fetched", "o_slot_fetch", "i_slot_fetched")},
                **{name: reads[name] for name in ("o_read", "i_data", "o_sealed")},
                **{name: walk[name] for name in ("o_page", "o_version")},
                "i_text": self.slots.signature.members["i_text"],
                "fault": In(1),
                "o_slot": Out(stream.Signature(command_layout(config.params))),
                "late": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        times, paced = self.times, not self.config.insecure_unpaced
        m.submodules.marks, m.submodules.walk = self.marks, self.walk
        m.submodules.reads, m.submodules.slots = self.reads, self.slots
        timer = Signal(range(max(SETTLE, times.page_cycles, times.slot_cycles) + 1))
        missed, begins, ask = Signal(), Signal(), Signal()
        gives = {name: Signal(name=f"gives_{name}") for name in ("pages", "waiting", "padding")}
        pages_taken, pages_end = self._pages(m, begins)
        entries, waiting_taken, waiting_end = self._waiting(m, begins, ask, gives["waiting"])
        padding_end = self._offer(m, begins, gives, entries)

        def wait(cycles: int) -> None:
            m.d.sync += [timer.eq(cycles), missed.eq(0)]

        def go_on(following: str, *, hbm: Value, others: Value) -> None:
            """Go on when the time has passed and all is there; tell if HBM is what is waited for."""
            with m.If((timer == 0) & others):
                with m.If(hbm):
                    m.next = following
                with m.Else():
                    m.d.comb += self.late.eq(~missed)
                    m.d.sync += missed.eq(1)

        with m.If(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.FSM(name="scan") as fsm:
            m.d.comb += [
                self.busy.eq(~fsm.ongoing("IDLE")),
                self.borrows.eq(self.busy & ~fsm.ongoing("SETTLE")),
            ]
            with m.State("IDLE"):
                with m.If(self.scan):
                    m.d.comb += begins.eq(1)
                    wait(SETTLE)
                    m.next = "SETTLE"
            with m.State("SETTLE"):
                go_on("READ", hbm=self.quiet, others=~self.marks.clearing)
            with m.State("READ"):
                m.d.comb += [self.walk.begin.eq(1), self.reads.begin.eq(1)]
                wait(times.page_cycles if paced else 1)
                m.next = "READING"
            with m.State("READING"):
                # SEC_CM: SCAN.TIME.FIXED -- when the longest chains would be here, however long these are
                go_on("OPEN", hbm=self.walk.done, others=self.reads.here)
            with m.State("OPEN"):
                m.d.comb += [self.walk.go.eq(1), self.reads.go.eq(1)]
                m.next = "PAGES"
            with m.State("PAGES"):
                m.d.comb += gives["pages"].eq(1)
                with m.If(pages_taken):
                    m.next = "READ"
                    with m.If(pages_end):
                        m.next = "ASK"
            with m.State("ASK"):
                m.d.comb += ask.eq(1)
                wait(times.slot_cycles if paced else 1)
                m.next = "ASKING"
            with m.State("ASKING"):
                go_on("WAITING", hbm=entries.level == self._lot, others=Const(1))
            with m.State("WAITING"):
                m.d.comb += gives["waiting"].eq(1)
                with m.If(waiting_taken):
                    m.next = "ASK"
                    with m.If(waiting_end):
                        m.next = "PAD"
            with m.State("PAD"):
                m.d.comb += gives["padding"].eq(1)
                with m.If(padding_end & self.slots.idle):
                    m.next = "IDLE"
        return m

    def _pages(self, m: Module, begins: Value) -> tuple[Signal, Signal]:
        """Connect what pages pass; return whether the last slot of those at work is taken, and whether they end all."""
        params, at_once, walk, reads = self.config.params, self.times.pages, self.walk, self.reads
        page, remaining = Signal(range(params.pages + 1)), Signal(range(params.pages + 1))
        count, left = Signal(range(at_once + 1)), Signal(range(at_once * params.page_slots + 1))
        taken, end = Signal(name="pages_taken"), Signal(name="pages_end")
        for inner, outer in (
            (walk.o_line_fetch, self.o_line_fetch),
            (walk.o_page, self.o_page),
            (walk.o_version, self.o_version),
            (walk.o_occupancy, self.slots.i_occupancy),
            (reads.o_read, self.o_read),
            (reads.o_sealed, self.o_sealed),
        ):
            connect(m, inner, outer if outer is self.slots.i_occupancy else flipped(outer))
        connect(m, flipped(self.i_line_fetched), walk.i_line_fetched)
        connect(m, flipped(self.i_data), reads.i_data)
        text = self.slots.i_text
        m.d.comb += [
            text.p.eq(self.i_text.p),
            text.valid.eq(self.i_text.valid & ~self.fault),
            self.i_text.ready.eq(text.ready & ~self.fault),
            remaining.eq(params.pages - page),
            end.eq(remaining <= at_once),
            count.eq(Mux(end, remaining, at_once)),
            walk.first.eq(page),
            walk.count.eq(count),
            reads.count.eq(count),
            reads.base.eq(self.base),
            reads.restart.eq(begins),
            self.marks.clear.eq(begins),
            self.marks.mark.eq(walk.mark),
            self.marks.slot.eq(walk.slot),
            taken.eq(self.slots.o_slot.valid & self.slots.o_slot.ready & (left == 1)),
        ]
        with m.If(walk.go):
            m.d.sync += left.eq(count * params.page_slots)
        with m.Elif(self.slots.o_slot.valid & self.slots.o_slot.ready):
            m.d.sync += left.eq(left - 1)
        with m.If(begins):
            m.d.sync += page.eq(0)
        with m.Elif(taken):
            m.d.sync += page.eq(page + count)
        return taken, end

    def _waiting(self, m: Module, begins: Value, ask: Value, gives: Value) -> tuple[Fifo, Signal, Signal]:
        """Read waiting slots; return what was read, and the same two as for pages."""
        params = self.config.params
        m.submodules.entries = entries = Fifo(shape=8 * params.tuple_bytes, depth=MARKS, ram_style="block")
        connect(m, flipped(self.i_slot_fetched), entries.i)
        numbers = range(params.waiting_slots + 1)
        slot, asked, remaining = Signal(numbers), Signal(numbers), Signal(numbers)  # next to leave, next to ask for
        lot, to_ask, left = (Signal(range(MARKS + 1), name=name) for name in ("lot", "to_ask", "left"))
        used, taken, end, leaves = Signal(MARKS), Signal(name="waiting_taken"), Signal(name="waiting_end"), Signal()
        self._lot, self._used = left, used[0]
        m.d.comb += [
            remaining.eq(params.waiting_slots - slot),
            lot.eq(Mux(remaining < MARKS, remaining, MARKS)),
            self.o_slot_fetch.valid.eq(to_ask != 0),
            self.o_slot_fetch.p.eq(asked),
            self.marks.row.eq(slot >> MARK_BITS),
            leaves.eq(gives & entries.o.valid & self.o_slot.ready),
            entries.o.ready.eq(leaves),
            taken.eq(leaves & (left == 1)),
            end.eq(remaining == 1),
        ]
        with m.If(self.o_slot_fetch.valid & self.o_slot_fetch.ready):
            m.d.sync += [asked.eq(asked + 1), to_ask.eq(to_ask - 1)]
        with m.If(leaves):
            m.d.sync += [slot.eq(slot + 1), left.eq(left - 1), used.eq(used >> 1)]
        with m.Elif(~gives):
            m.d.sync += used.eq(self.marks.marks)
        with m.If(ask):
            m.d.sync += [to_ask.eq(lot), left.eq(lot)]
        with m.If(begins):
            m.d.sync += [slot.eq(0), asked.eq(0)]
        return entries, taken, end

    def _offer(self, m: Module, begins: Value, gives: dict[str, Signal], entries: Fifo) -> Value:
        """Offer slots of pages, waiting slots, and NOPs; return whether the last of these was taken."""
        params, pages, slot = self.config.params, self.slots.o_slot, self.o_slot
        padding = self.times.slots - params.slots
        left, used = Signal(range(padding + 1), name="padding_left"), Signal()
        waiting = Signal(slot.p.shape())
        m.d.comb += [
            # SEC_CM: SCAN.SLOTS.ALL -- a free slot leaves as a NOP, in the same time
            used.eq(gives["waiting"] & entries.o.valid & self._used),
            waiting.kind.eq(Mux(used, Kind.PUT, Kind.NOP)),
            Cat(waiting.key, waiting.value).eq(Mux(used, entries.o.p, 0)),
            pages.ready.eq(gives["pages"] & slot.ready),
            slot.valid.eq(
                (gives["pages"] & pages.valid) | (gives["waiting"] & entries.o.valid) | (gives["padding"] & (left != 0))
            ),
            slot.p.eq(Mux(gives["pages"], Value.cast(pages.p), Value.cast(waiting))),
        ]
        with m.If(begins):
            m.d.sync += left.eq(padding)
        with m.Elif(gives["padding"] & (left != 0) & slot.ready):
            m.d.sync += left.eq(left - 1)
        return left == 0
