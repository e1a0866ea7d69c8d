"""What an engine has besides the parameters of its map: width, number of operations in flight, fixed offsets."""

from __future__ import annotations

from dataclasses import dataclass, fields
from fractions import Fraction
from functools import cached_property
from math import ceil, floor
from typing import Any

from omap.params import Params, Rule
from omap.sizing.backlog import LATE_BITS, most_poisson
from omap.sizing.channels import INTERVAL_PARTS, Layout, account, default_lanes, layouts, total
from omap.units import format_bytes
from rtl import offsets
from rtl.constants import (
    BLOCK_BYTES,
    CHANNEL_BITS,
    HOST_IDS,
    LANES,
    LINE_BYTES,
    MOST_LINES,
    MOST_TRANSIT_ENTRIES,
    PSEUDO_CHANNELS,
    RING_ACCESS_LINES,
    RING_IDS,
)
from rtl.stream.interfaces import require, require_one_of, require_whole
from rtl.work import MOVED_LINES, Work

OFFSETS = ("lookup_cycles", "turnaround_cycles", "follow_cycles", "reply_cycles", "merge_cycles")

MOST_IN_FLIGHT = 216
"""Most operations between admission and reply."""

MOST_PAGE_ENTRIES = 192
"""Most pages in flight."""

MOST_BINS = 512
"""Most bins that are kept on chip."""

LEAST_LINES = 64
"""Fewest lines of each table of the position map that are kept on chip, if they are not given."""

MOST_TURNAROUND = 1 << 14
"""Most cycles of a turnaround: of maps with long lists of long tuples."""

MOST_PARTS = INTERVAL_PARTS
"""Largest denominator of an interval."""

