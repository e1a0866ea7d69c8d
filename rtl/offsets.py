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
from omap.sizing import backlog
from omap.sizing.backlog import LATE_BITS, Lists
from omap.sizing.channels import LEAST_INTERVAL, Layout
from omap.sizing.hbm import HbmLimits
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

RETOLD = 12
"""From the end of a merge to the version that a page which follows opens under."""

LEAST_FOLLOW = 2
"""From a departure to the start of a page that waits for it."""

LEAST_TURNAROUND = 3
"""From the read of a page being taken to its start."""

FOLLOW_LINE = 14
"""From a line of a descriptor to the next one, without HBM's latency."""

OPENING = 18
"""From the start of a page to the end of its merge, without twice its beats and without waiting tuples."""

USE = 4
"""Of the merge for each operation; each waiting tuple takes one more."""

SEALING = 16
"""From a reply to the sealed page, without the beats of the page."""

LEAVING = 3
"""Between the latest that an item may be there and the time at which its pacer offers it."""

FLUSH = 4
"""Of the way back to HBM for the two bins of an operation; each tuple takes one more."""

TABLE_ACCESSES = 3
"""Accesses to one table of the position map for an operation: a line is read and written, and entries move."""

WORK_SHARE = 0.85
"""Largest share of an interval that the mean work of an operation may take at any server."""


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
        From the departure of a page's write to the earliest start of a page that follows it.
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
        """Work of the uses of bins: what the merge does but for the beats of the page."""
        law = Lists(self.params).law
        return backlog.moments(law, USE + np.arange(len(law)))

    @property
    def merging(self) -> backlog.Moments:
        """Work of the merge: the beats of the page, or its use of a bin if this takes longer."""
        law = Lists(self.params).law
        return backlog.moments(law, np.maximum(self.beats, USE + np.arange(len(law))))

    @property
    def fetching(self) -> backlog.Moments:
        """Work of the fetch of the two bins of an operation: their lines, and a cycle for each tuple."""
        lists = Lists(self.params)
        law = lists.law
        return 2 * backlog.moments(law, 1 + np.arange(len(law)) + 2 * lists.further(len(law)))

    @property
    def descriptors(self) -> backlog.Moments:
        """Work of a channel with descriptors: both bins of an operation are read and written."""
        lists, channel = Lists(self.params), self.channel("descriptors")
        law = lists.law
        return 2 * backlog.repeated(law, 2 + 2 * lists.further(len(law)), channel)

    @property
    def slots(self) -> backlog.Moments:
        """Work of a channel with waiting slots: the tuples of both bins are read, and one is written."""
        law, channel = Lists(self.params).law, self.channel("slots")
        return channel + 2 * backlog.repeated(law, np.arange(len(law)), channel)

    @property
    def flushing(self) -> backlog.Moments:
        """Work of the way back: what a touch leaves waiting, and a bin that a tuple has joined."""
        lists = Lists(self.params)
        left, law = lists.left_law, lists.law
        return backlog.moments(left, FLUSH / 2 + np.arange(len(left)) + 2 * lists.further(len(left))) + backlog.moments(
            law, FLUSH / 2 + 1 + np.arange(len(law)) + 2 * lists.further(len(law) + 1)[1:]
        )

    @property
    def list_cycles(self) -> backlog.Moments:
        """What the list of an operation's own page takes: lines one after the other, then tuples, then their merge."""
        lists, layout = Lists(self.params), self.layouts["slots"]
        law = lists.law
        count = len(law)
        line = FOLLOW_LINE + self.latency
        tuple_ = max(1.0, self.limits.access_cycles(layout.item_bytes) / (1 << layout.spread))
        return backlog.moments(law, line * lists.further(count) + tuple_ * lists.in_last(count) + np.arange(count))


def least_interval(params: Params) -> Fraction:
    """Return the least interval in which the mean work of an operation fits with room.

    Pages have a law of their own, because their time is always the same: :func:`omap.sizing.channels.least_interval`.
    """
    work = Work(params, LANES[-1], {})
    most = max(backlog.mean_of(server) for server in (work.using, work.fetching, work.flushing))
    parts = LEAST_INTERVAL.denominator
    return Fraction(math.ceil(parts * most / WORK_SHARE), parts)


def offsets(work: Work, *, interval: int | Fraction, bits: float = LATE_BITS) -> Offsets:
    """Return the offsets that an operation exceeds with a probability of at most 2^-bits.

    A refresh is counted once for each structure on the way of an operation: position map, descriptors and slots. Its
    phase may be any.

    Parameters
    ----------
    work : Work
        The map and what its blocks do.
    interval : int or Fraction
        Cycles from one operation to the next, on average. If this is a fraction, operations may come almost a cycle
        earlier than at their exact times (:class:`rtl.map.spacing.Spacing`), and are so much further behind.
    bits : float
        -log2 of the probability.

    Raises
    ------
    ParamsError
        If the mean work does not fit the interval.
    """
    nothing = np.zeros_like(backlog.TILTS)
    law = Lists(work.params).law
    located = LOCATE + WORD * (work.params.key_bytes // 8 + 1)
    wait = work.latency + work.refresh

    early = 1 - 1 / interval.denominator

    def behind(own: backlog.Moments, *servers: backlog.Moments) -> float:
        return early + backlog.most_behind(own, servers, float(interval), bits)

    lookup = math.ceil(located + wait + behind(nothing, work.tables))
    longest = backlog.moments(law, np.arange(len(law)))
    reply = math.ceil(OPENING + 2 * work.beats + behind(longest, work.merging) + LEAVING)
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
        follow=max(LEAST_FOLLOW, RETOLD + KEYSTREAM - (merge - reply)),
        reply=reply,
        merge=merge,
        flush=math.ceil(flush),
    )
