"""Gives every use of a bin its turn: after all uses of the same bin that were announced before it."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.map.bin_shapes import BinShapes, Use
from rtl.stream.fifo import Fifo

STYLE = {"ram_style": "distributed"}


class BinOrder(wiring.Component):
    """Numbers the uses of each bin, and keeps touches and appends apart, each in the order of their announcements.

    The uses of one bin count from 0, from the announcement that brought the bin on chip. A use is due when as many
    uses of its bin have ended as were announced before it.

    Parameters
    ----------
    shapes : BinShapes
        Widths.

    Members
    -------
    i_announced : In(stream.Signature({"id", "use", "fresh"}))
        Uses, in order.
    allocated : In(entries)
        Bins that come on chip in this cycle.
    o_touch, o_append : Out(stream.Signature({"id", "number"}))
        The next touch, and the next append: the bin and the number of the use.
    touch_due, append_due : Out(1)
        Whether it is due.
    ended : In({"valid", "id", "number"})
        A use has ended; ``number`` is the number of the next use of the bin.
    ended_hot : In(entries)
        The same, a bit for each bin.
    last : Out(1)
        With ``ended``: no further use of the bin is announced.
    """

    def __init__(self, shapes: BinShapes) -> None:
        self.shapes = shapes
        super().__init__(
            {
                "i_announced": In(stream.Signature(shapes.announced)),
                "allocated": In(shapes.entries),
                "o_touch": Out(stream.Signature(shapes.turn)),
                "o_append": Out(stream.Signature(shapes.turn)),
                "touch_due": Out(1),
                "append_due": Out(1),
                "ended": In(shapes.some_turn),
                "ended_hot": In(shapes.entries),
                "last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        shapes, most = self.shapes, self.shapes.most_uses
        announced = self.i_announced
        under_way, following = Signal(range(most + 1)), Signal(range(most + 1))
        taken = announced.valid & announced.ready
        m.d.comb += following.eq(under_way + taken - self.ended.valid)
        m.d.sync += [under_way.eq(following), announced.ready.eq(following != most)]

        # A use is numbered in the cycle after its announcement.
        asked, asks = Signal(announced.p.shape()), Signal()
        m.submodules.numbers = numbers = Memory(shape=shapes.number_bits, depth=shapes.entries, init=[], attrs=STYLE)
        write = numbers.write_port()
        read, read_ended = numbers.read_port(domain="comb"), numbers.read_port(domain="comb")
        number = Signal(shapes.number_bits)
        m.d.sync += asks.eq(taken)
        with m.If(taken):
            m.d.sync += asked.eq(announced.p)
        m.d.comb += [
            read.addr.eq(asked.id),
            number.eq(Mux(asked.fresh, 0, read.data)),
            write.en.eq(asks),
            write.addr.eq(asked.id),
            write.data.eq(number + 1),
            read_ended.addr.eq(self.ended.id),
            self.last.eq(
                self.ended.valid & (read_ended.data == self.ended.number) & ~(asks & (asked.id == self.ended.id))
            ),
        ]

        # How many uses of each bin have ended: none, until one has since it came on chip.
        m.submodules.ends = ends = Memory(shape=shapes.number_bits, depth=shapes.entries, init=[], attrs=STYLE)
        end_write, begun = ends.write_port(), Signal(shapes.entries)
        m.d.comb += [
            end_write.en.eq(self.ended.valid),
            end_write.addr.eq(self.ended.id),
            end_write.data.eq(self.ended.number),
        ]
        m.d.sync += begun.eq((begun & ~self.allocated) | self.ended_hot)
        for use, out, due in (
            (Use.TOUCH, self.o_touch, self.touch_due),
            (Use.APPEND, self.o_append, self.append_due),
        ):
            name = use.name.lower()
            m.submodules[f"{name}_order"] = order = Fifo(shape=shapes.turn, depth=most)  # never full
            end_read = ends.read_port(domain="comb")
            m.d.comb += [
                order.i.valid.eq(asks & (asked.use == use)),
                order.i.p.id.eq(asked.id),
                order.i.p.number.eq(number),
                order.o.ready.eq(~out.valid | out.ready),
                end_read.addr.eq(out.p.id),
                due.eq(out.p.number == Mux(begun.bit_select(out.p.id, 1), end_read.data, 0)),
            ]
            with m.If(order.o.ready):
                m.d.sync += out.valid.eq(order.o.valid)
                with m.If(order.o.valid):
                    m.d.sync += out.p.eq(order.o.p)
        return m
