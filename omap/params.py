"""The public parameters of a map and every width and size that follows from them.

Reference, RTL, host and boards are built from one :class:`Params`. Nothing in this module is written down a second
time. The planner (:mod:`omap.sizing.planner`) chooses good parameters; this module only refuses bad ones.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import MISSING, asdict, dataclass, fields
from enum import StrEnum
from functools import cached_property
from typing import Any

from omap.errors import ParamsError, ReachError
from omap.versions import MOST_EPOCH_BITS, choose_epoch_bits

KEY_SIZES = (4, 8, 16)
"""Bytes a key can have."""

MAX_VALUE_BYTES = 4096
"""Bytes a value can have at most."""

TAG_BYTES = 16
"""AES-GCM tag at the end of every page (NIST SP 800-38D, 128 bits)."""

HBM_BEAT_BYTES = 32
"""Bytes of one beat of a 256-bit HBM port. A waiting slot is whole beats, so that no write needs a partial strobe."""

MAX_PAGE_SLOTS = 32
"""Width of the occupancy bitmap of a page descriptor."""

MAX_PAGES = 1 << 31
"""A position map entry keeps a page in 31 bits, beside the bit that says the entry is in use."""

MAX_BUCKETS = 1 << 28
"""Most buckets of one table. A candidate bucket comes from 32 bits of the hash; 4 bits more than the number of buckets
needs keep the choice close to uniform."""

MOST_CAPACITY = 1 << 40
"""More keys than any map has; what is above is no number that somebody meant."""

MAX_INDEX = 1 << 32
"""Most waiting slots, and most descriptor lines, because their indices have 32 bits."""


class Rule(StrEnum):
    """Placement rule of a map (see :mod:`omap.map`)."""

    ONE_CHOICE = "one_choice"
    TWO_CHOICE = "two_choice"
    RESIDENT = "resident"


DESCRIPTOR_BYTES = (32, 64, 128)
"""Bytes that a descriptor line can have."""


def line_indices(descriptor_bytes: int) -> tuple[int, int]:
    """Return how many indices of waiting slots fit the first line of a descriptor, and how many fit a further line.

    The first line has 16 bytes of other fields, a further line has 4.
    """
    return (descriptor_bytes - 16) // 4, (descriptor_bytes - 4) // 4


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ParamsError(message)


def _reach(bound: str, needed: int, most: int, message: str) -> None:
    if needed > most:
        raise ReachError(message, bound, needed, most)


def check_pages(pages: int) -> None:
    """Refuse a number of pages that no map has.

    Raises
    ------
    ParamsError
        Says what was wanted and what came.
    """
    outside = f"pages is {pages!r}; it must be 1 to {MAX_PAGES}"
    _require(type(pages) is int and pages >= 1, outside)
    _reach("a map has at most {most:,} pages", pages, MAX_PAGES, outside)


def check_shape(capacity: int, key_bytes: int, value_bytes: int) -> None:
    """Refuse sizes that no map can have, whatever its placement rule.

    Raises
    ------
    ParamsError
        If a value is out of its range; says which.
    """
    _require(type(capacity) is int and capacity >= 1, f"capacity is {capacity!r}; it must be a whole number, 1 or more")
    _require(
        capacity <= MOST_CAPACITY, f"capacity is 2^{capacity.bit_length() - 1} or more; no map has more than 2^33 keys"
    )
    _require(
        type(key_bytes) is int and key_bytes in KEY_SIZES,
        f"key_bytes is {key_bytes!r}; it must be 4, 8 or 16: hash longer keys",
    )
    _require(
        type(value_bytes) is int and 1 <= value_bytes <= MAX_VALUE_BYTES,
        f"value_bytes is {value_bytes!r}; it must be 1 to {MAX_VALUE_BYTES}",
    )


def check_page(page_bytes: int, tuple_bytes: int) -> None:
    """Refuse pages that no map can have: of another size than whole lines of 64 bytes, or for too few or many tuples.

    Raises
    ------
    ParamsError
        Says what was wanted and what came.
    """
    _require(
        type(page_bytes) is int and page_bytes > 0 and page_bytes % 64 == 0,
        f"page_bytes is {page_bytes!r}; it must be a positive multiple of 64",
    )
    slots = (page_bytes - TAG_BYTES) // tuple_bytes
    _require(
        slots >= 1,
        f"page_bytes is {page_bytes}; one {tuple_bytes}-byte tuple and its tag need "
        f"{-(-(tuple_bytes + TAG_BYTES) // 64) * 64}",
    )
    _require(
        slots <= MAX_PAGE_SLOTS,
        f"page_bytes is {page_bytes}, room for {slots} tuples of {tuple_bytes} bytes; "
        f"the occupancy bitmap allows {MAX_PAGE_SLOTS}: use smaller pages",
    )


def check_lines(descriptor_bytes: int, bucket_bytes: int) -> None:
    """Refuse descriptor lines and buckets that no map can have.

    Raises
    ------
    ParamsError
        Says what was wanted and what came.
    """
    _require(
        descriptor_bytes in DESCRIPTOR_BYTES, f"descriptor_bytes is {descriptor_bytes!r}; it must be 32, 64 or 128"
    )
    _require(bucket_bytes in (64, 128), f"bucket_bytes is {bucket_bytes!r}; it must be 64 or 128")


@dataclass(frozen=True, kw_only=True)
class Params:
    """Public parameters of one map. They are immutable, and what follows from them is a property.

    Parameters
    ----------
    capacity : int
        Most keys that may be live at once, N.
    key_bytes, value_bytes : int
        Exact size of every key (4, 8 or 16) and value (1 to 4096), in bytes.
    rule : Rule
        Placement rule.
    page_bytes : int
        Bytes of one sealed page in host memory, a multiple of 64; 0 for ``resident``.
    pages : int
        Pages in host memory; 0 for ``resident``.
    hbm_bins : int
        Bins that lie in HBM and have no page, under ``two_choice``; 0 under the other rules.
    descriptor_bytes : int
        Bytes of one descriptor line, 32, 64 or 128.
    waiting_slots : int
        Waiting slots in HBM, each with room for one tuple.
    further_lines : int
        Descriptor lines for bins whose indices of waiting slots do not fit their first line.
    bucket_bytes : int
        Bytes of one position map bucket, 64 or 128.
    buckets : int
        Buckets in each of the two position map tables.
    relocation_steps : int
        Relocation steps of the position map that every operation performs, whether they are needed or not.
    transit_entries : int
        Entries of the position map that can be in transit at once, on chip.
    epoch_bits : int
        log2 of the operations of an epoch, k (:mod:`omap.versions`); 0 chooses it, and stands for none under
        ``resident``. A test may make epochs shorter: then a page may stay untouched for a whole epoch, which is a
        fault.

    Raises
    ------
    ParamsError
        If a value is out of its range, or two values contradict each other; names the bound and what came.
    """

    capacity: int
    key_bytes: int
    value_bytes: int
    rule: Rule = Rule.ONE_CHOICE
    page_bytes: int
    pages: int
    hbm_bins: int = 0
    descriptor_bytes: int = 64
    waiting_slots: int
    further_lines: int
    bucket_bytes: int
    buckets: int
    relocation_steps: int = 4
    transit_entries: int = 32
    epoch_bits: int = 0

    def __post_init__(self) -> None:
        for name, value in self.to_dict().items():
            if name == "rule":
                _require(
                    isinstance(value, str) and value in set(Rule), f"rule is {value!r}; choose one of {', '.join(Rule)}"
                )
            else:
                _require(
                    type(value) is int and value >= 0, f"{name} is {value!r}; it must be a whole number, 0 or more"
                )
        object.__setattr__(self, "rule", Rule(self.rule))
        check_shape(self.capacity, self.key_bytes, self.value_bytes)
        check_lines(self.descriptor_bytes, self.bucket_bytes)
        outside = f"buckets is {self.buckets}; each position map table needs 1 to {MAX_BUCKETS} "
        outside += f"(capacity is {self.capacity})"
        _require(self.buckets >= 1, outside)
        _reach("a table of the position map has at most {most:,} buckets", self.buckets, MAX_BUCKETS, outside)
        _require(
            self.entries + self.transit_entries >= self.capacity,
            f"the position map has room for {self.entries} entries and {self.transit_entries} in transit; "
            f"capacity {self.capacity} needs more buckets than {self.buckets}",
        )
        _require(
            self.relocation_steps >= 1,
            "relocation_steps is 0; it must be at least 1, or entries in transit would never arrive",
        )
        _require(
            self.waiting_slots >= 1, "waiting_slots is 0; it must be at least 1, for the tuple of the last operation"
        )
        lines = self.bins + self.further_lines
        outside = f"waiting_slots is {self.waiting_slots} and descriptor lines are {lines}; "
        outside += f"32-bit indices reach {MAX_INDEX} of either"
        _reach("a map has at most {most:,} waiting slots", self.waiting_slots, MAX_INDEX, outside)
        _reach("a map has at most {most:,} descriptor lines", lines, MAX_INDEX, outside)
        if self.rule is Rule.RESIDENT:
            _require(
                self.pages == self.page_bytes == self.hbm_bins == self.further_lines == 0,
                "a resident map has no pages: pages, page_bytes, hbm_bins and further_lines must be 0",
            )
            _require(
                self.waiting_slots >= self.capacity,
                f"waiting_slots is {self.waiting_slots}; a resident map needs one for each of {self.capacity} keys",
            )
            object.__setattr__(self, "epoch_bits", 0)
            return
        check_page(self.page_bytes, self.tuple_bytes)
        check_pages(self.pages)
        if self.rule is Rule.TWO_CHOICE:
            _require(self.bins >= 2, "two_choice draws two distinct bins: pages + hbm_bins must be at least 2")
            outside = f"pages + hbm_bins is {self.bins}; it must be at most {MAX_PAGES}"
            _reach("a map has at most {most:,} bins", self.bins, MAX_PAGES, outside)
        else:
            _require(self.hbm_bins == 0, f"hbm_bins is {self.hbm_bins}; only two_choice keeps bins in HBM")
        if not self.epoch_bits:
            object.__setattr__(self, "epoch_bits", choose_epoch_bits(self.pages, self.page_touches))
        _require(
            self.epoch_bits <= MOST_EPOCH_BITS,
            f"epoch_bits is {self.epoch_bits}; it must be at most {MOST_EPOCH_BITS}: leave it out, and it is chosen",
        )

    # -- tuples and pages ---------------------------------------------------------------------------------------

    @cached_property
    def tuple_bytes(self) -> int:
        """Bytes of one tuple, ``key || value``."""
        return self.key_bytes + self.value_bytes

    @cached_property
    def plaintext_bytes(self) -> int:
        """Bytes of a page before it is sealed: page slots and padding."""
        return self.page_bytes - TAG_BYTES

    @cached_property
    def page_slots(self) -> int:
        """Page slots: how many tuples one page has room for."""
        return max(self.plaintext_bytes, 0) // self.tuple_bytes

    @cached_property
    def slots(self) -> int:
        """Page slots and waiting slots: how many tuples the map has room for."""
        return self.pages * self.page_slots + self.waiting_slots

    @cached_property
    def host_bytes(self) -> int:
        """Bytes of host memory that the pages occupy, contiguously."""
        return self.pages * self.page_bytes

    @cached_property
    def bins(self) -> int:
        """Bins of the map: one for each page, and under ``two_choice`` those in HBM, which have the lowest numbers."""
        return self.hbm_bins + self.pages

    @cached_property
    def page_touches(self) -> float:
        """Touches of pages by an operation, on average: 1, or Binomial(2, 1 - alpha) under ``two_choice``."""
        if self.rule is Rule.RESIDENT:
            return 0.0
        return 2.0 * self.pages / self.bins if self.rule is Rule.TWO_CHOICE else 1.0

    # -- device memory ------------------------------------------------------------------------------------------

    @cached_property
    def entry_words(self) -> int:
        """32-bit words of a position map entry beside the key: one for the page, or two for both bins."""
        return 2 if self.rule is Rule.TWO_CHOICE else 1

    @cached_property
    def entry_bytes(self) -> int:
        """Bytes of one position map entry."""
        return 4 * self.entry_words + self.key_bytes

    @cached_property
    def bucket_entries(self) -> int:
        """Entries in one bucket."""
        return self.bucket_bytes // self.entry_bytes

    @cached_property
    def entries(self) -> int:
        """Entries in both position map tables."""
        return 2 * self.buckets * self.bucket_entries

    @cached_property
    def slot_bytes(self) -> int:
        """Bytes of one waiting slot, in whole beats."""
        return -(-self.tuple_bytes // HBM_BEAT_BYTES) * HBM_BEAT_BYTES

    @cached_property
    def hbm_account(self) -> dict[str, int]:
        """Bytes of HBM of each structure. The free lists have a 32-bit index for each waiting slot and further line."""
        return {
            "position map": 2 * self.buckets * self.bucket_bytes,
            "page descriptors": (self.bins + self.further_lines) * self.descriptor_bytes,
            "waiting slots": self.waiting_slots * self.slot_bytes,
            "free lists": 4 * (self.waiting_slots + self.further_lines),
        }

    @cached_property
    def hbm_bytes(self) -> int:
        """Bytes of HBM that the map occupies."""
        return sum(self.hbm_account.values())

    @cached_property
    def line_indices(self) -> tuple[int, int]:
        """See :func:`line_indices`."""
        return line_indices(self.descriptor_bytes)

    # -- identity -----------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return the parameters as JSON-ready values, in the order of declaration."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Params:
        """Build parameters from the values of :meth:`to_dict`.

        Raises
        ------
        ParamsError
            If a name is unknown or missing, or a value is refused.
        """
        known = {each.name: each.default is MISSING for each in fields(cls)}
        if strange := [name for name in values if name not in known]:
            raise ParamsError(
                f"not a parameter set: {str(strange[0])[:40]!r} is no parameter of a map; there are {', '.join(known)}"
            )
        if missing := [name for name, needed in known.items() if needed and name not in values]:
            raise ParamsError(
                f"not a parameter set: {', '.join(map(repr, missing))} missing; `omap plan --json` writes all that are "
                "needed"
            )
        return cls(**values)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the parameters as canonical JSON. Host and card compare it before they exchange records."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":")).encode()).digest()
