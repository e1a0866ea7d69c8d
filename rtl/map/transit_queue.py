"""Position map entries in transit: they can be searched at any time, and are moved on one by one."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.constants import MOST_TRANSIT_ENTRIES
from rtl.stream.interfaces import require_whole
from rtl.stream.pick import encoded, lowest, one_hot


class TransitQueue(wiring.Component):
    """Entries in transit between buckets. Must hold what :attr:`omap.position_map.PositionMap.transit` may hold.

    Entries are offered one after the other to be moved. An entry that has been taken stays here until its move is
    settled, and can be searched, changed and removed. If it was removed meanwhile, the move is void. Its place may
    have been given to another entry by then, which waits until the void move is settled.

    Parameters
    ----------
    entries : int
        Entries kept, 1 to 64.
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
    next_valid : Out(1)
        An entry waits to be moved. It is withdrawn if it is dropped.
    next_at, next_entry : Out
        Its place, and the entry.
    take : In(1)
        This entry is taken to be moved; in every second cycle at most.
    """

    def __init__(self, *, entries: int, key_bits: int, page_bits: int) -> None:
        require_whole("entries", entries, 1, MOST_TRANSIT_ENTRIES)
        self.entries = entries
        self.entry_shape = StructLayout({"page": page_bits, "key": key_bits, "table": 1})
        self.index_bits = max((entries - 1).bit_length(), 1)
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
                "next_valid": Out(1),
                "next_at": Out(self.index_bits),
                "next_entry": Out(self.entry_shape),
                "take": In(1),
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

        # The entry whose turn it is was chosen in the cycle before. In the cycle of a `take` the same entry is chosen
        # again, so that the next cycle offers nothing.
        waiting, passed, turn, taken = Signal(n), Signal(n), Signal(n), Signal(n)
        later = waiting & ~passed
        m.d.comb += [
            waiting.eq(held & ~moving),
            self.next_valid.eq((turn & waiting).any()),
            self.next_at.eq(encoded(turn)),
            read_next.addr.eq(self.next_at),
            self.next_entry.eq(read_next.data),
            taken.eq(turn & self.take.replicate(n)),
        ]
        m.d.sync += turn.eq(Mux(later.any(), lowest(later), lowest(waiting)))
        with m.If(self.take):
            m.d.sync += passed.eq(turn | (turn - 1))

        put, drop, settle = (one_hot(self.at, n, event) for event in (self.put, self.drop, self.settle))
        m.d.sync += [
            same.eq(Cat(key == self.key for key in keys)),
            latest.eq(put),
            latest_key.eq(self.put_entry.key),
            held.eq((held & ~drop) | put),
            moving.eq((moving | taken) & ~settle),
            void.eq(((void & ~drop) | (drop & (moving | taken))) & ~settle),
        ]
        for k in range(n):
            with m.If(put[k]):
                m.d.sync += keys[k].eq(self.put_entry.key)
        return m
