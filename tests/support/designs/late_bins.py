"""Memory and free lists behind waiting bins, as a circuit: answers are as late and as disordered as they are told."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib.data import StructLayout
from amaranth.lib.memory import Memory

from omap.params import Params
from rtl.map.waiting import WaitingBins
from rtl.stream.fifo import Fifo

TRANSFERS = 64
"""Line reads, and line writes, under way at most."""


class LateBins:
    """What a design has that keeps its bins in memory: it has the members ``latency``, ``jitter``, ``shy``, ``wipe``,
    ``lost_slots`` and ``lost_lines`` of :class:`~tests.support.designs.merge_loop.MergeLoop`.

    Attributes
    ----------
    params : Params
        Of the map.
    bins : WaitingBins
        The bins.
    """

    params: Params
    bins: WaitingBins
    latency: Signal
    jitter: Signal
    shy: Signal
    wipe: Signal
    lost_slots: Signal
    lost_lines: Signal

    def _memory(self, m: Module) -> None:
        """Put memory behind the bins."""
        bins = self.bins

        random = Signal(64, init=0x9E3779B97F4A7C15)
        step = random ^ (random << 13)[:64]
        step = step ^ (step >> 7)
        m.d.sync += random.eq(step ^ (step << 17)[:64])  # xorshift64 (Marsaglia 2003)
        self._random, self._clock = random, Signal(32)
        m.d.sync += self._clock.eq(self._clock + 1)
        self._lines(m)
        self._slots(m)
        self._free(m, "slots", self.params.waiting_slots, bins.i_free_slot, bins.o_freed_slot, self.lost_slots, 5)
        self._free(m, "further", self.params.further_lines, bins.i_free_line, bins.o_freed_line, self.lost_lines, 9)

    def _may(self, share: int) -> Value:
        return ~self.shy | (self._random[share : share + 2] != 0)

    def _due(self, share: int) -> Value:
        return self._clock + self.latency + (self._random[share : share + 8] & self.jitter)

    def _lines(self, m: Module) -> None:
        """Lines are answered in any order; a write takes effect when it is answered."""
        bins, params = self.bins, self.params
        depth = params.bins + params.further_lines
        m.submodules.lines = lines = Memory(shape=8 * params.descriptor_bytes, depth=depth, init=[])
        write, read = lines.write_port(), lines.read_port(domain="comb")
        fetch, address, data = self._transfers(m, bins.o_line_fetch, bins.i_line_fetched, 12)
        m.d.comb += [read.addr.eq(address), bins.i_line_fetched.p.id.eq(fetch)]
        m.d.comb += bins.i_line_fetched.p.data.eq(read.data)
        flush, address, data = self._transfers(m, bins.o_line_flush, bins.i_line_flushed, 31)
        wiped = Signal(range(depth))
        m.d.comb += [
            bins.i_line_flushed.p.eq(flush),
            write.addr.eq(Mux(self.wipe, wiped, address)),
            write.data.eq(Mux(self.wipe, 0, data)),
            write.en.eq((bins.i_line_flushed.valid & bins.i_line_flushed.ready) | self.wipe),
        ]
        with m.If(self.wipe):
            m.d.sync += wiped.eq(Mux(wiped == depth - 1, 0, wiped + 1))

    def _transfers(self, m: Module, request, answer, share: int) -> tuple[Value, Value, Value]:
        """Keep requests for a drawn time, then choose among them by draw; return id, address, data of the answer."""
        n = TRANSFERS
        held, due = Signal(n, name=f"held{share}"), Signal(n, name=f"due{share}")
        kept = Array(Signal(request.p.shape(), name=f"kept{share}_{k}") for k in range(n))
        times = Array(Signal(32, name=f"time{share}_{k}") for k in range(n))
        into, chosen = Signal(range(n), name=f"into{share}"), Signal(range(n), name=f"chosen{share}")
        start, found = Signal(range(n), name=f"start{share}"), Signal(range(2 * n), name=f"found{share}")
        m.d.comb += [
            request.ready.eq(~held.all() & self._may(share)),
            start.eq(self._random[share : share + 6]),
            # but for the one whose answer is on offer
            due.eq(Cat(held[k] & (times[k] <= self._clock) & ~(answer.valid & (chosen == k)) for k in range(n))),
        ]
        for k in reversed(range(n)):
            with m.If(~held[k]):
                m.d.comb += into.eq(k)
            with m.If((Cat(due, due) >> start)[k]):
                m.d.comb += found.eq(start + k)
        with m.If(answer.valid & answer.ready):
            m.d.sync += held.bit_select(chosen, 1).eq(0)
        with m.If(request.valid & request.ready):
            m.d.sync += [held.bit_select(into, 1).eq(1), kept[into].eq(request.p), times[into].eq(self._due(share))]
        # An answer on offer stays as it is.
        with m.If(~answer.valid | answer.ready):
            m.d.sync += [answer.valid.eq(due.any()), chosen.eq(found)]
        item = Signal(request.p.shape(), name=f"item{share}")
        m.d.comb += item.eq(kept[chosen])
        return item.id, item.address, item.data if "data" in dict(request.p.shape()) else item.id

    def _slots(self, m: Module) -> None:
        """Slots are answered in order."""
        bins, params = self.bins, self.params
        m.submodules.slots = slots = Memory(shape=8 * params.tuple_bytes, depth=params.waiting_slots, init=[])
        write, read = slots.write_port(), slots.read_port(domain="comb")

        def transfers(request, answer, share):
            shape = StructLayout({"item": request.p.shape(), "due": 32})
            m.submodules[f"queue{share}"] = queue = Fifo(shape=shape, depth=2 * TRANSFERS)
            ripe = queue.o.valid & (queue.o.p.due <= self._clock)
            m.d.comb += [
                queue.i.valid.eq(request.valid & self._may(share)),
                request.ready.eq(queue.i.ready & self._may(share)),
                queue.i.p.item.eq(request.p),
                queue.i.p.due.eq(self._due(share)),
                answer.valid.eq(ripe),
                queue.o.ready.eq(ripe & answer.ready),
            ]
            return queue.o.p.item

        m.d.comb += [
            read.addr.eq(transfers(bins.o_slot_fetch, bins.i_slot_fetched, 20)),
            bins.i_slot_fetched.p.eq(read.data),
        ]
        written = transfers(bins.o_slot_write, bins.i_slot_written, 41)
        m.d.comb += [
            write.addr.eq(written.slot),
            write.data.eq(written.data),
            write.en.eq(bins.i_slot_written.valid & bins.i_slot_written.ready),
        ]

    def _free(self, m: Module, name: str, size: int, give, take, lost: Value, share: int) -> None:
        """A free list that gives what was never used first, then what came back first."""
        m.submodules[f"free_{name}"] = back = Fifo(shape=give.p.shape(), depth=size)
        fresh = Signal(range(size + 1), name=f"fresh_{name}")
        m.d.comb += [
            give.valid.eq((fresh != size) | back.o.valid),
            give.p.eq(Mux(fresh != size, fresh, back.o.p)),
            back.o.ready.eq(((fresh == size) & give.ready) | self.wipe),
            back.i.valid.eq(take.valid & self._may(share)),
            back.i.p.eq(take.p),
            take.ready.eq(back.i.ready & self._may(share)),
        ]
        with m.If(self.wipe):
            m.d.sync += [fresh.eq(0), lost.eq(0)]
        with m.Else():
            m.d.sync += [
                fresh.eq(fresh + ((fresh != size) & give.valid & give.ready)),
                lost.eq(lost + (give.valid & give.ready) - (take.valid & take.ready)),
            ]
