# amaranth: UnusedElaboratable=no
"""Uses bins in the order in which they were announced: waiting tuples are offered and judged, and others join."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from rtl.map.bin_append import BinAppend
from rtl.map.bin_order import BinOrder
from rtl.map.bin_shapes import BinShapes
from rtl.map.bin_touch import BinTouch
from rtl.stream.fifo import Fifo
from rtl.stream.pick import one_hot
from rtl.stream.ways import tell, through

ENDING = 4
"""Most touches whose occupancy has come, and that wait to end."""


class BinUse(wiring.Component):
    """The point at which lists change. Touches and appends run beside each other, but for those of one bin.

    A touch takes one cycle for each tuple and one for its end, an append takes two. Both write tuples to one memory,
    and end one at a time: so a touch and an append together take two cycles and one for each tuple.

    Parameters
    ----------
    shapes : BinShapes
        Widths.

    Members
    -------
    i_announced, allocated, last
        As in :class:`~rtl.map.bin_order.BinOrder`.
    usable, parsed : In(entries)
        Bins of which all tuples are here, and whose occupancy has been told for the next touch; bins of which
        the first line is here.
    kept : In({"valid", "id"})
        A bin that must not change.
    touch_id, append_id : Out(id)
        The bins of the next touch and of the next append ...
    touch_count, append_count : In(range(most + 1))
        ... and how many tuples they have.
    touched, touched_id, occupancy : Out
        A touch ends: of which bin; its occupancy from now on.
    ended : Out({"valid", "id", "number", "count", "changed"})
        Later, and for appends: a use has ended. ``changed``: the bin has ``count`` tuples from now on.
    ended_hot, changed_hot : Out(entries)
        The same, a bit for each bin: its use has ended; it has changed.
    read, item
        As in :class:`~rtl.map.bin_touch.BinTouch`.
    write, write_place, write_item : Out
        Place to write.
    writing, exhausted
        As in :class:`~rtl.map.bin_append.BinAppend`.
    o_waiting, i_verdict, i_occupancy, i_append, o_slot_write, i_slot_written, i_free_slot, o_freed_slot
        As in :class:`~rtl.map.waiting.WaitingBins`.
    """

    def __init__(self, shapes: BinShapes) -> None:
        self.shapes = shapes
        self.order, self.touch, self.append = BinOrder(shapes), BinTouch(shapes), BinAppend(shapes)
        self._through = {
            **dict.fromkeys(("i_announced", "allocated", "last"), self.order),
            **dict.fromkeys(("o_waiting", "i_verdict", "i_occupancy", "o_freed_slot", "read", "item"), self.touch),
            **dict.fromkeys(("i_append", "o_slot_write", "i_slot_written", "i_free_slot"), self.append),
            **dict.fromkeys(("writing", "exhausted"), self.append),
        }
        entries = shapes.entries
        super().__init__(
            {
                **{name: part.signature.members[name] for name, part in self._through.items()},
                "usable": In(entries),
                "parsed": In(entries),
                "kept": In(shapes.some_id),
                "touch_id": Out(shapes.id_bits),
                "append_id": Out(shapes.id_bits),
                "touch_count": In(shapes.count),
                "append_count": In(shapes.count),
                "touched": Out(1),
                "touched_id": Out(shapes.id_bits),
                "occupancy": Out(shapes.params.page_slots),
                "ended": Out(StructLayout({"valid": 1, **dict(shapes.leaving.members), "changed": 1})),
                "ended_hot": Out(entries),
                "changed_hot": Out(entries),
                "write": Out(1),
                "write_place": Out(shapes.place),
                "write_item": Out(shapes.item),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        order, touch, append = self.order, self.touch, self.append
        m.submodules.order, m.submodules.touch, m.submodules.append = order, touch, append
        through(m, self, self._through)
        wiring.connect(m, order.o_touch, touch.i_turn)
        wiring.connect(m, order.o_append, append.i_turn)
        tell(m, append, touch, "appending", "appended", "joins", "tail")
        touch_id, append_id = order.o_touch.p.id, order.o_append.p.id
        m.d.comb += [
            self.touch_id.eq(touch_id),
            self.append_id.eq(append_id),
            touch.held.valid.eq(append.held),
            touch.held.id.eq(append.leaving.id),
            touch.held.number.eq(append.leaving.number),
            touch.held_joins.eq(append.joined),
        ]
        self._look_up(m, touch, self.usable, order.touch_due, self.touch_count)
        self._look_up(m, append, self.parsed, order.append_due, self.append_count)
        self._write(m)
        self._end(m)
        return m

    def _look_up(self, m: Module, part: BinTouch | BinAppend, bins: Value, due: Value, count: Value) -> None:
        """Tell of the next use how its bin stood a cycle ago: an id reaches the state of all bins, which takes a cycle.

        What permits a use does not change any more until it begins: all uses before it have ended, or an append right
        before it has brought its tuple, which is in ``count`` in neither of the two cycles.
        """
        id_ = part.i_turn.p.id
        m.d.sync += [
            part.usable.eq(
                bins.bit_select(id_, 1) & ~(self.kept.valid & (self.kept.id == id_)) & part.i_turn.valid
                & ~part.i_turn.ready
            ),
            part.due.eq(due),
            part.count.eq(count),
        ]  # fmt: skip

    def _write(self, m: Module) -> None:
        """Tuples that are judged are written first; one that joins waits."""
        touch, append = self.touch, self.append
        m.d.comb += [
            append.may_leave.eq(~touch.claims_item),
            self.write.eq(touch.keep | (append.held & append.joined & append.may_leave)),
            self.write_place.eq(Mux(touch.claims_item, touch.write_place.as_value(), append.place.as_value())),
            self.write_item.eq(Mux(touch.claims_item, touch.write_item.as_value(), append.item.as_value())),
        ]

    def _end(self, m: Module) -> None:
        """Let one use end at a time: an append when its tuple is written, a touch when none does."""
        order, touch, append, n = self.order, self.touch, self.append, self.shapes.entries
        m.submodules.touched = touched = Fifo(shape=self.shapes.leaving, depth=ENDING)
        appended, ends, changes, leaving = Signal(), Signal(), Signal(), Signal(self.shapes.leaving)
        m.d.comb += [
            touch.may_end.eq(touched.i.ready),
            touched.i.valid.eq(touch.touched),
            touched.i.p.eq(touch.leaving),
            touched.o.ready.eq(~appended),
            self.touched.eq(touch.touched),
            self.touched_id.eq(touch.leaving.id),
            self.occupancy.eq(self.i_occupancy.p),
            appended.eq(append.held & append.may_leave),
            ends.eq(appended | touched.o.valid),
            changes.eq(Mux(appended, append.joined, touched.o.valid)),
            leaving.eq(Mux(appended, append.leaving.as_value(), touched.o.p.as_value())),
            order.ended.valid.eq(self.ended.valid),
            order.ended.id.eq(self.ended.id),
            order.ended.number.eq(self.ended.number),
            order.ended_hot.eq(self.ended_hot),
        ]
        m.d.sync += [
            self.ended.valid.eq(ends),
            self.ended.changed.eq(changes),
            self.ended.id.eq(leaving.id),
            self.ended.number.eq(leaving.number),
            self.ended.count.eq(leaving.count),
            self.ended_hot.eq(one_hot(leaving.id, n, ends)),
            self.changed_hot.eq(one_hot(leaving.id, n, changes)),
        ]
