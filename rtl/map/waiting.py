# amaranth: UnusedElaboratable=no
"""Waiting tuples on chip: bins in flight, each with its descriptor and the tuples that wait for it."""

from __future__ import annotations

from dataclasses import fields

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.memory import Memory, ReadPort
from amaranth.lib.wiring import In, Out

from omap.params import Params
from rtl.config import MOST_BINS
from rtl.map.bin_fetch import BinFetch
from rtl.map.bin_flush import BinFlush
from rtl.map.bin_shapes import BinShapes, Use
from rtl.map.bin_standing import Standing, Touch
from rtl.map.bin_use import WRITES, BinUse
from rtl.stream.fifo import Fifo
from rtl.stream.interfaces import require, require_whole
from rtl.stream.pick import encoded, first, one_hot

MOST_WAITING = 128
"""Most tuples of a bin. More wait for one page with a probability below 2^-120, and that is a fault."""

ULTRA_ROWS = 4096
"""A memory with as many rows or more is asked for in ultra RAM."""


class WaitingBins(wiring.Component):
    """Bins are announced early, used in order, and always up to date then. Equals :class:`omap.waiting.Waiting`.

    An announcement says that a bin will be used, for TOUCH or for APPEND. The bin's descriptor and its waiting tuples
    are fetched, unless the bin is on chip. Bins are used in the order of their announcements. A TOUCH offers every
    waiting tuple and then an end; it takes a verdict for each tuple, and the new occupancy. An APPEND takes a tuple, or
    nothing. A changed bin goes back to HBM when no use waits for it; it stays until all its writes have arrived.

    Version and occupancy of a TOUCH are offered before its turn comes: when they are known, and no earlier TOUCH of
    the same bin is still to be used. They are offered in the order of the TOUCHes. The tuples of a TOUCH are offered
    when its turn comes.

    While memory keeps up, a TOUCH takes three cycles and one for each waiting tuple, and an APPEND takes one. An
    announcement is taken every second cycle at most.

    Lines have the layout of :mod:`omap.waiting`. Which waiting slots and further lines are used, and in what order
    they are used again, differs from the reference and shows nowhere.

    Parameters
    ----------
    params : Params
        Gives the layout; a rule with pages.
    entries : int
        Bins on chip, 2 to 256. There should be one for each use in flight, from its announcement to the arrival of
        the bin's last write.
    most : int
        Most tuples of a bin.

    Members
    -------
    i_touch : In(stream.Signature({"bin", "use"}))
        Bins that will be used, and for what, in order.
    o_version : Out(stream.Signature(48))
        For each TOUCH, the version under which the page was sealed last.
    o_bin : Out(stream.Signature({"occupancy": page_slots}))
        For each TOUCH, the used page slots; at the same time as the version, or later.
    o_waiting : Out(stream.Signature({"end": 1, "entry": tuple}))
        The tuples of a TOUCH, oldest first, then an end. Zero while none is on offer.
    i_verdict : In(stream.Signature(Verdict))
        What became of each tuple. It comes when the tuple is taken, or later.
    i_occupancy : In(stream.Signature(page_slots))
        Used page slots from now on. Ends a TOUCH.
    i_append : In(stream.Signature({"present": 1, "entry": tuple}))
        The tuple that joins the bin, if any. Ends an APPEND.
    o_line_fetch, i_line_fetched, o_line_flush, i_line_flushed
        Descriptor lines, as in :class:`rtl.memory.line_buffer.LineBuffer`; further lines follow the bins. Reads and
        writes may be answered in any order.
    o_slot_fetch, i_slot_fetched : streams of {"slot", "entry"} and of {"entry": tuple}
        Waiting slots to read; answered in order.
    o_slot_write, i_slot_written
        Slots to write ({"slot", "data"}), and their arrival, in order.
    i_free_slot, o_freed_slot, i_free_line, o_freed_line
        From and to the free lists.
    exhausted : Out(1)
        A bin had no room for one more tuple, which was lost. Stays.
    quiet : Out(1)
        No bin is on chip, and no transfer is under way: HBM holds everything.
    clear, erase : In(1)
        One cycle of either forgets all bins and uses. Transfers under way go on to their ends, and until then no
        announcement is taken. Memory may be overwritten once the block is ``quiet``.

    Countermeasures
    ---------------
    WAITING.TUPLE.ERASE
        ``erase`` and ``clear`` clear every register with tuples and all that is under way.
    WAITING.TUPLE.UNREADABLE
        ``o_waiting`` is zero while nothing is on offer.
    """

    def __init__(self, params: Params, *, entries: int = 64, most: int | None = None) -> None:
        require(params.page_slots > 0, f"rule is {params.rule}; only maps with pages have waiting tuples")
        require_whole("entries", entries, 2, MOST_BINS)
        most = min(MOST_WAITING, params.capacity) if most is None else most
        require_whole("most", most, 1, 1024)
        self.params, self.entries, self.most = params, entries, most
        self.shapes = shapes = BinShapes(params, entries, most)
        self.id_bits, self.bin_bits, self.line_bits = shapes.id_bits, shapes.bin_bits, shapes.line_bits
        self.slot_bits, self.further_bits = shapes.slot_bits, shapes.further_bits
        slot, further = shapes.slot_bits, shapes.further_bits
        self._use, self._fetch, self._flush = BinUse(shapes), BinFetch(shapes), BinFlush(shapes)
        of_use = self._use.signature.members
        names = ("o_waiting", "i_verdict", "i_occupancy", "i_append", "o_slot_write", "i_slot_written")
        super().__init__(
            {
                "i_touch": In(stream.Signature(StructLayout({"bin": shapes.bin_bits, "use": Use}))),
                "o_version": Out(stream.Signature(48)),
                "o_bin": Out(stream.Signature(StructLayout({"occupancy": params.page_slots}))),
                **{name: of_use[name] for name in names},
                "o_line_fetch": Out(stream.Signature(shapes.address)),
                "i_line_fetched": In(stream.Signature(shapes.line)),
                "o_line_flush": Out(stream.Signature(shapes.flushed)),
                "i_line_flushed": In(stream.Signature(shapes.id_bits)),
                "o_slot_fetch": Out(stream.Signature(slot)),
                "i_slot_fetched": In(stream.Signature(shapes.entry_bits)),
                "i_free_slot": In(stream.Signature(slot)),
                "o_freed_slot": Out(stream.Signature(slot)),
                "i_free_line": In(stream.Signature(further)),
                "o_freed_line": Out(stream.Signature(further)),
                "exhausted": Out(1),
                "quiet": Out(1),
                "clear": In(1),
                "erase": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        inner = Module()  # all that is forgotten
        open_, busy, empty = Signal(), Signal(), Signal()
        self._bins(inner, open_, empty)

        # Transfers under way are counted across `clear`. Nothing begins until all have ended: their answers name
        # entries that no longer mean what they meant.
        counts = []
        for name, out, back, most in (
            ("fetches", self.o_line_fetch, self.i_line_fetched, self.entries),
            ("flushes", self.o_line_flush, self.i_line_flushed, self.entries + self.shapes.most_lines + 1),
            ("reads", self.o_slot_fetch, self.i_slot_fetched, max(64, 2 * self.entries)),
            ("writes", self.o_slot_write, self.i_slot_written, WRITES),
        ):
            count = Signal(range(most + 1), name=name)
            m.d.sync += count.eq(count + (out.valid & out.ready) - (back.valid & back.ready))
            counts.append(count != 0)
        m.d.comb += [busy.eq(Cat(counts).any()), self.quiet.eq(~busy & empty)]
        forget = self.clear | self.erase
        with m.If(forget):
            m.d.sync += open_.eq(0)
        with m.Elif(~busy):
            m.d.sync += open_.eq(1)
        # SEC_CM: WAITING.TUPLE.ERASE -- descriptors, tuples and their places in memory are forgotten together
        m.submodules.inner = ResetInserter(forget)(inner)
        return m

    def _bins(self, m: Module, open_: Value, empty: Value) -> None:
        n, use, fetch, flush = self.entries, self._use, self._fetch, self._flush
        m.submodules.use, m.submodules.fetch, m.submodules.flush = use, fetch, flush
        bins = Standing(*(Signal(n, name=field.name) for field in fields(Standing)))
        touch = self._touch(m, bins, open_)
        opened_row = self._rows(m, touch)
        opened = self._open(m, bins, touch, opened_row)
        filled = self._tuples(m)
        self._parts(m, bins, open_)
        self._stand(m, bins, touch, opened, filled, empty)

    def _touch(self, m: Module, bins: Standing, open_: Value) -> Touch:
        """Compare an announced bin with all that are here in one cycle, and act on it in the next."""
        shapes, n, use, fetch = self.shapes, self.entries, self._use, self._fetch
        numbers = [Signal(shapes.bin_bits, name=f"number_{k}") for k in range(n)]
        asked = Signal(self.i_touch.p.shape())
        asks, compared, match = Signal(), Signal(), Signal(n)
        hit, fire, allocate = Signal(), Signal(), Signal()
        touched, spare, spare_found = Signal(shapes.id_bits), Signal(shapes.id_bits), Signal()
        any_, index = first(m, ~bins.used, "spare")
        equal = Signal(n)
        m.submodules.fetches = fetches = Fifo(shape=shapes.address, depth=n)
        wiring.connect(m, fetches.o, wiring.flipped(self.o_line_fetch))
        m.d.comb += [
            equal.eq(Cat(bins.used[k] & (numbers[k] == asked.bin) for k in range(n))),
            touched.eq(Mux(hit, encoded(match), spare)),
            fire.eq(compared & use.i_order.ready & (hit | (spare_found & fetches.i.ready & ~fetch.o_follow.valid))),
            allocate.eq(fire & ~hit),
            self.i_touch.ready.eq(open_ & (~asks | fire)),
            use.i_order.valid.eq(fire),
            use.i_order.p.id.eq(touched),
            use.i_order.p.use.eq(asked.use),
            fetch.o_follow.ready.eq(fetches.i.ready),
            fetches.i.valid.eq(allocate | fetch.o_follow.valid),
            fetches.i.p.eq(Mux(fetch.o_follow.valid, fetch.o_follow.p.as_value(), Cat(
                (asked.bin | Signal(shapes.line_bits))[: shapes.line_bits], spare
            ))),
        ]  # fmt: skip
        m.d.sync += [
            match.eq(equal),
            hit.eq(equal.any()),
            compared.eq(asks & ~fire),
        ]
        with m.If(~asks | fire):
            m.d.sync += [asks.eq(self.i_touch.valid & open_), asked.eq(self.i_touch.p)]
        with m.If(allocate):
            m.d.sync += spare_found.eq(0)
        with m.Elif(~spare_found):
            m.d.sync += [spare.eq(index), spare_found.eq(any_)]
        allocated = one_hot(spare, n, allocate)
        for k in range(n):
            with m.If(allocated[k]):
                m.d.sync += numbers[k].eq(asked.bin)
        return Touch(asked, asks, compared, match, hit, fire, allocate, touched, spare, allocated)

    def _rows(self, m: Module, touch: Touch) -> ReadPort:
        """Keep rows and numbers of bins; return the port that reads a row for the opening."""
        shapes, n = self.shapes, self.entries
        use, fetch, flush = self._use, self._fetch, self._flush
        style = {"ram_style": "distributed"}
        m.submodules.rows = rows = Memory(shape=shapes.row, depth=n, init=[], attrs=style)
        row_write = rows.write_port()
        next_row, opened_row, flushed_row = (rows.read_port(domain="comb") for _ in range(3))
        m.submodules.bins = bins = Memory(shape=shapes.bin_bits, depth=n, init=[], attrs=style)
        bin_write, bin_read = bins.write_port(), bins.read_port(domain="comb")
        m.d.comb += [
            fetch.may_write.eq(~use.claims_row & flush.may_link),
            row_write.en.eq(use.touched | use.joined | fetch.head),
            row_write.addr.eq(Mux(use.claims_row, use.id, fetch.id)),
            row_write.data.eq(Mux(use.claims_row, use.new_row.as_value(), fetch.row.as_value())),
            next_row.addr.eq(use.next_id),
            flushed_row.addr.eq(flush.id),
            bin_write.en.eq(touch.allocate),
            bin_write.addr.eq(touch.spare),
            bin_write.data.eq(touch.asked.bin),
            bin_read.addr.eq(flush.id),
            use.next_row.eq(next_row.data),
            flush.row.eq(flushed_row.data),
            flush.number.eq(bin_read.data),
        ]
        return opened_row

    def _open(self, m: Module, bins: Standing, touch: Touch, opened_row: ReadPort) -> Value:
        """Tell what is known of a touched bin before its use; return for which entry that happens, a bit for each."""
        shapes, n, use = self.shapes, self.entries, self._use
        m.submodules.touches = touches = Fifo(shape=shapes.id_bits, depth=4 * n + 1)  # as many as there are uses
        m.submodules.occupancies = occupancies = Fifo(shape=self.o_bin.p.shape(), depth=n)
        wiring.connect(m, occupancies.o, wiring.flipped(self.o_bin))
        turn, next_, opens = Signal(), Signal(shapes.id_bits), Signal()
        with m.If(~turn):
            m.d.sync += [turn.eq(touches.o.valid), next_.eq(touches.o.p)]
        with m.Elif(opens):
            m.d.sync += turn.eq(0)
        m.d.comb += [
            touches.i.valid.eq(touch.fire & (touch.asked.use == Use.TOUCH)),
            touches.i.p.eq(touch.touched),
            touches.o.ready.eq(~turn),
            opened_row.addr.eq(next_),
            opens.eq(
                turn & (bins.parsed & ~bins.opened).bit_select(next_, 1)
                & occupancies.i.ready & (~self.o_version.valid | self.o_version.ready)
            ),
            use.opens.valid.eq(opens),
            use.opens.id.eq(next_),
            occupancies.i.valid.eq(opens),
            occupancies.i.p.occupancy.eq(opened_row.data.occupancy),
        ]  # fmt: skip
        with m.If(opens):
            m.d.sync += [self.o_version.valid.eq(1), self.o_version.p.eq(opened_row.data.version)]
        with m.Elif(self.o_version.ready):
            m.d.sync += self.o_version.valid.eq(0)
        return one_hot(next_, n, opens)

    def _tuples(self, m: Module) -> Value:
        """Keep tuples and the slots that they lie in; return which entry gets its last tuple, a bit for each.

        A use writes first; what was fetched waits. Memory is written a cycle later, because what it shows is late in a
        cycle, and may be written again. The use that reads in between gets what is still to be written. A bin is
        flushed later than that.
        """
        shapes, n = self.shapes, self.entries
        use, fetch, flush = self._use, self._fetch, self._flush
        depth = n << shapes.place_bits
        big = {"ram_style": "distributed" if depth <= 64 else "ultra" if depth >= ULTRA_ROWS else "block"}
        small = {"ram_style": "distributed" if depth <= 64 else "block"}
        m.submodules.items = items = Memory(shape=shapes.item, depth=depth, init=[], attrs=big)
        m.submodules.slots = slots = Memory(shape=shapes.slot_bits, depth=depth, init=[], attrs=small)
        items_write, slots_write = items.write_port(), slots.write_port()
        items_read, slots_read = items.read_port(), slots.read_port()
        fill, filled, place, item = fetch.o_fill, Signal(), Signal(shapes.place), Signal(shapes.item)
        writes, written, written_place, written_item = Signal(), Signal(), Signal(shapes.place), Signal(shapes.item)
        ahead, item_ahead = Signal(), Signal(shapes.item)
        m.d.sync += [
            written.eq(writes),
            ahead.eq(written & (written_place.as_value() == use.read.as_value())),
            item_ahead.eq(written_item),
        ]
        with m.If(writes):
            m.d.sync += [written_place.eq(place), written_item.eq(item)]
        m.d.comb += [
            writes.eq(use.write | filled),
            fill.ready.eq(~use.claims_item),
            filled.eq(fill.valid & fill.ready),
            place.eq(use.write_place),
            item.eq(use.write_item),
            *(port.en.eq(written) for port in (items_write, slots_write)),
            *(port.addr.eq(written_place) for port in (items_write, slots_write)),
            items_write.data.eq(written_item),
            slots_write.data.eq(written_item.slot),
            items_read.addr.eq(use.read),
            slots_read.addr.eq(flush.place),
            use.item.eq(Mux(ahead, item_ahead, items_read.data)),
            flush.slot.eq(slots_read.data),
        ]
        with m.If(~use.claims_item):
            m.d.comb += [place.id.eq(fill.p.id), place.place.eq(fill.p.place), item.eq(fill.p.item)]
        m.d.comb += [use.filled.valid.eq(filled & fill.p.last), use.filled.id.eq(fill.p.id)]
        return one_hot(fill.p.id, n, use.filled.valid)

    def _parts(self, m: Module, bins: Standing, open_: Value) -> None:
        """Connect the parts with the standing of the bins, with each other and with the outside."""
        use, fetch, flush = self._use, self._fetch, self._flush
        m.d.comb += [
            use.complete.eq(bins.complete),
            use.opened.eq(bins.opened),
            use.head.valid.eq(fetch.head),
            use.head.id.eq(fetch.id),
            use.head.row.eq(fetch.row),
            use.flushed.valid.eq(flush.busy & ~flush.over),
            use.flushed.id.eq(flush.id),
            flush.eligible.eq(bins.used & bins.complete & bins.changed & ~bins.wanted & ~bins.on_its_way),
            flush.linked.eq(fetch.linked),
            flush.linked_id.eq(fetch.id),
            flush.held.eq(fetch.held),
            flush.link.eq(fetch.link),
            self.exhausted.eq(use.exhausted),
        ]
        for outer, part in (
            (self.i_line_fetched, fetch.i_line),
            (self.i_slot_fetched, fetch.i_tuple),
            (self.i_line_flushed, flush.i_written),
            (self.i_slot_written, use.i_slot_written),
        ):
            m.d.comb += [
                part.valid.eq(outer.valid & open_),
                part.p.eq(outer.p),
                outer.ready.eq(part.ready | ~open_),
            ]
        for part, outer in (
            (fetch.o_slot, self.o_slot_fetch),
            (flush.o_line, self.o_line_flush),
            (flush.o_freed_line, self.o_freed_line),
            (use.o_freed_slot, self.o_freed_slot),
            (use.o_slot_write, self.o_slot_write),
            (use.o_waiting, self.o_waiting),
        ):
            wiring.connect(m, part, wiring.flipped(outer))
        for outer, part in (
            (self.i_verdict, use.i_verdict),
            (self.i_occupancy, use.i_occupancy),
            (self.i_append, use.i_append),
            (self.i_free_slot, use.i_free_slot),
            (self.i_free_line, flush.i_free_line),
        ):
            wiring.connect(m, wiring.flipped(outer), part)

    def _stand(self, m: Module, bins: Standing, touch: Touch, opened: Value, filled: Value, empty: Value) -> None:
        """Keep account of how every bin stands."""
        n, use, fetch, flush = self.entries, self._use, self._fetch, self._flush
        touched_now = Mux(touch.hit, touch.match, one_hot(touch.spare, n)) & touch.fire.replicate(n)
        head, begun = one_hot(fetch.id, n, fetch.head), one_hot(flush.picked, n, flush.begin)
        ended = filled | (head & (fetch.row.count == 0).replicate(n))
        # A bin that is being compared may be wanted in the next cycle.
        kept = Mux(touch.asks, Mux(touch.compared, touch.match, ~0), 0)[:n]
        release = bins.used & bins.complete & ~bins.changed & ~bins.wanted & ~bins.on_its_way & ~use.writing & ~kept
        landed = one_hot(flush.i_written.p, n, flush.landed)
        m.d.comb += empty.eq((bins.used == 0) & ~touch.asks & (use.o_freed_slot.valid == 0))
        m.d.sync += [
            bins.used.eq((bins.used & ~release) | touch.allocated),
            bins.wanted.eq((bins.wanted & ~one_hot(use.id, n, use.done & use.last)) | touched_now),
            bins.parsed.eq((bins.parsed & ~touch.allocated) | head),
            bins.complete.eq((bins.complete & ~touch.allocated) | ended),
            bins.changed.eq((bins.changed & ~begun) | one_hot(use.id, n, use.touched | use.joined)),
            bins.opened.eq((bins.opened & ~one_hot(use.id, n, use.touched)) | opened),
            bins.on_its_way.eq((bins.on_its_way & ~landed) | begun),
        ]
