"""Ids of page accesses on the host port: they are fewer than pages in flight, because a page mostly waits."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.memory.host_port import id_bits
from rtl.stream.pick import one_hot


class PageIds(wiring.Component):
    """Hands out the ids of one direction in turn, and tells which page entry an answer is for.

    Parameters
    ----------
    ids, entries : int
        Ids, at least 2, and page entries.

    Members
    -------
    free : Out(1)
        The id on offer is not under way; told a cycle late.
    id : Out(id)
        The id on offer.
    take : In(1)
        It is given to an access of the entry ``entry``; only while it is ``free``.
    entry : In(entry)
        Which.
    seen : In(id)
        The id of an answer ...
    owner : Out(entry)
        ... and the entry that it is for, in the same cycle.
    ended : In(1)
        The answer was the last one for this access.
    """

    def __init__(self, *, ids: int, entries: int) -> None:
        self.ids, self.entries = ids, entries
        super().__init__(
            {
                "free": Out(1),
                "id": Out(id_bits(ids)),
                "take": In(1),
                "entry": In(range(entries)),
                "seen": In(id_bits(ids)),
                "owner": Out(range(entries)),
                "ended": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.owners = owners = Memory(
            shape=range(self.entries), depth=self.ids, init=[], attrs={"ram_style": "distributed"}
        )
        write, read = owners.write_port(), owners.read_port(domain="comb")
        under_way = Signal(self.ids)
        next_id = Signal.like(self.id, init=1)
        m.d.comb += [
            write.en.eq(self.take),
            write.addr.eq(self.id),
            write.data.eq(self.entry),
            read.addr.eq(self.seen),
            self.owner.eq(read.data),
        ]
        m.d.sync += [
            under_way.eq(
                (under_way & ~one_hot(self.seen, self.ids, self.ended)) | one_hot(self.id, self.ids, self.take)
            ),
            # Both are looked up, so that `take` may come late in a cycle.
            self.free.eq(~Mux(self.take, under_way.bit_select(next_id, 1), under_way.bit_select(self.id, 1))),
        ]
        with m.If(self.take):
            m.d.sync += [self.id.eq(next_id), next_id.eq(Mux(next_id == self.ids - 1, 0, next_id + 1))]
        return m
