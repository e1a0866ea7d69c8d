"""Position map entries in transit: they can be searched at any time, and are moved on one by one."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.constants import MOST_TRANSIT_ENTRIES
from rtl.stream.fifo import Fifo
from rtl.stream.interfaces import require_whole
from rtl.stream.pick import encoded, lowest, one_hot


class TransitQueue(wiring.Component):
    """Entries in transit between buckets. Must hold what :attr:`omap.position_map.PositionMap.transit` may hold.

    Moves are offered one after the other, one a cycle. The move of an entry is under way from when it joins those on
    offer. The entry stays here until its move is settled, and can be searched, changed and removed. If it was removed
    meanwhile, the move is void. Its place may have been given to another entry by then, which waits until the void
    move is settled.

    Parameters
    ----------
    entries : int
        Entries kept, 1 to 128.
    key_bits, page_bits : int
        Widths of an entry's fields.

    Members
    -------
    key : In(key_bits)
        Key to search for, in two cycles or more: keys are compared in all but the last of them.
    match : Out(entries)
        The place that holds it, if any, from the second cycle on.
    held : Out(entries)
        The places that hold something.
    vacant : Out(entries)
        The lowest place that holds nothing, if any.
    at : In(index)
        Place that is read, put to, dropped or settled.
    entry : Out({"page", "key", "table"})
        What place ``at`` holds; ``table`` is where it is on its way to.
    judged : In(index)
        Place of a move.
    valid_move : Out(1)
        The move of place ``judged`` is not void.
    put : In(1)
        Place ``at`` holds ``put_entry`` from now on.
    put_entry : In({"page", "key", "table"})
        What is put.
    drop : In(1)
        Place ``at`` holds nothing from now on.
    settle : In(1)
        The move of place ``at`` is over.
    o_move : Out(stream.Signature({"at", "key", "table"}))
        Moves: a place, the key of its entry, and where the entry is on its way to. They may have become void.
    """

    def __init__(self, *, entries: int, key_bits: int, page_bits: int) -> None:
        require_whole("entries", entries, 1, MOST_TRANSIT_ENTRIES)
        self.entries = entries
        self.entry_shape = StructLayout({"page": page_bits, "key": key_bits, "table": 1})
        self.index_bits = max((entries - 1).bit_length(), 1)
        self.move_shape = StructLayout({"at": self.index_bits, "key": key_bits, "table": 1})
        super().__init__(
            {
                "key": In(key_bits),
                "match": Out(entries),
                "held": Out(entries),
                "vacant": Out(entries),
                "at": In(self.index_bits),
                "entry": Out(self.entry_shape),
                "judged": In(self.index_bits),
                "valid_move": Out(1),
                "put": In(1),
                "put_entry": In(self.entry_shape),
                "drop": In(1),
                "settle": In(1),
                "o_move": Out(stream.Signature(self.move_shape)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        n = self.entries
        held = self.held
        moving = Signal(n)
        void = Signal(n)  # the move under way is not the move of the entry held
        keys = [Signal(len(self.key), name=f"key_{k}") for k in range(n)]

        # The keys are also in registers, where all are compared at once: a cycle ahead, and the latest one once more.
        same, latest = Signal(n), Signal(n)
        latest_key, same_as_latest = Signal.like(self.key), Signal()
        m.submodules.rows = rows = Memory(shape=self.entry_shape, depth=n, init=[], attrs={"ram_style": "distributed"})
        write, read, read_next = rows.write_port(), rows.read_port(domain="comb"), rows.read_port(domain="comb")
        m.d.comb += [
            same_as_latest.eq(latest_key == self.key),
            self.match.eq(held & Mux(same_as_latest, same | latest, same & ~latest)),
            self.vacant.eq(lowest(~held)),
            self.valid_move.eq((held & ~void).bit_select(self.judged, 1)),
            read.addr.eq(self.at),
            self.entry.eq(read.data),
            write.addr.eq(self.at),
            write.data.eq(self.put_entry),
            write.en.eq(self.put),
        ]

        # Those that wait have their turns one after the other, then those that wait by then. The entry whose turn it is
        # was chosen in the cycle before. It joins the moves on offer, if it is still here.
        m.submodules.moves = moves = Fifo(shape=self.move_shape, depth=4, registered=True)
        wiring.connect(m, moves.o, wiring.flipped(self.o_move))
        waiting, round_, turn, begun = Signal(n), Signal(n), Signal(n), Signal(n)
        m.d.comb += [
            waiting.eq(held & ~moving),
            read_next.addr.eq(encoded(turn)),
            moves.i.valid.eq((turn & waiting).any()),
            moves.i.p.at.eq(read_next.addr),
            moves.i.p.key.eq(read_next.data.key),
            moves.i.p.table.eq(read_next.data.table),
            begun.eq(turn & waiting & moves.i.ready.replicate(n)),
        ]
        with m.If(moves.i.ready):
            m.d.sync += [
                turn.eq(lowest(round_)),
                round_.eq(Mux(round_.any(), round_ & (round_ - 1), waiting & ~turn)),
            ]

        put, drop, settle = (one_hot(self.at, n, event) for event in (self.put, self.drop, self.settle))
        m.d.sync += [
            same.eq(Cat(key == self.key for key in keys)),
            latest.eq(put),
            latest_key.eq(self.put_entry.key),
            held.eq((held & ~drop) | put),
            moving.eq((moving | begun) & ~settle),
            void.eq(((void & ~drop) | (drop & (moving | begun))) & ~settle),
        ]
        for k in range(n):
            with m.If(put[k]):
                m.d.sync += keys[k].eq(self.put_entry.key)
        return m
