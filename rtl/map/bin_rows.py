"""What is known of each bin on chip beside its tuples: its number, version, occupancy, count, and its tuples' slots."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from omap.versions import KEPT_BITS
from rtl.map.bin_shapes import BinShapes
from rtl.stream.pick import one_hot

STYLE = {"ram_style": "distributed"}


class BinRows(wiring.Component):
    """Keeps apart what lines said and what uses left, so that lines and uses need not wait for each other.

    The slots of a first line lie side by side, so that a bin is taken back at once. Until a touch has ended, tuples lie
    where the line named them, and those that have joined lie behind. A touch writes all tuples that stay.

    Parameters
    ----------
    shapes : BinShapes
        Widths.

    Members
    -------
    allocates, spare, bin, allocated : In
        An entry gets a bin: which entry gets which; the same, a bit for each entry.
    head, id, row, names : In
        A first line has come: for which entry, its row, and the slots that it names.
    told : In({"valid", "id", "version"})
        A version was told for a touch: of which bin, and the version that the bin has after that touch.
    versioning, former : In(id), Out(48)
        A bin, and the version that the last touch told of gives it.
    touched, touched_id, occupancy : In
        A touch ends: the occupancy of its bin from now on.
    changed, changed_id, count, changed_hot : In
        How many tuples a bin has from now on; which one, a bit for each entry.
    written, written_place, written_slot : In
        A tuple is written: its place and its slot.
    opening, opened : In(id), Out(page_slots)
        A bin and its occupancy.
    touch_id, touch_count, append_id, append_count : In(id), Out(range(most + 1))
        Tuples of the bins that are used next.
    picked, number, flushed, unnamed : In(id), Out
        Of the bin that is taken back next: its number, its row, and how many of its tuples lie in the slots of
        ``fetched``; the others lie in those of ``used``.
    begin : In(1)
        It is taken back.
    fetched, used : Out(names)
        Slots of its first tuples, from the next cycle on.
    late_read, late_id, late_names, late_count
        As in :class:`~rtl.map.bin_fetch.BinFetch`.
    """

    def __init__(self, shapes: BinShapes) -> None:
        self.shapes = shapes
        id_, count, names = shapes.id_bits, shapes.count, shapes.names
        super().__init__(
            {
                **{
                    name: In(1) for name in ("allocates", "head", "touched", "changed", "written", "begin", "late_read")
                },
                **{name: In(id_) for name in ("spare", "id", "versioning", "touched_id", "changed_id", "opening")},
                **{name: In(id_) for name in ("picked", "late_id", "touch_id", "append_id")},
                **{name: In(shapes.entries) for name in ("allocated", "changed_hot")},
                "bin": In(shapes.bin_bits),
                "row": In(shapes.row),
                "names": In(names),
                "told": In(shapes.told),
                "occupancy": In(shapes.params.page_slots),
                "count": In(count),
                "written_place": In(shapes.place),
                "written_slot": In(shapes.slot_bits),
                "former": Out(KEPT_BITS),
                "opened": Out(shapes.params.page_slots),
                "number": Out(shapes.bin_bits),
                "flushed": Out(shapes.row),
                **{name: Out(count) for name in ("touch_count", "append_count", "unnamed", "late_count")},
                **{name: Out(names) for name in ("fetched", "used", "late_names")},
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._rows(m)
        self._names(m)
        return m

    def _rows(self, m: Module) -> None:
        shapes, n = self.shapes, self.shapes.entries

        def memory(name: str, shape: Any, en: Value, addr: Value, data: Any) -> Memory:
            m.submodules[name] = made = Memory(shape=shape, depth=n, init=[], attrs=STYLE)
            port = made.write_port()
            m.d.comb += [port.en.eq(en), port.addr.eq(addr), Value.cast(port.data).eq(Value.cast(data))]
            return made

        rows = memory("rows", shapes.row, self.head, self.id, self.row)
        versions = memory("versions", KEPT_BITS, self.told.valid, self.told.id, self.told.version)
        occupancies = memory("occupancies", self.occupancy.shape(), self.touched, self.touched_id, self.occupancy)
        counts = memory("counts", shapes.count, self.changed, self.changed_id, self.count)
        numbers = memory("numbers", shapes.bin_bits, self.allocates, self.spare, self.bin)
        # Since the line came, a version was told, a touch has ended, the count has changed.
        renewed, retold, recounted = Signal(n), Signal(n), Signal(n)
        m.d.sync += [
            renewed.eq((renewed & ~self.allocated) | one_hot(self.told.id, n, self.told.valid)),
            retold.eq((retold & ~self.allocated) | one_hot(self.touched_id, n, self.touched)),
            recounted.eq((recounted & ~self.allocated) | self.changed_hot),
        ]

        def read(memory: Memory, id_: Value) -> Any:
            port = memory.read_port(domain="comb")
            m.d.comb += port.addr.eq(id_)
            return port.data

        def choose(id_: Value, again: Value, memory: Memory, row: Value, out: Value) -> None:
            m.d.comb += out.eq(Mux(again.bit_select(id_, 1), read(memory, id_), row))

        flushed = read(rows, self.picked)
        choose(self.versioning, renewed, versions, read(rows, self.versioning).version, self.former)
        choose(self.opening, retold, occupancies, read(rows, self.opening).occupancy, self.opened)
        choose(self.touch_id, recounted, counts, read(rows, self.touch_id).count, self.touch_count)
        choose(self.append_id, recounted, counts, read(rows, self.append_id).count, self.append_count)
        choose(self.picked, renewed, versions, flushed.version, self.flushed.version)
        choose(self.picked, retold, occupancies, flushed.occupancy, self.flushed.occupancy)
        choose(self.picked, recounted, counts, flushed.count, self.flushed.count)
        m.d.comb += [
            self.unnamed.eq(Mux(retold.bit_select(self.picked, 1), 0, flushed.count)),
            self.number.eq(read(numbers, self.picked)),
        ]

    def _names(self, m: Module) -> None:
        """Keep the slots that the first lines named, as they came, and those of tuples that were written."""
        shapes, n = self.shapes, self.shapes.entries
        style = {"ram_style": "distributed" if n <= 64 else "block"}
        named = StructLayout({"count": shapes.count, "names": shapes.names})
        m.submodules.fetched = fetched = Memory(shape=named, depth=n, init=[], attrs=style)
        write, late, flushed = fetched.write_port(), fetched.read_port(), fetched.read_port()
        m.d.comb += [
            write.en.eq(self.head),
            write.addr.eq(self.id),
            write.data.count.eq(self.row.count),
            write.data.names.eq(self.names),
            late.en.eq(self.late_read),
            late.addr.eq(self.late_id),
            self.late_names.eq(late.data.names),
            self.late_count.eq(late.data.count),
            flushed.en.eq(self.begin),
            flushed.addr.eq(self.picked),
            self.fetched.eq(flushed.data.names),
        ]
        used = []
        for k in range(shapes.params.line_indices[0]):
            m.submodules[f"used_{k}"] = memory = Memory(shape=shapes.slot_bits, depth=n, init=[], attrs=style)
            write, read = memory.write_port(), memory.read_port()
            m.d.comb += [
                write.en.eq(self.written & (self.written_place.place == k)),
                write.addr.eq(self.written_place.id),
                write.data.eq(self.written_slot),
                read.en.eq(self.begin),
                read.addr.eq(self.picked),
            ]
            used.append(read.data)
        m.d.comb += self.used.eq(Cat(used))
