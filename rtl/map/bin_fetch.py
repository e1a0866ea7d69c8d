"""Brings bins from HBM: parses their lines, asks for the tuples that these name, and follows links."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout, View
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.map.bin_shapes import HEAD, BinShapes
from rtl.stream.fifo import Fifo
from rtl.stream.interfaces import in_bits


class BinFetch(wiring.Component):
    """Takes lines as they come. A line takes one cycle, and one for each tuple that is asked for.

    The line that a line links to is asked for before its tuples are: a long list costs one access to HBM after the
    other, and nothing between them.

    A bin that is only appended to needs no tuples: they are not asked for, if one line names them all. When such a bin
    is announced for a touch, they are asked for late, by the names that its line had.

    Parameters
    ----------
    shapes : BinShapes
        Widths.

    Members
    -------
    i_line : In(stream.Signature({"id", "data"}))
        Lines of bins, in any order.
    may_link : In(1)
        The links of a bin can be written in this cycle.
    wants : In(entries)
        Bins that have been announced for a touch since they came on chip.
    touched : In({"valid", "id"})
        The one that was announced for a touch in the cycle before.
    head, id, row, names : Out
        A first line has come: the bin, its row, and the slots that the line names.
    skips : Out(1)
        With ``head``: there are tuples, and they are not asked for.
    i_late : In(stream.Signature(id))
        Bins whose tuples were not asked for, and are needed.
    late_read, late_id : Out
        Read the names that the line of this bin had, and its count ...
    late_names, late_count : In
        ... which stay, from the next cycle on.
    linked, held, link : Out
        The bin ``id`` has ``held`` further lines so far, the last of them ``link``.
    o_follow : Out(stream.Signature({"address", "id"}))
        Further lines to fetch.
    o_slot : Out(stream.Signature(slot))
        Slots to read.
    i_tuple : In(stream.Signature(entry))
        What was read, in order.
    o_fill : Out(stream.Signature({"id", "place", "last", "item"}))
        Tuples with their slots and their places; ``last`` ends the bin.
    """

    def __init__(self, shapes: BinShapes) -> None:
        self.shapes = shapes
        super().__init__(
            {
                "i_line": In(stream.Signature(shapes.line)),
                "may_link": In(1),
                "wants": In(shapes.entries),
                "touched": In(shapes.some_id),
                "head": Out(1),
                "names": Out(shapes.names),
                "skips": Out(1),
                "i_late": In(stream.Signature(shapes.id_bits)),
                "late_read": Out(1),
                "late_id": Out(shapes.id_bits),
                "late_names": In(shapes.names),
                "late_count": In(shapes.count),
                "linked": Out(1),
                "id": Out(shapes.id_bits),
                "row": Out(shapes.row),
                "held": Out(range(shapes.most_lines + 1)),
                "link": Out(shapes.further_bits),
                "o_follow": Out(stream.Signature(shapes.address)),
                "o_slot": Out(stream.Signature(shapes.slot_bits)),
                "i_tuple": In(stream.Signature(shapes.entry_bits)),
                "o_fill": Out(stream.Signature(shapes.fill)),
            }
        )

    # Long: one state machine takes lines apart, and its states share the signals that stand before them.
    def elaborate(self, platform: object) -> Module:
        m = Module()
        shapes = self.shapes
        params, n = shapes.params, shapes.entries
        first_indices, further_indices = params.line_indices
        count = shapes.count

        # Where to go on when a further line comes, and for which bins one is under way.
        rest_shape = StructLayout({"remaining": count, "place": count, "held": range(shapes.most_lines + 1)})
        m.submodules.rests = rests = Memory(shape=rest_shape, depth=n, init=[], attrs={"ram_style": "distributed"})
        rest_write, rest_read = rests.write_port(), rests.read_port(domain="comb")
        is_further = Signal(n)

        # A line waits for a cycle or more: what it is was looked up when it came. That stays true, because no other
        # line of its bin is on its way; an announcement for a touch that comes meanwhile is told.
        here, arrived, further, wanted = Signal(), Signal(shapes.line), Signal(), Signal()
        wanted_now = wanted | (self.touched.valid & (self.touched.id == arrived.id))
        head = View(HEAD, arrived.data[: HEAD.size])
        takes = Signal()
        id_, link, indices = Signal(shapes.id_bits), Signal(shapes.further_bits), Signal(len(arrived.data) - 32)
        in_line, remaining, place = Signal(range(further_indices + 1)), Signal(count), Signal(count)
        held = Signal.like(self.held)
        m.d.comb += [
            self.i_line.ready.eq(~here | takes),
            rest_read.addr.eq(arrived.id),
            self.row.version.eq(head.version),
            self.row.occupancy.eq(head.occupancy),
            self.row.count.eq(head.count),
            self.head.eq(takes & ~further),
            self.names.eq(Cat(arrived.data[HEAD.size + 32 * k :][: shapes.slot_bits] for k in range(first_indices))),
            self.id.eq(Mux(takes, arrived.id, id_)),
            self.link.eq(link),
            rest_write.addr.eq(id_),
            self.o_follow.p.address.eq(params.bins + link),
            self.o_follow.p.id.eq(id_),
        ]

        with m.If(self.i_line.ready):
            m.d.sync += here.eq(self.i_line.valid)
            with m.If(self.i_line.valid):
                m.d.sync += [
                    arrived.eq(self.i_line.p),
                    further.eq(is_further.bit_select(self.i_line.p.id, 1)),
                    wanted.eq(self.wants.bit_select(self.i_line.p.id, 1)),
                ]
        with m.Else():
            m.d.sync += wanted.eq(wanted_now)

        # The tuples asked for come in order: `asked` remembers where they belong.
        asked_shape = StructLayout(
            {"id": shapes.id_bits, "place": shapes.place_bits, "last": 1, "slot": shapes.slot_bits}
        )
        m.submodules.asked = asked = Fifo(shape=asked_shape, depth=shapes.most_reads)
        m.d.comb += [
            self.o_slot.p.eq(indices[: shapes.slot_bits]),
            asked.i.p.id.eq(id_),
            asked.i.p.place.eq(place),
            asked.i.p.last.eq(remaining == 1),
            asked.i.p.slot.eq(indices[: shapes.slot_bits]),
            self.o_fill.valid.eq(self.i_tuple.valid & asked.o.valid),
            self.o_fill.p.id.eq(asked.o.p.id),
            self.o_fill.p.place.eq(asked.o.p.place),
            self.o_fill.p.last.eq(asked.o.p.last),
            self.o_fill.p.item.slot.eq(asked.o.p.slot),
            self.o_fill.p.item.entry.eq(self.i_tuple.p),
            asked.o.ready.eq(self.o_fill.ready & self.i_tuple.valid),
            self.i_tuple.ready.eq(self.o_fill.ready & asked.o.valid),
        ]

        # The names of a bin that is late are read while what is before it goes on.
        late, late_id, takes_late = Signal(), Signal(shapes.id_bits), Signal()
        late_indices = Signal(32 * first_indices)
        m.d.comb += [
            self.i_late.ready.eq(~late | takes_late),
            self.late_read.eq(self.i_late.valid & self.i_late.ready),
            self.late_id.eq(self.i_late.p),
            late_indices.eq(
                Cat(in_bits(self.late_names.word_select(k, shapes.slot_bits), 32) for k in range(first_indices))
            ),
        ]
        with m.If(self.i_late.ready):
            m.d.sync += late.eq(self.i_late.valid)
            with m.If(self.i_late.valid):
                m.d.sync += late_id.eq(self.i_late.p)

        # Where the tuples of the next line go: known as soon as this line is here, and asked for before its own tuples.
        m.d.comb += [
            rest_write.data.remaining.eq(remaining - in_line),
            rest_write.data.place.eq(place + in_line),
            rest_write.data.held.eq(held + 1),
        ]
        with m.FSM():
            with m.State("LINE"):
                rest, named, most = rest_read.data, Signal(count), Signal(range(further_indices + 1))
                m.d.comb += [
                    takes.eq(here & ~late),
                    takes_late.eq(late),
                    named.eq(Mux(further, rest.remaining, head.count)),
                    most.eq(Mux(further, further_indices, first_indices)),
                    # Longer lists are rare: they are always asked for, so that one line has all names of the others.
                    self.skips.eq(self.head & (head.count != 0) & (head.count <= first_indices) & ~wanted_now),
                ]
                with m.If(late):
                    m.d.sync += [
                        id_.eq(late_id),
                        indices.eq(late_indices),
                        remaining.eq(self.late_count),
                        in_line.eq(self.late_count),
                        place.eq(0),
                    ]
                    m.next = "INDICES"
                with m.Else():
                    m.d.sync += [
                        id_.eq(arrived.id),
                        indices.eq(Mux(further, arrived.data >> 32, arrived.data >> HEAD.size)),
                        link.eq(Mux(further, arrived.data[:32], head.link)),
                        remaining.eq(named),
                        in_line.eq(Mux(named > most, most, named)),
                        place.eq(Mux(further, rest.place, 0)),
                        held.eq(Mux(further, rest.held, 0)),
                    ]
                with m.If(takes):
                    m.d.sync += is_further.bit_select(arrived.id, 1).eq(0)
                    with m.If(named > most):
                        m.next = "LINK"
                    with m.Elif((further | (head.count != 0)) & ~self.skips):
                        m.next = "INDICES"
            with m.State("LINK"):
                m.d.comb += [self.linked.eq(self.may_link), self.held.eq(held + 1), rest_write.en.eq(1)]
                with m.If(self.may_link):
                    m.next = "FOLLOW"
            with m.State("FOLLOW"):
                m.d.comb += self.o_follow.valid.eq(1)
                with m.If(self.o_follow.ready):
                    m.d.sync += is_further.bit_select(id_, 1).eq(1)
                    m.next = "INDICES"
            with m.State("INDICES"):
                m.d.comb += [self.o_slot.valid.eq(asked.i.ready), asked.i.valid.eq(self.o_slot.ready)]
                with m.If(asked.i.valid & asked.i.ready):
                    m.d.sync += [
                        indices.eq(indices >> 32),
                        in_line.eq(in_line - 1),
                        remaining.eq(remaining - 1),
                        place.eq(place + 1),
                    ]
                    with m.If(in_line == 1):
                        m.next = "LINE"
        return m
