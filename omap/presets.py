"""Named parameter sets. Tests and documentation use these alone."""

from __future__ import annotations

from functools import cache

from omap import sizing
from omap.board import BOARDS
from omap.errors import ParamsError
from omap.params import Params
from omap.sizing import planner

MILLION = 1 << 20

NAMES = ("TINY", "SMALL", "PAPER", "STANDARD", "WIDE", "U55C")
"""Every preset, from small to large."""


@cache
def preset(name: str) -> Params:
    """Return the preset called ``name``, in upper or lower case.

    TINY is for exhaustive tests, SMALL for simulation. PAPER has the keys and values of BOLT's evaluation; STANDARD and
    WIDE have larger ones. These three have 2^20 keys. U55C is the largest map with STANDARD's keys, values and pages
    whose structures fit the HBM channels of a U55C, at one of the loads that :func:`omap.sizing.planner.largest` tries;
    with others it would have some tenths of a per cent more keys.

    Raises
    ------
    ParamsError
        If no preset has this name.
    """
    match name.upper():
        case "TINY":
            return sizing.one_choice(capacity=12, key_bytes=4, value_bytes=4, page_bytes=64, descriptor_bytes=32)
        case "SMALL":
            return sizing.one_choice(capacity=1000, key_bytes=8, value_bytes=8, page_bytes=128)
        case "PAPER":
            return sizing.one_choice(capacity=MILLION, key_bytes=4, value_bytes=8, page_bytes=128)
        case "STANDARD":
            return sizing.one_choice(capacity=MILLION, key_bytes=8, value_bytes=64, page_bytes=640)
        case "WIDE":
            return sizing.one_choice(capacity=MILLION, key_bytes=16, value_bytes=256, page_bytes=4096)
        case "U55C":
            return planner.largest(key_bytes=8, value_bytes=64, page_bytes=640, board=BOARDS["u55c"]).params
    raise ParamsError(f"no preset is called {name!r}; choose one of {', '.join(NAMES)}")
