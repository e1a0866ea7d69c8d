"""One command as it came, and what all plans read from its words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from host.redis.databases import Databases
from host.redis.places import Place, Refused
from host.redis.replies import Encoder
from host.redis.scripts.cache import Cache, Script
from host.redis.view import View
from omap.cells import LAST_EXPIRY
from omap.databases import MOST_DATABASES

NOT_AN_INTEGER = "ERR value is not an integer or out of range"
SYNTAX = "ERR syntax error"
LOWEST, HIGHEST = -(1 << 63), (1 << 63) - 1
_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,18}")

RELATIVE = {b"ex": 1000, b"px": 1}
ABSOLUTE = {b"exat": 1000, b"pxat": 1}
"""Options that give a time: milliseconds of their unit."""


def parse_integer(data: bytes, problem: str = NOT_AN_INTEGER) -> int:
    """Return a 64-bit integer, read as strictly as Redis does: no sign ``+``, no leading zeros, no spaces."""
    number = int(data) if _INTEGER.fullmatch(data) else HIGHEST + 1
    if not LOWEST <= number <= HIGHEST:
        raise Refused(problem)
    return number


def parse_database(word: bytes, count: int) -> int:
    """Return the number of a database of a map that has ``count``."""
    number = parse_integer(word)
    if not 0 <= number < count:
        why = f": this map has {count}" if 0 <= number < MOST_DATABASES else ""
        raise Refused(f"ERR DB index is out of range{why}")
    return number


def wrong_arity(name: str) -> Refused:
    """Return the error about a wrong number of arguments."""
    return Refused(f"ERR wrong number of arguments for '{name}' command")


class Scripts(Protocol):
    """What runs scripts: :class:`host.redis.scripts.runs.Scripts`, which needs this module."""

    keys: int
    cache: Cache

    def check_installed(self) -> None:
        """Refuse scripts where Lua is not installed."""

    async def check(self, script: Script) -> None:
        """Refuse a script that is not Lua."""

    async def run(self, call: Call, script: Script, view: View, places: list[Place]) -> bytes:
        """Run a script on a view and return its reply, or refuse it."""
        ...


@dataclass(slots=True)
class Call:
    """One command.

    Parameters
    ----------
    words : list of bytes
        Its name and arguments.
    form : Encoder
        Makes its reply.
    databases : Databases
        Makes keys and cells.
    database : int
        The database of its connection.
    now : int
        Milliseconds since 1970.
    scripts : Scripts
        Runs scripts.
    """

    words: list[bytes]
    form: Encoder
    databases: Databases
    database: int
    now: int
    scripts: Scripts

    @property
    def name(self) -> str:
        """Name of the command in small letters."""
        return self.words[0].lower().decode("latin-1")

    def place(self, name: bytes, database: int | None = None) -> Place:
        """Return the place of a key.

        Raises
        ------
        Refused
            If the map has no room for such a key.
        """
        place = self.database if database is None else database, name
        if self.databases.cells.is_hashed(name, place[0]):
            self.databases.key(place)
        return place

    def fits(self, place: Place, value: bytes, expiry: int | None = None) -> None:
        """Refuse a value that does not fit, whatever is found."""
        self.databases.cell(place, value, expiry)

    def parse_expiry(self, word: bytes, unit: int, *, absolute: bool, positive: bool = False) -> int:
        """Return when a value expires, from a number of ``unit`` milliseconds."""
        amount = parse_integer(word)
        expiry = amount * unit + (0 if absolute else self.now)
        if (positive and amount <= 0) or not LOWEST <= amount * unit <= HIGHEST or expiry > LAST_EXPIRY:
            raise Refused(f"ERR invalid expire time in '{self.name}' command")
        return max(expiry, 0)
