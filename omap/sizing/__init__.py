"""How large the structures of a map must be, and what a map needs and moves.

:func:`one_choice`, :func:`two_choice` and :func:`resident` turn sizes into parameters. :mod:`omap.sizing.planner`
chooses among them.
"""

from omap.sizing.sizes import (
    INSTANT_BITS,
    LIFETIME_BITS,
    PAGE_LOAD,
    PUBLISHED_LOAD,
    PUBLISHED_SHARE,
    TARGET_BITS,
    line_costs,
    most_lines,
    most_load,
    one_choice,
    page_bytes_for,
    resident,
    two_choice,
    two_choice_bounds,
)

__all__ = [
    "INSTANT_BITS",
    "LIFETIME_BITS",
    "PAGE_LOAD",
    "PUBLISHED_LOAD",
    "PUBLISHED_SHARE",
    "TARGET_BITS",
    "line_costs",
    "most_lines",
    "most_load",
    "one_choice",
    "page_bytes_for",
    "resident",
    "two_choice",
    "two_choice_bounds",
]
