"""What a command wants from the map, fixed before anything is looked up.

A command's name and arguments alone decide which keys it names, and whether it runs in one pass or in two. What is
found in the map decides only the contents of operations.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from host.redis.places import Place
from host.redis.view import View
from omap.operations import Kind


@dataclass(slots=True)
class Plan:
    """One command.

    Parameters
    ----------
    apply : callable
        Does the command in memory, on what was found, and returns its reply; may be a coroutine function, and may raise
        :class:`~host.redis.places.Refused`, after which nothing is changed.
    places : sequence of Place
        Keys that the command names, in the order of its words; a key named twice stands twice.
    once : Kind or None
        Kind of the operations of a command that needs one pass, because what it writes does not depend on what is
        found: one operation a place. None for two passes: a GET for each place, then a PUT, DELETE or NOP for each.
    """

    apply: Callable[[View], bytes | Awaitable[bytes]]
    places: Sequence[Place]
    once: Kind | None = None
