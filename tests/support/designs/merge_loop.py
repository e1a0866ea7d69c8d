"""Waiting bins and merge stage around late memory, as a circuit: a whole use of pages, without pages on their way."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from omap.params import Params
from rtl.map.page import PageMerge
from rtl.map.waiting import WaitingBins
from rtl.stream.fifo import Fifo

TRANSFERS = 64
"""Line reads, and line writes, under way at most."""


class MergeLoop(wiring.Component):
    """Both blocks, connected as in the engine, with HBM and free lists that start empty: every version is 0.

    Parameters
    ----------
    params : Params
        Of the map.
    lanes : int
        As :class:`~rtl.map.page.PageMerge` has it.
    sizes
        As :class:`~rtl.map.waiting.WaitingBins` has them.

    Members
    -------
    i_touch, i_append, o_version : streams
        As :class:`~rtl.map.waiting.WaitingBins` has them.
    i_key : In(stream.Signature({"take": 1, "key": key}))
        One for each TOUCH.
    i_text, o_text, o_result : streams
        As :class:`~rtl.map.page.PageMerge` has them.
    latency, jitter : In(8)
        Fewest cycles of a transfer, and the mask of those drawn on top.
    shy : In(1)
        Whether requests are held back at times.
    wipe : In(1)
        Zeroes a line a cycle, one after the other, in place of what was written, frees everything, and takes what
        comes in to nowhere.
    quiet, exhausted, clear, erase
        As the blocks have them.
    lost_slots, lost_lines : Out(32)
        Taken from the free lists and not given back.
    """

    def __init__(self, params: Params, *, lanes: int = 1, **sizes: int) -> None:
        self.params = params
        self.bins, self.merge = WaitingBins(params, **sizes), PageMerge(params, lanes=lanes)
        of_bins, of_merge = self.bins.signature.members, self.merge.signature.members
        super().__init__(
            {
                **{name: of_bins[name] for name in ("i_touch", "i_append", "o_version", "quiet", "exhausted")},
                **{name: of_bins[name] for name in ("clear", "erase")},
                **{name: of_merge[name] for name in ("i_text", "o_text", "o_result")},
                "i_key": In(stream.Signature(StructLayout({"take": 1, "key": 8 * params.key_bytes}))),
                "latency": In(8),
                "jitter": In(8),
                "shy": In(1),
                "wipe": In(1),
                "lost_slots": Out(32),
                "lost_lines": Out(32),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.bins, m.submodules.merge = bins, merge = self.bins, self.merge
        key = self.i_key.signature.flip().create(path=("key",))
        for outer, part in (
            (self.i_touch, bins.i_touch),
            (self.i_append, bins.i_append),
            (self.i_text, merge.i_text),
            (self.i_key, key),
        ):
            m.d.comb += [
                part.valid.eq(outer.valid & ~self.wipe),
                part.p.eq(outer.p),
                outer.ready.eq(part.ready | self.wipe),
            ]
        wiring.connect(m, bins.o_version, wiring.flipped(self.o_version))
        wiring.connect(m, merge.o_text, wiring.flipped(self.o_text))
        wiring.connect(m, bins.o_waiting, merge.i_waiting)
        wiring.connect(m, merge.o_verdict, bins.i_verdict)

        # A key meets its bin, a result goes two ways.
        m.submodules.results = results = Fifo(shape=merge.o_result.p.shape(), depth=4)
        wiring.connect(m, results.o, wiring.flipped(self.o_result))
        m.d.comb += [
            merge.i_job.valid.eq(key.valid & bins.o_bin.valid),
            merge.i_job.p.take.eq(key.p.take),
            merge.i_job.p.key.eq(key.p.key),
            merge.i_job.p.occupancy.eq(bins.o_bin.p.occupancy),
            key.ready.eq(merge.i_job.ready & bins.o_bin.valid),
            bins.o_bin.ready.eq(merge.i_job.ready & key.valid),
            bins.i_occupancy.valid.eq(merge.o_result.valid & results.i.ready),
            bins.i_occupancy.p.eq(merge.o_result.p.occupancy),
            results.i.valid.eq(merge.o_result.valid & bins.i_occupancy.ready),
            results.i.p.eq(merge.o_result.p),
            merge.o_result.ready.eq(results.i.ready & bins.i_occupancy.ready),
            self.quiet.eq(bins.quiet),
            self.exhausted.eq(bins.exhausted),
            bins.clear.eq(self.clear),
            bins.erase.eq(self.erase),
            merge.erase.eq(self.clear | self.erase),
        ]

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
        return m

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
            due.eq(Cat(held[k] & (times[k] <= self._clock) for k in range(n))),
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
            again = answer.valid & (found[: len(chosen)] == chosen)
            m.d.sync += [answer.valid.eq(due.any() & ~again), chosen.eq(found)]
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
