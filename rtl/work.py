"""What an operation brings to each server inside an engine, by the law of its lists, for :mod:`rtl.offsets`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from omap.params import Params
from omap.sizing import backlog
from omap.sizing.backlog import Lists
from omap.sizing.channels import Layout
from omap.sizing.hbm import HbmLimits
from rtl.memory.free_list import LINE_CYCLES, LINE_INDICES
from rtl.memory.hbm import BEAT_BYTES

# In cycles, beside HBM. Measured in simulation; tests/rtl/test_offsets.py and the tests of the blocks measure it again.
FOLLOW_LINE = 12
"""From a line of a descriptor to the next one, without HBM's latency and without the beats of a line."""

MERGE = 1
"""Of the merge for each page; each waiting tuple takes one more."""

AGAIN = 3
"""From the end of a merge to the end of the next one, if both are of one key: the tuple goes out and comes in again."""

FLUSH = 2
"""Of the way back to HBM for both bins of an operation, if one line names all tuples of each."""

FLUSH_LINE = 3
"""Of the way back for each further line, and one more for each tuple that it names."""

FREE_CYCLES = LINE_CYCLES / LINE_INDICES
"""Of the free list for each slot that is given back. What it keeps on chip covers refreshes."""

TABLE_ACCESSES = 3
"""Accesses to one table of the position map for an operation: a line is read and written, and entries move. They are
2.5 where most move (:data:`omap.sizing.channels.ACCESSES`). The rest covers that the read and the write of a line meet
one channel."""

MOVED_LINES = 0.3
"""Lines of one table of the position map for an operation, beside its own, in a burst of insertions."""

MERGE_SHARE = 0.5
"""Largest share of the time that an interval has beyond the shortest merge, which lists may take on average that are
longer than a page has beats."""

CHANNEL_SHARE = 0.75
"""... at a channel of HBM. One long list of long tuples keeps it busy for thousands of cycles."""


