"""Back ends, which run a map: factories in the entry-point group ``omap.backends``.

This package registers the reference; other packages register simulated hardware and cards. A factory is called as
``factory(params, observer=observer)`` and returns a freshly formatted :class:`~omap.interface.ObliviousMap`.
"""

from __future__ import annotations

from importlib import metadata
from typing import Protocol, runtime_checkable

from omap.errors import InputError
from omap.extras import how_to_install
from omap.interface import ObliviousMap
from omap.params import Params
from omap.trace import Observer

GROUP = "omap.backends"
"""Entry-point group of the factories."""

EXTRAS = "rtl", "sim", "host"
"""Extras of this distribution with the packages that other back ends than the reference need."""


class Backend(Protocol):
    """Makes a map for given parameters.

    A factory that takes long may have an attribute ``notice``: a sentence that tells the user so.
    """

    def __call__(self, params: Params, *, observer: Observer | None = None) -> ObliviousMap:
        """Return a freshly formatted map whose host memory ``observer`` watches. Reveals that a format ran."""
        ...


@runtime_checkable
class Clocked(Protocol):
    """Attributes of a map that runs on hardware, simulated or real, beside those of an ObliviousMap.

    Attributes
    ----------
    operations, cycles : int
        Operations that ran, and the clock cycles that they took.
    clock_mhz : float
        Frequency of the clock in MHz, which a simulation assumes.
    """

    operations: int
    cycles: int
    clock_mhz: float


def names() -> list[str]:
    """Return the names of all installed back ends."""
    return sorted(metadata.entry_points(group=GROUP).names)


def load(name: str) -> Backend:
    """Return the back end called ``name``.

    Raises
    ------
    InputError
        If no back end has this name, naming the installed ones; or if the back end needs packages that are missing.
    """
    for entry_point in metadata.entry_points(group=GROUP, name=name):
        try:
            backend: Backend = entry_point.load()
        except ImportError as error:
            raise InputError(f"the back end {name!r} can't be loaded: {error}; {how_to_install(*EXTRAS)}") from error
        return backend
    raise InputError(f"no back end is called {name!r}; installed are {', '.join(names()) or 'none'}")
