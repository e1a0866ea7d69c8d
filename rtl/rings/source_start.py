# amaranth: UnusedElaboratable=no
"""SOURCE and START: what they hold, and how the device writes them around a snapshot, and to begin a journal."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from omap.params import Params
from omap.source import SOURCE_HEADER
from omap.wire import (
    ANCESTOR_BYTES,
    HEADER,
    MOST_ANCESTORS,
    SOURCE_LINES,
    START_BYTES,
    RecordCodec,
    RecordType,
    start_lines,
)
from rtl.constants import BLOCK_BITS, BLOCK_BYTES
from rtl.rings.lineage import ANCESTOR, ANCESTORS
from rtl.rings.record import LINE_BEATS, NUMBER_BITS, SOURCE_FIELD_BYTES, digest_of, header_beat
from rtl.stream.interfaces import swap_bytes

SOURCE_BEATS = LINE_BEATS * SOURCE_LINES
"""Beats of a SOURCE: its header and its fields."""

_FIELDS = {
    "map_id": BLOCK_BITS,
    "export_id": BLOCK_BITS,
    "digest": 2 * BLOCK_BITS,
    "operation": NUMBER_BITS,
    "journal": NUMBER_BITS,
    "chunks": 32,
}
SOURCE_FIELDS = StructLayout(_FIELDS | {"zeros": 8 * SOURCE_FIELD_BYTES - sum(_FIELDS.values())})
"""The fields of a SOURCE as its bytes lie, see :mod:`omap.source`."""

START_LINES = range(start_lines(MOST_ANCESTORS) + 1)
"""Shape of the lines of a START."""

BEFORE_ANCESTORS = (HEADER.size + START_BYTES) // BLOCK_BYTES
"""Beats of a START before those of ancestors; each of these takes two."""

assert ANCESTOR_BYTES == 2 * BLOCK_BYTES
assert BEFORE_ANCESTORS % 2 == 0, "an odd beat ends an ancestor"


def source_beats(
    params: Params, *, map_id: Value, export_id: Value, operation: Value, number: Value, snapshot: Value
) -> list[Value]:
    """Return the beats of a SOURCE: of a snapshot, or of a journal, which names its map alone."""
    fields = {
        "map_id": map_id,
        "export_id": export_id,
        "digest": digest_of(params),
        "operation": swap_bytes(operation),
        "journal": swap_bytes(number),
        "chunks": swap_bytes(Const(RecordCodec(params).chunks, SOURCE_FIELDS["chunks"].width)),
        "zeros": Const(0, SOURCE_FIELDS["zeros"].width),
    }
    header = Const(int.from_bytes(SOURCE_HEADER.pack(), "little"), BLOCK_BITS)
    record = Cat(
        header, *(fields[name] if name == "map_id" else Mux(snapshot, fields[name], 0) for name, _ in SOURCE_FIELDS)
    )
    assert len(record) == SOURCE_BEATS * BLOCK_BITS
    return [record.word_select(beat, BLOCK_BITS) for beat in range(SOURCE_BEATS)]


class StartText(wiring.Component):
    """Makes the header and the text of a START, as :func:`omap.lineage.start_text` does.

    Parameters
    ----------
    params : Params
        The map.

    Members
    -------
    begin : In(1)
        Make one; for a block that makes none. All that follows is still until its last beat is taken.
    sequence : In(64)
        Its sequence number.
    map_id : In(128)
        The map's id.
    count : In(range(17))
        How many ancestors the map has.
    index : Out(range(16))
        Which ancestor is looked up.
    ancestor : In(ANCESTOR)
        The ancestor at the ``index`` of the cycle before, zeros if there is none: see
        :class:`rtl.rings.lineage.Lineage`.
    lines : Out(range(start_lines(16) + 1))
        Lines of a START with so many ancestors.
    o : Out(stream.Signature(128))
        Header and text.
    """

    def __init__(self, params: Params) -> None:
        self.params = params
        super().__init__(
            {
                "begin": In(1),
                "sequence": In(NUMBER_BITS),
                "map_id": In(BLOCK_BITS),
                "count": In(ANCESTORS),
                "index": Out(range(MOST_ANCESTORS)),
                "ancestor": In(ANCESTOR),
                "lines": Out(START_LINES),
                "o": Out(stream.Signature(BLOCK_BITS)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        beat = Signal(range(LINE_BEATS * START_LINES[-1]))
        before = Signal.like(beat)  # beats of ancestors that are before this one
        parent = beat < BEFORE_ANCESTORS
        header = header_beat(
            type=RecordType.START,
            session_index=0,
            lines=self.lines,
            count=self.count,
            session=0,
            sequence=self.sequence,
        )
        digest = digest_of(self.params)
        first = [header, *(digest.word_select(half, BLOCK_BITS) for half in range(2)), self.map_id]
        of_ancestor = Mux(beat[0], Cat(swap_bytes(self.ancestor.kept), Const(0, NUMBER_BITS)), self.ancestor.map_id)
        m.d.comb += [
            self.lines.eq(Array(start_lines(count) for count in ANCESTORS)[self.count]),
            before.eq(Mux(parent, 0, beat - BEFORE_ANCESTORS)),
            self.index.eq(before >> 1),
        ]
        with m.If(beat < len(first)):
            m.d.comb += self.o.p.eq(Array(first)[beat])
        with m.Elif(before < 2 * MOST_ANCESTORS):
            m.d.comb += self.o.p.eq(of_ancestor)
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += beat.eq(0)
                with m.If(self.begin):
                    m.next = "LOOK"
            with m.State("LOOK"):
                m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.sync += beat.eq(beat + 1)
                    m.next = "LOOK"
                    with m.If(beat == (self.lines * LINE_BEATS) - 2):  # the tag is no part of the text
                        m.next = "IDLE"
        return m
