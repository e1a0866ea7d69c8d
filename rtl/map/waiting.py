# amaranth: UnusedElaboratable=no
"""Waiting tuples on chip: bins in flight, each with its descriptor and the tuples that wait for it."""

from __future__ import annotations

from dataclasses import fields

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from omap.params import Params
from rtl.config import MOST_BINS
from rtl.map.bin_append import WRITES
from rtl.map.bin_arrival import BinArrival
from rtl.map.bin_fetch import BinFetch
from rtl.map.bin_flush import BinFlush
from rtl.map.bin_open import BinOpen
from rtl.map.bin_rows import BinRows
from rtl.map.bin_shapes import BinShapes, Use
from rtl.map.bin_standing import Standing
from rtl.map.bin_use import BinUse
from rtl.stream.fifo import Fifo
from rtl.stream.interfaces import in_bits, require, require_whole
from rtl.stream.pick import one_hot
from rtl.stream.ways import tell, through

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

    Version and occupancy of a TOUCH are offered before its turn comes: the version when the bin's descriptor is here,
    and the occupancy when, besides, no earlier TOUCH of the same bin is still to be used. Both are offered in the order
    of the TOUCHes. The tuples of a TOUCH are offered when its turn comes.

    While memory keeps up, an announcement takes one cycle, and a TOUCH and an APPEND of another bin together take two
    cycles and one for each waiting tuple. An operation whose TOUCH follows the APPEND of the operation before, because
    both are on one key, takes no longer, but for the way of the tuple out and in again.

    Lines have the layout of :mod:`omap.waiting`. Which waiting slots and further lines are used, and in what order
    they are used again, differs from the reference and shows nowhere.

    Parameters
    ----------
    params : Params
        Gives the layout; a rule with pages.
    entries : int
        Bins on chip, 2 to 512. There should be one for each use in flight, from its announcement to the arrival of
        the bin's last write.
    most : int
        Most tuples of a bin.

    Members
    -------
    i_touch : In(stream.Signature({"bin", "use"}))
        Bins that will be used, and for what, in order.
    o_version : Out(stream.Signature(KEPT_BITS))
        For each TOUCH, the version under which the touch before it sealed the page, or will seal it.
    o_bin : Out(stream.Signature({"occupancy": page_slots}))
        For each TOUCH, the used page slots; later than the version.
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
        self._arrival, self._row_store = BinArrival(shapes), BinRows(shapes)
        self._use, self._fetch, self._flush = BinUse(shapes), BinFetch(shapes), BinFlush(shapes)
        self._open = BinOpen(shapes)
        uses = ("o_waiting", "i_verdict", "i_occupancy", "i_append", "o_slot_write", "i_free_slot", "o_freed_slot")
        self._through = {
            "i_touch": self._arrival,
            **dict.fromkeys((*uses, "exhausted"), self._use),
            **dict.fromkeys(("i_free_line", "o_freed_line"), self._flush),
            **dict.fromkeys(("o_version", "o_bin"), self._open),
        }
        super().__init__(
            {
                **{name: part.signature.members[name] for name, part in self._through.items()},
                "o_line_fetch": Out(stream.Signature(shapes.address)),
                "i_line_fetched": self._fetch.signature.members["i_line"],
                "o_line_flush": self._flush.signature.members["o_line"],
                "i_line_flushed": self._flush.signature.members["i_written"],
                "o_slot_fetch": self._fetch.signature.members["o_slot"],
                "i_slot_fetched": self._fetch.signature.members["i_tuple"],
                "i_slot_written": self._use.signature.members["i_slot_written"],
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
            ("reads", self.o_slot_fetch, self.i_slot_fetched, self.shapes.most_reads),
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
        m.submodules.arrival, m.submodules.rows = self._arrival, self._row_store
        m.submodules.use, m.submodules.fetch, m.submodules.flush = use, fetch, flush
        m.submodules.open = self._open
        bins = Standing(*(Signal(n, name=field.name) for field in fields(Standing)))
        late = self._announce(m, bins, open_)
        self._rows(m)
        filled = self._tuples(m)
        self._parts(m, bins, open_)
        self._stand(m, bins, filled, late, empty)

    def _announce(self, m: Module, bins: Standing, open_: Value) -> Value:
        """Hand announcements on; return which bin's tuples are asked for late, a bit for each.

        A touch shows in ``bins.touches`` from the next cycle on. In that cycle it is known whether the first line came
        before, and its tuples were not asked for; if it comes from then on, they are.
        """
        arrival, use, fetch, n = self._arrival, self._use, self._fetch, self.entries
        shapes, announced = self.shapes, self._arrival.o_use
        m.submodules.fetches = fetches = Fifo(shape=shapes.address, depth=n + 2)
        # Two places stay free, because the level is known a cycle late: one item may have come, and one may come now.
        roomy = Signal(init=1)
        m.submodules.lates = lates = Fifo(shape=shapes.id_bits, depth=n)  # never full
        wiring.connect(m, announced, use.i_announced)
        wiring.connect(m, fetches.o, wiring.flipped(self.o_line_fetch))
        wiring.connect(m, lates.o, fetch.i_late)
        touched, id_ = Signal(), Signal(shapes.id_bits)
        m.d.comb += [
            arrival.open.eq(open_),
            arrival.used.eq(bins.used),
            arrival.may_allocate.eq(roomy & ~fetch.o_follow.valid),
            use.allocated.eq(arrival.allocated),
            fetch.o_follow.ready.eq(roomy),
            fetches.i.valid.eq(arrival.allocates | (fetch.o_follow.valid & roomy)),
            fetches.i.p.eq(Mux(
                fetch.o_follow.valid,
                fetch.o_follow.p.as_value(),
                Cat(in_bits(arrival.bin, shapes.line_bits), arrival.spare),
            )),
            lates.i.valid.eq(touched & bins.bare.bit_select(id_, 1)),
            lates.i.p.eq(id_),
            fetch.touched.valid.eq(touched),
            fetch.touched.id.eq(id_),
        ]  # fmt: skip
        m.d.sync += [
            roomy.eq(fetches.level < n),
            touched.eq(announced.valid & announced.ready & (announced.p.use == Use.TOUCH)),
            id_.eq(announced.p.id),
        ]
        return one_hot(id_, n, lates.i.valid)

    def _rows(self, m: Module) -> None:
        """Tell the rows of all that changes them, and all others what they ask for."""
        rows, arrival, use, fetch, flush = self._row_store, self._arrival, self._use, self._fetch, self._flush
        tell(m, arrival, rows, "allocates", "spare", "bin", "allocated")
        tell(m, fetch, rows, "head", "id", "row", "names", "late_read", "late_id")
        tell(m, use, rows, "touched", "touched_id", "occupancy", "changed_hot", "touch_id", "append_id")
        tell(m, self._open, rows, "told", "versioning", "opening")
        tell(m, flush, rows, "picked", "begin")
        tell(m, rows, fetch, "late_names", "late_count")
        tell(m, rows, use, "touch_count", "append_count")
        tell(m, rows, self._open, "former")
        tell(m, rows, flush, "number", "unnamed", "fetched", "used")
        m.d.comb += [
            self._open.occupancy.eq(rows.opened),
            rows.changed.eq(use.ended.changed),
            rows.changed_id.eq(use.ended.id),
            rows.count.eq(use.ended.count),
            flush.row.eq(rows.flushed),
        ]

    def _tuples(self, m: Module) -> Value:
        """Keep tuples and the slots that they lie in; return which entry gets its last tuple, a bit for each.

        What a use writes and what was fetched wait in a register each, because a verdict is late in a cycle. A use
        writes first. So what was fetched waits for tuples that stay and for tuples that join, and not for those that
        leave: a long list is filled in while another one is judged. A use that reads what is just written gets it. A
        bin is flushed later than that.
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
        used, used_place, used_item = Signal(), Signal(shapes.place), Signal(shapes.item)
        fill, filled, filled_with = fetch.o_fill, Signal(), Signal(shapes.fill)
        written, place, item = Signal(), Signal(shapes.place), Signal(shapes.item)
        ahead, item_ahead = Signal(), Signal(shapes.item)
        m.d.comb += [
            fill.ready.eq(~filled | ~used),
            written.eq(used | filled),
            place.eq(used_place),
            item.eq(Mux(used, used_item.as_value(), filled_with.item.as_value())),
            *(port.en.eq(written) for port in (items_write, slots_write)),
            *(port.addr.eq(place) for port in (items_write, slots_write)),
            items_write.data.eq(item),
            slots_write.data.eq(item.slot),
            self._row_store.written.eq(written),
            self._row_store.written_place.eq(place),
            self._row_store.written_slot.eq(item.slot),
            items_read.addr.eq(use.read),
            slots_read.addr.eq(flush.place),
            use.item.eq(Mux(ahead, item_ahead, items_read.data)),
            flush.slot.eq(slots_read.data),
        ]
        with m.If(~used):
            m.d.comb += [place.id.eq(filled_with.id), place.place.eq(filled_with.place)]
        m.d.sync += [
            used.eq(use.write),
            ahead.eq(written & (place.as_value() == use.read.as_value())),
            item_ahead.eq(item),
        ]
        with m.If(use.write):
            m.d.sync += [used_place.eq(use.write_place), used_item.eq(use.write_item)]
        with m.If(fill.ready):
            m.d.sync += [filled.eq(fill.valid), filled_with.eq(fill.p)]
        return one_hot(filled_with.id, n, filled & ~used & filled_with.last)

    def _parts(self, m: Module, bins: Standing, open_: Value) -> None:
        """Connect the parts with the standing of the bins, with each other and with the outside."""
        use, fetch, flush = self._use, self._fetch, self._flush
        announced = self._arrival.o_use
        m.d.comb += [
            self._open.touched.valid.eq(announced.valid & announced.ready & (announced.p.use == Use.TOUCH)),
            self._open.touched.id.eq(announced.p.id),
            self._open.parsed.eq(bins.parsed),
            self._open.opened.eq(bins.opened),
            use.usable.eq(bins.complete & ~bins.bare & bins.opened),
            use.parsed.eq(bins.parsed),
            use.kept.valid.eq(flush.kept),
            use.kept.id.eq(flush.id),
            fetch.wants.eq(bins.touches),
            fetch.may_link.eq(flush.may_link),
            flush.idle.valid.eq(use.last),
            flush.idle.id.eq(use.ended.id),
            flush.eligible.eq(bins.complete & bins.changed & ~bins.wanted & ~bins.on_its_way),
            flush.useless.eq(bins.wanted | ~bins.changed),
            flush.many.eq(bins.many),
            flush.begun.eq(self._arrival.allocated),
            flush.linked.eq(fetch.linked),
            flush.linked_id.eq(fetch.id),
            flush.held.eq(fetch.held),
            flush.link.eq(fetch.link),
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
        wiring.connect(m, fetch.o_slot, wiring.flipped(self.o_slot_fetch))
        wiring.connect(m, flush.o_line, wiring.flipped(self.o_line_flush))
        through(m, self, self._through)

    def _stand(self, m: Module, bins: Standing, filled: Value, late: Value, empty: Value) -> None:
        """Keep account of how every bin stands."""
        n, use, fetch, flush, arrival = self.entries, self._use, self._fetch, self._flush, self._arrival
        allocated, announced = arrival.allocated, arrival.o_use
        touches = arrival.hot & (announced.p.use == Use.TOUCH).replicate(n)
        head, begun = one_hot(fetch.id, n, fetch.head), one_hot(flush.picked, n, flush.begin)
        bare = one_hot(fetch.id, n, fetch.skips)
        ended = filled | one_hot(fetch.id, n, fetch.skips | (fetch.head & (fetch.row.count == 0)))
        release = (
            bins.used & bins.complete & ~bins.changed & ~bins.wanted & ~bins.on_its_way & ~use.writing & ~arrival.kept
        )
        landed = one_hot(flush.landed_id, n, flush.landed)
        named = self.params.line_indices[0]
        long, grown = one_hot(fetch.id, n, fetch.head & (fetch.row.count > named)), use.ended.count > named
        m.d.comb += [
            arrival.leaving.eq(release),
            empty.eq((bins.used == 0) & ~arrival.busy & (use.o_freed_slot.valid == 0)),
        ]
        m.d.sync += [
            bins.used.eq((bins.used & ~release) | allocated),
            bins.wanted.eq((bins.wanted & ~(use.ended_hot & use.last.replicate(n))) | arrival.hot),
            bins.touches.eq((bins.touches & ~allocated) | touches),
            bins.parsed.eq((bins.parsed & ~allocated) | head),
            bins.complete.eq((bins.complete & ~allocated & ~late) | ended),
            bins.bare.eq((bins.bare & ~allocated & ~late) | bare),
            bins.changed.eq((bins.changed & ~begun) | use.changed_hot),
            bins.many.eq((bins.many & ~head & ~use.changed_hot) | long | (use.changed_hot & grown.replicate(n))),
            bins.opened.eq((bins.opened & ~one_hot(use.touched_id, n, use.touched)) | self._open.opens),
            bins.on_its_way.eq((bins.on_its_way & ~landed) | begun),
        ]
