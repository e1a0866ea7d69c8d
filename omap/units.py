"""Numbers and sizes as people write them: ``16GiB``, ``256 GB``, ``100e6``, ``1_000``, ``2^20``, ``2^-30``, ``0.5``.

Every option of every command is read here, so that a number that one command takes means the same to all of them.
"""

from __future__ import annotations

import re
from fractions import Fraction

from omap.errors import InputError

UNITS: dict[str, int] = {
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
    r"\s*(?:2\s*(?:\^|\*\*)\s*(?P<power>\d{1,2}|-\d{1,3})|(?P<number>\d+(?:_\d+)*(?:\.\d+)?(?:e[+-]?\d{1,2})?))"
    r"\s*(?P<unit>[a-z]*)\s*",
    re.IGNORECASE | re.ASCII,
)
_WRITE = "write it like 4096, 100e6, 2^20, 256GB or 16GiB"
_LONGEST = 40
"""Most characters of a refused text that a message repeats."""


def parse(text: str) -> int:
    """Return the whole number that ``text`` stands for.

    Raises
    ------
    InputError
        If it is no number, has an unknown unit, or is not whole.
    """
    number = _exact(text, "size", _WRITE)
    if number.denominator != 1:
        raise InputError(f"{text!r} is not a whole number; {_WRITE}")
    return int(number)


def parse_real(text: str) -> float:
    """Return the number that ``text`` stands for, which need not be whole. It is never infinite, and never NaN.

    Raises
    ------
    InputError
        If it is no number, or has an unknown unit.
    """
    return float(_exact(text, "number", "write it like 0.5, 30, 1e-9, 2^-30 or 10k"))


def shown(text: str) -> str:
    """Return a refused text, in quotes, as a message repeats it: not all of it if it is long."""
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...")


def _exact(text: str, what: str, write: str) -> Fraction:
    match = _NUMBER.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None or match["unit"].lower() not in _FACTORS:
        raise InputError(f"{shown(text)} is no {what}; {write}")
    factor = _FACTORS[match["unit"].lower()]
    if match["power"] is None:
        return Fraction(match["number"].replace("_", "")) * factor
    power = int(match["power"])
    return Fraction(factor << power) if power >= 0 else Fraction(factor, 1 << -power)


def format_bytes(count: float) -> str:
    """Return bytes in the largest binary unit that leaves at least 1, with three or four digits."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(count) < 1000 or unit == "TiB":
            break
        count /= 1024
    return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.2f} {unit}"
