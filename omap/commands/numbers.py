"""The types of options that are numbers, so that every command reads them in one way, see :mod:`omap.units`."""

from __future__ import annotations

from typing import Any

import click

from omap.errors import InputError
from omap.units import parse, parse_real, shown


class Whole(click.ParamType):  # type: ignore[type-arg]  # older versions of click do not say what a type gives
    """A whole number: ``4096``, ``100e6``, ``1_000``, ``2^20``, ``16GiB``.

    Parameters
    ----------
    least, most : int
        Bounds; without ``most`` there is no upper one.
    what : str, optional
        What the number is, such as ``port``, for messages; it has two bounds then.
    """

    name = "number"

    def __init__(self, least: int = 0, most: int | None = None, what: str = "") -> None:
        self._least, self._most, self._what = least, most, what

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number that was typed, or a default as it is."""
        try:
            number = parse(value) if isinstance(value, str) else int(value)
        except InputError as error:
            if self._what:
                self.fail(f"{shown(value)} is no {self._what}: a number from {self._least} to {self._most}", param, ctx)
            self.fail(str(error), param, ctx)
        if number < self._least or (self._most is not None and number > self._most):
            most = "" if self._most is None else f" and at most {self._most:,}"
            self.fail(f"{number:,} came; it must be at least {self._least:,}{most}", param, ctx)
        return number


class Real(click.ParamType):  # type: ignore[type-arg]  # as above
    """A number that need not be whole: ``0.5``, ``1e-9``, ``2^-30``, ``10k``.

    Parameters
    ----------
    least : float, optional
        Least number.
    above, below : float, optional
        Bounds that are excluded.
    """

    name = "number"

    def __init__(self, least: float = 0.0, *, above: float | None = None, below: float | None = None) -> None:
        self._least, self._above, self._below = least, above, below

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number that was typed, or a default as it is."""
        try:
            number = parse_real(value) if isinstance(value, str) else float(value)
        except InputError as error:
            self.fail(str(error), param, ctx)
        if self._above is not None and number <= self._above:
            self.fail(f"{number:g} came; it must be more than {self._above:g}", param, ctx)
        if self._below is not None and number >= self._below:
            self.fail(f"{number:g} came; it must be less than {self._below:g}", param, ctx)
        if number < self._least:
            self.fail(f"{number:g} came; it must be at least {self._least:g}", param, ctx)
        return number


SIZE = Whole()
"""A whole number without bounds of its own: what takes it says what is wrong with it."""
