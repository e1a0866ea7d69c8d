"""Widths and layouts that the parts of the waiting bins share."""

from __future__ import annotations

from dataclasses import dataclass, field

from amaranth.lib import enum
from amaranth.lib.data import StructLayout

from omap.params import MAX_PAGE_SLOTS, Params
from omap.versions import KEPT_BITS

HEAD = StructLayout({"version": KEPT_BITS, "count": 16, "occupancy": MAX_PAGE_SLOTS, "link": 32})
"""A first line before its indices, as :mod:`omap.waiting` has it."""


class Use(enum.Enum, shape=1):
    """What a bin is announced for."""

    TOUCH = 0
    """Its page is touched: waiting tuples may leave, and the version becomes the operation's."""
    APPEND = 1
    """A tuple may join."""


@dataclass(frozen=True)
class BinShapes:
    """Widths that follow from the parameters of a map.

    Attributes
    ----------
    params : Params
        Gives the layout of lines and tuples.
    entries : int
        Bins kept on chip.
    most : int
        Tuples that a bin has room for.
    id_bits, place_bits, bin_bits, slot_bits, further_bits, line_bits : int
        Widths of an entry, a place in a bin, a bin, a slot, a further line, and of any line.
    most_lines : int
        Further lines that a bin can need.
    row : StructLayout
        What is kept of a bin, besides its tuples.
    item : StructLayout
        A tuple and the slot it lies in.
    """

    params: Params
    entries: int
    most: int
    id_bits: int = field(init=False)
    place_bits: int = field(init=False)
    bin_bits: int = field(init=False)
    slot_bits: int = field(init=False)
    further_bits: int = field(init=False)
    line_bits: int = field(init=False)
    most_lines: int = field(init=False)

    def __post_init__(self) -> None:
        params = self.params
        first, further = params.line_indices
        widths = {
            "id_bits": self.entries,
            "place_bits": self.most,
            "bin_bits": params.bins,
            "slot_bits": params.waiting_slots,
            "further_bits": params.further_lines,
            "line_bits": params.bins + params.further_lines,
        }
        for name, count in widths.items():
            object.__setattr__(self, name, max(1, (count - 1).bit_length()))
        object.__setattr__(self, "most_lines", max(1, -(-(self.most - first) // further)))

    @property
    def entry_bits(self) -> int:
        """Width of a tuple."""
        return 8 * self.params.tuple_bytes

    @property
    def count(self) -> range:
        """How many tuples a bin may have."""
        return range(self.most + 1)

    @property
    def told(self) -> StructLayout:
        """A version that was told for a touch, if ``valid``: of which entry, and its version after that touch."""
        return StructLayout({**dict(self.some_id.members), "version": KEPT_BITS})

    @property
    def row(self) -> StructLayout:
        """See the class."""
        return StructLayout({"version": KEPT_BITS, "occupancy": self.params.page_slots, "count": self.count})

    @property
    def names(self) -> int:
        """Width of the slots that a first line names."""
        return self.params.line_indices[0] * self.slot_bits

    @property
    def most_uses(self) -> int:
        """Uses that are announced and have not ended, at most."""
        return 2 * self.entries

    @property
    def most_reads(self) -> int:
        """Waiting slots that are being read, at most."""
        return max(64, 2 * self.entries)

    @property
    def number_bits(self) -> int:
        """Width of the number of a use, counted in its bin: the uses under way all differ in it."""
        return self.most_uses.bit_length()

    @property
    def announced(self) -> StructLayout:
        """A use that is announced for an entry; ``fresh`` if the bin comes on chip for it."""
        return StructLayout({"id": self.id_bits, "use": Use, "fresh": 1})

    @property
    def turn(self) -> StructLayout:
        """A use that waits for its turn, and its number."""
        return StructLayout({"id": self.id_bits, "number": self.number_bits})

    @property
    def some_turn(self) -> StructLayout:
        """A use and a number, if ``valid``."""
        return StructLayout({"valid": 1, **dict(self.turn.members)})

    @property
    def leaving(self) -> StructLayout:
        """A use at its end: ``number`` is the number of the next use of its bin, which has ``count`` tuples then."""
        return StructLayout({**dict(self.turn.members), "count": self.count})

    @property
    def some_id(self) -> StructLayout:
        """An entry, if ``valid``."""
        return StructLayout({"valid": 1, "id": self.id_bits})

    @property
    def item(self) -> StructLayout:
        """See the class."""
        return StructLayout({"entry": self.entry_bits, "slot": self.slot_bits})

    @property
    def address(self) -> StructLayout:
        """A line to fetch for an entry."""
        return StructLayout({"address": self.line_bits, "id": self.id_bits})

    @property
    def line(self) -> StructLayout:
        """A line fetched for an entry."""
        return StructLayout({"id": self.id_bits, "data": 8 * self.params.descriptor_bytes})

    @property
    def flushed(self) -> StructLayout:
        """A line to write for an entry."""
        return StructLayout({**dict(self.address.members), "data": 8 * self.params.descriptor_bytes})

    @property
    def place(self) -> StructLayout:
        """Where an item of an entry lies."""
        return StructLayout({"place": self.place_bits, "id": self.id_bits})

    @property
    def fill(self) -> StructLayout:
        """An item that came for an entry."""
        return StructLayout({"id": self.id_bits, "place": self.place_bits, "last": 1, "item": self.item})
