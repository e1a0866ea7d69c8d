"""The further lines that each bin on chip has in HBM, in the order of their links."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.map.bin_shapes import BinShapes
from rtl.stream.interfaces import in_bits
from rtl.stream.pick import one_hot


class LineChains(wiring.Component):
    """Remembers which further lines a bin has, while it is fetched and while it is written back.

    Parameters
    ----------
    shapes : BinShapes
        Widths.

    Members
    -------
    id : In(id)
        The bin that is written back.
    index : In(range(most_lines + 1))
        Which of its further lines is meant.
    link : Out(further)
        That line.
    held : Out(range(most_lines + 1))
        How many further lines the bin had before.
    some : Out(entries)
        Bins that had further lines before.
    add : In(1)
        Line ``index`` of the bin is ``new_link`` from now on.
    new_link : In(further)
        Which.
    end : In(1)
        The bin has ``index`` further lines from now on.
    begun : In(entries)
        Bins that come on chip: they have no further lines so far.
    linked : In(1)
        The bin ``linked_id``, which is being fetched, has ``linked_held`` further lines, at least one; the last one is
        ``linked_link``. Not together with ``add`` or ``end``.
    linked_id, linked_held, linked_link : In
        Which, how many, and the last one.
    """

    def __init__(self, shapes: BinShapes) -> None:
        self.shapes = shapes
        count, link = range(shapes.most_lines + 1), shapes.further_bits
        super().__init__(
            {
                "id": In(shapes.id_bits),
                "index": In(count),
                "link": Out(link),
                "held": Out(count),
                "some": Out(shapes.entries),
                "begun": In(shapes.entries),
                "add": In(1),
                "new_link": In(link),
                "end": In(1),
                "linked": In(1),
                "linked_id": In(shapes.id_bits),
                "linked_held": In(count),
                "linked_link": In(link),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        shapes, n = self.shapes, self.shapes.entries
        bits = max(1, (shapes.most_lines - 1).bit_length())
        style = {"ram_style": "distributed"}
        m.submodules.links = links = Memory(shape=shapes.further_bits, depth=n << bits, init=[], attrs=style)
        m.submodules.counts = counts = Memory(shape=range(shapes.most_lines + 1), depth=n, init=[], attrs=style)
        link_write, link_read = links.write_port(), links.read_port(domain="comb")
        count_write, count_read = counts.write_port(), counts.read_port(domain="comb")

        def at(entry: Value, link: Value) -> Value:
            return Cat(in_bits(link, bits), entry)

        m.d.comb += [
            link_write.en.eq(self.add | self.linked),
            link_write.addr.eq(Mux(self.add, at(self.id, self.index), at(self.linked_id, self.linked_held - 1))),
            link_write.data.eq(Mux(self.add, self.new_link, self.linked_link)),
            link_read.addr.eq(at(self.id, self.index)),
            self.link.eq(link_read.data),
            count_write.en.eq(self.end | self.linked),
            count_write.addr.eq(Mux(self.end, self.id, self.linked_id)),
            count_write.data.eq(Mux(self.end, self.index, self.linked_held)),
            count_read.addr.eq(self.id),
            self.held.eq(Mux(self.some.bit_select(self.id, 1), count_read.data, 0)),
        ]
        ended = one_hot(self.id, n, self.end)
        m.d.sync += self.some.eq(
            (self.some & ~self.begun & ~ended)
            | one_hot(self.linked_id, n, self.linked)
            | (ended & (self.index != 0).replicate(n))
        )
        return m
