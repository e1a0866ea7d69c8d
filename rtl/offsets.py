"""The fixed offsets of an engine, computed from its map, its blocks and what HBM must keep to.

Every event that a host sees leaves at a fixed time after public events. Each of these times must cover all that can
happen inside before it: HBM that is refreshing, long lists, and the backlog of many operations. docs/decisions/0012 has
the reasons; :mod:`omap.sizing.backlog` has the law.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from omap.params import Params
from omap.sizing import backlog, channels
from omap.sizing.backlog import LATE_BITS, Lists
from omap.sizing.channels import CHANNEL_BYTES, Layout
from omap.sizing.hbm import HbmLimits
from rtl.constants import LANES
from rtl.memory.free_list import LINE_CYCLES, LINE_INDICES
from rtl.memory.hbm import BEAT_BYTES

# What the blocks take, in cycles, beside HBM. Measured in simulation; tests/rtl/test_offsets.py measures it again.
LOCATE = 32
"""From admission to a known page, without the words of the hash and HBM's latency."""

WORD = 4
"""Of SipHash, for each word of eight bytes; the last word holds the length."""

VERSION = 14
"""From a known page to the version that HBM has of it, without HBM's latency."""

KEYSTREAM = 18
"""For which a version must be known before its page starts, so that the keystream is there when the page comes."""

TUPLES = 24
"""From a known page to the end of its merge, without twice HBM's latency and without waiting tuples of many bursts."""

LEAST_FOLLOW = 2
"""From a start to the start of a page that waits for it."""

LEAST_TURNAROUND = 3
"""From the read of a page being taken to its start."""

FOLLOW_LINE = 14
"""From a line of a descriptor to the next one, without HBM's latency."""

OPENING = 12
"""From the start of a page to the end of its merge, without twice its beats and without waiting tuples."""

USE = 2
"""Of the uses of its bins for each operation; each waiting tuple takes one more."""

MERGE = 1
"""Of the merge for each page; each waiting tuple takes one more."""

AGAIN = 3
"""From the end of a merge to the end of the next one, if both are of one key: the tuple goes out and comes in again."""

SEALING = 7
"""From the end of a merge to the sealed page at its pacer, without the beats of the page."""

LEAVING = 3
"""Between the latest that an item may be there and the time at which its pacer offers it."""

FLUSH = 2
"""Of the way back to HBM for both bins of an operation, if one line names all tuples of each."""

FLUSH_LINE = 3
"""Of the way back for each further line, and one more for each tuple that it names."""

FREE_CYCLES = LINE_CYCLES / LINE_INDICES
"""Of the free list for each slot that is given back. What it keeps on chip covers refreshes."""

TAKE_CYCLES = 4
"""... for each slot that is taken, if all come from lines in HBM."""

TABLE_ACCESSES = 3
"""Accesses to one table of the position map for an operation: a line is read and written, and entries move."""

WORK_SHARE = 0.9
"""Largest share of an interval that the mean work of an operation may take at a server. Channels of HBM and the merge
of whole pages have shares of their own.

The mean assumes that every operation finds its own tuple waiting. A client can bring so many tuples only for a small
part of as many operations as there are pages; over more operations the work is less."""

MERGE_SHARE = 0.5
"""Largest share of the time that an interval has beyond the shortest merge, which lists may take on average that are
longer than a page has beats."""

CHANNEL_SHARE = 0.75
"""... at a channel of HBM. One long list of long tuples keeps it busy for thousands of cycles."""


