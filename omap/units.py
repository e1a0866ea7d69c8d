"""Numbers and sizes as people write them: ``16GiB``, ``256 GB``, ``100e6``, ``2^20``."""

from __future__ import annotations

import re
from fractions import Fraction

from omap.errors import InputError

UNITS = {
    "": 1,
    "B": 1,
    **{f"{letter}": 1000**power for power, letter in enumerate("kMGT", 1)},
    **{f"{letter}B": 1000**power for power, letter in enumerate("kMGT", 1)},
    **{f"{letter}i": 1024**power for power, letter in enumerate("KMGT", 1)},
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", 1)},
}
"""Factor of each unit; upper and lower case are the same."""

_FACTORS = {name.lower(): factor for name, factor in UNITS.items()}
_NUMBER = re.compile(
    r"\s*(?:2\s*(?:\^|\*\*)\s*(?P<power>\d{1,2})|(?P<number>\d[\d_]*(?:\.\d+)?(?:e\d{1,2})?))\s*(?P<unit>[a-z]*)\s*",
    re.I,
)


def parse(text: str) -> int:
    """Return the whole number that ``text`` stands for.

    Raises
    ------
    InputError
        If it is no number, has an unknown unit, or is not whole.
    """
    match = _NUMBER.fullmatch(text)
    if match is None or match["unit"].lower() not in _FACTORS:
        raise InputError(f"{text!r} is no size; write it like 4096, 100e6, 2^20, 256GB or 16GiB")
    number = Fraction(2 ** int(match["power"])) if match["power"] else Fraction(match["number"].replace("_", ""))
    number *= _FACTORS[match["unit"].lower()]
    if number.denominator != 1:
        raise InputError(f"{text!r} is not a whole number; write it like 4096, 100e6, 2^20, 256GB or 16GiB")
    return int(number)


def format_bytes(count: float) -> str:
    """Return bytes in the largest binary unit that leaves at least 1, with three or four digits."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(count) < 1000 or unit == "TiB":
            break
        count /= 1024
    return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.2f} {unit}"
