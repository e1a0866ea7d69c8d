"""What can run a map: factories registered in the entry-point group ``omap.backends``.

The reference is registered by this package; simulated hardware and cards register theirs. A factory is called as
``factory(params, observer=observer)`` and returns a freshly formatted :class:`~omap.interface.ObliviousMap`.
"""

from __future__ import annotations

from importlib import metadata
from typing import Protocol

from omap.errors import InputError
from omap.interface import ObliviousMap
from omap.params import Params
from omap.trace import Observer

GROUP = "omap.backends"
"""Entry-point group of the factories."""


class Backend(Protocol):
    """Makes a map for given parameters."""

    def __call__(self, params: Params, *, observer: Observer | None = None) -> ObliviousMap:
        """Return a freshly formatted map whose host memory ``observer`` watches."""
        ...


def names() -> list[str]:
    """Return the names of all installed back ends."""
    return sorted(metadata.entry_points(group=GROUP).names)


def load(name: str) -> Backend:
    """Return the back end called ``name``.

    Raises
    ------
    InputError
        No back end has this name; lists those that are installed.
    """
    for entry_point in metadata.entry_points(group=GROUP, name=name):
        backend: Backend = entry_point.load()
        return backend
    raise InputError(f"no back end is called {name!r}; installed are {', '.join(names()) or 'none'}")
