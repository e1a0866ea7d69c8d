"""How the structures of a map lie in HBM: how many pseudo-channels each gets, and where in them an item is.

A structure gets as many channels as its traffic needs, a power of two of them, and its items take turns among them. If
it is too large for so many, it gets further groups of as many, filled one after the other: whole channels, so that a
structure may get 3 or 15.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from omap.board import BOARDS
from omap.errors import ParamsError
from omap.params import Params

CHANNEL_BYTES = BOARDS["u55c"].channel_bytes
"""Bytes of a pseudo-channel where nothing else is said."""

ROW_CYCLES = 3.375
"""Cycles of 250 MHz that a random access occupies a channel: 13.5 ns, see :class:`sim.models.timing.HbmTiming`."""

MOST_LOAD = 0.5
"""Share of its time that a channel may be busy: queues stay short enough for the fixed offsets."""

ACCESSES = {"table 0": 2.5, "table 1": 2.5, "descriptors": 4.0, "slots": 2.4, "free lists": 0.0}
"""Random accesses an operation causes in each structure, on average: a line read and written for each use of a bucket
or descriptor, moves of the position map, a slot written and on average 1.2 to 1.4 read. Of the free lists most is on
chip."""

LEAST_INTERVAL = 8
"""Cycles of bookkeeping that an operation takes on average, with 1.2 waiting tuples in a touched page (PAPER)."""

LANE_BYTES = 16
"""Bytes of a page that one lane of the engine takes in a cycle: a block of AES."""

FREE_LINE_BYTES = 64
"""Bytes of a line of free indices."""

INDEX_BYTES = 4
"""Bytes of one."""

ROUNDED_BITS = 10
"""Leading bits that a group's size keeps: at most 0.2 % are lost, and which group an item lies in depends on few."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the items of one structure lie.

    Row ``r`` is items ``r << spread`` to ``(r + 1 << spread) - 1``, one in each channel of a group; group ``g`` holds
    rows ``g * per_group`` to ``(g + 1) * per_group - 1``. Its channels are ``g << spread`` and those that follow.

    Parameters
    ----------
    items, item_bytes : int
        How many, and bytes of each.
    spread : int
        Channels of a group, as a power of two.
    groups : int
        Groups.
    per_group : int
        Rows of every group but the last, which may have fewer.

    Raises
    ------
    ParamsError
        If the groups do not hold the items, or one would be empty.
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
        """Rows, in all groups together."""
        return -(-self.items >> self.spread)

    @property
    def channels(self) -> int:
        """Channels, in all groups together."""
        return self.groups << self.spread

    def place(self, item: int) -> tuple[int, int]:
        """Return the channel that an item lies in, and its number there."""
        group, row = divmod(item >> self.spread, self.per_group)
        return group << self.spread | item & (1 << self.spread) - 1, row

    def below(self, count: int, channel: int) -> int:
        """Return how many of the first ``count`` items lie in a channel: its items 0, 1, ..."""
        group, turn = channel >> self.spread, channel & (1 << self.spread) - 1
        rows = -(-max(count - turn, 0) >> self.spread)
        return min(max(rows - group * self.per_group, 0), self.per_group)


def list_lines(size: int) -> int:
    """Return how many lines a list of ``size`` free indices may need."""
    return -(-size * INDEX_BYTES // FREE_LINE_BYTES)


def least_interval(params: Params, lanes: int = 1) -> int:
    """Return the cycles from one operation to the next: what opening and sealing a page take, or the bookkeeping."""
    return max(LEAST_INTERVAL, params.page_bytes // (LANE_BYTES * lanes) + 1)


def layouts(params: Params, *, interval: int | None = None, channel_bytes: int = CHANNEL_BYTES) -> dict[str, Layout]:
    """Return how the structures of a map lie in HBM, in the order of their channels.

    Parameters
    ----------
    params : Params
        The map.
    interval : int, optional
        Cycles from one operation to the next; without it those of :func:`least_interval`.
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
    found = {}
    for name, (items, item_bytes) in sizes.items():
        traffic = ACCESSES[name] * ROW_CYCLES / (MOST_LOAD * (interval or least_interval(params)))
        found[name] = _layout(items, item_bytes, (max(1, math.ceil(traffic)) - 1).bit_length(), channel_bytes)
    return found


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
