"""What the libraries ``cjson`` and ``bit`` of Redis leave to Python."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import reduce
from typing import NoReturn

_WORD = 0xFFFFFFFF


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def decode_json(text: bytes, *, table: Callable[[object], object], null: object) -> tuple[bool, object]:
    """Read JSON.

    Parameters
    ----------
    text : bytes
        What to read.
    table : callable
        Makes a table of Lua from a list or a dictionary.
    null : object
        Stands for null.

    Returns
    -------
    read : bool
        Whether it is JSON.
    value : object
        As Lua has it; otherwise what is wrong.
    """

    def value(found: object) -> object:
        match found:
            case None:
                return null
            case str():
                return found.encode("utf-8", "surrogateescape")
            case list():
                return table([value(item) for item in found])
            case dict():
                return table({name.encode("utf-8", "surrogateescape"): value(item) for name, item in found.items()})
        return found

    try:
        decoded = text.decode("utf-8", "surrogateescape")
        return True, value(json.loads(decoded, parse_int=float, parse_constant=_no_constant))
    except json.JSONDecodeError as problem:
        return False, f"Expected value or end of JSON at character {problem.pos + 1}".encode()
    except (ValueError, RecursionError):
        return False, b"Expected JSON that Lua can hold"


def _signed(word: int) -> int:
    """Return a word of 32 bits as a number with a sign."""
    return (word & _WORD ^ 0x80000000) - 0x80000000


def _word(number: float) -> int:
    return round(number) & _WORD if math.isfinite(number) else 0


def _rotated(word: int, places: int) -> int:
    return word << places | word >> (32 - places)


BITS: dict[str, tuple[int, Callable[..., int]]] = {
    "arshift": (2, lambda word, places, *_: _signed(word) >> (places & 31)),
    "band": (1, lambda *words: reduce(int.__and__, words)),
    "bnot": (1, lambda word, *_: ~word),
    "bor": (1, lambda *words: reduce(int.__or__, words)),
    "bswap": (1, lambda word, *_: int.from_bytes(word.to_bytes(4, "little"), "big")),
    "bxor": (1, lambda *words: reduce(int.__xor__, words)),
    "lshift": (2, lambda word, places, *_: word << (places & 31)),
    "rol": (2, lambda word, places, *_: _rotated(word, places & 31)),
    "ror": (2, lambda word, places, *_: _rotated(word, -places & 31)),
    "rshift": (2, lambda word, places, *_: word >> (places & 31)),
    "tobit": (1, lambda word, *_: word),
}
"""Functions on words of 32 bits, and how many numbers each needs; it gets them as words without a sign."""


def bits(name: bytes, *numbers: float) -> int:
    """Return what a function of ``bit`` gives for as many numbers as it needs, or more."""
    return _signed(BITS[name.decode()][1](*map(_word, numbers)))
