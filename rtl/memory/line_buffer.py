"""On-chip copies of HBM lines that operations in flight use, so that each sees what the ones before it wrote."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.constants import MOST_LINES
from rtl.stream.fifo import Fifo
from rtl.stream.interfaces import require_whole
from rtl.stream.pick import encoded, lowest, one_hot

SPARE = 8
"""Vacant entries that are chosen ahead, so that none has to be looked for when a line comes."""


class LineBuffer(wiring.Component):
    """Keeps lines that are announced early and used in order, so that each is up to date when it is used.

    A touch announces the use of a line and fetches it, unless a copy is here. Lines are then offered in the order of
    their touches, each followed by what it becomes; however many touches are under way, the result is as with one
    access after the other. A changed line goes back to memory once no touch waits for it, and its copy stays until
    that write has arrived there, so that no read can overtake it.

    The rate is one touch a cycle, and one use a cycle if the consumer says in the next cycle what the line becomes.
    Two uses of one line that follow each other take two cycles each, because the second waits for what the first
    leaves. Memory may answer fetches in any order, one a cycle.

    Parameters
    ----------
    address_bits : int
        Width of a line's number.
    line_bits : int
        Width of a line.
    entries : int
        Copies kept, 2 to 128: at least the uses under way, from touch to the arrival of the write.

    Members
    -------
    i_touch : In(stream.Signature(address_bits))
        Numbers of the lines that will be used, in order.
    o_line : Out(stream.Signature(line_bits))
        The line of the oldest touch not yet used.
    i_line : In(stream.Signature({"data", "changed"}))
        What the line taken last becomes; taken once for each line, after it was taken. The next line is on offer in
        the cycle of this answer at the earliest.
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
        require_whole("entries", entries, 2, MOST_LINES)
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
        self._replaced = Signal(n)  # used lines are in `results`, no longer as they were fetched
        self._changed = Signal(n)
        self._flushing = Signal(n)  # on its way to memory, or about to be
        self._leaving = Signal(n)  # released in this cycle
        self._touched, self._arriving, self._replacing = Signal(n), Signal(n), Signal(n)  # in this cycle
        self._where = Signal(n)  # touched in the cycle before
        self._waiting = [Signal(range(4 * n + 4), name=f"waiting_{k}") for k in range(n)]  # touches not yet used

        # Lines as they were fetched, and as uses left them: so both can be written in one cycle.
        fetched, results = (
            Memory(shape=self.line_bits, depth=n, init=[], attrs={"ram_style": "distributed"}) for _ in range(2)
        )
        addresses = Memory(shape=self.address_bits, depth=n, init=[], attrs={"ram_style": "distributed"})
        m.submodules.fetched, m.submodules.results, m.submodules.addresses = fetched, results, addresses
        m.submodules.order = order = Fifo(shape=self.id_bits, depth=4 * n)
        note, noted = addresses.write_port(), addresses.read_port(domain="comb")
        self._touch(m, order, note)
        self._use(m, order, fetched, results)
        self._flush(m, results.read_port(domain="comb"), noted)
        return m

    def _touch(self, m: Module, order: Fifo, note: Any) -> None:
        """Compare in one cycle, act in the next: the copy that is here is used, or a vacant entry and a fetch."""
        n = self.entries
        m.submodules.fetches = fetches = Fifo(shape=self.o_fetch.p.shape(), depth=n)  # never full
        wiring.connect(m, fetches.o, wiring.flipped(self.o_fetch))
        spare = self._spare(m)

        # A touch goes on only when it is sure to find what it needs, so that it never waits after its comparison.
        present, touch = Signal(), Signal(self.address_bits)
        acts, what = Signal(), Signal(self.address_bits)
        roomy, go = Signal(), Signal()
        m.d.sync += roomy.eq(order.level <= order.depth - 5)  # four may come before the level shows it
        m.d.comb += [
            go.eq(present & roomy & (spare.level > acts)),
            self.i_touch.ready.eq(~present | go),
            self.idle.eq(~(self._used.any() | present | acts)),
        ]
        with m.If(self.i_touch.ready):
            m.d.sync += [present.eq(self.i_touch.valid), touch.eq(self.i_touch.p)]

        # What the touch before takes in the cycle of the comparison is not yet seen by it.
        address = [Signal(self.address_bits, name=f"address_{k}") for k in range(n)]
        match, again, hit = Signal(n), Signal(), Signal()
        m.d.sync += [
            acts.eq(go),
            what.eq(touch),
            match.eq(Cat(self._used[k] & ~self._leaving[k] & (address[k] == touch) for k in range(n))),
            again.eq(acts & (what == touch)),
        ]
        here, vacant, taken = match & ~self._leaving, one_hot(spare.o.p, n), Signal(n)
        m.d.comb += [
            hit.eq(again | here.any()),
            self._touched.eq(Mux(hit, Mux(again, self._where, here), vacant) & acts.replicate(n)),
            taken.eq(vacant & (acts & ~hit).replicate(n)),
            spare.o.ready.eq(acts & ~hit),
        ]
        for k in range(n):
            with m.If(taken[k]):
                m.d.sync += address[k].eq(what)
        unwanted = Cat(waiting == 0 for waiting in self._waiting)
        m.d.sync += [
            # A copy that is unchanged, wanted by nobody and not on its way to memory.
            self._leaving.eq(
                self._filled
                & ~(self._changed | self._flushing | self._touched | self._where | self._leaving)
                & unwanted
            ),
            self._used.eq((self._used & ~self._leaving) | taken),
            self._filled.eq((self._filled & ~self._leaving) | self._arriving),
            self._replaced.eq((self._replaced & ~self._leaving) | self._replacing),
        ]

        # What was decided is passed on a cycle later.
        missed, number = Signal(), Signal(self.address_bits)
        m.d.sync += [self._where.eq(self._touched), missed.eq(acts & ~hit), number.eq(what)]
        m.d.comb += [
            order.i.valid.eq(self._where.any()),
            order.i.p.eq(encoded(self._where)),
            fetches.i.valid.eq(missed),
            fetches.i.p.address.eq(number),
            fetches.i.p.id.eq(encoded(self._where)),
            note.en.eq(missed),
            note.addr.eq(encoded(self._where)),
            note.data.eq(number),
        ]

    def _spare(self, m: Module) -> Fifo:
        """Choose vacant entries ahead, and return the ids of those that were chosen."""
        n = self.entries
        m.submodules.spare = spare = Fifo(shape=self.id_bits, depth=SPARE)
        vacant, chosen, wanted = Signal(n, init=(1 << n) - 1), Signal(n), Signal()
        m.d.comb += [
            wanted.eq(spare.level <= spare.depth - 3),  # two may come before the level shows it
            spare.i.valid.eq(chosen.any()),
            spare.i.p.eq(encoded(chosen)),
        ]
        m.d.sync += [
            chosen.eq(lowest(vacant & ~chosen) & wanted.replicate(n)),
            vacant.eq((vacant & ~chosen) | self._leaving),
        ]
        return spare

    def _use(self, m: Module, order: Fifo, fetched: Memory, results: Memory) -> None:
        """Offer the line of the oldest touch, then replace it by what it becomes."""
        n = self.entries
        fill, write = fetched.write_port(), results.write_port()
        as_fetched, as_left = fetched.read_port(domain="comb"), results.read_port(domain="comb")
        head, pending = Signal(self.id_bits), Signal()
        there, replaced = Signal(), Signal()  # the line at the head is on chip; it is in `results`
        last, awaited, same = Signal(self.id_bits), Signal(), Signal()  # what the line taken last becomes is awaited
        take, load, done, replace = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            as_fetched.addr.eq(head),
            as_left.addr.eq(head),
            # The answer to the line before is there by then, or comes in this cycle and is about another line.
            self.o_line.valid.eq(there & (~awaited | (self.i_line.valid & ~same))),
            self.o_line.p.eq(Mux(replaced, as_left.data, as_fetched.data)),
            self.i_line.ready.eq(awaited),
            take.eq(self.o_line.valid & self.o_line.ready),
            done.eq(self.i_line.valid & awaited),
            replace.eq(done & self.i_line.p.changed),
            load.eq(take | ~pending),
            order.o.ready.eq(load),
        ]
        with m.If(take):
            m.d.sync += [awaited.eq(1), last.eq(head)]
        with m.Elif(done):
            m.d.sync += awaited.eq(0)

        # What is known of the line at the head is known in a register, also when it changes meanwhile.
        def known(of: Value) -> list[Value]:
            """Return whether the line ``of`` will be there in the next cycle, and whether it will be in `results`."""
            arrives = self.i_fetched.valid & (self.i_fetched.p.id == of)
            return [
                self._filled.bit_select(of, 1) | arrives,
                self._replaced.bit_select(of, 1) | (replace & (last == of)),
            ]

        with m.If(load):
            m.d.sync += [
                pending.eq(order.o.valid),
                head.eq(order.o.p),
                same.eq(Mux(take, order.o.p == head, order.o.p == last)),
            ]
        of_next, of_head = known(order.o.p), known(head)
        m.d.sync += [
            there.eq(Mux(load, order.o.valid & of_next[0], of_head[0])),
            replaced.eq(Mux(load, of_next[1], of_head[1])),
        ]

        used_now = Signal(n)
        m.d.comb += [
            self.i_fetched.ready.eq(1),
            fill.en.eq(self.i_fetched.valid),
            fill.addr.eq(self.i_fetched.p.id),
            fill.data.eq(self.i_fetched.p.data),
            write.en.eq(replace),
            write.addr.eq(last),
            write.data.eq(self.i_line.p.data),
            self._arriving.eq(one_hot(self.i_fetched.p.id, n, self.i_fetched.valid)),
            # A line that is replaced while its former state is on its way to memory goes there once more.
            self._replacing.eq(one_hot(last, n, replace)),
        ]
        m.d.sync += used_now.eq(one_hot(last, n, done))
        for k in range(n):
            with m.If(self._where[k] ^ used_now[k]):
                m.d.sync += self._waiting[k].eq(self._waiting[k] + Mux(self._where[k], 1, -1))

    def _flush(self, m: Module, read: Any, noted: Any) -> None:
        """Write back changed lines that nobody waits for. A late choice costs one write and nothing else."""
        n = self.entries
        m.submodules.flushes = flushes = Fifo(shape=self.id_bits, depth=n)  # never full
        candidates, chosen, former = Signal(n), Signal(n), Signal(n)
        unwanted = Cat(waiting == 0 for waiting in self._waiting)
        m.d.sync += [
            candidates.eq(self._changed & ~self._flushing & unwanted),
            chosen.eq(lowest(candidates & ~chosen & ~former)),  # those two are still among the candidates
            former.eq(chosen),
        ]
        m.d.comb += [flushes.i.valid.eq(former.any()), flushes.i.p.eq(encoded(former)), self.i_flushed.ready.eq(1)]
        m.d.sync += [
            self._changed.eq((self._changed & ~chosen) | self._replacing),
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