@dataclass(frozen=True)
class Work:
    """What an operation brings to each server, by the law of its lists.

    Parameters
    ----------
    params : Params
        The map.
    lanes : int
        Blocks of 16 bytes in a beat.
    layouts : mapping of str to Layout
        How the structures lie in HBM.
    limits : HbmLimits
        What HBM keeps to.
    """

    params: Params
    lanes: int
    layouts: Mapping[str, Layout]
    limits: HbmLimits = field(default_factory=HbmLimits)

    @property
    def beats(self) -> int:
        """Beats of a page."""
        return self.params.page_bytes // (16 * self.lanes)

    @property
    def latency(self) -> float:
        """Cycles of an access to an idle channel."""
        return self.limits.cycles(self.limits.latency_ns)

    @property
    def refresh(self) -> float:
        """Cycles for which a refresh stops a channel."""
        return self.limits.cycles(self.limits.refresh_ns)

    @property
    def refreshing(self) -> backlog.Moments:
        """Wait of an access at a random time for the refresh of its channel.

        It meets one with the probability of the time that refreshes take, and then waits for what remains of it.
        """
        with np.errstate(over="ignore"):
            reach = backlog.TILTS * self.refresh
            found: backlog.Moments = np.log1p(self.limits.refresh_share * (np.expm1(reach) / reach - 1))
        return found

    @property
    def tuple_cycles(self) -> float:
        """Cycles for which the read of a waiting tuple occupies its channel; bursts come from there one a cycle."""
        return max(self.limits.access_cycles(self.layouts["slots"].item_bytes), self.assembling)

    @property
    def assembling(self) -> int:
        """Cycles from the first burst of a waiting tuple to all of it, if it has more than one."""
        bursts = self.layouts["slots"].item_bytes // BEAT_BYTES
        return bursts if bursts > 1 else 0

    def line_beats(self, name: str) -> int:
        """Return the beats of a line of a structure; a channel brings one a cycle."""
        return self.layouts[name].item_bytes // BEAT_BYTES

    def channel_bits(self, name: str) -> int:
        """Return the binary logarithm of the channels that an item of a structure may lie in; ``tables`` are both."""
        return self.layouts["table 0"].spread + 1 if name == "tables" else self.layouts[name].spread

    def channel(self, name: str) -> backlog.Moments:
        """Return the moments of what one access to a line of a structure brings to one of its channels."""
        layout = self.layouts[name]
        return backlog.one_of(1 << layout.spread, self.limits.access_cycles(layout.item_bytes))

    def _brought(self, name: str) -> backlog.Moments | None:
        """Return the moments of the beats of a line that is read from one channel of a structure.

        None if they take no longer than an access: accesses come one after the other, so that no line waits then.
        """
        layout, beats = self.layouts[name], self.line_beats(name)
        if beats <= self.limits.access_cycles(layout.item_bytes):
            return None
        return backlog.one_of(1 << layout.spread, beats)

    @property
    def tables(self) -> backlog.Moments:
        """Work of a channel with lines of the position map."""
        return TABLE_ACCESSES * self.channel("table 0")

    @property
    def table_reads(self) -> tuple[backlog.Moments, ...]:
        """Work of the beats of such lines, which come after their accesses; as many are read as are written."""
        each = self._brought("table 0")
        return () if each is None else (TABLE_ACCESSES / 2 * each,)

    @property
    def merging(self) -> backlog.Moments:
        """Work of the merge: the beats of the page, or its tuples if these take longer, whatever the keys are.

        The uses of its bins take no longer: a touch one cycle and one for each tuple, beside an append (BinUse).
        """
        return self.merges(max(self.beats, AGAIN))

    def merges(self, least: int) -> backlog.Moments:
        """Return the moments of a merge that takes ``least`` cycles, or as many as its tuples need."""
        law = Lists(self.params).touched_law
        return backlog.moments(law, np.maximum(least, MERGE + np.arange(len(law))))

    @property
    def fetching(self) -> backlog.Moments:
        """Work of the fetch of the two bins of an operation: their lines, and a cycle for each tuple that is fetched.

        The tuples of a bin that is only appended to are not fetched, unless it has further lines. They may be fetched
        later, for a touch; then no line is fetched for that touch. A bin with further lines is fetched again for a
        touch that comes when it has left the chip, and a client can touch each page some time after the append to it.
        So both bins of an operation are taken to have one list.
        """
        lists = Lists(self.params)
        law = lists.touched_law
        count, further = np.arange(len(law)), lists.further(len(law))
        lines = 1 + count + 3 * further
        return backlog.moments(law, lines + np.where(further > 0, lines, 1))

    @property
    def _fetched(self) -> npt.NDArray[np.float64]:
        """Tuples that are fetched for both bins of an operation, by how many wait: see :attr:`fetching`."""
        lists = Lists(self.params)
        count = len(lists.touched_law)
        return np.arange(count) * np.where(lists.further(count) > 0, 2.0, 1.0)

    @property
    def filling(self) -> backlog.Moments:
        """Work of the memory of tuples: those that were fetched, those that stay after a touch, and one that joins.

        The tuples of a page are judged long after they were fetched. So what is fetched and what stays are taken to be
        of independent pages. Windows that hold both times of one page are busy so rarely that they do not count
        (tests/rtl/test_offsets.py).
        """
        left = Lists(self.params).left_law
        filled = backlog.moments(Lists(self.params).touched_law, self._fetched)
        return filled + backlog.moments(left, np.arange(len(left))) + backlog.TILTS

    @property
    def freeing(self) -> backlog.Moments:
        """Work of the free list of slots: all that waited leave, or none does."""
        law = Lists(self.params).touched_law
        return backlog.moments(law, FREE_CYCLES * np.arange(len(law)))

    @property
    def descriptors(self) -> backlog.Moments:
        """Work of a channel with descriptors: both bins of an operation are read and written.

        A touch is charged as if the tuple of its own key stayed. That covers the line which this tuple may need in the
        bin that it joins.
        """
        return self._described(self.channel("descriptors"), 2)

    @property
    def descriptor_reads(self) -> tuple[backlog.Moments, ...]:
        """Work of the beats of descriptors that are read: see :attr:`table_reads`."""
        each = self._brought("descriptors")
        return () if each is None else (self._described(each, 1),)

    def _described(self, each: backlog.Moments, accesses: int) -> backlog.Moments:
        """Return the moments of the lines of both bins of an operation, if each line is accessed so many times."""
        lists = Lists(self.params)
        touched, appended = (
            backlog.repeated(law, accesses * (1 + lists.further(len(law))), each)
            for law in (lists.touched_law, lists.law)
        )
        return touched + appended

    @property
    def slots(self) -> backlog.Moments:
        """Work of a channel with waiting slots: those tuples are read that are fetched, and one is written.

        A tuple of several bursts comes from its channel one burst a cycle. See :attr:`fetching`. A long list of long
        tuples keeps a channel busy over several refreshes, so their share of the time counts as work. Other channels
        are busy that long so rarely that it does not count (tests/rtl/test_offsets.py).
        """
        layout = self.layouts["slots"]
        written, read = (
            backlog.one_of(1 << layout.spread, cycles / (1 - self.limits.refresh_share))
            for cycles in (self.limits.access_cycles(layout.item_bytes), self.tuple_cycles)
        )
        return written + backlog.repeated(Lists(self.params).touched_law, self._fetched, read)

    @property
    def flushing(self) -> backlog.Moments:
        """Work of the way back: a bin that a tuple has joined, and a touched one with the tuples that go on waiting.

        Further lines that a touched bin had are given back, a line a cycle. A client can touch each page some time
        after the append to it (:attr:`fetching`). So tuples are taken to go on waiting where most tuples wait: of all
        dependences this one makes the longest work.
        """
        lists = Lists(self.params)
        laws, (first, _) = (lists.law, lists.left_law, lists.touched_law), self.params.line_indices
        most = max(map(len, laws)) + 1
        count, further = np.arange(most), lists.further(most)
        named = FLUSH / 2 + np.where(further > 0, 1 + FLUSH_LINE * further + count - first, 0)
        given_back = np.where(further > 0, 1 + further, 0)
        return backlog.moments_together(laws, (named[1:], named, given_back))

    def keeps_up(self, interval: int | Fraction) -> bool:
        """Return whether the channels of HBM and the merge do what operations bring on average, with room."""
        most = CHANNEL_SHARE * float(interval)
        channels_do = all(backlog.mean_of(server) <= most for server in (self.tables, self.descriptors, self.slots))
        least = max(self.beats, AGAIN)
        return channels_do and backlog.mean_of(self.merging) - least <= MERGE_SHARE * (float(interval) - least)

    @property
    def list_cycles(self) -> backlog.Moments:
        """What the list of an operation's own page takes: lines one after the other, their tuples, and their merge.

        A line is asked for when the one before is here, and may meet a refresh of its own channel. Tuples come in the
        order of lines.
        """
        lists, layout = Lists(self.params), self.layouts["slots"]
        law = lists.touched_law
        count, further = np.arange(len(law)), lists.further(len(law))
        first, each = self.params.line_indices
        line = FOLLOW_LINE + self.line_beats("descriptors") + self.latency
        tuple_ = max(1.0, self.tuple_cycles / (1 << layout.spread))
        here = tuple_ * np.minimum(count, first)
        for number in range(1, int(further[-1]) + 1):
            named = np.clip(count - first - (number - 1) * each, 0, each)
            here = np.where(named > 0, np.maximum(here, number * line) + tuple_ * named, here)
        return backlog.log_mean(np.outer(backlog.TILTS, here + count) + np.outer(self.refreshing, further), law)
