"""How the structures of a map lie in HBM: how many pseudo-channels each gets, and where an item lies in them.

A structure gets a group of as many channels as its traffic needs, rounded up to a power of two, and its items take
turns among them. If the structure is too large for one group, it gets further groups of the same size, which are filled
one after the other. So a structure has a whole number of channels that need not be a power of two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from omap.board import BOARDS
from omap.errors import ParamsError
from omap.params import Params
from omap.sizing.hbm import HbmLimits

CHANNEL_BYTES = BOARDS["u55c"].channel_bytes
"""Bytes of a pseudo-channel if a caller gives no other number: a U55C has so many."""

PSEUDO_CHANNELS = BOARDS["u55c"].pseudo_channels
"""Pseudo-channels of a card."""

MOST_ADDED = 32
"""Cycles by which an interval is made longer, at most, so that a map fits."""

ROW_CYCLES = HbmLimits().access_cycles(32)
"""Cycles that a random access occupies a channel."""

MOST_LOAD = 0.5
"""Largest share of its time that a channel may be busy, so that queues stay short enough for the fixed offsets."""

SLOT_LOADS = (0.35, MOST_LOAD)
"""The same of a channel with waiting slots, the best one first: the list of a page comes sooner from more channels, and
a map that would need more of them than a card has goes without."""

ACCESSES = {"table 0": 2.5, "table 1": 2.5, "descriptors": 3.5, "slots": 2.2, "free lists": 0.0}
"""Random accesses that an operation causes in each structure, on average. A use of a bucket or descriptor reads a line
and writes one, unless the line is on chip; an operation writes one waiting slot, and reads those of the bin that it
touches. The free lists are mostly on chip. Measured in simulation at the shape of PAPER; tables had 1.4, and the rest
is for entries that move. Slots have what their law says for lists that seldom need a further line."""

LEAST_SPREAD = {"slots": 1}
"""Least binary logarithm of a structure's channels in a group, if it fits one channel: a long list is read from two
channels at once. A larger structure has several channels anyway."""

INTERVAL_PARTS = 8
"""Intervals are whole multiples of such a part of a cycle."""

LEAST_INTERVAL = Fraction(39, 8)
"""Least interval of any map, in cycles. It is that of PAPER. A quarter less would leave the fetch of bins almost no
room, so that offsets would be 100 cycles longer (:mod:`rtl.offsets`)."""

PAGE_ROOM = Fraction(3, 4)
"""Cycles that an interval has beyond the beats of a page: for merges that take longer than their pages."""

LANES = (1, 2, 4)
"""Lanes that an engine can have: datapaths of 128, 256 and 512 bits."""

LANE_BYTES = 16
"""Bytes of a page that one lane of the engine takes in a cycle: one block of AES."""

FREE_LINE_BYTES = 64
"""Bytes of a line of free indices."""

INDEX_BYTES = 4
"""Bytes of one free index."""

ROUNDED_BITS = 10
"""Leading bits of the size of a group that are kept. At most 0.2 % of a group is lost, and few bits of an item's number
say in which group it lies."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the items of one structure lie in HBM.

    Row ``r`` has items ``r << spread`` to ``(r + 1 << spread) - 1``, one in each channel of a group. Group ``g`` holds
    rows ``g * per_group`` to ``(g + 1) * per_group - 1``. Its channels are ``g << spread`` and those that follow.

    Parameters
    ----------
    items, item_bytes : int
        How many items there are, and the bytes of each.
    spread : int
        Binary logarithm of the number of channels of a group.
    groups : int
        Number of groups.
    per_group : int
        Rows of every group but the last, which may have fewer.

    Raises
    ------
    ParamsError
        If the groups do not hold the items, or a group would be empty.
    """

    items: int
    item_bytes: int
    spread: int = 0
    groups: int = 1
    per_group: int = 0

    def __post_init__(self) -> None:
        if self.items < 1 or self.spread < 0:
            raise ParamsError(f"items is {self.items} and spread {self.spread}; at least 1 and 0 are needed")
        if not self.per_group:
            object.__setattr__(self, "per_group", -(-self.rows // max(self.groups, 1)))
        if self.groups != -(-self.rows // self.per_group):
            raise ParamsError(
                f"groups is {self.groups}; {self.rows} rows, {self.per_group} a group, need "
                f"{-(-self.rows // self.per_group)}"
            )

    @property
    def rows(self) -> int:
        """Number of rows in all groups together."""
        return -(-self.items >> self.spread)

    @property
    def channels(self) -> int:
        """Number of channels in all groups together."""
        return self.groups << self.spread

    def place(self, item: int) -> tuple[int, int]:
        """Return the channel that an item lies in, and its number there."""
        group, row = divmod(item >> self.spread, self.per_group)
        return group << self.spread | item & (1 << self.spread) - 1, row

    def below(self, count: int, channel: int) -> int:
        """Return how many of the first ``count`` items lie in a channel."""
        group, turn = channel >> self.spread, channel & (1 << self.spread) - 1
        rows = -(-max(count - turn, 0) >> self.spread)
        return min(max(rows - group * self.per_group, 0), self.per_group)


def list_lines(size: int) -> int:
    """Return how many lines a list of ``size`` free indices may need."""
    return -(-size * INDEX_BYTES // FREE_LINE_BYTES)


def page_cycles(params: Params, lanes: int) -> int | Fraction:
    """Return the cycles in which one page is opened and another one sealed, a beat a cycle, with some room."""
    return params.page_bytes // (LANE_BYTES * lanes) + PAGE_ROOM


def default_lanes(params: Params) -> int:
    """Return the fewest lanes with which pages fit :data:`LEAST_INTERVAL`, or the most that there are."""
    return next((lanes for lanes in LANES if page_cycles(params, lanes) <= LEAST_INTERVAL), LANES[-1])


def least_interval(params: Params, lanes: int | None = None) -> int | Fraction:
    """Return the least interval in cycles: a page must be opened and sealed in it, and bookkeeping must fit."""
    return max(LEAST_INTERVAL, page_cycles(params, lanes or default_lanes(params)))


def layouts(
    params: Params, *, interval: int | Fraction | None = None, channel_bytes: int = CHANNEL_BYTES
) -> dict[str, Layout]:
    """Return how the structures of a map lie in HBM, in the order of their channels.

    Parameters
    ----------
    params : Params
        The map.
    interval : int or Fraction, optional
        Cycles from one operation to the next; without it :func:`fitting_interval` gives them.
    channel_bytes : int
        Bytes of a pseudo-channel.
    """
    sizes = {
        "table 0": (params.buckets, params.bucket_bytes),
        "table 1": (params.buckets, params.bucket_bytes),
        "descriptors": (params.bins + params.further_lines, params.descriptor_bytes),
        "slots": (params.waiting_slots, params.slot_bytes),
        "free lists": (list_lines(params.waiting_slots) + list_lines(params.further_lines), FREE_LINE_BYTES),
    }
    if interval is None:
        interval = fitting_interval(params, least_interval(params), channel_bytes=channel_bytes)
    for slot_load in SLOT_LOADS:
        found = {}
        for name, (items, item_bytes) in sizes.items():
            load = slot_load if name == "slots" else MOST_LOAD
            traffic = ACCESSES[name] * ROW_CYCLES / (load * interval)
            least = LEAST_SPREAD.get(name, 0) if items * item_bytes <= channel_bytes else 0
            spread = max(least, (max(1, math.ceil(traffic)) - 1).bit_length())
            found[name] = _layout(items, item_bytes, spread, channel_bytes)
        if total(found) <= PSEUDO_CHANNELS:
            break
    return found


def fitting_interval(params: Params, least: int | Fraction, *, channel_bytes: int = CHANNEL_BYTES) -> int | Fraction:
    """Return ``least``, or the next interval at which the structures of a map fit the channels of a card.

    Traffic asks for channels beside size: a map that fills the HBM of a card has no room for the shortest interval.
    If no interval is long enough, ``least`` is returned.
    """
    for more in range(MOST_ADDED):
        if total(layouts(params, interval=least + more, channel_bytes=channel_bytes)) <= PSEUDO_CHANNELS:
            return least + more
    return least


def _layout(items: int, item_bytes: int, spread: int, channel_bytes: int) -> Layout:
    """Return a layout whose groups begin at multiples of a large power of two."""
    rows, room = -(-items >> spread), channel_bytes // item_bytes
    if rows <= room:
        return Layout(items=items, item_bytes=item_bytes, spread=spread)
    dropped = max(0, room.bit_length() - ROUNDED_BITS)
    per_group = room >> dropped << dropped
    return Layout(items=items, item_bytes=item_bytes, spread=spread, groups=-(-rows // per_group), per_group=per_group)


def total(found: dict[str, Layout]) -> int:
    """Return how many channels all structures take together."""
    return sum(layout.channels for layout in found.values())


def account(found: dict[str, Layout]) -> str:
    """Say how many channels each structure takes."""
    return ", ".join(f"{name} {layout.channels}" for name, layout in found.items())
