"""Waiting bins around memory, and a merge stage that never lets them wait: for what they can do."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from omap.params import Params
from rtl.map.page import Verdict
from rtl.map.waiting import WaitingBins
from rtl.stream.fifo import Fifo
from tests.support.designs.late_bins import LateBins

SHARES = 256
"""Shares are given in parts of this many."""


class BinsLoop(LateBins, wiring.Component):
    """The block with late memory; a tuple is judged when it is offered, by draw.

    The occupancy of a touch, and what its operation appends, are offered in the cycle after its end.

    Parameters
    ----------
    params, sizes
        As :class:`~tests.support.designs.merge_loop.MergeLoop` has them.

    Members
    -------
    i_touch, quiet, exhausted, latency, jitter, shy, wipe, lost_slots, lost_lines
        As :class:`~tests.support.designs.merge_loop.MergeLoop` has them.
    keeps : In(9)
        Share of tuples that go on waiting.
    joins : In(9)
        Share of appends with a tuple.
    alone : In(1)
        Appends and touches do not wait for each other.
    o_judged : Out(stream.Signature(0))
        Tuples that were judged.
    o_touched, o_appended : Out(stream.Signature(0))
        Uses that have ended.
    """

    def __init__(self, params: Params, **sizes: int) -> None:
        self.params, self.bins = params, WaitingBins(params, **sizes)
        of_bins = self.bins.signature.members
        super().__init__(
            {
                **{name: of_bins[name] for name in ("i_touch", "quiet", "exhausted")},
                **{name: In(8) for name in ("latency", "jitter")},
                **{name: In(9) for name in ("keeps", "joins")},
                **{name: In(1) for name in ("shy", "wipe", "alone")},
                **{name: Out(32) for name in ("lost_slots", "lost_lines")},
                **{name: Out(stream.Signature(0)) for name in ("o_judged", "o_touched", "o_appended")},
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.bins = bins = self.bins
        wiring.connect(m, wiring.flipped(self.i_touch), bins.i_touch)
        waiting, verdict, occupancy, append = bins.o_waiting, bins.i_verdict, bins.i_occupancy, bins.i_append
        m.submodules.ends = ends = Fifo(shape=1, depth=8)
        m.submodules.results = results = Fifo(shape=1, depth=8)
        draw, number = Signal(16), Signal(32)
        kept, joins = Signal(), Signal()
        m.d.comb += [
            kept.eq(draw[:8] < self.keeps),
            joins.eq(draw[8:] < self.joins),
            verdict.valid.eq(waiting.valid & ~waiting.p.end),
            verdict.p.eq(Mux(kept, Verdict.KEPT, Verdict.MOVED)),
            waiting.ready.eq(Mux(waiting.p.end, ends.i.ready & results.i.ready, verdict.ready)),
            ends.i.valid.eq(waiting.valid & waiting.p.end & results.i.ready),
            occupancy.valid.eq(ends.o.valid),
            ends.o.ready.eq(occupancy.ready),
            results.i.valid.eq(waiting.valid & waiting.p.end & ends.i.ready & ~self.alone),
            append.valid.eq(results.o.valid | self.alone),
            append.p.present.eq(joins),
            append.p.entry.eq(number),
            results.o.ready.eq(append.ready),
            *(told.ready.eq(1) for told in (bins.o_version, bins.o_bin)),
            self.o_judged.valid.eq(verdict.valid & verdict.ready),
            self.o_touched.valid.eq(occupancy.valid & occupancy.ready),
            self.o_appended.valid.eq(append.valid & append.ready),
            self.quiet.eq(bins.quiet),
            self.exhausted.eq(bins.exhausted),
        ]
        m.d.sync += number.eq(number + 1)

        self._memory(m)
        with m.If(verdict.ready | append.ready):  # what is on offer stays
            m.d.sync += draw.eq(self._random[40:56])
        return m
