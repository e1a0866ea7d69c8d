"""The fixed offsets of an engine, computed from its map, its blocks and what HBM must keep to.

Every event that a host sees leaves at a fixed time after public events. Each of these times must cover all that can
happen inside before it: HBM that is refreshing, long lists, and the backlog of many operations. docs/decisions/0012 has
the reasons; :mod:`omap.sizing.backlog` has the law.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

from omap.params import Params
from omap.sizing import backlog, channels
from omap.sizing.backlog import LATE_BITS, Lists
from omap.sizing.channels import CHANNEL_BYTES
from rtl.constants import LANES
from rtl.work import AGAIN, Work

# What the blocks take, in cycles, beside HBM. Measured in simulation; tests/rtl/test_offsets.py measures it again.
LOCATE = 30
"""From admission to a known page, without the words of the hash, HBM's latency and the beats of a line."""

WORD = 4
"""Of SipHash, for each word of eight bytes; the last word holds the length."""

VERSION = 12
"""From a known page to the version that HBM has of it, without HBM's latency and the beats of a line."""

KEYSTREAM = 18
"""For which a version must be known before its page starts, so that the keystream is there when the page comes."""

TUPLES = 23
"""From a known page to the end of its merge, without twice HBM's latency, the beats of a line and waiting tuples of
many bursts."""

LEAST_FOLLOW = 2
"""From a start to the start of a page that waits for it."""

LEAST_TURNAROUND = 3
"""From the read of a page being taken to its start."""

OPENING = 12
"""From the start of a page to the end of its merge, without twice its beats and without waiting tuples."""

SEALING = 7
"""From the end of a merge to the sealed page at its pacer, without the beats of the page."""

LANDING = 26
"""From the end of a use until its bin is in HBM and its place can be taken, without HBM's latency and the beats of a
line."""

LEAVING = 3
"""Between the latest that an item may be there and the time at which its pacer offers it."""

TAKE_CYCLES = 4
"""... for each slot that is taken, if all come from lines in HBM. This is the same for each operation, and less than an
interval, so that no backlog comes of it."""

WORK_SHARE = 0.9
"""Largest share of an interval that the mean work of an operation may take at a server. Channels of HBM and the merge
of whole pages have shares of their own.

The mean assumes that every operation finds its own tuple waiting. A client can bring so many tuples only for a small
part of as many operations as there are pages; over more operations the work is less."""


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


@lru_cache(maxsize=256)
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
    servers = work.fetching, work.filling, work.flushing, work.merges(AGAIN), work.freeing
    most = max(TAKE_CYCLES, *map(backlog.mean_of, servers)) / WORK_SHARE
    step = Fraction(1, channels.INTERVAL_PARTS)
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


def located(work: Work) -> int:
    """Return the cycles from admission to a known page, without HBM's latency."""
    return LOCATE + WORD * (work.params.key_bytes // 8 + 1) + work.line_beats("table 0")


def announced(work: Work) -> int:
    """Return the least cycles from admission to the announcement of both bins. No host sees this time.

    It is that of a lookup that waits for HBM's latency alone, so that no offset is longer because of it.
    """
    return math.floor(located(work) + work.latency)


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
    known = located(work)
    described = work.line_beats("descriptors")
    wait = work.latency + work.refresh
    early = float(most_early(interval))

    def behind(own: backlog.Moments, *servers: backlog.Moments, through: tuple[str, ...] = ()) -> float:
        # Whatever passes a structure waits for the slowest of its channels, because operations keep their order.
        channels = sum(work.channel_bits(name) for name in through)
        return early + backlog.most_behind(own, servers, float(interval), bits + channels)

    lookup = math.ceil(known + wait + behind(nothing, work.tables, *work.table_reads, through=("tables",)))
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
        before = (work.tables, *work.table_reads, work.fetching, work.descriptors, *work.descriptor_reads)
        late = behind(nothing, *before, through=("tables", "descriptors"))
        version = known + VERSION + described + 2 * wait + KEYSTREAM + late
        servers = (*before, work.slots, work.filling, work.merging, work.freeing)
        listed = behind(work.list_cycles, *servers, through=("tables", "descriptors", "slots"))
        merged = known + TUPLES + described + work.assembling + TAKE_CYCLES + 3 * wait + listed + LEAVING
        turnaround = max(LEAST_TURNAROUND, math.ceil(max(version, merged - reply)) - lookup)
    flush = LANDING + described + wait + behind(nothing, work.flushing, work.descriptors, through=("descriptors",))
    merge = reply + work.beats + SEALING
    return Offsets(
        lookup=lookup,
        turnaround=turnaround,
        follow=follow,
        reply=reply,
        merge=merge,
        flush=math.ceil(flush),
    )


def joined(work: Work, *, interval: int | Fraction, bits: float = LATE_BITS) -> int:
    """Return the cycles from the end of a use until the tuple that joined its bin is in HBM, as :func:`offsets` does.

    The bin stays on chip until then. The tuple may wait for lists that are read from its channel, and for tuples that
    were written before, because their arrivals are told in order.
    """
    bits += work.channel_bits("slots")
    behind = backlog.most_behind(np.zeros_like(backlog.TILTS), (work.slots,), float(interval), bits)
    known = LANDING + work.assembling + work.latency + work.refresh
    return math.ceil(known + float(most_early(interval)) + behind)


def written_back(work: Work, lookup: int) -> int:
    """Return the cycles from the announcement of a line of the position map until it is back in HBM, at most.

    The line is on chip for as long.

    Parameters
    ----------
    work : Work
        The map and what its blocks do.
    lookup : int
        From admission to the read of the page.
    """
    hashed = WORD * (work.params.key_bytes // 8 + 1)  # the announcement comes no sooner after admission
    return math.ceil(lookup - hashed + LANDING + work.line_beats("table 0") + work.latency + work.refresh)
