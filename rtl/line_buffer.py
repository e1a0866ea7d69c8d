"""On-chip copies of HBM lines that operations in flight use, so that each sees what the ones before it wrote."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.fifo import Fifo
from rtl.interfaces import require_whole


class LineBuffer(wiring.Component):
    """Lines are announced early, used in order, and always up to date when they are used.

    A touch announces the use of a line and fetches it, unless a copy is here. Lines are then offered in the order of
    their touches, each followed by what it becomes; however many touches are under way, the result is that of one
    access after the other. A changed line goes back to memory once no touch waits for it, and its copy stays until
    that write has arrived there, so that no read can overtake it.

    The rate is one touch a cycle, and one use every two cycles if the consumer answers in the next; memory may answer
    fetches in any order.

    Parameters
    ----------
    address_bits : int
        Width of a line's number.
    line_bits : int
        Width of a line.
    entries : int
        Copies kept, 2 to 64: at least the uses under way, from touch to the arrival of the write.

    Members
    -------
    i_touch : In(stream.Signature(address_bits))
        Numbers of the lines that will be used, in order.
    o_line : Out(stream.Signature(line_bits))
        The line of the oldest touch not yet used.
    i_line : In(stream.Signature({"data", "changed"}))
        What the line offered last becomes; taken once for each line, after it was taken.
    o_fetch : Out(stream.Signature({"address", "id"}))
        Lines to read from memory.
    i_fetched : In(stream.Signature({"id", "data"}))
        What was read, in any order.
    o_flush : Out(stream.Signature({"address", "id", "data"}))
        Lines to write to memory.
    i_flushed : In(stream.Signature(id))
        Writes that have arrived.
    idle : Out(1)
        No copy is kept: memory holds everything.
    """

    def __init__(self, *, address_bits: int, line_bits: int, entries: int = 32) -> None:
        require_whole("address_bits", address_bits, 1, 48)
        require_whole("line_bits", line_bits, 1, 4096)
        require_whole("entries", entries, 2, 64)
        self.address_bits, self.line_bits, self.entries = address_bits, line_bits, entries
        id_bits = (entries - 1).bit_length()
        self.id_bits = id_bits
        fetch = StructLayout({"address": address_bits, "id": id_bits})
        super().__init__(
            {
                "i_touch": In(stream.Signature(address_bits)),
                "o_line": Out(stream.Signature(line_bits)),
                "i_line": In(stream.Signature(StructLayout({"data": line_bits, "changed": 1}))),
                "o_fetch": Out(stream.Signature(fetch)),
                "i_fetched": In(stream.Signature(StructLayout({"id": id_bits, "data": line_bits}))),
                "o_flush": Out(
                    stream.Signature(StructLayout({"address": address_bits, "id": id_bits, "data": line_bits}))
                ),
                "i_flushed": In(stream.Signature(id_bits)),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        n = self.entries
        touches_bits = range(4 * n + 1)

        m.submodules.order = order = Fifo(shape=self.id_bits, depth=4 * n)
        m.submodules.fetches = fetches = Fifo(shape=self.o_fetch.payload.shape(), depth=n)
        wiring.connect(m, fetches.o, wiring.flipped(self.o_fetch))

        lines = Memory(shape=self.line_bits, depth=n, init=[], attrs={"ram_style": "distributed"})
        m.submodules.lines = lines
        write = lines.write_port()
        use_read = lines.read_port(domain="comb")
        flush_read = lines.read_port(domain="comb")

        # Every entry: which line, and where it stands.
        address = Array(Signal(self.address_bits, name=f"address_{k}") for k in range(n))
        used = Signal(n)
        filled = Signal(n)
        changed = Signal(n)
        flushing = Signal(n)
        waiting = Array(Signal(touches_bits, name=f"waiting_{k}") for k in range(n))  # touches not yet used
        unwanted = Cat(waiting[k] == 0 for k in range(n))
        m.d.comb += self.idle.eq(used == 0)

        def lowest(mask: Signal, name: str) -> tuple[Signal, Signal]:
            found, index = Signal(name=f"{name}_found"), Signal(self.id_bits, name=f"{name}_index")
            m.d.comb += found.eq(mask.any())
            for k in reversed(range(n)):
                with m.If(mask[k]):
                    m.d.comb += index.eq(k)
            return found, index

        # Touch: a copy that is here, or a free entry and a fetch.
        match = Signal(n)
        m.d.comb += match.eq(Cat(used[k] & (address[k] == self.i_touch.payload) for k in range(n)))
        hit, hit_index = lowest(match, "hit")
        free = Signal(n)
        m.d.comb += free.eq(~used)
        vacant, vacant_index = lowest(free, "vacant")
        touched = Signal(self.id_bits)
        touch = Signal()
        m.d.comb += [
            touched.eq(Mux(hit, hit_index, vacant_index)),
            self.i_touch.ready.eq(order.i.ready & (hit | (vacant & fetches.i.ready))),
            touch.eq(self.i_touch.valid & self.i_touch.ready),
            order.i.valid.eq(touch),
            order.i.payload.eq(touched),
            fetches.i.valid.eq(touch & ~hit),
            fetches.i.payload.address.eq(self.i_touch.payload),
            fetches.i.payload.id.eq(vacant_index),
        ]

        # Use: the line of the oldest touch is offered, then replaced by what it becomes.
        answered = Signal()  # the line was taken; what it becomes is awaited
        head = order.o.payload
        done = Signal()
        m.d.comb += [
            use_read.addr.eq(head),
            self.o_line.valid.eq(order.o.valid & ~answered & filled.bit_select(head, 1)),
            self.o_line.payload.eq(use_read.data),
            self.i_line.ready.eq(answered),
            done.eq(self.i_line.valid & self.i_line.ready),
            order.o.ready.eq(done),
        ]
        with m.If(self.o_line.valid & self.o_line.ready):
            m.d.sync += answered.eq(1)
        with m.Elif(done):
            m.d.sync += answered.eq(0)

        # One write port: what a line becomes goes first, a fetched line waits a cycle.
        replace = Signal()
        fill = Signal()
        m.d.comb += [
            replace.eq(done & self.i_line.payload.changed),
            self.i_fetched.ready.eq(~replace),
            fill.eq(self.i_fetched.valid & self.i_fetched.ready),
            write.en.eq(replace | fill),
            write.addr.eq(Mux(replace, head, self.i_fetched.payload.id)),
            write.data.eq(Mux(replace, self.i_line.payload.data, self.i_fetched.payload.data)),
        ]

        # Flush: a changed line that nobody waits for. The choice is registered, so that the offer stays as it is.
        candidates = Signal(n)
        m.d.comb += candidates.eq(used & filled & changed & ~flushing & unwanted)
        ready_to_flush, flush_index = lowest(candidates, "flush")
        offer = Signal(self.o_flush.payload.shape())
        offering = Signal()
        choose = Signal()
        chosen = Signal(n)
        m.d.comb += [
            choose.eq(ready_to_flush & (~offering | self.o_flush.ready)),
            flush_read.addr.eq(flush_index),
            self.o_flush.valid.eq(offering),
            self.o_flush.payload.eq(offer),
        ]
        with m.If(choose):
            m.d.comb += chosen.eq(1 << flush_index)
            m.d.sync += [
                offering.eq(1),
                offer.address.eq(address[flush_index]),
                offer.id.eq(flush_index),
                offer.data.eq(flush_read.data),
            ]
        with m.Elif(self.o_flush.ready):
            m.d.sync += offering.eq(0)
        m.d.comb += self.i_flushed.ready.eq(1)

        # Release: unchanged, wanted by nobody, and no write on its way.
        releasable = Signal(n)
        m.d.comb += releasable.eq(used & filled & ~changed & ~flushing & unwanted)

        for k in range(n):
            touched_now, used_now = touch & (touched == k), done & (head == k)
            m.d.sync += waiting[k].eq(waiting[k] + touched_now - used_now)
            with m.If(touched_now & ~hit):
                m.d.sync += [used[k].eq(1), filled[k].eq(0), changed[k].eq(0), address[k].eq(self.i_touch.payload)]
            with m.Elif(releasable[k] & ~touched_now):
                m.d.sync += used[k].eq(0)
            with m.If(fill & (self.i_fetched.payload.id == k)):
                m.d.sync += filled[k].eq(1)
            with m.If(replace & (head == k)):
                m.d.sync += changed[k].eq(1)
            with m.Elif(chosen[k]):
                m.d.sync += changed[k].eq(0)
            with m.If(chosen[k]):
                m.d.sync += flushing[k].eq(1)
            with m.Elif(self.i_flushed.valid & (self.i_flushed.payload == k)):
                m.d.sync += flushing[k].eq(0)
        return m
