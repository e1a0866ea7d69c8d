"""A bit for each waiting slot: which of them descriptors name."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.stream.interfaces import require_whole

MARKS = 64
"""Waiting slots of a row."""

MARK_BITS = (MARKS - 1).bit_length()

ULTRA_ROWS = 8192
"""A memory with as many rows or more is asked for in ultra RAM."""


def mark_rows(slots: int) -> int:
    """Return the rows of the marks of so many waiting slots."""
    return max(2, -(-slots // MARKS))


class SlotMarks(wiring.Component):
    """Marks one waiting slot a cycle; a row of marks is read when none comes.

    Parameters
    ----------
    slots : int
        Waiting slots.

    Members
    -------
    clear : In(1)
        For one cycle: takes all marks away.
    clearing : Out(1)
        From the cycle after ``clear`` until all are gone; no mark may come then.
    mark : In(1)
        The waiting slot ``slot`` is marked.
    slot : In(range(slots))
        See ``mark``.
    row : In(range(rows))
        Row to read. A mark of the cycle before shows in it, or of any earlier one.
    marks : Out(64)
        Marks of the ``row`` of the cycle before, if no mark came in that cycle.
    """

    def __init__(self, slots: int) -> None:
        require_whole("slots", slots, 1, 1 << 32)
        self.slots = slots
        self.rows = mark_rows(slots)
        super().__init__(
            {
                "clear": In(1),
                "clearing": Out(1),
                "mark": In(1),
                "slot": In(range(slots)),
                "row": In(range(self.rows)),
                "marks": Out(MARKS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        style = {"ram_style": "ultra" if self.rows >= ULTRA_ROWS else "block"}
        m.submodules.rows = rows = Memory(shape=MARKS, depth=self.rows, init=[], attrs=style)
        write, read = rows.write_port(), rows.read_port()
        # A mark reads its row in one cycle and writes it in the next; what the mark before it writes then is not in
        # the memory yet.
        marked, at, bit = Signal(), Signal(range(self.rows)), Signal(MARK_BITS)
        same, last, row = Signal(), Signal(MARKS), Signal(MARKS)
        cleared = Signal(range(self.rows))
        m.d.comb += [
            read.addr.eq(Mux(self.mark, self.slot >> MARK_BITS, self.row)),
            row.eq(Mux(same, last, read.data)),
            self.marks.eq(row),
            write.en.eq(marked | self.clearing),
            write.addr.eq(Mux(self.clearing, cleared, at)),
            write.data.eq(Mux(self.clearing, 0, row | (1 << bit)[:MARKS])),
        ]
        m.d.sync += [
            marked.eq(self.mark),
            at.eq(read.addr),
            bit.eq(self.slot),
            same.eq(marked & (read.addr == at)),
            last.eq(write.data),
        ]
        with m.If(self.clear):
            m.d.sync += [self.clearing.eq(1), cleared.eq(0)]
        with m.Elif(self.clearing):
            m.d.sync += [cleared.eq(cleared + 1), self.clearing.eq(cleared != self.rows - 1)]
        return m
