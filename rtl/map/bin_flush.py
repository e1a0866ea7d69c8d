"""Takes changed bins back to HBM, line by line."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.map.bin_shapes import BinShapes
from rtl.map.line_chains import LineChains
from rtl.stream.pick import first


class BinFlush(wiring.Component):
    """Gathers the lines of one bin while the line before is on offer. A line takes two cycles and one for each tuple.

    The last line of a bin leaves when all others have arrived, so that its arrival tells that the whole bin is in HBM.
    Further lines that the bin has are used before new ones; those that it no longer needs are given back.

    Parameters
    ----------
    shapes : BinShapes
        Widths.

    Members
    -------
    eligible : In(entries)
        Bins that may be taken back: they have changed, no use waits for them, and no line of them is on its way.
    begin, picked : Out
        The bin ``picked`` begins. What it holds must not change while the block is ``busy`` with it.
    busy, id : Out
        A bin is being gathered, and which.
    over : Out(1)
        If one is, this is the last cycle of it.
    number, row : In
        Number and row of bin ``id``.
    place : Out({"place", "id"})
        Where a waiting slot is named ...
    slot : In(slot)
        ... and its number, a cycle later.
    linked, linked_id, held, link : In
        As in :class:`~rtl.map.bin_fetch.BinFetch`, and only while ``may_link``.
    may_link : Out(1)
        Links can be written in this cycle.
    o_line : Out(stream.Signature({"address", "id", "data"}))
        Lines to write.
    i_written : In(stream.Signature(id))
        Lines that have arrived, in any order.
    landed : Out(1)
        The bin of ``i_written`` is in HBM as a whole.
    i_free_line, o_freed_line
        From and to the free list of further lines.
    """

    def __init__(self, shapes: BinShapes) -> None:
        self.shapes = shapes
        super().__init__(
            {
                "eligible": In(shapes.entries),
                "begin": Out(1),
                "picked": Out(shapes.id_bits),
                "busy": Out(1),
                "id": Out(shapes.id_bits),
                "over": Out(1),
                "number": In(shapes.bin_bits),
                "row": In(shapes.row),
                "place": Out(shapes.place),
                "slot": In(shapes.slot_bits),
                "linked": In(1),
                "linked_id": In(shapes.id_bits),
                "held": In(range(shapes.most_lines + 1)),
                "link": In(shapes.further_bits),
                "may_link": Out(1),
                "o_line": Out(stream.Signature(shapes.flushed)),
                "i_written": In(stream.Signature(shapes.id_bits)),
                "landed": Out(1),
                "i_free_line": In(stream.Signature(shapes.further_bits)),
                "o_freed_line": Out(stream.Signature(shapes.further_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        shapes = self.shapes
        params, n = shapes.params, shapes.entries
        first_indices, further_indices = params.line_indices

        # Which bin is next is found two cycles ahead, and looked at again when it begins.
        candidates, found = Signal(n), Signal()
        any_, index = first(m, candidates, "candidate")
        m.d.sync += [candidates.eq(self.eligible), found.eq(any_), self.picked.eq(index)]
        m.d.comb += self.begin.eq(self.over & found & self.eligible.bit_select(self.picked, 1))

        m.submodules.chains = chains = LineChains(shapes)
        links = Signal(range(shapes.most_lines + 1))  # further lines of the bin so far
        trim = Signal(range(shapes.most_lines + 1))
        leaves, ends, new_link = Signal(), Signal(), Signal()
        m.d.comb += [
            self.may_link.eq(~chains.add & ~ends),
            chains.id.eq(self.id),
            chains.index.eq(links),
            chains.new_link.eq(self.i_free_line.p),
            chains.end.eq(ends),
            chains.linked.eq(self.linked),
            chains.linked_id.eq(self.linked_id),
            chains.linked_held.eq(self.held),
            chains.linked_link.eq(self.link),
            self.o_freed_line.p.eq(chains.link),
        ]

        # Slots arrive a cycle after they were asked for.
        words = [Signal(shapes.slot_bits, name=f"word_{k}") for k in range(further_indices)]
        place, word = Signal(range(shapes.most + 1)), Signal(range(further_indices + 1))
        got, got_word = Signal(), Signal(range(further_indices))
        all_read, no_more, line_full, reads = Signal(), Signal(), Signal(), Signal()
        is_further, this_line, next_line = Signal(), Signal(shapes.further_bits), Signal(shapes.further_bits)
        m.d.comb += [
            self.place.id.eq(self.id),
            self.place.place.eq(place),
            all_read.eq(place == self.row.count),
            line_full.eq(word == Mux(is_further, further_indices, first_indices)),
        ]
        # Nothing is read in the cycle before a line, so that `no_more` is up to date there.
        m.d.sync += [got.eq(reads), got_word.eq(word), no_more.eq(all_read)]
        with m.If(got):
            m.d.sync += Array(words)[got_word].eq(self.slot)

        clear_words = [each.eq(0) for each in words]
        self._offer(m, words, leaves, Mux(is_further, params.bins + this_line, self.number), is_further, next_line)

        # Arrivals of all lines but the last are counted.
        ended, unarrived = Signal(), Signal(range(shapes.most_lines + 2))
        own = Signal()
        m.d.comb += [
            self.i_written.ready.eq(1),
            own.eq(self.i_written.valid & self.busy & ~ended & (self.i_written.p == self.id)),
            self.landed.eq(self.i_written.valid & ~own),
        ]
        m.d.sync += unarrived.eq(unarrived + (leaves & ~ends) - own)
        with m.FSM():

            def turn() -> None:
                """Begin with the next bin, if there is one."""
                m.d.comb += self.over.eq(1)
                m.d.sync += [
                    self.busy.eq(self.begin),
                    self.id.eq(self.picked),
                    *[each.eq(0) for each in (place, word, links, is_further, next_line, ended)],
                    *clear_words,
                ]
                with m.If(self.begin):
                    m.next = "WORDS"
                with m.Else():
                    m.next = "PICK"

            with m.State("PICK"):
                turn()
            with m.State("WORDS"):
                m.d.comb += reads.eq(~all_read & ~line_full)
                m.d.sync += trim.eq(chains.held)
                with m.If(reads):
                    m.d.sync += [place.eq(place + 1), word.eq(word + 1)]
                with m.Elif(all_read):
                    m.next = "LINE"
                with m.Else():
                    m.next = "LINK"
            with m.State("LINK"):  # the lines it has come first, then new ones
                m.d.comb += [
                    new_link.eq(links >= trim),
                    self.i_free_line.ready.eq(new_link),
                    chains.add.eq(new_link & self.i_free_line.valid),
                ]
                m.d.sync += next_line.eq(Mux(new_link, self.i_free_line.p, chains.link))
                with m.If(~new_link | self.i_free_line.valid):
                    m.d.sync += links.eq(links + 1)
                    m.next = "LINE"
            with m.State("LINE"):
                m.d.comb += [
                    leaves.eq((~self.o_line.valid | self.o_line.ready) & (~no_more | (unarrived == 0))),
                    ends.eq(leaves & no_more),
                ]
                with m.If(ends):
                    with m.If(trim > links):
                        m.d.sync += [ended.eq(1), trim.eq(trim - 1)]
                        m.next = "TRIM"
                    with m.Else():
                        turn()
                with m.Elif(leaves):
                    m.d.sync += [is_further.eq(1), this_line.eq(next_line), next_line.eq(0), word.eq(0)]
                    m.d.sync += clear_words
                    m.next = "WORDS"
            with m.State("TRIM"):
                m.d.comb += [self.o_freed_line.valid.eq(1), chains.index.eq(trim)]
                with m.If(self.o_freed_line.ready):
                    with m.If(trim == links):
                        turn()
                    with m.Else():
                        m.d.sync += trim.eq(trim - 1)
        return m

    def _offer(
        self, m: Module, words: list[Signal], leaves: Signal, address: Value, is_further: Signal, link: Signal
    ) -> None:
        """Offer a line when it leaves: the first of a bin, or one that holds a link and slots alone."""
        wide = [(each | Signal(32))[:32] for each in words]
        link_word = (link | Signal(32))[:32]
        first_line = Cat(
            self.row.version,
            (self.row.count | Signal(16))[:16],
            (self.row.occupancy | Signal(32))[:32],
            link_word,
            *wide[: self.shapes.params.line_indices[0]],
        )
        with m.If(self.o_line.ready):
            m.d.sync += self.o_line.valid.eq(0)
        with m.If(leaves):
            m.d.sync += [
                self.o_line.valid.eq(1),
                self.o_line.p.id.eq(self.id),
                self.o_line.p.address.eq(address),
                self.o_line.p.data.eq(Mux(is_further, Cat(link_word, *wide), first_line)),
            ]
