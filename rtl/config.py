"""What an engine has besides the parameters of its map: width, number of operations in flight, fixed offsets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from omap.params import Params, Rule
from omap.sizing.channels import Layout, account, layouts, least_interval, total
from omap.units import format_bytes
from omap.wire import RecordCodec
from rtl.constants import (
    BLOCK_BYTES,
    CHANNEL_BITS,
    HOST_IDS,
    LANES,
    LINE_BYTES,
    MOST_TRANSIT_ENTRIES,
    PSEUDO_CHANNELS,
    RING_IDS,
)
from rtl.stream.interfaces import require, require_one_of, require_whole

RECORD_BATCH = 4
"""Most records that one read fetches."""

MOST_PAGE_BYTES = 1 << 13
"""Largest page. The merge holds two pages in registers."""


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """An engine for one map.

    Parameters
    ----------
    params : Params
        The map.
    lanes : int
        Blocks of 16 bytes that a page's beat carries, 1, 2 or 4.
    interval : int, optional
        Least number of cycles between two admitted operations. Default: the cycles that opening and sealing a page
        take, or those that the bookkeeping of an operation takes if these are more.
    in_flight : int
        Most operations between admission and reply.
    lookup_cycles : int
        Offset from admission to the read of the page. It covers hashing and the position map at their slowest.
    merge_cycles : int
        Offset from the start of a page (:class:`rtl.map.pages.Pages`) to its write. It covers opening, merging and
        sealing.
    reply_cycles : int
        Offset from the start of a page to the reply. It is the shorter one, because a reply needs no sealed page.
    bin_entries, line_entries : int
        Bins, and lines of each table of the position map, that are kept on chip.
    transit_entries : int
        Most entries in transit. They are more than :attr:`omap.params.Params.transit_entries`, because a move waits
        for HBM here while further operations come (docs/decisions/0003).
    timeout : int
        Cycles after which a transfer that was not answered is a fault.
    channel_bits : int
        Address bits within a pseudo-channel: :attr:`omap.board.Board.channel_bits`. Default: the U55C's.
    insecure_unpaced : bool
        DANGEROUS: everything leaves as soon as it is there, so that times tell which keys are asked for. A test uses
        it to show that they do. Never use it for a map that holds anything.

    Raises
    ------
    ParamsError
        If no engine can be built like this; the message says why.
    """

    params: Params
    lanes: int = 1
    interval: int = 0
    in_flight: int = 64
    lookup_cycles: int = 0
    merge_cycles: int = 0
    reply_cycles: int = 0
    bin_entries: int = 128
    line_entries: int = 64
    transit_entries: int = 64
    timeout: int = 1 << 16
    channel_bits: int = CHANNEL_BITS
    insecure_unpaced: bool = False

    def __post_init__(self) -> None:
        params = self.params
        require(
            params.rule is Rule.ONE_CHOICE,
            f"rule is {params.rule.value!r}; the accelerator implements {Rule.ONE_CHOICE.value!r} alone, "
            "the other rules are for comparison in the reference",
        )
        require_one_of("lanes", self.lanes, LANES)
        require(params.pages >= 2, "pages is 1; a draw from a single page is no draw: use a smaller page")
        require(
            params.page_bytes % (BLOCK_BYTES * self.lanes) == 0,
            f"page_bytes is {params.page_bytes}; {self.lanes} lanes need a multiple of {BLOCK_BYTES * self.lanes}",
        )
        require(
            params.page_bytes <= MOST_PAGE_BYTES,
            f"page_bytes is {params.page_bytes}; the accelerator holds pages in registers, of at most "
            f"{MOST_PAGE_BYTES} bytes: plan with smaller pages",
        )
        if not self.interval:
            object.__setattr__(self, "interval", least_interval(params, self.lanes))
        if not self.lookup_cycles:
            words = params.key_bytes // 8 + 1  # SipHash takes 4 cycles for each
            object.__setattr__(self, "lookup_cycles", SLOWEST_LOOKUP + 4 * words)
        if not self.reply_cycles:
            further = SLOWEST_FETCH if params.line_indices[0] < USUAL_WAITING else 0
            object.__setattr__(self, "reply_cycles", SLOWEST_MERGE + further + 2 * self.page_beats)
        if not self.merge_cycles:
            object.__setattr__(self, "merge_cycles", self.reply_cycles + self.page_beats + SEALING)
        require_whole("interval", self.interval, 4, 4096)
        require_whole("in_flight", self.in_flight, 2, 128)
        require_whole("lookup_cycles", self.lookup_cycles, 2, 4096)
        require_whole("merge_cycles", self.merge_cycles, 2, 4096)
        require_whole("reply_cycles", self.reply_cycles, 2, 4096)
        require_whole("transit_entries", self.transit_entries, params.transit_entries, MOST_TRANSIT_ENTRIES)
        require_whole("channel_bits", self.channel_bits, 12, CHANNEL_BITS)
        used = total(self.layouts)
        require(
            used <= PSEUDO_CHANNELS,
            f"the structures need {used} HBM channels of {format_bytes(1 << self.channel_bits)} "
            f"({account(self.layouts)}); a card has {PSEUDO_CHANNELS}: plan for fewer keys",
        )

    @cached_property
    def page_beats(self) -> int:
        """Beats of a sealed page on the datapath."""
        return self.params.page_bytes // (BLOCK_BYTES * self.lanes)

    @cached_property
    def page_lines(self) -> int:
        """Lines of a page in host memory."""
        return self.params.page_bytes // LINE_BYTES

    @cached_property
    def host_lines(self) -> int:
        """Most lines of one access to host memory, which is a page or some records."""
        return max(self.page_lines, RECORD_BATCH * RecordCodec(self.params).record_bytes // LINE_BYTES)

    @cached_property
    def page_entries(self) -> int:
        """Page entries: as many as cover the slowest round trip to the host, or as many as have AXI IDs."""
        trip = 400 + self.merge_cycles
        return max(4, min(HOST_IDS - RING_IDS, trip // self.interval + 2))

    @cached_property
    def layouts(self) -> dict[str, Layout]:
        """How each structure lies in HBM, in the order of the ports."""
        return layouts(self.params, interval=self.interval, channel_bytes=1 << self.channel_bits)

    @cached_property
    def channels(self) -> dict[str, int]:
        """HBM channels of each structure, in the order of the ports."""
        return {name: layout.channels for name, layout in self.layouts.items()}

    @cached_property
    def first_channel(self) -> dict[str, int]:
        """The first channel of each structure."""
        first, at = {}, 0
        for name, count in self.channels.items():
            first[name] = at
            at += count
        return first


SLOWEST_LOOKUP = 168
"""Cycles from admission to a known page, without hashing: a refresh of HBM (88 cycles), a fetch, and queues."""

SLOWEST_MERGE = 52
"""Cycles from the start of a page to its reply: the latency of opening, and queues. The beats of the page come on
top, twice: they go into the opener, and come out of it once the tag was found right."""

USUAL_WAITING = 8
"""Tuples that now and then wait for one page. If the first line of a descriptor names fewer, a further line is read."""

SLOWEST_FETCH = 170
"""Cycles that a further line of a descriptor takes, with a refresh of HBM and what queues behind its operation."""

SEALING = 16
"""Cycles from a reply to the sealed page, without the beats of the page."""
