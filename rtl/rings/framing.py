"""Lines of the command ring cut into records, by the length that each header claims."""

from __future__ import annotations

from functools import reduce
from operator import or_

from amaranth.hdl import Array, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from omap.params import Params
from omap.wire import RecordCodec, RecordType
from rtl.constants import BLOCK_BITS, LINE_BITS
from rtl.rings.record import LINE_BEATS, RECORD_BEAT, read_header
from rtl.stream.fifo import Fifo


def command_shape(params: Params) -> StructLayout:
    """Return what a header says of the record that it begins: its lines, and that it is malformed."""
    return StructLayout({"lines": range(RecordCodec(params).most_lines + 1), "malformed": 1})


def read_shape(params: Params, line: Value, restore: Value | None = None) -> dict[str, Value]:
    """Return the fields of :func:`command_shape` for a record's first line; a malformed record is one line.

    It must equal :meth:`omap.wire.RecordCodec.command_lines`, and :meth:`omap.restore.Restore.lines` while there is a
    ``restore``.
    """
    codec, header = RecordCodec(params), read_header(line[:BLOCK_BITS])
    counts, all_lines = range(1 << len(header.count)), range(1, codec.most_lines + 1)
    tables: dict[tuple[int, ...], list[Value]] = {}  # by the lines for each count, 0 if there is none: the types
    for type in RecordType:
        for lines_of, asked in ((codec.command_lines, None), (codec.restore_lines, restore)):
            table = tuple(next((n for n in all_lines if lines_of(type, n, count)), 0) for count in counts)
            if any(table) and not (lines_of == codec.restore_lines and restore is None):
                known = header.type == type
                tables.setdefault(table, []).append(known if asked is None else known & asked)
    lines: Value = Const(0, len(header.lines))
    for table, types in tables.items():
        used = [count for count in counts if table[count]]
        size = Mux(header.count == used[0], table[used[0]], 0) if len(used) == 1 else Array(table)[header.count]
        lines = Mux(reduce(or_, types), size, lines)
    fits = (lines != 0) & (lines == header.lines)
    return {"lines": Mux(fits, lines, 1), "malformed": ~fits}


class Framing(wiring.Component):
    """Keeps lines, and hands records on as beats. A record begins to leave when all its lines are here.

    Parameters
    ----------
    params : Params
        The map.
    depth : int
        Lines that are kept at most; whoever sends them counts.
    restores : bool
        The records may be those of a restore.

    Members
    -------
    restore : In(1)
        If they may be: they are. It falls behind an END, and else changes when no record leaves.
    failed : In(1)
        If they may be: the restore has failed. Until then, and while ``restore`` is high, nothing leaves behind an END,
        because what comes after it is no part of the restore.
    i_line : In(stream.Signature(512, always_ready=True))
        Lines of the ring, in order. The first one begins a record.
    o_record : Out(stream.Signature(RECORD_BEAT))
        The records. A malformed one is a single line: its header can't be trusted to say more.
    o_lines : Out(stream.Signature(range(most_lines + 1)))
        The length of each record, before its first beat.
    freed : Out(1)
        A line has left its place.
    """

    def __init__(self, params: Params, *, depth: int, restores: bool = False) -> None:
        self.params, self.depth, self.restores = params, depth, restores
        self.shape = command_shape(params)
        super().__init__(
            ({"restore": In(1), "failed": In(1)} if restores else {})
            | {
                "i_line": In(stream.Signature(LINE_BITS, always_ready=True)),
                "o_record": Out(stream.Signature(RECORD_BEAT)),
                "o_lines": Out(stream.Signature(self.shape.members["lines"])),
                "freed": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.lines = kept = Fifo(shape=LINE_BITS, depth=self.depth, ram_style="block")
        m.d.comb += [kept.i.valid.eq(self.i_line.valid), kept.i.p.eq(self.i_line.p)]

        # The header on offer is looked at for one cycle, while the line before it leaves.
        checked, shape = Signal(), Signal(self.shape)
        remaining = Signal.like(shape.lines)  # lines of the record that leaves, still kept
        begin, take, free = Signal(), Signal(), Signal()
        held = self._hold(m, begin, kept.o.p, checked) if self.restores else Const(0, 1)
        m.d.comb += [
            self.o_lines.p.eq(shape.lines),
            self.o_lines.valid.eq(checked & free & ~held & (kept.level >= shape.lines)),
            begin.eq(self.o_lines.valid & self.o_lines.ready),
            take.eq(begin | (free & (remaining != 0))),
            kept.o.ready.eq(take),
            self.freed.eq(take),
        ]
        with m.If(begin):
            m.d.sync += [checked.eq(0), remaining.eq(shape.lines - 1)]
        with m.Else():
            m.d.sync += checked.eq(kept.o.valid & (remaining == 0) & ~held)
            with m.If(take):
                m.d.sync += remaining.eq(remaining - 1)
        with m.If(~checked):
            read = read_shape(self.params, kept.o.p, self.restore if self.restores else None)
            m.d.sync += [shape[name].eq(value) for name, value in read.items()]

        # Beats: the line on offer moves down by one beat after the other.
        line, beat, last = Signal(LINE_BITS), Signal(range(LINE_BEATS)), Signal()
        malformed, moved = Signal(), Signal()
        m.d.comb += [
            self.o_record.p.data.eq(line[:BLOCK_BITS]),
            self.o_record.p.last.eq(last & (beat == LINE_BEATS - 1)),
            self.o_record.p.malformed.eq(malformed),
            moved.eq(self.o_record.valid & self.o_record.ready),
            free.eq(~self.o_record.valid | (moved & (beat == LINE_BEATS - 1))),
        ]
        with m.If(free):
            m.d.sync += [
                self.o_record.valid.eq(take),
                line.eq(kept.o.p),
                last.eq(Mux(begin, shape.lines, remaining) == 1),
            ]
        with m.Elif(moved):
            m.d.sync += line.eq(line >> BLOCK_BITS)
        with m.If(begin):
            m.d.sync += malformed.eq(shape.malformed)
        with m.If(moved):
            m.d.sync += beat.eq(beat + 1)
        return m

    def _hold(self, m: Module, begin: Signal, line: Value, checked: Signal) -> Value:
        """Return whether the header on offer must not be looked at: an END is before it, or it may mean another now."""
        was, ends, behind_end, changed = Signal(), Signal(), Signal(), Signal()
        m.d.sync += was.eq(self.restore)
        m.d.comb += changed.eq(was ^ self.restore)
        with m.If(~checked):
            m.d.sync += ends.eq(read_header(line[:BLOCK_BITS]).type == RecordType.END)
        with m.If(begin):
            m.d.sync += behind_end.eq(ends & self.restore & ~self.failed)
        with m.Elif(~self.restore | self.failed):
            m.d.sync += behind_end.eq(0)
        return behind_end | changed