MOST_PAGE_BYTES = 1 << 13
"""Largest page. The merge holds two pages in registers."""


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """An engine for one map.

    Parameters
    ----------
    params : Params
        The map.
    lanes : int, optional
        Blocks of 16 bytes that a page's beat carries, 1, 2 or 4. Default:
        :func:`omap.sizing.channels.default_lanes`.
    interval : int or Fraction, optional
        Least number of cycles between two admitted operations, on average (:class:`rtl.map.spacing.Spacing`), 4 to
        4096; the denominator is at most 8. Default: the cycles that opening and sealing a page take, or those that the
        bookkeeping of an operation takes if these are more; still more if else HBM had too few channels.
    late_bits : int
        An event of an operation is late with a probability of at most 2 to the power of minus this. The offsets and
        numbers below that are not given follow from it (:mod:`rtl.offsets`). Fewer bits make single operations
        faster, and what a host may learn from late events likelier.
    in_flight : int, optional
        Most operations between admission and reply, 2 to 216. Default: as many as keep the engine busy.
    lookup_cycles : int, optional
        Offset from admission to the read of the page. It covers hashing and the position map at their slowest.
    turnaround_cycles : int, optional
        Least time from a page's read being taken to the start of the page (:class:`rtl.map.pages.Pages`), however
        early the host answers. With ``reply_cycles`` it covers HBM and the merge at their slowest.
    follow_cycles : int, optional
        Least time from the start of a page to the start of a page that follows it.
    reply_cycles : int, optional
        Offset from the start of a page to the reply. It is shorter than the next, because a reply needs no sealed page.
    merge_cycles : int, optional
        Offset from the start of a page to its write. It covers opening, merging and sealing.
    bin_entries : int, optional
        Bins that are kept on chip. Default: two for each operation in flight, and those on their way to HBM.
    line_entries : int, optional
        Lines of each table of the position map that are kept on chip. Default: those of the slowest lookups, and of
        moves in a burst of insertions; 64 to 128.
    transit_entries : int, optional
        Most entries in transit. They are more than :attr:`omap.params.Params.transit_entries`, because a move waits
        for HBM here while further operations come (docs/decisions/0003). Default: 64, or more at a short interval.
    host_ids : int, optional
        AXI ids of the port on host memory, 64 or 128. Default: enough for the pages that a slow host has under way.
    timeout : int
        Cycles after which a transfer that was not answered is a fault.
    channel_bits : int
        Address bits within a pseudo-channel: :attr:`omap.board.Board.channel_bits`. Default: the U55C's.
    journal : bool
        Write a journal, and export and restore the map when the host asks for it (:mod:`omap.journal`).
    insecure_unpaced : bool
        DANGEROUS: everything leaves as soon as it is there, so that times tell which keys are asked for. A test uses
        it to show that they do. Never use it for a map that holds anything.

    Raises
    ------
    ParamsError
        If no engine can be built like this; the message says why.
    """

    params: Params
    lanes: int = 0
    interval: int | Fraction = 0
    late_bits: int = LATE_BITS
    in_flight: int = 0
    lookup_cycles: int = 0
    turnaround_cycles: int = 0
    follow_cycles: int = 0
    reply_cycles: int = 0
    merge_cycles: int = 0
    bin_entries: int = 0
    line_entries: int = 0
    transit_entries: int = 0
    host_ids: int = 0
    timeout: int = 1 << 16
    channel_bits: int = CHANNEL_BITS
    journal: bool = False
    insecure_unpaced: bool = False

    def __post_init__(self) -> None:
        params = self.params
        require(
            params.rule is Rule.ONE_CHOICE,
            f"rule is {params.rule.value!r}; the accelerator implements {Rule.ONE_CHOICE.value!r} alone, "
            "the other rules are for comparison in the reference",
        )
        if not self.lanes:
            object.__setattr__(self, "lanes", default_lanes(params))
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
        require_whole("late_bits", self.late_bits, 1, 256)
        if not self.interval:
            interval = offsets.least_interval(params, self.lanes, channel_bytes=1 << self.channel_bits)
            object.__setattr__(self, "interval", interval)
        object.__setattr__(self, "interval", _interval(self.interval))
        self._compute()
        require_whole("in_flight", self.in_flight, 2, MOST_IN_FLIGHT)
        for name in ("lookup_cycles", "merge_cycles", "reply_cycles", "follow_cycles"):
            require_whole(name, getattr(self, name), 2, 4096)
        require_whole("turnaround_cycles", self.turnaround_cycles, offsets.LEAST_TURNAROUND, MOST_TURNAROUND)
        require_whole("bin_entries", self.bin_entries, 2, MOST_BINS)
        require_whole("transit_entries", self.transit_entries, params.transit_entries, MOST_TRANSIT_ENTRIES)
        require_one_of("host_ids", self.host_ids, HOST_IDS)
        require_whole("channel_bits", self.channel_bits, 12, CHANNEL_BITS)
        used = total(self.layouts)
        require(
            used <= PSEUDO_CHANNELS,
            f"the structures need {used} HBM channels of {format_bytes(1 << self.channel_bits)} "
            f"({account(self.layouts)}); a card has {PSEUDO_CHANNELS}: plan for fewer keys",
        )

    def _compute(self) -> None:
        """Give offsets and numbers that were not given their values."""
        if not all(getattr(self, name) for name in (*OFFSETS, "in_flight", "bin_entries")):
            work = Work(self.params, self.lanes, self.layouts)
            found = offsets.offsets(
                work, interval=self.interval, bits=self.late_bits, turnaround=self.turnaround_cycles
            )
            for name in OFFSETS:
                if not getattr(self, name):
                    object.__setattr__(self, name, getattr(found, name.removesuffix("_cycles")))
            if not (self.in_flight and self.bin_entries):
                self._make_room(work, found.flush)
        if not self.transit_entries:
            moving = most_poisson(float(MOVING_CYCLES / self.interval))
            entries = min(MOST_TRANSIT_ENTRIES, max(64, moving, self.params.transit_entries))
            object.__setattr__(self, "transit_entries", entries)
        if not self.line_entries:
            held = offsets.written_back(Work(self.params, self.lanes, self.layouts), self.lookup_cycles)
            lines = ceil((1 + MOVED_LINES) * self.most_within(held))
            object.__setattr__(self, "line_entries", min(MOST_LINES, max(LEAST_LINES, lines)))
        if not self.host_ids:
            wanted = RING_IDS + SLOW_HOST // self.interval + 2
            object.__setattr__(self, "host_ids", next((ids for ids in HOST_IDS if ids >= wanted), HOST_IDS[-1]))

    def _make_room(self, work: Work, flush: int) -> None:
        """Choose how many operations are in flight, and as many bins as cover them."""
        # An operation comes when another was replied to, and its bins are announced some time later.
        written = max(flush, offsets.joined(work, interval=self.interval, bits=self.late_bits))
        away = self.most_within(max(0, written - self.announce_cycles))
        if not self.in_flight:
            # Operations behind a page that follows wait for as long as that page does.
            trip = self.lookup_cycles + max(self.turnaround_cycles, SLOW_HOST) + self.follow_cycles + self.reply_cycles
            most = min(MOST_IN_FLIGHT, MOST_BINS // 2 - away)
            object.__setattr__(self, "in_flight", min(most, max(8, trip // self.interval + 4)))
        if not self.bin_entries:
            object.__setattr__(self, "bin_entries", 2 * (self.in_flight + away))

    def most_within(self, cycles: int) -> int:
        """Return how many operations may be admitted in so many cycles, at most."""
        return floor((cycles - Fraction(1, self.interval.denominator)) / self.interval) + 1

    @property
    def times(self) -> dict[str, int | str]:
        """The times of public events in cycles, and the buffers that go with them, by name; a fraction is a text."""
        return {
            "interval": _plain(self.interval),
            **{name: getattr(self, name) for name in OFFSETS},
            "in_flight": self.in_flight,
            "bin_entries": self.bin_entries,
            "page_entries": self.page_entries,
            "late_bits": self.late_bits,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return what was chosen beside the map, by name, as JSON has it: a fraction is a text such as ``19/4``."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self) if field.name != "params"}

    @cached_property
    def announce_cycles(self) -> int:
        """Least cycles from admission to the announcement of both bins: those of a lookup that waits for nothing."""
        return min(self.lookup_cycles, offsets.announced(Work(self.params, self.lanes, self.layouts)))

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
        """Most lines of one access to host memory: to a page or to a ring."""
        return max(self.page_lines, RING_ACCESS_LINES)

    @cached_property
    def page_entries(self) -> int:
        """Pages in flight at most: as many as cover the slowest round trip to the host, behind a page that follows."""
        trip = max(self.turnaround_cycles, SLOW_HOST) + self.follow_cycles + self.merge_cycles + WRITTEN
        return max(4, min(MOST_PAGE_ENTRIES, trip // self.interval + 2))

    @cached_property
    def page_ids(self) -> int:
        """AXI IDs of pages: one for each page in flight, or as many as there are."""
        return min(self.host_ids - RING_IDS, self.page_entries)

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


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    return str(value) if isinstance(value, Fraction) else value


def _interval(given: Any) -> int | Fraction:
    """Return an interval, as a whole number if it is one; refuse what is none."""
    require(
        type(given) in (int, Fraction) and 4 <= given <= 4096 and given.denominator <= MOST_PARTS,
        f"interval is {given if isinstance(given, Fraction) else repr(given)}; it must be a whole number from 4 to "
        f"4096, or a Fraction between them with a denominator of at most {MOST_PARTS}",
    )
    return given.numerator if given.denominator == 1 else given


SLOW_HOST = 300
"""Cycles of a read from a slow host, behind an IOMMU: such a host does not slow the engine down."""

MOVING_CYCLES = 50
"""Cycles of an interval times the entries in transit, in the mean, in a burst of insertions (docs/decisions/0003)."""

WRITTEN = 100
"""Cycles from the departure of a page's write to its acknowledgement."""
