"""Waiting bins and merge stage around late memory, as a circuit: a whole use of pages, without pages on their way."""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from omap.params import Params
from rtl.map.page import PageMerge
from rtl.map.waiting import WaitingBins
from rtl.stream.fifo import Fifo
from tests.support.designs.late_bins import LateBins


class MergeLoop(LateBins, wiring.Component):
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

        self._memory(m)
        return m
