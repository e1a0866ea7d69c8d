"""Named parameter sets. Tests and documentation use these and nothing between."""

from __future__ import annotations

from functools import cache

from omap import sizing
from omap.errors import ParamsError
from omap.params import Params

MILLION = 1 << 20


@cache
def preset(name: str) -> Params:
    """Return the preset called ``name``: TINY, SMALL, PAPER, STANDARD or WIDE."""
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
    raise ParamsError(f"no preset is called {name!r}")
