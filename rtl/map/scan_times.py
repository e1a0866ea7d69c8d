"""What a scan takes: the fixed times that cover HBM at its slowest, and the whole."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from omap.sizing.hbm import HbmLimits
from omap.wire import RecordCodec
from rtl.config import SLOW_HOST, EngineConfig
from rtl.map.bin_shapes import BinShapes
from rtl.map.descriptor_walk import LINE_CYCLES, STEP_CYCLES
from rtl.map.format import SETTLE
from rtl.map.slot_marks import MARKS, mark_rows
from rtl.memory.hbm import BEAT_BYTES
from rtl.memory.slot_channels import MANY_READS, OUTSTANDING_READS

PAGES_AT_ONCE = 8
"""Pages that are read at once: the longest chain of one of them is waited for once."""

PIPELINE = 16
"""Cycles that the blocks take on the way to HBM and back, at the begin and at the end together."""

OPENING = 80
"""Cycles from the begin of an opening to the first page slot, beside the beats of the page."""


@dataclass(frozen=True)
class ScanTimes:
    """Times of a scan, in cycles.

    Parameters
    ----------
    config : EngineConfig
        The engine.
    shapes : BinShapes
        How long a chain can be.
    limits : HbmLimits
        What HBM keeps to.
    """

    config: EngineConfig
    shapes: BinShapes
    limits: HbmLimits = field(default_factory=HbmLimits)

    @property
    def pages(self) -> int:
        """Pages that are read at once."""
        config = self.config
        return min(PAGES_AT_ONCE, config.params.pages, config.page_ids, config.in_flight, config.bin_entries)

    @property
    def page_cycles(self) -> int:
        """Within which the longest chains of all pages that are read at once are here.

        A chain waits for one line after the other. The slots that a line names are marked while the next line comes. In
        the worst case each line comes when the lines of all others do, so that a chain waits for all their work.
        """
        limits, layout, at_once = self.limits, self.config.layouts["descriptors"], self.pages
        lines = 1 + min(self.shapes.most_lines, self.config.params.further_lines)
        beats = layout.item_bytes // BEAT_BYTES
        others = at_once * max(limits.access_cycles(layout.item_bytes), beats)
        first, each = self.config.params.line_indices
        step = STEP_CYCLES + max(limits.cycles(limits.latency_ns) + beats, each) + others
        work = lines * step + max(first, each) + (at_once - 1) * (self.shapes.most + lines * LINE_CYCLES)
        return math.ceil(PIPELINE + work + self._refreshes(work, lines, layout.channels))

    @property
    def slot_cycles(self) -> int:
        """Within which all waiting slots that are read at once are here."""
        limits, layout = self.limits, self.config.layouts["slots"]
        items = -(-MARKS >> layout.spread)  # of one channel
        burst = min(layout.item_bytes & -layout.item_bytes, 512)
        bursts = layout.item_bytes // burst
        rounds = -(-items * bursts // (OUTSTANDING_READS if bursts == 1 else MANY_READS))
        work = rounds * (limits.cycles(limits.latency_ns) + PIPELINE)
        work += items * max(limits.access_cycles(layout.item_bytes), bursts) + MARKS
        return math.ceil(PIPELINE + work + self._refreshes(work, rounds, layout.channels))

    def _refreshes(self, work: float, accesses: int, channels: int) -> float:
        """Return for how long refreshes stop work in which accesses wait for each other."""
        limits = self.limits
        each, every = limits.cycles(limits.refresh_ns), limits.cycles(limits.refresh_every_ns)
        count = 0
        while (more := min(accesses, channels * (1 + int((work + count * each) // every)))) > count:
            count = more
        return count * each

    def whole(self, *, host_cycles: int = SLOW_HOST, slot_cycles: float = 1.0) -> int:
        """Return about how many cycles a scan takes.

        Parameters
        ----------
        host_cycles : int
            From the read of a page to its data, for a host that answers many at once.
        slot_cycles : float
            In which a slot is taken.
        """
        params, beats = self.config.params, self.config.page_beats
        cut = max(beats + params.page_slots, params.page_slots * slot_cycles)  # of a page
        groups, lots = -(-params.pages // self.pages), -(-params.waiting_slots // MARKS)
        padding = self.slots - params.slots
        pages = groups * (max(self.page_cycles, host_cycles) + OPENING + beats) + params.pages * cut
        slots = lots * self.slot_cycles + (params.waiting_slots + padding) * slot_cycles
        return math.ceil(max(SETTLE, mark_rows(params.waiting_slots)) + pages + slots)

    @property
    def slots(self) -> int:
        """Slots that leave, and the NOPs that fill up the last chunk."""
        codec = RecordCodec(self.config.params)
        return codec.chunks * codec.most_operations
