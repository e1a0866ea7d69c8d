"""What an observer may see, as data. Audit, tests and documentation read this one list.

The claim of a map is that host memory shows nothing but this. :mod:`omap.audit` compares a trace with it. The
docstrings of :class:`omap.interface.ObliviousMap` repeat it in their sections *Reveals* and *Hides*, and a test
compares those sections with :data:`SHOWN`.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

from omap.params import Params, Rule
from omap.trace import BULK_LOAD, EXPORT, FORMAT

READ = False
"""A read of one whole page, as :attr:`omap.trace.Trace.write` records it."""

WRITE = True
"""A write of one whole page, as :attr:`omap.trace.Trace.write` records it."""

TOUCH = (READ, WRITE)
"""Events of one touch. Whatever the operation is, it reads the page and writes it back."""

SCANS = MappingProxyType({FORMAT: (WRITE,), BULK_LOAD: (READ, WRITE), EXPORT: (READ,)})
"""Events on every page, pages ascending, of each kind of scan; scans are no operations."""

SCAN_NAMES = MappingProxyType({FORMAT: "format", BULK_LOAD: "bulk load", EXPORT: "export"})
"""What a scan is called in messages."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a call of one public method shows outside the trusted side.

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
        "execute_arrays": Shown(
            reveals="How many operations ran, and when; for each, pages drawn uniformly at random.",
            hides="Keys, values, kinds, hit or miss, repetition, number of live keys.",
        ),
        "bulk_load": Shown(
            reveals="That a bulk load ran: every page is read and written back once, in order.",
            hides="How many keys were loaded, which keys, and their values.",
        ),
        "format": Shown(reveals="That a format ran: every page is written once, in order."),
    }
)
"""What the methods of :class:`omap.interface.ObliviousMap` show."""


def touches_per_operation(params: Params) -> dict[int, Fraction]:
    """Return the probability of each number of pages that one operation may touch; impossible numbers are absent.

    Under ``one_choice`` the page is uniform over ``pages``. Under ``two_choice`` an ordered pair of distinct bins is
    uniform over all such pairs of ``bins``, and the host does not see the first ``hbm_bins`` bins. Draws of different
    operations are independent.
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
    """Return one sentence that says what a single operation shows under the rule of ``params``."""
    match params.rule:
        case Rule.RESIDENT:
            return "An operation shows no access to host memory at all."
        case Rule.ONE_CHOICE:
            return f"An operation reads and writes back one of {params.pages:,} pages, drawn uniformly."
        case _:
            return (
                f"An operation draws two distinct bins, uniform over {params.bins:,}; of these it reads and writes "
                f"back those that are among the {params.pages:,} pages, in the order drawn."
            )
