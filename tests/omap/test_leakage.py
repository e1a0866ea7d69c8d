"""The list of what may be seen agrees with the docstrings and with the arithmetic of the rules."""

import inspect
import itertools
import re
from collections import Counter
from fractions import Fraction

import pytest

from omap import leakage
from omap.interface import ObliviousMap
from tests.support.leakage.synthetic import params


def section(method, title):
    """Return a section of a method's docstring as one line."""
    found = re.search(rf"\n{title}\n((?:    .*\n?)+)", inspect.getdoc(getattr(ObliviousMap, method)))
    return " ".join(found[1].split()) if found else ""


@pytest.mark.parametrize("method", leakage.SHOWN)
def test_docstrings_reveal_what_the_list_says(method):
    assert section(method, "Reveals") == leakage.SHOWN[method].reveals
    assert section(method, "Hides") == leakage.SHOWN[method].hides


def test_every_public_method_says_what_it_reveals():
    """By a section of its own, by a sentence, or by pointing to ``execute``."""
    for name, method in vars(ObliviousMap).items():
        if inspect.isfunction(method) and not name.startswith("_"):
            assert re.search(r"\bReveals\b", method.__doc__), name
            assert name in leakage.SHOWN or "Reveals and hides as :meth:`execute`" in " ".join(method.__doc__.split())


@pytest.mark.parametrize(("pages", "hbm_bins"), [(1, 1), (2, 0), (1, 4), (5, 2), (4, 5)])
def test_touches_of_two_choice_by_enumeration(pages, hbm_bins):
    pairs = list(itertools.permutations(range(pages + hbm_bins), 2))
    seen = Counter(sum(number >= hbm_bins for number in pair) for pair in pairs)
    expected = {touches: Fraction(times, len(pairs)) for touches, times in seen.items()}
    assert leakage.touches_per_operation(params("two_choice", pages, hbm_bins)) == expected


def test_touches_of_the_other_rules():
    assert leakage.touches_per_operation(params("one_choice", 7)) == {1: 1}
    assert leakage.touches_per_operation(params("resident", 0)) == {0: 1}


def test_what_an_operation_shows_names_the_numbers():
    assert "one of 7 pages" in leakage.operation_shows(params("one_choice", 7))
    text = leakage.operation_shows(params("two_choice", 7, 3))
    assert "uniform over 10" in text
    assert "the 7 pages" in text
    assert "no access" in leakage.operation_shows(params("resident", 0))
