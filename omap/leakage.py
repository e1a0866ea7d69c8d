"""What an observer may see, as data: the one list that audit, tests and documentation read.

A map's whole claim is that host memory shows nothing but this. :mod:`omap.audit` holds a trace against it; the
docstrings of :class:`omap.interface.ObliviousMap` say the same in their *Reveals* and *Hides* sections, which a test
compares with :data:`SHOWN`.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

from omap.params import Params, Rule
from omap.trace import BULK_LOAD, FORMAT

READ = False
"""A read of one whole page, as :attr:`omap.trace.Trace.write` records it."""

WRITE = True
"""A write of one whole page, likewise."""

TOUCH = (READ, WRITE)
"""Events of one touch, all on one page: whatever the operation, the page is read and written back."""

SCANS = MappingProxyType({FORMAT: (WRITE,), BULK_LOAD: (READ, WRITE)})
"""Events on every page, pages ascending, of what is no operation: a format, a bulk load."""

SCAN_NAMES = MappingProxyType({FORMAT: "format", BULK_LOAD: "bulk load"})
"""What a scan is called in messages."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What calling one public method shows outside the trusted side.

    Attributes
    ----------
    reveals, hides : str
        Sentences, as they stand in the method's docstring.
    """

    reveals: str
    hides: str = ""


SHOWN = MappingProxyType(
    {
        "execute": Shown(
            reveals="How many operations ran, and when; for each, pages drawn uniformly at random.",
            hides="Keys, values, kinds, hit or miss, repetition, number of live keys.",
        ),
        "bulk_load": Shown(
            reveals="That a bulk load ran: every page is read and written back once, in order. Not n.",
        ),
        "format": Shown(reveals="That a format ran: every page is written once, in order."),
    }
)
"""What the methods of :class:`omap.interface.ObliviousMap` show."""


def touches_per_operation(params: Params) -> dict[int, Fraction]:
    """Return the probability of each number of pages that one operation may touch; impossible numbers are absent.

    The pages themselves are uniform: one of ``pages`` for ``one_choice``; for ``two_choice`` an ordered pair of
    distinct bins out of ``bins``, of which the first ``hbm_bins`` are not seen. Draws of different operations are
    independent.
    """
    if params.rule is Rule.RESIDENT:
        return {0: Fraction(1)}
    if params.rule is Rule.ONE_CHOICE:
        return {1: Fraction(1)}
    hidden, pages = params.hbm_bins, params.pages
    pairs = params.bins * (params.bins - 1)
    chances = {
        0: Fraction(hidden * (hidden - 1), pairs),
        1: Fraction(2 * hidden * pages, pairs),
        2: Fraction(pages * (pages - 1), pairs),
    }
    return {touches: chance for touches, chance in chances.items() if chance}


def operation_shows(params: Params) -> str:
    """Return one sentence: what a single operation shows under the rule of ``params``."""
    match params.rule:
        case Rule.RESIDENT:
            return "An operation shows no access to host memory at all."
        case Rule.ONE_CHOICE:
            return f"An operation reads and writes back one of {params.pages:,} pages, drawn uniformly."
        case _:
            return (
                f"An operation reads and writes back those of two distinct bins, uniform over {params.bins:,}, "
                f"that are among the {params.pages:,} pages, in the order drawn."
            )