@dataclass(frozen=True, kw_only=True)
class Offsets:
    """Times of public events, in cycles.

    Attributes
    ----------
    lookup : int
        From admission to the read of the page.
    turnaround : int
        From the read of a page being taken to the earliest start of the page.
    follow : int
        From the start of a page to the earliest start of a page that follows it.
    reply : int
        From the start of a page to its reply.
    merge : int
        From the start of a page to its write.
    flush : int
        From the end of a use until the bin is in HBM.
    """

    lookup: int
    turnaround: int
    follow: int
    reply: int
    merge: int
    flush: int


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
        share = self.limits.refresh_ns / self.limits.refresh_every_ns
        with np.errstate(over="ignore"):
            reach = backlog.TILTS * self.refresh
            found: backlog.Moments = np.log1p(share * (np.expm1(reach) / reach - 1))
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

    def channel(self, name: str) -> backlog.Moments:
        """Return the moments of what one access to a structure brings to one of its channels."""
        layout = self.layouts[name]
        return backlog.one_of(1 << layout.spread, self.limits.access_cycles(layout.item_bytes))

    @property
    def tables(self) -> backlog.Moments:
        """Work of a channel with lines of the position map."""
        return TABLE_ACCESSES * self.channel("table 0")

    @property
    def using(self) -> backlog.Moments:
        """Work of the uses of both bins."""
        law = Lists(self.params).touched_law
        return backlog.moments(law, USE + np.arange(len(law)))

    @property
    def merging(self) -> backlog.Moments:
        """Work of the merge: the beats of the page, or its tuples if these take longer, whatever the keys are."""
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
    def freeing(self) -> backlog.Moments:
        """Work of the free list of slots: all that waited leave, or none does."""
        law = Lists(self.params).touched_law
        return backlog.moments(law, FREE_CYCLES * np.arange(len(law)))

    @property
    def taking(self) -> backlog.Moments:
        """... and an operation takes a slot."""
        return TAKE_CYCLES * backlog.TILTS

    @property
    def descriptors(self) -> backlog.Moments:
        """Work of a channel with descriptors: both bins of an operation are read and written.

        A touch is charged as if the tuple of its own key stayed. That covers the line which this tuple may need in the
        bin that it joins.
        """
        lists, channel = Lists(self.params), self.channel("descriptors")
        touched, appended = (
            backlog.repeated(law, 2 + 2 * lists.further(len(law)), channel) for law in (lists.touched_law, lists.law)
        )
        return touched + appended

    @property
    def slots(self) -> backlog.Moments:
        """Work of a channel with waiting slots: those tuples are read that are fetched, and one is written.

        A tuple of several bursts comes from its channel one burst a cycle. See :attr:`fetching`. A long list of long
        tuples keeps a channel busy over several refreshes, so their share of the time counts as work. Other channels
        are busy that long so rarely that it does not count (tests/rtl/test_offsets.py).
        """
        lists, layout = Lists(self.params), self.layouts["slots"]
        law = lists.touched_law
        count, further = np.arange(len(law)), lists.further(len(law))
        busy = 1 - self.limits.refresh_ns / self.limits.refresh_every_ns
        written, read = (
            backlog.one_of(1 << layout.spread, cycles / busy)
            for cycles in (self.limits.access_cycles(layout.item_bytes), self.tuple_cycles)
        )
        return written + backlog.repeated(law, count * np.where(further > 0, 2, 1), read)

    @property
    def flushing(self) -> backlog.Moments:
        """Work of the way back: a touched bin, of which all tuples may be left, and one that a tuple has joined."""
        lists = Lists(self.params)
        law, (first, _) = lists.law, self.params.line_indices
        count, further = np.arange(len(law) + 1), lists.further(len(law) + 1)
        named = FLUSH / 2 + np.where(further > 0, 1 + FLUSH_LINE * further + count - first, 0)
        return backlog.moments(law, named[:-1]) + backlog.moments(law, named[1:])

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
        line = FOLLOW_LINE + self.latency
        tuple_ = max(1.0, self.tuple_cycles / (1 << layout.spread))
        here = tuple_ * np.minimum(count, first)
        for number in range(1, int(further[-1]) + 1):
            named = np.clip(count - first - (number - 1) * each, 0, each)
            here = np.where(named > 0, np.maximum(here, number * line) + tuple_ * named, here)
        return backlog.log_mean(np.outer(backlog.TILTS, here + count) + np.outer(self.refreshing, further), law)


