"""Takes changed bins back to HBM, line by line."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.map.bin_shapes import HEAD, BinShapes
from rtl.map.line_chains import LineChains
from rtl.stream.fifo import Fifo
from rtl.stream.interfaces import in_bits
from rtl.stream.pick import one_hot


class BinFlush(wiring.Component):
    """A bin takes a cycle, if its first line names all its tuples. A further line takes three, and one for each tuple.

    Lines of many bins are on their way at a time: those of a bin that have arrived are counted. Further lines that the
    bin has are used before new ones; those that it no longer needs are given back.

    Bins queue from the end of their last use on. One that is used again meanwhile leaves the queue; one that is still
    on its way, or not all here, goes to its end.

    Parameters
    ----------
    shapes : BinShapes
        Widths.

    Members
    -------
    idle : In({"valid", "id"})
        No use waits for this bin any longer; it shows in ``eligible`` and ``useless`` a cycle later.
    eligible, useless : In(entries)
        Bins that may be taken back now; bins that have not changed, or that a use waits for.
    many : In(entries)
        Bins that have more tuples than a first line names.
    begin, picked : Out
        The bin ``picked`` begins. What it holds is read in this cycle.
    kept, id : Out
        The bin ``id`` has further lines, and must not change.
    number, row : In
        Number and row of bin ``picked``.
    unnamed : In(range(most + 1))
        How many of its tuples lie in the slots of ``fetched``; the others lie in those of ``used``.
    fetched, used : In(names)
        Slots of its first tuples, a cycle after ``begin`` and until the next one.
    place : Out({"place", "id"})
        Where a waiting slot is named, behind those ...
    slot : In(slot)
        ... and its number, a cycle later.
    linked, linked_id, held, link : In
        As in :class:`~rtl.map.bin_fetch.BinFetch`, and only while ``may_link``.
    may_link : Out(1)
        Links can be written in this cycle.
    begun : In(entries)
        Bins that come on chip.
    o_line : Out(stream.Signature({"address", "id", "data"}))
        Lines to write.
    i_written : In(stream.Signature(id))
        Lines that have arrived, in any order.
    landed, landed_id : Out
        A bin is in HBM as a whole; which one.
    i_free_line, o_freed_line
        From and to the free list of further lines.
    """

    def __init__(self, shapes: BinShapes) -> None:
        self.shapes = shapes
        super().__init__(
            {
                "idle": In(shapes.some_id),
                "eligible": In(shapes.entries),
                "useless": In(shapes.entries),
                "many": In(shapes.entries),
                "begin": Out(1),
                "picked": Out(shapes.id_bits),
                "kept": Out(1),
                "id": Out(shapes.id_bits),
                "number": In(shapes.bin_bits),
                "row": In(shapes.row),
                "unnamed": In(shapes.count),
                "fetched": In(shapes.names),
                "used": In(shapes.names),
                "place": Out(shapes.place),
                "slot": In(shapes.slot_bits),
                "linked": In(1),
                "linked_id": In(shapes.id_bits),
                "held": In(range(shapes.most_lines + 1)),
                "link": In(shapes.further_bits),
                "may_link": Out(1),
                "begun": In(shapes.entries),
                "o_line": Out(stream.Signature(shapes.flushed)),
                "i_written": In(stream.Signature(shapes.id_bits)),
                "landed": Out(1),
                "landed_id": Out(shapes.id_bits),
                "i_free_line": In(stream.Signature(shapes.further_bits)),
                "o_freed_line": Out(stream.Signature(shapes.further_bits)),
            }
        )

    # Long: one state machine makes lines of bins, and its states share the signals that stand before them.
    def elaborate(self, platform: object) -> Module:
        m = Module()
        shapes = self.shapes
        first_indices, further_indices = shapes.params.line_indices
        over, busy, long, ends, passes = Signal(), Signal(), Signal(), Signal(), Signal()
        m.submodules.chains = chains = LineChains(shapes)
        more = self._queue(m, ~busy | passes, self.many | chains.some)
        links = Signal(range(shapes.most_lines + 1))  # further lines of the bin so far
        trim = Signal(range(shapes.most_lines + 1))
        leaves, new_link = Signal(), Signal()
        starts = Signal()  # a bin with further lines begins
        m.d.comb += [
            self.may_link.eq(~chains.add & ~chains.end),
            chains.id.eq(self.id),
            chains.index.eq(links),
            chains.new_link.eq(self.i_free_line.p),
            chains.end.eq(ends & long),
            chains.begun.eq(self.begun),
            chains.linked.eq(self.linked),
            chains.linked_id.eq(self.linked_id),
            chains.linked_held.eq(self.held),
            chains.linked_link.eq(self.link),
            self.o_freed_line.p.eq(chains.link),
            self.kept.eq(busy & long & ~over),
        ]

        # What a bin holds is read when it begins.
        row, number, unnamed = Signal(shapes.row), Signal(shapes.bin_bits), Signal.like(self.unnamed)
        has_more = Signal()  # tuples that the first line does not name
        m.d.comb += has_more.eq(row.count > first_indices)
        with m.If(self.begin):
            m.d.sync += [
                self.id.eq(self.picked),
                row.eq(self.row),
                number.eq(self.number),
                unnamed.eq(self.unnamed),
                long.eq(more),
            ]

        # Slots of further lines arrive a cycle after they were asked for.
        words = [Signal(shapes.slot_bits, name=f"word_{k}") for k in range(further_indices)]
        place, word = Signal(shapes.count), Signal(range(further_indices + 1))
        got, got_word = Signal(), Signal(range(further_indices))
        all_read, no_more, reads = Signal(), Signal(), Signal()
        is_further, this_line, next_line = Signal(), Signal(shapes.further_bits), Signal(shapes.further_bits)
        m.d.comb += [
            self.place.id.eq(self.id),
            self.place.place.eq(place),
            all_read.eq(place >= row.count),
        ]
        # Nothing is read in the cycle before a line, so that `no_more` is up to date there.
        m.d.sync += [got.eq(reads), got_word.eq(word), no_more.eq(all_read)]
        with m.If(got):
            m.d.sync += Array(words)[got_word].eq(self.slot)
        line = self._first_line(row, unnamed, next_line), self._further_line(words, next_line)
        address = Mux(is_further, shapes.params.bins + this_line, number)
        self._offer(m, leaves, address, Mux(is_further, line[1], line[0]))

        lines = Signal(range(shapes.most_lines + 2))  # of the bin, all of which have left; 0 until they have
        m.d.comb += lines.eq(Mux(ends, links + 1, 0))
        self._land(m, ends | starts, lines)
        free = ~self.o_line.valid | self.o_line.ready
        with m.FSM():

            def turn() -> None:
                """Begin with the next bin, if there is one."""
                m.d.comb += over.eq(1)
                m.d.sync += busy.eq(self.begin)
                m.d.sync += [each.eq(0) for each in (word, links, is_further, next_line)]
                m.d.sync += place.eq(first_indices)
                m.next = "FIRST"

            with m.State("FIRST"):
                m.d.sync += trim.eq(chains.held)
                with m.If(~busy):
                    turn()
                with m.Elif(long):
                    m.d.comb += starts.eq(1)
                    m.next = "LINE"
                    with m.If(has_more):
                        m.next = "LINK"
                with m.Elif(~long & free):
                    m.d.comb += [leaves.eq(1), ends.eq(1), passes.eq(1)]
                    turn()
            with m.State("WORDS"):
                m.d.comb += reads.eq(~all_read & (word != further_indices))
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
                m.d.comb += [leaves.eq(free), ends.eq(leaves & no_more)]
                with m.If(ends):
                    with m.If(trim > links):
                        m.d.sync += trim.eq(trim - 1)
                        m.next = "TRIM"
                    with m.Else():
                        turn()
                with m.Elif(leaves):
                    m.d.sync += [is_further.eq(1), this_line.eq(next_line), next_line.eq(0), word.eq(0)]
                    m.d.sync += [each.eq(0) for each in words]
                    m.next = "WORDS"
            with m.State("TRIM"):
                m.d.comb += [self.o_freed_line.valid.eq(1), chains.index.eq(trim)]
                with m.If(self.o_freed_line.ready):
                    with m.If(trim == links):
                        turn()
                    with m.Else():
                        m.d.sync += trim.eq(trim - 1)
        return m

    def _land(self, m: Module, told: Value, lines: Signal) -> None:
        """Count the lines of each bin that arrive, and tell when all have.

        With ``told``, ``lines`` is how many lines the bin ``id`` has; 0 while more are to leave. The last line of a bin
        arrives after its number was told.
        """
        n = self.shapes.entries
        small = {"ram_style": "distributed"}
        m.submodules.totals = totals = Memory(shape=lines.shape(), depth=n, init=[], attrs=small)
        m.submodules.arrivals = arrivals = Memory(shape=lines.shape(), depth=n, init=[], attrs=small)
        total, arrived = totals.read_port(domain="comb"), arrivals.read_port(domain="comb")
        tell_total, count_arrived = totals.write_port(), arrivals.write_port()
        begun = Signal(n)  # bins of which some lines have arrived: a reset leaves memories as they are
        came, before, number = Signal(), Signal(lines.shape()), Signal(lines.shape())
        same = came & (self.landed_id == self.i_written.p)  # what the line before counts to is not in memory yet
        counted = Mux(begun.bit_select(self.i_written.p, 1), arrived.data, 0)
        m.d.sync += [
            came.eq(self.i_written.valid),
            self.landed_id.eq(self.i_written.p),
            before.eq(Mux(same, Mux(self.landed, 0, number), counted)),
        ]
        m.d.comb += [
            self.i_written.ready.eq(1),
            tell_total.en.eq(told),
            tell_total.addr.eq(self.id),
            tell_total.data.eq(lines),
            total.addr.eq(self.landed_id),
            arrived.addr.eq(self.i_written.p),
            number.eq(before + 1),
            self.landed.eq(came & (number == total.data)),
            count_arrived.en.eq(came),
            count_arrived.addr.eq(self.landed_id),
            count_arrived.data.eq(number),
        ]
        m.d.sync += begun.eq((begun | one_hot(self.landed_id, n, came)) & ~one_hot(self.landed_id, n, self.landed))

    def _queue(self, m: Module, may: Value, many: Value) -> Value:
        """Queue bins, and begin with the first if it may be taken back; return its bit of ``many``.

        A bin is in the queue once at most.

        How the first bin stands was looked up in the cycle before. A use that was announced in that cycle comes so much
        later that the bin is read before, and so does the version that is told for it. A bin that gets idle joins a
        cycle later, so that there is a cycle to find out whether it is in the queue already.
        """
        shapes, n = self.shapes, self.shapes.entries
        m.submodules.queue = queue = Fifo(shape=shapes.id_bits, depth=n)
        queued, waits = Signal(n), Signal()
        joins, leaves, again, moves = Signal(), Signal(), Signal(), Signal()
        idle, was_queued, has_left = Signal.like(self.idle), Signal(), Signal()

        # Two registers and a choice behind them: a choice among ids before them would lie on the longest path.
        stands = StructLayout({"eligible": 1, "useless": 1, "many": 1})
        next_, now, moved, first = Signal(stands), Signal(stands), Signal(), Signal(stands)
        for known, id_ in ((next_, queue.o.p), (now, self.picked)):
            m.d.sync += [
                known.eligible.eq(self.eligible.bit_select(id_, 1)),
                known.useless.eq(self.useless.bit_select(id_, 1)),
                known.many.eq(many.bit_select(id_, 1)),
            ]
        m.d.sync += moved.eq(moves)
        m.d.comb += first.eq(Mux(moved, next_.as_value(), now.as_value()))
        m.d.sync += [
            idle.eq(self.idle),
            was_queued.eq(queued.bit_select(self.idle.id, 1)),
            has_left.eq(leaves & (self.picked == self.idle.id)),
        ]
        m.d.comb += [
            joins.eq(idle.valid & (~was_queued | has_left)),
            self.begin.eq(waits & first.eligible & may),
            # It was looked up while the use that made it idle was about to end.
            leaves.eq(self.begin | (waits & first.useless & ~(idle.valid & (idle.id == self.picked)))),
            again.eq(waits & ~first.eligible & ~first.useless & ~joins),
            queue.i.valid.eq(joins | again),
            queue.i.p.eq(Mux(joins, idle.id, self.picked)),
            moves.eq(~waits | leaves | again),
            queue.o.ready.eq(moves),
        ]
        m.d.sync += queued.eq((queued & ~one_hot(self.picked, n, leaves)) | one_hot(idle.id, n, joins))
        with m.If(moves):
            m.d.sync += [waits.eq(queue.o.valid), self.picked.eq(queue.o.p)]
        return first.many

    def _first_line(self, row: Value, unnamed: Value, link: Value) -> Value:
        """Return the first line of a bin."""
        shapes = self.shapes
        slots = [
            Mux(
                k < row.count,
                Mux(k < unnamed, *(names.word_select(k, shapes.slot_bits) for names in (self.fetched, self.used))),
                0,
            )
            for k in range(shapes.params.line_indices[0])
        ]
        head = {"version": row.version, "count": row.count, "occupancy": row.occupancy, "link": link}
        return Cat(*(in_bits(head[name], field.width) for name, field in HEAD), *(in_bits(slot, 32) for slot in slots))

    def _further_line(self, words: list[Signal], link: Value) -> Value:
        """Return a line that holds a link and slots alone."""
        return Cat(in_bits(link, 32), *(in_bits(word, 32) for word in words))

    def _offer(self, m: Module, leaves: Value, address: Value, data: Value) -> None:
        """Offer a line when it leaves."""
        with m.If(self.o_line.ready):
            m.d.sync += self.o_line.valid.eq(0)
        with m.If(leaves):
            m.d.sync += [
                self.o_line.valid.eq(1),
                self.o_line.p.id.eq(self.id),
                self.o_line.p.address.eq(address),
                self.o_line.p.data.eq(data),
            ]
