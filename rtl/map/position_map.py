"""The lookup stage: which page an operation touches, and where its key is placed from now on."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from omap.operations import Kind
from omap.params import MAX_PAGES, Params, Rule
from rtl.constants import MOST_TRANSIT_ENTRIES
from rtl.crypto.siphash import WORD, SipHash
from rtl.map.transit_queue import TransitQueue
from rtl.memory.line_buffer import LineBuffer
from rtl.stream.fifo import Fifo
from rtl.stream.interfaces import require, require_whole
from rtl.stream.pick import chosen, encoded, lowest

USE_CYCLES = 2
"""Cycles in which lines are used once: what they are, then what they become."""

HALF = WORD // 2
"""Hash bits that choose a bucket of one table."""

LIMB = 16
"""Of those, bits that meet the number of buckets in one multiplier."""

SCALE_CYCLES = 2
PAGE_BITS = (MAX_PAGES - 1).bit_length()


class PositionMap(wiring.Component):
    """Looks keys up and moves them, in order. Must answer as :class:`omap.position_map.PositionMap` does.

    An operation uses two lines, its candidate buckets, and searches the entries in transit. They are announced when
    its key has been hashed and used in order, so that any number of operations can be under way. In the cycles that
    operations leave, entries in transit move on: their line is used in the same order, and takes them into a free
    place or in exchange for another entry. When they move is not the reference's schedule; no answer shows it.

    A hit GET, a hit PUT and a new key are placed in ``fresh``; a hit DELETE is taken out; all else changes nothing. A
    new key is refused when ``capacity`` keys are live, or when both buckets are full and so is the queue.

    Parameters
    ----------
    params : Params
        Geometry of the map; the rule must be ``one_choice``.
    interval : int
        Cycles from one operation to the next at least, even, 4 to 1024: an operation needs two, a move two. Ten leave
        room for four moves an operation.
    line_entries : int
        Copies of lines kept on chip for each table, 2 to 64: see :class:`~rtl.memory.line_buffer.LineBuffer`.
    transit_entries : int, optional
        Entries in transit, from what ``params`` say, the default, to 64.
    under_way : int
        Operations and moves from hash to use, 4 to 256.

    Members
    -------
    i_key : In(stream.Signature(128, always_ready=True))
        Hash key. No operation is taken before it came; give it while the map is empty.
    i_operation : In(stream.Signature({"kind", "key", "fresh", "dummy"}))
        Operations: a :class:`~omap.operations.Kind`, the key, and both pages drawn.
    o_located : Out(stream.Signature({"hit", "keep", "full", "page"}))
        One for each operation, in order: whether the key was live, whether it is now, whether it was refused, and the
        page to touch, found or dummy. Zero while none is on offer.
    o_fetch, i_fetched, o_flush, i_flushed : streams, two of each
        Memory of table 0 and 1, as :class:`~rtl.memory.line_buffer.LineBuffer` has it; lines are numbered in each
        table.
    live : Out
        Live keys, for sealed responses only.
    quiet : Out(1)
        No line is on chip, and no transfer under way.
    clear : In(1)
        One cycle of it forgets all operations and keys, but not the hash key. Memory is to be zeroed once ``quiet``;
        transfers under way are let finish, and until then no operation is taken.
    erase : In(1)
        As ``clear``, and the hash key goes as well.

    Countermeasures
    ---------------
    POSMAP.KEY.ERASE
        ``erase`` clears hash key, keys in transit and all that is under way.
    POSMAP.KEY.UNREADABLE
        Nothing shows the hash key before an operation is hashed, and ``o_located`` is zero while nothing is on offer.
    POSMAP.LOOKUP.CONST_TIME
        Every operation uses one line of each table; the cycle in which it is taken depends on arrivals alone, while
        memory keeps up.
    """

    def __init__(
        self,
        params: Params,
        *,
        interval: int = 4,
        line_entries: int = 32,
        transit_entries: int | None = None,
        under_way: int = 64,
    ) -> None:
        require(params.rule is Rule.ONE_CHOICE, f"rule is {params.rule}; the lookup stage is built for one_choice")
        if transit_entries is None:
            transit_entries = params.transit_entries
        require_whole("transit_entries", transit_entries, max(params.transit_entries, 1), MOST_TRANSIT_ENTRIES)
        require_whole("interval", interval, 2 * USE_CYCLES, 1024)
        require(interval % USE_CYCLES == 0, f"interval is {interval}; it must be even: a use takes {USE_CYCLES} cycles")
        require_whole("line_entries", line_entries, 2, 64)
        require_whole("under_way", under_way, 4, 256)
        self.params, self.interval, self.under_way = params, interval, under_way
        self.hash = SipHash(message_bytes=params.key_bytes)
        self.key_bits = 8 * params.key_bytes
        self.entry_shape = StructLayout({"page": PAGE_BITS, "used": 1, "key": self.key_bits})
        self.buffers = [
            LineBuffer(
                address_bits=max((params.buckets - 1).bit_length(), 1),
                line_bits=8 * params.bucket_bytes,
                entries=line_entries,
            )
            for _ in range(2)
        ]
        self.queue = TransitQueue(entries=transit_entries, key_bits=self.key_bits, page_bits=PAGE_BITS)
        page = range(params.pages)
        self.operation_shape = StructLayout({"kind": 2, "key": self.key_bits, "fresh": page, "dummy": page})
        self.located_shape = StructLayout({"hit": 1, "keep": 1, "full": 1, "page": page})
        memory = self.buffers[0].signature.members
        super().__init__(
            {
                "i_key": In(stream.Signature(2 * WORD, always_ready=True)),
                "i_operation": In(stream.Signature(self.operation_shape)),
                "o_located": Out(stream.Signature(self.located_shape)),
                **{name: memory[name].array(2) for name in ("o_fetch", "i_fetched", "o_flush", "i_flushed")},
                "live": Out(range(params.capacity + 1)),
                "quiet": Out(1),
                "clear": In(1),
                "erase": In(1),
            }
        )

    @property
    def hash_cycles(self) -> int:
        """Cycles from an operation to the announcement of its lines."""
        return self.hash.latency + SCALE_CYCLES

    def elaborate(self, platform: object) -> Module:
        m = Module()
        forget, keyed, open_ = Signal(), Signal(), Signal()
        inner = Module()  # all that is forgotten
        self._issue(inner, keyed & open_)
        self._use(inner)

        m.submodules.hash = self.hash
        m.d.comb += [
            forget.eq(self.clear | self.erase),
            # SEC_CM: POSMAP.KEY.ERASE -- the hash key with its pipeline here, all else through `forget`
            self.hash.erase.eq(self.erase),
            self.hash.i_key.valid.eq(self.i_key.valid),
            self.hash.i_key.p.eq(self.i_key.p),
        ]
        with m.If(self.erase):
            m.d.sync += keyed.eq(0)
        with m.Elif(self.i_key.valid):
            m.d.sync += keyed.eq(1)

        # Transfers under way are counted across `forget`: nothing begins until all have ended, for their answers name
        # places that no longer mean what they meant.
        busy = []
        for t, buffer in enumerate(self.buffers):
            inner.submodules[f"table{t}"] = buffer
            under_way = {}
            for kind, out, back in (
                ("fetch", self.o_fetch[t], self.i_fetched[t]),
                ("flush", self.o_flush[t], self.i_flushed[t]),
            ):
                count = Signal(range(buffer.entries + 1), name=f"{kind}_count{t}")
                m.d.sync += count.eq(count + (out.valid & out.ready) - (back.valid & back.ready))
                under_way[kind] = count != 0
            wiring.connect(m, buffer.o_fetch, wiring.flipped(self.o_fetch[t]))
            wiring.connect(m, buffer.o_flush, wiring.flipped(self.o_flush[t]))
            wiring.connect(m, wiring.flipped(self.i_fetched[t]), buffer.i_fetched)
            wiring.connect(m, wiring.flipped(self.i_flushed[t]), buffer.i_flushed)
            busy.append(under_way["fetch"] | under_way["flush"])
        with m.If(forget):
            m.d.sync += open_.eq(0)
        with m.Elif(~Cat(busy).any()):
            m.d.sync += open_.eq(1)
        m.d.comb += self.quiet.eq(~Cat(busy).any() & self.buffers[0].idle & self.buffers[1].idle)
        m.submodules.inner = ResetInserter(forget)(inner)
        return m

    # -- from an operation or a move to the announcement of its lines -------------------------------------------

    def _issue(self, m: Module, may_begin: Value) -> None:
        """Take operations and entries in transit, remember them in order, hash them and announce their lines."""
        queue = self.queue
        m.submodules.queue = queue
        self._item_shape = StructLayout(
            {"move": 1, "table": 1, "index": queue.index_bits, **dict(self.operation_shape.members)}
        )
        m.submodules.items = self._items = items = Fifo(shape=self._item_shape, depth=self.under_way, ram_style="block")

        # Every second cycle something may begin: an operation once in `interval`, else a move.
        even = Signal()
        cooling = Signal(range(self.interval))
        pending = Signal(range(self.under_way + 1))
        ready, operation, move = Signal(), Signal(), Signal()
        self._used = Signal()
        m.d.sync += [even.eq(~even), pending.eq(pending + (operation | move) - self._used)]
        m.d.comb += [
            ready.eq(may_begin & even & (pending != self.under_way)),
            # SEC_CM: POSMAP.LOOKUP.CONST_TIME -- operations have their own turns, whatever is in transit ...
            self.i_operation.ready.eq(ready & (cooling == 0)),
            operation.eq(self.i_operation.valid & self.i_operation.ready),
            move.eq(ready & ~operation & queue.next_valid),
            queue.take.eq(move),
        ]
        with m.If(operation):
            m.d.sync += cooling.eq(self.interval - 1)
        with m.Elif(cooling != 0):
            m.d.sync += cooling.eq(cooling - 1)

        m.d.comb += [
            items.i.valid.eq(operation | move),
            items.i.p.move.eq(move),
            items.i.p.table.eq(queue.next_entry.table),
            items.i.p.index.eq(queue.next_at),
            items.i.p.kind.eq(self.i_operation.p.kind),
            items.i.p.key.eq(self.i_operation.p.key),
            items.i.p.fresh.eq(self.i_operation.p.fresh),
            items.i.p.dummy.eq(self.i_operation.p.dummy),
            self.hash.i_message.valid.eq(operation | move),
            self.hash.i_message.p.eq(Mux(operation, self.i_operation.p.key, queue.next_entry.key)),
        ]

        # Candidate buckets: each half of the hash times the number of buckets, its upper half.
        buckets = self.params.buckets
        halves = [self.hash.o_hash.p[HALF:], self.hash.o_hash.p[:HALF]]
        for t, half in enumerate(halves):
            # SEC_CM: POSMAP.LOOKUP.CONST_TIME -- ... and announce a line of each table, whatever their kind
            announced: Value = operation | (move & (queue.next_entry.table == t))
            for stage in range(self.hash_cycles):
                after = Signal(name=f"announced{t}_{stage}")
                m.d.sync += after.eq(announced)
                announced = after
            upper = Signal(range((buckets << LIMB) + 1), name=f"upper{t}")
            lower = Signal(range((buckets << LIMB) + 1), name=f"lower{t}")
            bucket = Signal(self.buffers[t].address_bits, name=f"bucket{t}")
            m.d.sync += [
                upper.eq(half[LIMB:] * buckets),
                lower.eq(half[:LIMB] * buckets),
                bucket.eq((upper + (lower >> LIMB)) >> LIMB),
            ]
            # Never full: no more are announced than may be under way.
            m.submodules[f"touches{t}"] = touches = Fifo(
                shape=self.buffers[t].address_bits, depth=self.under_way, ram_style="block"
            )
            m.d.comb += [touches.i.valid.eq(announced), touches.i.p.eq(bucket)]
            wiring.connect(m, touches.o, self.buffers[t].i_touch)

    # -- the use of lines, in order -----------------------------------------------------------------------------

    def _use(self, m: Module) -> None:
        """Compare in one cycle, decide and change in the next: the point at which an operation takes effect."""
        queue, lines, n = self.queue, self.buffers, self.params.bucket_entries
        m.submodules.results = results = Fifo(shape=self.located_shape, depth=4)
        head = self._items.o
        uses = [~head.p.move | (head.p.table == t) for t in range(2)]
        take, act = Signal(), Signal()
        m.d.comb += [
            take.eq(
                head.valid
                & ~act
                & Cat(~use | buffer.o_line.valid for use, buffer in zip(uses, lines, strict=True)).all()
                & (head.p.move | results.i.ready)
            ),
            head.ready.eq(take),
            self._used.eq(take),
            *(buffer.o_line.ready.eq(take & use) for use, buffer in zip(uses, lines, strict=True)),
        ]
        m.d.sync += act.eq(take)

        # First cycle: compare. What is latched before the lines are there does not matter.
        item, queued, vacant, good = Signal(self._item_shape), Signal(queue.entries), Signal(queue.entries), Signal()
        m.d.comb += [queue.key.eq(head.p.key), queue.judged.eq(head.p.index)]
        victim = Signal(n, init=1)
        data = [Signal(buffer.line_bits, name=f"line{t}") for t, buffer in enumerate(lines)]
        match, spot = ([Signal(n, name=f"{name}{t}") for t in range(2)] for name in ("match", "spot"))
        full = [Signal(name=f"full{t}") for t in range(2)]
        emptier = Signal()  # table 1 has the emptier bucket
        used = []
        with m.If(head.valid & ~act):
            m.d.sync += [
                item.eq(head.p),
                queued.eq(queue.match),
                vacant.eq(queue.vacant),
                good.eq(queue.valid_move),
            ]
            for t, buffer in enumerate(lines):
                entries = self._entries(buffer.o_line.p)
                used.append(Cat(entry.used for entry in entries))
                m.d.sync += [
                    data[t].eq(buffer.o_line.p),
                    match[t].eq(Cat(entry.used & (entry.key == head.p.key) for entry in entries)),
                    spot[t].eq(Mux(used[t].all(), victim, lowest(~used[t]))),
                    full[t].eq(used[t].all()),
                ]
            m.d.sync += emptier.eq(_count(used[1]) < _count(used[0]))

        # Second cycle: decide.
        lookup, hit, insert, keep, remove = Signal(), Signal(), Signal(), Signal(), Signal()
        is_put = item.kind == Kind.PUT
        moving = item.move & good
        crowded = full[0] & full[1]
        m.d.comb += [
            lookup.eq(~item.move & (item.kind != Kind.NOP)),
            hit.eq(lookup & Cat(*match, queued).any()),
            insert.eq(lookup & is_put & ~hit & (self.live != self.params.capacity) & (~crowded | vacant.any())),
            keep.eq((hit & (item.kind != Kind.DELETE)) | insert),
            remove.eq(hit & (item.kind == Kind.DELETE)),
        ]
        with m.If(act & insert):
            m.d.sync += self.live.eq(self.live + 1)
        with m.Elif(act & remove):
            m.d.sync += self.live.eq(self.live - 1)

        # Lines: one entry of a line at most is replaced, by the operation's or by the one that moves in.
        entry = Signal(self.entry_shape)
        m.d.comb += [
            entry.used.eq(~remove),
            entry.key.eq(Mux(item.move, queue.entry.key, item.key) & (~remove).replicate(self.key_bits)),
            entry.page.eq(Mux(item.move, queue.entry.page, item.fresh) & (~remove).replicate(PAGE_BITS)),
        ]
        found: list[Value] = [queue.entry.page & queued.any().replicate(PAGE_BITS)]
        evicted: list[Value] = []
        for t, buffer in enumerate(lines):
            old = self._entries(data[t])
            moves_in = moving & (item.table == t)
            inserts = insert & ~crowded & (emptier == t)
            replaced = Signal(n, name=f"replaced{t}")
            m.d.comb += [
                replaced.eq((match[t] & lookup.replicate(n)) | (spot[t] & (inserts | moves_in).replicate(n))),
                buffer.i_line.valid.eq(act & (~item.move | (item.table == t))),
                buffer.i_line.p.changed.eq(replaced.any()),
                buffer.i_line.p.data.eq(
                    Cat(
                        *(
                            Mux(which, entry.as_value(), place.as_value())
                            for which, place in zip(replaced, old, strict=True)
                        ),
                        data[t][n * self.entry_shape.size :],
                    )
                ),
            ]
            found.append(chosen(match[t], [place.page for place in old]))
            evicted.append(chosen(spot[t], [place.as_value() for place in old]))

        # Queue: an update or a removal in place, a new key that found both buckets full, or the end of a move.
        out = Signal(self.entry_shape)
        swap = moving & Mux(item.table, full[1], full[0])
        in_queue = hit & queued.any()
        m.d.comb += [
            out.as_value().eq(Mux(item.table, evicted[1], evicted[0])),
            queue.at.eq(
                Mux(item.move, item.index, encoded(queued | (vacant & (~queued.any()).replicate(len(vacant)))))
            ),
            queue.put.eq(act & (swap | (in_queue & ~remove) | (insert & crowded))),
            queue.drop.eq(act & ((moving & ~swap) | (in_queue & remove))),
            queue.settle.eq(act & item.move),
            queue.put_entry.key.eq(Mux(item.move, out.key, item.key)),
            queue.put_entry.page.eq(Mux(item.move, out.page, item.fresh)),
            queue.put_entry.table.eq(Mux(item.move, ~item.table, queue.entry.table & queued.any())),
        ]
        with m.If(act & swap):
            m.d.sync += victim.eq(victim.rotate_left(1))

        m.d.comb += [
            results.i.valid.eq(act & ~item.move),
            results.i.p.hit.eq(hit),
            results.i.p.keep.eq(keep),
            results.i.p.full.eq(lookup & is_put & ~hit & ~insert),
            results.i.p.page.eq(Mux(hit, found[0] | found[1] | found[2], item.dummy)),
            self.o_located.valid.eq(results.o.valid),
            results.o.ready.eq(self.o_located.ready),
            # SEC_CM: POSMAP.KEY.UNREADABLE -- what was on offer before shows nowhere
            Value.cast(self.o_located.p).eq(Mux(results.o.valid, Value.cast(results.o.p), 0)),
        ]

    def _entries(self, line: Value) -> list[Any]:
        """Return the entries of a line; the layout is that of :mod:`omap.position_map`."""
        size = self.entry_shape.size
        return [self.entry_shape(line[k * size : (k + 1) * size]) for k in range(self.params.bucket_entries)]


def _count(bits: Value) -> Value:
    """Return how many bits are set: six at a time, which is what one level of logic can count."""
    ones = Array(Const(value.bit_count(), 3) for value in range(64))
    return sum((ones[bits[at : at + 6]] for at in range(0, len(bits), 6)), start=Const(0, 0))
