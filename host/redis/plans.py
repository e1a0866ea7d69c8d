"""What a command wants from the map, fixed before anything is looked up.

There are two kinds of plan. A command's name and arguments alone decide which kind it has, and how many operations it
takes. What is found in the map decides only the contents of operations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from omap.operations import Operation, Response


class Refused(Exception):  # noqa: N818 -- an answer, not a failure
    """A command that is answered with an error. The text is the reply."""


OUT_OF_ROOM = "OOM command not allowed when used memory > 'maxmemory'."
"""What Redis says when it is full. A map is full when ``capacity`` keys are live."""


Decide = Callable[[bytes | None], tuple[bytes | None, bytes]]
"""Takes the value found, or None; returns the new value, or None to change nothing, and the reply."""


@dataclass(frozen=True, slots=True)
class Direct:
    """Operations that are known at once. All are submitted together, and the reply follows from the answers.

    Parameters
    ----------
    operations : list of Operation
        What to run.
    reply : callable
        Makes the reply from the answers. May raise :class:`Refused`.
    """

    operations: list[Operation]
    reply: Callable[[list[Response]], bytes]


@dataclass(frozen=True, slots=True)
class Change:
    """One value that is read and perhaps written: always a GET, and then a PUT or a NOP.

    Parameters
    ----------
    name : bytes
        Key as Redis knows it.
    key : bytes
        Its key in the map.
    decide : callable
        Returns the new value and the reply. May raise :class:`Refused`; then nothing is written.
    """

    name: bytes
    key: bytes
    decide: Decide


@dataclass(frozen=True, slots=True)
class Size:
    """The number of live keys, which the answer to a NOP tells."""


Plan = bytes | Direct | Change | Size
"""What to do for one command; ``bytes`` is a reply that needs no map."""
