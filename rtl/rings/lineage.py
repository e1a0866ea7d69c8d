# amaranth: UnusedElaboratable=no
"""The ancestors of the map: which maps it was restored from, and how much of each is kept."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from omap.lineage import NO_ANCESTOR
from omap.wire import MOST_ANCESTORS
from rtl.constants import BLOCK_BITS

KEPT_BITS = 64
"""Bits of a number of operations."""

ANCESTOR = StructLayout({"map_id": BLOCK_BITS, "kept": KEPT_BITS})
"""An ancestor: its map id, and how many of its operations are kept, as a number."""

ANCESTORS = range(MOST_ANCESTORS + 1)
"""Shape of a number of ancestors."""

assert MOST_ANCESTORS & (MOST_ANCESTORS - 1) == 0, "places wrap around"


class Lineage(wiring.Component):
    """Keeps the ancestors of the map, the newest first. Must equal :class:`omap.lineage.Lineage`.

    All of it is public. Ancestors are looked for all the time, one in each cycle, so that an answer takes the same time
    whatever the answer is.

    Members
    -------
    reset : In(1)
        Forget all ancestors.
    i_ancestor : In(stream.Signature(ANCESTOR))
        An ancestor that is older than all that are known. It is taken at once, and dropped if 16 are known.
    child : In(1)
        The map ``map_id`` becomes the newest ancestor. A 17th is forgotten.
    map_id : In(128)
        See ``child``.
    operation : In(64)
        How many operations of that map are kept.
    count : Out(range(17))
        How many ancestors are known.
    index : In(range(16))
        Which ancestor is looked up; 0 is the newest.
    ancestor : Out(ANCESTOR)
        The ancestor at the ``index`` of the cycle before; zeros if there is none.
    known : In(128)
        A map id.
    kept : Out(64)
        How many operations of the newest ancestor with that id are kept, all ones if there is none. It is right when
        ``known`` and the ancestors have not changed for :attr:`latency` cycles.
    """

    latency = 2 * MOST_ANCESTORS + 3

    def __init__(self) -> None:
        super().__init__(
            {
                "reset": In(1),
                "i_ancestor": In(stream.Signature(ANCESTOR)),
                "child": In(1),
                "map_id": In(BLOCK_BITS),
                "operation": In(KEPT_BITS),
                "count": Out(ANCESTORS),
                "index": In(range(MOST_ANCESTORS)),
                "ancestor": Out(ANCESTOR),
                "known": In(BLOCK_BITS),
                "kept": Out(KEPT_BITS, init=NO_ANCESTOR),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.rows = rows = Memory(
            shape=ANCESTOR, depth=MOST_ANCESTORS, init=[], attrs={"ram_style": "distributed"}
        )
        write, asked, sought = rows.write_port(), rows.read_port(domain="comb"), rows.read_port(domain="comb")
        newest = Signal(range(MOST_ANCESTORS))  # place of the newest ancestor; older ones follow it
        full, append = Signal(), Signal()
        m.d.comb += [
            full.eq(self.count == MOST_ANCESTORS),
            self.i_ancestor.ready.eq(~self.child & ~self.reset),
            append.eq(self.i_ancestor.valid & self.i_ancestor.ready & ~full),
            write.en.eq(self.child | append),
            write.addr.eq(Mux(self.child, newest - 1, newest + self.count)),
            write.data.map_id.eq(Mux(self.child, self.map_id, self.i_ancestor.p.map_id)),
            write.data.kept.eq(Mux(self.child, self.operation, self.i_ancestor.p.kept)),
            asked.addr.eq(newest + self.index),
        ]
        with m.If(self.child):
            m.d.sync += newest.eq(newest - 1)
        with m.If(self.reset):
            m.d.sync += self.count.eq(0)
        with m.Elif(write.en & ~full):
            m.d.sync += self.count.eq(self.count + 1)
        m.d.sync += self.ancestor.eq(Mux(self.index < self.count, asked.data, 0))

        # From the oldest to the newest, so that the last one found is the newest.
        place = Signal(range(MOST_ANCESTORS))
        row, there, first, last = Signal(ANCESTOR), Signal(), Signal(), Signal()
        best, found = Signal(KEPT_BITS), Signal(KEPT_BITS)
        m.d.comb += [
            sought.addr.eq(newest + place),
            found.eq(Mux(there & (row.map_id == self.known), row.kept, Mux(first, NO_ANCESTOR, best))),
        ]
        m.d.sync += [
            place.eq(place - 1),
            row.eq(sought.data),
            there.eq(place < self.count),
            first.eq(place == MOST_ANCESTORS - 1),
            last.eq(place == 0),
            best.eq(found),
        ]
        with m.If(last):
            m.d.sync += self.kept.eq(found)
        return m
