"""Maps of ``omap`` alone that tests use: small shapes that overflow, and maps whose batches are all compiled."""

from dataclasses import replace
from typing import Any

from omap.fast import map as fast
from omap.params import Params, Rule
from omap.presets import preset
from omap.reference import ReferenceMap

PRESETS = ("TINY", "SMALL", "WIDE")
RULES = (Rule.ONE_CHOICE, Rule.TWO_CHOICE, Rule.RESIDENT)
CAPACITY = 40


def tight(name: str, rule: Rule) -> Params:
    """Return the shapes of a preset with few pages and slots, so that pages overflow, lists grow and the map fills."""
    shape = preset(name)
    capacity = min(CAPACITY, shape.capacity)
    sizes = dict(capacity=capacity, rule=rule, waiting_slots=capacity, further_lines=capacity, descriptor_bytes=32)
    if rule is Rule.RESIDENT:
        return replace(shape, **sizes | dict(further_lines=0), page_bytes=0, pages=0, buckets=4, transit_entries=16)
    pages = max(2, capacity // shape.page_slots)  # mean load: a whole page
    hbm_bins = 1 if rule is Rule.TWO_CHOICE else 0
    return replace(shape, **sizes, pages=pages, hbm_bins=hbm_bins, buckets=6, transit_entries=16)


def compiled(params: Params, **options: Any) -> ReferenceMap:
    """Return a map that runs batches of any length in compiled code."""
    made = fast.create(params, **options)
    if isinstance(made, fast.FastMap):
        made.shortest = 1
    return made
