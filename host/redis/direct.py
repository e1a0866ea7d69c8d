"""GET, SET and DEL of one key, which are nearly all that clients send: plans that need no view and no closure.

They run in one pass, as the plans of :mod:`host.redis.strings` that they stand for, which do the same in transactions
and scripts. What a cell holds, what is stale and what is counted is said by :mod:`host.redis.databases` for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from host.redis.databases import Databases
from host.redis.places import Place
from host.redis.replies import Encoder
from omap.errors import InputError
from omap.operations import Kind, Operation


class Direct(NamedTuple):
    """One command.

    Parameters
    ----------
    once : Kind
        Kind of its operation: GET, PUT or DELETE.
    place : Place
        Database and name of its key.
    key : bytes
        The map's key.
    value : bytes
        What a PUT stores.
    form : Encoder
        Makes its reply.
    """

    once: Kind
    place: Place
    key: bytes
    value: bytes
    form: Encoder

    @property
    def places(self) -> Sequence[Place]:
        """The one key that the command names."""
        return (self.place,)

    def operation(self, databases: Databases) -> Operation:
        """Return the operation. Raises Refused if the value does not fit."""
        if self.once is _PUT:
            return _new(Operation, (_PUT, self.key, databases.cell(self.place, self.value, None)))
        return _new(Operation, (self.once, self.key, b""))


_PUT, _new = Kind.PUT, tuple.__new__  # an enum is slow to look into

_SHAPES = {"get": (2, Kind.GET), "set": (3, Kind.PUT), "del": (2, Kind.DELETE), "unlink": (2, Kind.DELETE)}
_BY_NAME = {word.encode(): (name, *_SHAPES[name]) for name in _SHAPES for word in (name, name.upper())}


def direct(words: list[bytes], databases: Databases, database: int, form: Encoder) -> tuple[str, Direct] | None:
    """Return the name and the plan of a command in a database; None if it needs another plan, or is refused."""
    shape = _BY_NAME.get(words[0])
    if shape is None or len(words) != shape[1]:
        return None
    name = words[1]
    try:
        key = databases.cells.key(name, database)
    except InputError:
        return None
    return shape[0], _new(Direct, (shape[2], (database, name), key, words[-1], form))
