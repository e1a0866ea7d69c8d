"""What a command wants from the map, fixed before anything is looked up.

There are two kinds of plan, and a command's name and arguments decide which it is and how many operations it takes.
What is found decides only what is *in* them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from omap.operations import Operation, Response


class Refused(Exception):  # noqa: N818 -- an answer, not a failure
    """A command that is answered with an error; the text is the reply."""


OUT_OF_ROOM = "OOM command not allowed when used memory > 'maxmemory'."
"""What Redis says when it is full; ours is when ``capacity`` keys are live."""


Decide = Callable[[bytes | None], tuple[bytes | None, bytes]]
"""From the value found, None if there is none, to the new value, None to leave things as they are, and the reply."""


@dataclass(frozen=True, slots=True)
class Direct:
    """Operations that are known at once; all are submitted in one go, and the reply follows from the answers.

    Parameters
    ----------
    operations : list of Operation
        What to run.
    reply : callable
        Makes the reply of the answers. May raise :class:`Refused`.
    """

    operations: list[Operation]
    reply: Callable[[list[Response]], bytes]


@dataclass(frozen=True, slots=True)
class Change:
    """One value, read and then perhaps written: always a GET, and then a PUT or a NOP.

    Parameters
    ----------
    name : bytes
        Key as Redis knows it.
    key : bytes
        Its key in the map.
    decide : callable
        What to make of what is found. May raise :class:`Refused`; then nothing is written.
    """

    name: bytes
    key: bytes
    decide: Decide


@dataclass(frozen=True, slots=True)
class Size:
    """The number of live keys: a NOP, whose answer tells it."""


Plan = bytes | Direct | Change | Size
"""What to do for one command; ``bytes`` is a reply that needs no map."""