def least_interval(params: Params, lanes: int = LANES[-1], *, channel_bytes: int = CHANNEL_BYTES) -> int | Fraction:
    """Return the least interval in which pages fit, and the mean work of an operation at each server, with room.

    Pages have a law of their own, because their time is always the same: :func:`omap.sizing.channels.least_interval`.

    Parameters
    ----------
    params : Params
        The map.
    lanes : int
        Blocks of 16 bytes in a beat.
    channel_bytes : int
        Bytes of a pseudo-channel.
    """
    work = Work(params, lanes, {})
    servers = work.using, work.fetching, work.flushing, work.merges(AGAIN), work.freeing, work.taking
    most = max(map(backlog.mean_of, servers)) / WORK_SHARE
    step = Fraction(1, channels.LEAST_INTERVAL.denominator)
    interval = max(channels.least_interval(params, lanes), step * math.ceil(most / step))
    # Channels are planned for the lists of large maps; those of small ones may be longer. So may those of high loads.
    while True:
        interval = channels.fitting_interval(params, interval, channel_bytes=channel_bytes)
        places = channels.layouts(params, interval=interval, channel_bytes=channel_bytes)
        if Work(params, lanes, places).keeps_up(interval):
            return interval
        interval += step


def most_early(interval: int | Fraction) -> Fraction:
    """Return how many cycles before its exact time an operation may come, at most.

    An interval that is a fraction is made of whole numbers of cycles: :class:`rtl.map.spacing.Spacing`.
    """
    return 1 - Fraction(1, interval.denominator)


def offsets(work: Work, *, interval: int | Fraction, bits: float = LATE_BITS, turnaround: int = 0) -> Offsets:
    """Return the offsets that an operation exceeds with a probability of at most 2^-bits.

    A refresh is counted once for each structure on the way of an operation: position map, descriptors and slots. Its
    phase may be any. Further refreshes, which the lines of a long list may meet, are counted as rarely as they occur.

    Parameters
    ----------
    work : Work
        The map and what its blocks do.
    interval : int or Fraction
        Cycles from one operation to the next, on average. Operations are further behind by :func:`most_early`.
    bits : float
        -log2 of the probability.
    turnaround : int
        One that was chosen, whatever the others are; 0 if it is to be computed.

    Raises
    ------
    ParamsError
        If the mean work does not fit the interval.
    """
    nothing = np.zeros_like(backlog.TILTS)
    law = Lists(work.params).touched_law
    located = LOCATE + WORD * (work.params.key_bytes // 8 + 1)
    wait = work.latency + work.refresh

    early = float(most_early(interval))

    def behind(own: backlog.Moments, *servers: backlog.Moments) -> float:
        return early + backlog.most_behind(own, servers, float(interval), bits)

    lookup = math.ceil(located + wait + behind(nothing, work.tables))
    longest = backlog.moments(law, np.arange(len(law)))
    merged_alone = OPENING + 2 * work.beats
    reply = math.ceil(merged_alone + behind(longest, work.merging) + LEAVING)
    # What follows a page waits until that one is merged and sealed; its version is known before, and its occupancy long
    # before it is opened. Both may find one long list: the longest one is covered, else each touch of the page would be
    # further behind than the one before.
    merged_listed = min(merged_alone + behind(longest) + interval, reply - LEAVING)
    follow = math.ceil(merged_listed + work.beats + SEALING)

    if not turnaround:
        # From admission, so that one operation is not given the slowest lookup and the slowest list at once.
        before = (work.tables, work.fetching, work.descriptors)
        version = located + VERSION + 2 * wait + KEYSTREAM + behind(nothing, *before)
        servers = (*before, work.slots, work.merging, work.freeing, work.taking)
        merged = located + TUPLES + work.assembling + 3 * wait + behind(work.list_cycles, *servers) + LEAVING
        turnaround = max(LEAST_TURNAROUND, math.ceil(max(version, merged - reply)) - lookup)
    flush = wait + behind(nothing, work.flushing, work.descriptors)
    merge = reply + work.beats + SEALING
    return Offsets(
        lookup=lookup,
        turnaround=turnaround,
        follow=follow,
        reply=reply,
        merge=merge,
        flush=math.ceil(flush),
    )
