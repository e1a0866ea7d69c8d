"""What can run a map: factories registered in the entry-point group ``omap.backends``.

The reference is registered by this package; simulated hardware and cards register theirs. A factory is called as
``factory(params, observer=observer)`` and returns a freshly formatted :class:`~omap.interface.ObliviousMap`.
"""

from __future__ import annotations

from importlib import metadata
from typing import Protocol, runtime_checkable

from omap.errors import InputError
from omap.interface import ObliviousMap
from omap.params import Params
from omap.trace import Observer

GROUP = "omap.backends"
"""Entry-point group of the factories."""

EXTRAS = "rtl,sim,host"
"""Extras of this distribution that hold what the back ends outside this package need."""


class Backend(Protocol):
    """Makes a map for given parameters.

    A factory that takes more than a moment may have an attribute ``notice``: a sentence for the user that says so.
    """

    def __call__(self, params: Params, *, observer: Observer | None = None) -> ObliviousMap:
        """Return a freshly formatted map whose host memory ``observer`` watches."""
        ...


@runtime_checkable
class Clocked(Protocol):
    """What a map has that runs on hardware, simulated or not, beside the methods of an ObliviousMap.

    Attributes
    ----------
    operations, cycles : int
        Operations run, and the clock cycles that they took.
    clock_mhz : float
        The clock, or the one that is assumed.
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
        No back end has this name, with those that are installed; or it needs packages that are not there.
    """
    for entry_point in metadata.entry_points(group=GROUP, name=name):
        try:
            backend: Backend = entry_point.load()
        except ImportError as error:
            raise InputError(
                f"the back end {name!r} can't be loaded: {error}; pip install '.[{EXTRAS}]' in the project's folder "
                "installs what it needs"
            ) from error
        return backend
    raise InputError(f"no back end is called {name!r}; installed are {', '.join(names()) or 'none'}")
