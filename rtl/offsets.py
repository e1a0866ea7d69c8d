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
from omap.sizing.theorem import Distribution
from rtl.constants import LANES

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
"""From a known page to the end of its merge, without twice HBM's latency and without waiting tuples."""

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
        later, for a touch; then no line is fetched for that touch.
        """
        lists = Lists(self.params)

        def work(law: Distribution, always: bool) -> backlog.Moments:
            count, further = np.arange(len(law)), lists.further(len(law))
            return backlog.moments(law, np.where(always | (further > 0), 1 + count + 3 * further, 1))

        return work(lists.touched_law, True) + work(lists.law, False)

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
        """Work of a channel with waiting slots: those tuples are read that are fetched, and one is written."""
        lists, channel = Lists(self.params), self.channel("slots")
        law, touched = lists.law, lists.touched_law
        count, further = np.arange(len(law)), lists.further(len(law))
        appended = backlog.repeated(law, np.where(further > 0, count, 0), channel)
        return channel + backlog.repeated(touched, np.arange(len(touched)), channel) + appended

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
        """What the list of an operation's own page takes: lines one after the other, then tuples, then their merge."""
        lists, layout = Lists(self.params), self.layouts["slots"]
        law = lists.touched_law
        count = len(law)
        line = FOLLOW_LINE + self.latency
        tuple_ = max(1.0, self.limits.access_cycles(layout.item_bytes) / (1 << layout.spread))
        return backlog.moments(law, line * lists.further(count) + tuple_ * lists.in_last(count) + np.arange(count))


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
    servers = work.using, work.fetching, work.flushing, work.merges(AGAIN)
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


def offsets(work: Work, *, interval: int | Fraction, bits: float = LATE_BITS) -> Offsets:
    """Return the offsets that an operation exceeds with a probability of at most 2^-bits.

    A refresh is counted once for each structure on the way of an operation: position map, descriptors and slots. Its
    phase may be any.

    Parameters
    ----------
    work : Work
        The map and what its blocks do.
    interval : int or Fraction
        Cycles from one operation to the next, on average. Operations are further behind by :func:`most_early`.
    bits : float
        -log2 of the probability.

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
    # From admission, so that one operation is not given the slowest lookup and the slowest list at once.
    before = (work.tables, work.fetching, work.descriptors)
    version = located + VERSION + 2 * wait + KEYSTREAM + behind(nothing, *before)
    servers = (*before, work.slots, work.merging)
    merged = located + TUPLES + 3 * wait + behind(work.list_cycles, *servers) + LEAVING
    flush = wait + behind(nothing, work.flushing, work.descriptors)
    merge = reply + work.beats + SEALING
    return Offsets(
        lookup=lookup,
        turnaround=max(LEAST_TURNAROUND, math.ceil(max(version, merged - reply)) - lookup),
        follow=follow,
        reply=reply,
        merge=merge,
        flush=math.ceil(flush),
    )
