"""The use of position map lines: what an operation finds, and what becomes of its entry and of entries in transit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from omap.operations import Kind
from omap.params import MAX_PAGES, Params
from rtl.map.transit_queue import TransitQueue
from rtl.memory.line_buffer import LineBuffer
from rtl.stream.fifo import Fifo
from rtl.stream.pick import chosen, encoded, lowest

PAGE_BITS = (MAX_PAGES - 1).bit_length()
TO_QUEUE = ("key", "at", "judged", "put", "put_entry", "drop", "settle")
FROM_QUEUE = ("match", "vacant", "entry", "valid_move")


def located_layout(params: Params) -> StructLayout:
    """Return an answer: the key was live, it is live now, it was refused, and which page to touch."""
    return StructLayout({"hit": 1, "keep": 1, "full": 1, "page": range(params.pages)})


@dataclass(frozen=True)
class Compared:
    """What the first cycle of a use has latched, of an operation or of a move.

    It holds what can be said of the queue and of each line for itself, so that the second cycle has little left to
    decide.

    Attributes
    ----------
    item : Signal
        The operation, or the move.
    queued, room : Signal
        It is an operation whose key is in the queue; the queue has room for one more entry.
    queued_at, vacant_at : Signal
        Places of the queue: the one that holds the key, and the one that a further entry would get.
    may_insert : Signal
        It is a PUT, and one more key may be live.
    moves_in : list of Signal
        For each table: it is a move into that table, and has not become void.
    victim : Signal
        Which entry of a full line has to leave for one that moves in.
    data, match, spot, full : list of Signal
        Of each table: its line, the entry that has the key of an operation, the entry that one moving in replaces,
        and that no entry is unused.
    emptier : Signal
        Table 1 has the emptier bucket.
    """

    item: Any
    queued: Signal
    room: Signal
    queued_at: Signal
    vacant_at: Signal
    may_insert: Signal
    moves_in: list[Signal]
    victim: Signal
    data: list[Signal]
    match: list[Signal]
    spot: list[Signal]
    full: list[Signal]
    emptier: Signal


@dataclass(frozen=True)
class Ways:
    """What the second cycle of a use decides.

    Attributes
    ----------
    hit, insert, keep, remove : Signal
        The key was live; it becomes live; it is live afterwards; it is taken out.
    crowded : Value
        Both buckets are full.
    """

    hit: Signal
    insert: Signal
    keep: Signal
    remove: Signal
    crowded: Value


class Lookup(wiring.Component):
    """Uses lines in order: compares in one cycle, decides and changes in the next. Here an operation takes effect.

    An operation is on offer for a cycle before its lines are taken, so that the queue can be searched. The item before
    is decided in that cycle, so that the search finds what that one leaves. A move searches nothing: one after the
    other is taken, a cycle each.

    Parameters
    ----------
    params : Params
        The map.
    item_shape, entry_shape : StructLayout
        What is used, and an entry of a line: see :class:`~rtl.map.position_map.PositionMap`.
    buffer : LineBuffer
        Gives the shapes of lines.
    queue : TransitQueue
        Gives the shapes of its ports.

    Members
    -------
    i_item : In(stream.Signature(item_shape))
        Operations and moves, in order.
    i_line, o_line : streams, two of each
        A line of each table for an operation, of one table for a move; and what becomes of it, a cycle later.
    key, at, judged, put, put_entry, drop, settle : Out
        To the queue of entries in transit, see :class:`~rtl.map.transit_queue.TransitQueue`.
    match, vacant, entry, valid_move : In
        From the queue.
    used : Out(2)
        The lines of an operation, or of a move, are taken.
    o_located : Out(stream)
        Answers to operations, see :class:`~rtl.map.position_map.PositionMap`.
    live : Out
        Live keys.

    Countermeasures
    ---------------
    POSMAP.KEY.UNREADABLE
        ``o_located`` is zero while nothing is on offer.
    """

    def __init__(
        self,
        params: Params,
        *,
        item_shape: StructLayout,
        entry_shape: StructLayout,
        buffer: LineBuffer,
        queue: TransitQueue,
    ) -> None:
        self.params, self.entry_shape = params, entry_shape
        self.key_bits = 8 * params.key_bytes
        lines, ports = buffer.signature.members, queue.signature.members
        super().__init__(
            {
                "i_item": In(stream.Signature(item_shape)),
                "i_line": lines["o_line"].flip().array(2),
                "o_line": lines["i_line"].flip().array(2),
                **{name: ports[name].flip() for name in (*TO_QUEUE, *FROM_QUEUE)},
                "used": Out(2),
                "o_located": Out(stream.Signature(located_layout(params))),
                "live": Out(range(params.capacity + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.results = results = Fifo(shape=self.o_located.p.shape(), depth=4)
        head = self.i_item
        uses = [~head.p.move | (head.p.table == t) for t in range(2)]
        searched, take, act = Signal(), Signal(), Signal()
        m.d.comb += [
            take.eq(
                (searched | (head.valid & head.p.move))
                & Cat(~use | line.valid for use, line in zip(uses, self.i_line, strict=True)).all()
                & (head.p.move | results.i.ready)
            ),
            head.ready.eq(take),
            self.used.eq(Cat(take & ~head.p.move, take & head.p.move)),
            *(line.ready.eq(take & use) for use, line in zip(uses, self.i_line, strict=True)),
        ]
        m.d.sync += [act.eq(take), searched.eq(head.valid & ~take)]

        seen = self._compare(m, head)
        ways = self._decide(m, seen, act)
        found, evicted = self._change_lines(m, seen, ways, act)
        self._change_queue(m, seen, ways, evicted, act)

        m.d.comb += [
            results.i.valid.eq(act & ~seen.item.move),
            results.i.p.hit.eq(ways.hit),
            results.i.p.keep.eq(ways.keep),
            results.i.p.full.eq((seen.item.kind == Kind.PUT) & ~ways.hit & ~ways.insert),
            results.i.p.page.eq(Mux(ways.hit, found[0] | found[1] | found[2], seen.item.dummy)),
            self.o_located.valid.eq(results.o.valid),
            results.o.ready.eq(self.o_located.ready),
            # SEC_CM: POSMAP.KEY.UNREADABLE -- what was on offer before shows nowhere
            Value.cast(self.o_located.p).eq(Mux(results.o.valid, Value.cast(results.o.p), 0)),
        ]
        return m

    def _compare(self, m: Module, head: stream.Interface) -> Compared:
        """First cycle. What is latched before the lines are there does not matter."""
        n = self.params.bucket_entries
        item, queued, room, may_insert = Signal.like(head.p), Signal(), Signal(), Signal()
        queued_at, vacant_at = Signal.like(self.at), Signal.like(self.at)
        moves_in = [Signal(name=f"moves_in{t}") for t in range(2)]
        m.d.comb += [self.key.eq(head.p.key), self.judged.eq(head.p.index)]
        has_key = ~head.p.move & (head.p.kind != Kind.NOP)
        victim = Signal(n, init=1)
        data = [Signal(len(line.p), name=f"line{t}") for t, line in enumerate(self.i_line)]
        match, spot = ([Signal(n, name=f"{name}{t}") for t in range(2)] for name in ("match", "spot"))
        full = [Signal(name=f"full{t}") for t in range(2)]
        emptier = Signal()  # table 1 has the emptier bucket
        used = []
        dropped = Signal()  # the entry of this move, by the operation before
        m.d.comb += dropped.eq(self.drop & (self.at == head.p.index))
        with m.If(head.valid):
            m.d.sync += [
                item.eq(head.p),
                queued.eq(has_key & self.match.any()),
                room.eq(self.vacant.any()),
                queued_at.eq(encoded(self.match)),
                vacant_at.eq(encoded(self.vacant)),
                may_insert.eq(~head.p.move & (head.p.kind == Kind.PUT) & (self.live != self.params.capacity)),
            ]
            for t, line in enumerate(self.i_line):
                entries = self._entries(line.p)
                used.append(Cat(entry.used for entry in entries))
                m.d.sync += [
                    data[t].eq(line.p),
                    moves_in[t].eq(head.p.move & (head.p.table == t) & self.valid_move & ~dropped),
                    match[t].eq(Cat(has_key & entry.used & (entry.key == head.p.key) for entry in entries)),
                    spot[t].eq(Mux(used[t].all(), victim, lowest(~used[t]))),
                    full[t].eq(used[t].all()),
                ]
            m.d.sync += emptier.eq(_count(used[1]) < _count(used[0]))
        return Compared(
            item, queued, room, queued_at, vacant_at, may_insert, moves_in, victim, data, match, spot, full, emptier
        )

    def _decide(self, m: Module, seen: Compared, act: Signal) -> Ways:
        """Second cycle: what becomes of the operation, or of the move."""
        item, crowded = seen.item, seen.full[0] & seen.full[1]
        hit, insert, keep, remove = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            hit.eq(Cat(*seen.match, seen.queued).any()),
            insert.eq(seen.may_insert & ~hit & (~crowded | seen.room)),
            keep.eq((hit & (item.kind != Kind.DELETE)) | insert),
            remove.eq(hit & (item.kind == Kind.DELETE)),
        ]
        with m.If(act & insert):
            m.d.sync += self.live.eq(self.live + 1)
        with m.Elif(act & remove):
            m.d.sync += self.live.eq(self.live - 1)
        return Ways(hit, insert, keep, remove, crowded)

    def _change_lines(self, m: Module, seen: Compared, ways: Ways, act: Signal) -> tuple[list[Value], list[Value]]:
        """Replace at most one entry of each line: the operation's, or the one that moves in.

        Returns the pages that were found, of which at most one is not 0, and what each line gives for an entry that
        moves in.
        """
        n, item = self.params.bucket_entries, seen.item
        entry = Signal(self.entry_shape)
        stays = item.move | (item.kind != Kind.DELETE)  # what a DELETE replaces is its key's entry, if it found one
        m.d.comb += [
            entry.used.eq(stays),
            entry.key.eq(Mux(item.move, self.entry.key, item.key) & stays.replicate(self.key_bits)),
            entry.page.eq(Mux(item.move, self.entry.page, item.fresh) & stays.replicate(PAGE_BITS)),
        ]
        found: list[Value] = [self.entry.page & seen.queued.replicate(PAGE_BITS)]
        evicted: list[Value] = []
        for t, line in enumerate(self.o_line):
            old = self._entries(seen.data[t])
            inserts = seen.may_insert & ~ways.hit & ~ways.crowded & (seen.emptier == t)
            replaced = Signal(n, name=f"replaced{t}")
            m.d.comb += [
                replaced.eq(seen.match[t] | (seen.spot[t] & (inserts | seen.moves_in[t]).replicate(n))),
                line.valid.eq(act & (~item.move | (item.table == t))),
                line.p.changed.eq(replaced.any()),
                line.p.data.eq(
                    Cat(
                        *(
                            Mux(which, entry.as_value(), place.as_value())
                            for which, place in zip(replaced, old, strict=True)
                        ),
                        seen.data[t][n * self.entry_shape.size :],
                    )
                ),
            ]
            found.append(chosen(seen.match[t], [place.page for place in old]))
            evicted.append(chosen(seen.spot[t], [place.as_value() for place in old]))
        return found, evicted

    def _change_queue(self, m: Module, seen: Compared, ways: Ways, evicted: list[Value], act: Signal) -> None:
        """Update or remove in place, take a new key that found both buckets full, or end a move."""
        item, queued = seen.item, seen.queued
        out = Signal(self.entry_shape)
        moving = seen.moves_in[0] | seen.moves_in[1]
        swap = (seen.moves_in[0] & seen.full[0]) | (seen.moves_in[1] & seen.full[1])
        m.d.comb += [
            out.as_value().eq(Mux(item.table, evicted[1], evicted[0])),
            self.at.eq(Mux(item.move, item.index, Mux(queued, seen.queued_at, seen.vacant_at))),
            self.put.eq(act & (swap | (queued & (item.kind != Kind.DELETE)) | (ways.insert & ways.crowded))),
            self.drop.eq(act & ((moving & ~swap) | (queued & (item.kind == Kind.DELETE)))),
            self.settle.eq(act & item.move),
            self.put_entry.key.eq(Mux(item.move, out.key, item.key)),
            self.put_entry.page.eq(Mux(item.move, out.page, item.fresh)),
            self.put_entry.table.eq(Mux(item.move, ~item.table, self.entry.table & queued)),
        ]
        with m.If(act & swap):
            m.d.sync += seen.victim.eq(seen.victim.rotate_left(1))

    def _entries(self, line: Value) -> list[Any]:
        """Return the entries of a line; the layout is the one in :mod:`omap.position_map`."""
        size = self.entry_shape.size
        return [self.entry_shape(line[k * size : (k + 1) * size]) for k in range(self.params.bucket_entries)]


def _count(bits: Value) -> Value:
    """Return how many bits are set: six at a time, which is what one level of logic can count."""
    ones = Array(Const(value.bit_count(), 3) for value in range(64))
    return sum((ones[bits[at : at + 6]] for at in range(0, len(bits), 6)), start=Const(0, 0))
