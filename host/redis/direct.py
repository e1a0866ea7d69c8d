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
from omap.operations import Kind


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


class Shape(NamedTuple):
    """What makes a command direct.

    Parameters
    ----------
    name : str
        Its name.
    words : int
        How many words it has, with the name.
    once : Kind
        Kind of its operation.
    """

    name: str
    words: int
    once: Kind


_SHAPES = [
    Shape("get", 2, Kind.GET),
    Shape("set", 3, Kind.PUT),
    Shape("del", 2, Kind.DELETE),
    Shape("unlink", 2, Kind.DELETE),
]
_BY_NAME = {word.encode(): shape for shape in _SHAPES for word in (shape.name, shape.name.upper())}


def plan_direct(
    commands: Sequence[list[bytes]], databases: Databases, database: int, form: Encoder
) -> tuple[list[str], list[Direct]]:
    """Return names and plans of commands in a database, up to one that needs another plan or is refused."""
    names: list[str] = []
    plans: list[Direct] = []
    find, key_of, make = _BY_NAME.get, databases.cells.key, tuple.__new__
    for words in commands:
        shape = find(words[0])
        if shape is None or len(words) != shape.words:
            break
        name = words[1]
        try:
            key = key_of(name, database)
        except InputError:
            break
        names.append(shape.name)
        plans.append(make(Direct, (shape.once, (database, name), key, words[-1], form)))
    return names, plans
