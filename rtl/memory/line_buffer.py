"""On-chip copies of HBM lines that operations in flight use, so that each sees what the ones before it wrote."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.stream.fifo import Fifo
from rtl.stream.interfaces import require_whole
from rtl.stream.pick import encoded, lowest, one_hot


class LineBuffer(wiring.Component):
    """Keeps lines that are announced early and used in order, so that each is up to date when it is used.

    A touch announces the use of a line and fetches it, unless a copy is here. Lines are then offered in the order of
    their touches, each followed by what it becomes; however many touches are under way, the result is as with one
    access after the other. A changed line goes back to memory once no touch waits for it, and its copy stays until
    that write has arrived there, so that no read can overtake it.

    The rate is one touch every two cycles, and one use every two cycles if the consumer answers in the next; memory
    may answer fetches in any order, and waits while a line that was taken has not been answered.

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
        self._used = Signal(n)
        self._filled = Signal(n)
        self._changed = Signal(n)
        self._flushing = Signal(n)  # on its way to memory, or about to be
        self._touched, self._arriving, self._replaced = Signal(n), Signal(n), Signal(n)  # in this cycle
        self._waiting = [Signal(range(4 * n + 4), name=f"waiting_{k}") for k in range(n)]  # touches not yet used
        self._unwanted = Cat(waiting == 0 for waiting in self._waiting)

        lines = Memory(shape=self.line_bits, depth=n, init=[], attrs={"ram_style": "distributed"})
        addresses = Memory(shape=self.address_bits, depth=n, init=[], attrs={"ram_style": "distributed"})
        m.submodules.lines, m.submodules.addresses = lines, addresses
        m.submodules.order = order = Fifo(shape=self.id_bits, depth=4 * n)
        write, note = lines.write_port(), addresses.write_port()
        use_read = lines.read_port(domain="comb")
        flush_read = lines.read_port(domain="comb")
        noted = addresses.read_port(domain="comb")
        self._touch(m, order, note)
        self._use(m, order, write, use_read)
        self._flush(m, flush_read, noted)
        return m

    def _touch(self, m: Module, order: Fifo, note: Any) -> None:
        """Compare in one cycle, act in the next: the copy that is here is used, or a free entry and a fetch."""
        n = self.entries
        m.submodules.fetches = fetches = Fifo(shape=self.o_fetch.p.shape(), depth=n)  # never full
        wiring.connect(m, fetches.o, wiring.flipped(self.o_fetch))

        act = Signal()
        arrived, arrival = Signal(), Signal(self.address_bits)
        present, touch = Signal(), Signal(self.address_bits)
        m.d.sync += act.eq(~act)
        m.d.comb += [
            self.i_touch.ready.eq(~arrived),
            self.idle.eq(~(self._used.any() | arrived | present)),
        ]

        # Entries are released and taken in the cycles of `act` alone, so that what was compared still holds then.
        match, vacant, roomy = Signal(n), Signal(n), Signal()
        hit, go = Signal(), Signal()
        address = [Signal(self.address_bits, name=f"address_{k}") for k in range(n)]
        m.d.sync += [
            match.eq(Cat(self._used[k] & (address[k] == touch) for k in range(n))),
            vacant.eq(lowest(~self._used)),
            roomy.eq(order.level <= order.depth - 3),  # three may come before the level shows it
        ]
        m.d.comb += [
            hit.eq(match.any()),
            go.eq(act & present & roomy & (hit | vacant.any())),
            self._touched.eq(Mux(hit, match, vacant) & go.replicate(n)),
        ]
        with m.If(act & (go | ~present)):
            m.d.sync += [present.eq(arrived), touch.eq(arrival)]
        with m.If(~arrived):
            m.d.sync += [arrived.eq(self.i_touch.valid), arrival.eq(self.i_touch.p)]
        with m.Elif(act & (go | ~present)):
            m.d.sync += arrived.eq(0)
        taken, released = Signal(n), Signal(n)
        m.d.comb += taken.eq(Mux(hit, 0, self._touched))
        with m.If(act):  # a copy that is unchanged, wanted by nobody and not on its way to memory
            m.d.comb += released.eq(self._filled & ~self._changed & ~self._flushing & self._unwanted & ~self._touched)
        m.d.sync += [
            self._used.eq((self._used & ~released) | taken),
            self._filled.eq((self._filled & ~released) | self._arriving),
        ]
        for k in range(n):
            with m.If(taken[k]):
                m.d.sync += address[k].eq(touch)

        # What was decided is passed on a cycle later.
        went, missed, where, what = Signal(), Signal(), Signal(n), Signal(self.address_bits)
        m.d.sync += [went.eq(go), missed.eq(go & ~hit), where.eq(self._touched), what.eq(touch)]
        m.d.comb += [
            order.i.valid.eq(went),
            order.i.p.eq(encoded(where)),
            fetches.i.valid.eq(missed),
            fetches.i.p.address.eq(what),
            fetches.i.p.id.eq(encoded(where)),
            note.en.eq(missed),
            note.addr.eq(encoded(where)),
            note.data.eq(what),
        ]

    def _use(self, m: Module, order: Fifo, write: Any, read: Any) -> None:
        """Offer the line of the oldest touch, then replace it by what it becomes."""
        n = self.entries
        head, pending = Signal(self.id_bits), Signal()
        answered = Signal()  # the line was taken; what it becomes is awaited
        done = Signal()
        m.d.comb += [
            read.addr.eq(head),
            self.o_line.valid.eq(pending & ~answered & self._filled.bit_select(head, 1)),
            self.o_line.p.eq(read.data),
            self.i_line.ready.eq(answered),
            done.eq(self.i_line.valid & answered),
            order.o.ready.eq(done | ~pending),
        ]
        with m.If(done | ~pending):
            m.d.sync += [pending.eq(order.o.valid), head.eq(order.o.p)]
        with m.If(self.o_line.valid & self.o_line.ready):
            m.d.sync += answered.eq(1)
        with m.Elif(done):
            m.d.sync += answered.eq(0)

        # One write port: it is kept for what a line becomes, while that is awaited.
        replace, fill = Signal(), Signal()
        m.d.comb += [
            replace.eq(done & self.i_line.p.changed),
            self.i_fetched.ready.eq(~answered),
            fill.eq(self.i_fetched.valid & ~answered),
            write.en.eq(replace | fill),
            write.addr.eq(Mux(answered, head, self.i_fetched.p.id)),
            write.data.eq(Mux(answered, self.i_line.p.data, self.i_fetched.p.data)),
        ]
        used_now = Signal(n)
        m.d.comb += [
            used_now.eq(one_hot(head, n, done)),
            self._arriving.eq(one_hot(self.i_fetched.p.id, n, fill)),
            # A line that is replaced while its former state is on its way to memory goes there once more.
            self._replaced.eq(one_hot(head, n, replace)),
        ]
        for k in range(n):
            with m.If(self._touched[k] ^ used_now[k]):
                m.d.sync += self._waiting[k].eq(self._waiting[k] + Mux(self._touched[k], 1, -1))

    def _flush(self, m: Module, read: Any, noted: Any) -> None:
        """Write back changed lines that nobody waits for. A late choice costs one write and nothing else."""
        n = self.entries
        m.submodules.flushes = flushes = Fifo(shape=self.id_bits, depth=n)  # never full
        candidates, chosen, former = Signal(n), Signal(n), Signal(n)
        m.d.sync += [
            candidates.eq(self._changed & ~self._flushing & self._unwanted),
            chosen.eq(lowest(candidates & ~chosen & ~former)),  # those two are still among the candidates
            former.eq(chosen),
        ]
        m.d.comb += [flushes.i.valid.eq(former.any()), flushes.i.p.eq(encoded(former)), self.i_flushed.ready.eq(1)]
        m.d.sync += [
            self._changed.eq((self._changed & ~chosen) | self._replaced),
            self._flushing.eq((self._flushing & ~one_hot(self.i_flushed.p, n, self.i_flushed.valid)) | chosen),
        ]

        # The line on offer is read once, so that the offer stays the same if the line changes meanwhile.
        offering, offer = Signal(), Signal(self.o_flush.p.shape())
        m.d.comb += [
            read.addr.eq(flushes.o.p),
            noted.addr.eq(flushes.o.p),
            flushes.o.ready.eq(~offering | self.o_flush.ready),
            self.o_flush.valid.eq(offering),
            self.o_flush.p.eq(offer),
        ]
        with m.If(flushes.o.ready):
            m.d.sync += offering.eq(flushes.o.valid)
        with m.If(flushes.o.ready & flushes.o.valid):
            m.d.sync += [
                offer.address.eq(noted.data),
                offer.id.eq(flushes.o.p),
                offer.data.eq(read.data),
            ]
