"""The lookup stage: which page an operation touches, and where its key is placed from now on."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from omap.params import Params, Rule
from rtl.constants import MOST_LINES, MOST_TRANSIT_ENTRIES
from rtl.crypto.siphash import WORD, SipHash
from rtl.map.lookup import FROM_QUEUE, PAGE_BITS, TO_QUEUE, Lookup, located_layout
from rtl.map.spacing import Spacing
from rtl.map.transit_queue import TransitQueue
from rtl.memory.line_buffer import LineBuffer
from rtl.stream.fifo import Fifo
from rtl.stream.interfaces import require, require_whole
from rtl.stream.ways import tell

USE_CYCLES = 2
"""Cycles of an operation at its lines: the search of the queue, then the use. A move takes one."""

FREE_EVERY = 64
"""No move begins in one of so many cycles; in a map of fewer buckets, in every second cycle."""

HALF = WORD // 2
"""Hash bits that choose a bucket of one table."""

LIMB = 16
"""Of those, bits that meet the number of buckets in one multiplier."""

SCALE_CYCLES = 2


class PositionMap(wiring.Component):
    """Looks keys up and moves them, in order. Must answer as :class:`omap.position_map.PositionMap` does.

    An operation uses two lines, which are its candidate buckets, and searches the entries in transit. The lines are
    announced when the key has been hashed and are used in order, so that many operations can be in flight. Entries in
    transit move in cycles that operations do not need. A line takes such an entry into a free place, or in exchange
    for another entry. The reference moves entries at other times; no answer shows it.

    A key that is hit by GET or PUT, and a new key, are placed in ``fresh``. A key that is hit by DELETE is taken out.
    Nothing else changes anything. A new key is refused when ``capacity`` keys are live, or when both buckets and the
    queue are full.

    Parameters
    ----------
    params : Params
        Geometry of the map; the rule must be ``one_choice``.
    interval : int
        Least number of cycles from one operation to the next, 3 to 1024. An operation needs two cycles, and a move
        one: an interval of five has room for three moves, but for one in :data:`FREE_EVERY` cycles.
    line_entries : int
        Lines kept on chip for each table, 2 to 128: see :class:`~rtl.memory.line_buffer.LineBuffer`.
    transit_entries : int, optional
        Entries in transit, from what ``params`` say, the default, to 128.
    under_way : int
        Most operations and moves between hash and use, 4 to 256, half of them operations and half of them moves. While
        half are operations, the next operation waits for a use, so that its turn depends on memory.

    Members
    -------
    i_key : In(stream.Signature(128, always_ready=True))
        Hash key. No operation is taken before it has come. It must come while the map is empty.
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
        One cycle of it forgets all operations and keys, but not the hash key. Transfers under way go on to their ends,
        and until then no operation is taken. Memory must be overwritten with zeros once the block is ``quiet``.
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
        under_way: int = 128,
    ) -> None:
        require(params.rule is Rule.ONE_CHOICE, f"rule is {params.rule}; the lookup stage is built for one_choice")
        if transit_entries is None:
            transit_entries = params.transit_entries
        require_whole("transit_entries", transit_entries, max(params.transit_entries, 1), MOST_TRANSIT_ENTRIES)
        require_whole("interval", interval, USE_CYCLES + 1, 1024)
        require_whole("line_entries", line_entries, 2, MOST_LINES)
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
        self.item_shape = StructLayout(
            {"move": 1, "table": 1, "index": self.queue.index_bits, **dict(self.operation_shape.members)}
        )
        self.lookup = Lookup(
            params,
            item_shape=self.item_shape,
            entry_shape=self.entry_shape,
            buffer=self.buffers[0],
            queue=self.queue,
        )
        memory = self.buffers[0].signature.members
        super().__init__(
            {
                "i_key": In(stream.Signature(2 * WORD, always_ready=True)),
                "i_operation": In(stream.Signature(self.operation_shape)),
                "o_located": Out(stream.Signature(located_layout(params))),
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

        # Transfers under way are counted across `forget`. Nothing begins until all have ended: their answers name
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
        """Take operations and entries in transit, hash them, announce their lines, and have the lines used in order."""
        queue, lookup = self.queue, self.lookup
        m.submodules.queue, m.submodules.lookup = queue, lookup
        m.submodules.items = items = Fifo(shape=self.item_shape, depth=self.under_way, registered=True)

        # Every cycle something may begin: an operation once in `interval`, else a move; but not right after an
        # operation. A cycle stays free now and then, because moves in a row into one line take two cycles each.
        free = Signal(range(FREE_EVERY if self.params.buckets >= FREE_EVERY else 2))
        m.d.sync += free.eq(free + 1)
        m.submodules.spacing = spacing = Spacing(self.interval)
        operation, move, resting = Signal(), Signal(), Signal()
        moves, room = queue.o_move, []
        for k, begins in enumerate((operation, move)):  # neither takes the room of the other
            pending, used = Signal(range(self.under_way + 1), name=f"pending{k}"), Signal(name=f"used{k}")
            following = pending + begins - used
            room.append(Signal(name=f"room{k}"))
            m.d.sync += [
                used.eq(lookup.used[k]),  # counted a cycle later, for a shorter path
                pending.eq(following),
                room[k].eq(following < self.under_way // 2),
            ]
        m.d.sync += resting.eq(operation)
        m.d.comb += [
            # SEC_CM: POSMAP.LOOKUP.CONST_TIME -- operations have their own turns, whatever is in transit ...
            self.i_operation.ready.eq(may_begin & room[0] & spacing.free),
            operation.eq(self.i_operation.valid & self.i_operation.ready),
            spacing.event.eq(operation),
            moves.ready.eq(may_begin & room[1] & (free != 0) & ~operation & ~resting),
            move.eq(moves.valid & moves.ready),
        ]
        m.d.comb += [
            items.i.valid.eq(operation | move),
            items.i.p.move.eq(move),
            items.i.p.table.eq(moves.p.table),
            items.i.p.index.eq(moves.p.at),
            items.i.p.kind.eq(self.i_operation.p.kind),
            items.i.p.key.eq(self.i_operation.p.key),
            items.i.p.fresh.eq(self.i_operation.p.fresh),
            items.i.p.dummy.eq(self.i_operation.p.dummy),
            self.hash.i_message.valid.eq(operation | move),
            self.hash.i_message.p.eq(Mux(operation, self.i_operation.p.key, moves.p.key)),
        ]

        # Candidate buckets: each half of the hash times the number of buckets, its upper half.
        buckets = self.params.buckets
        halves = [self.hash.o_hash.p[HALF:], self.hash.o_hash.p[:HALF]]
        for t, half in enumerate(halves):
            # SEC_CM: POSMAP.LOOKUP.CONST_TIME -- ... and announce a line of each table, whatever their kind
            announced: Value = operation | (move & (moves.p.table == t))
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
            wiring.connect(m, self.buffers[t].o_line, lookup.i_line[t])
            wiring.connect(m, lookup.o_line[t], self.buffers[t].i_line)

        wiring.connect(m, items.o, lookup.i_item)
        wiring.connect(m, lookup.o_located, wiring.flipped(self.o_located))
        tell(m, lookup, queue, *TO_QUEUE)
        tell(m, queue, lookup, *FROM_QUEUE)
        m.d.comb += self.live.eq(lookup.live)
