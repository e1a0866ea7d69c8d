"""What one command finds in the map, and what it changes, in memory."""

from __future__ import annotations

from collections.abc import Sequence

from host.redis.databases import Databases
from host.redis.places import DENIED, NOWHERE, OUT_OF_ROOM, REGISTER, Place, Refused
from omap.cells import Stamp
from omap.operations import Kind, Operation

NO_OPERATION = Operation(Kind.NOP)

Found = dict[Place, bytes | None]
"""Cells by place; None for a key that the map does not hold."""


class View:
    """The map as a command sees it: cells that were found, and over them the command's own changes.

    Parameters
    ----------
    databases : Databases
        Reads and makes cells.
    found : Found
        What the map holds. A place that is missing here counts as absent.
    now : int
        Time of the command in milliseconds since 1970.

    Attributes
    ----------
    changes : Found
        Cells that the command wrote; None for a key that it deleted.
    expiries : dict
        When those that expire do, by place, in milliseconds since 1970.
    generations : list of int or None
        Generations after the command, if it emptied a database.
    emptied : list of int
        Databases that the command emptied.
    has_read : bool
        Whether the command looked at what is found.
    save : bool
        Whether to write the register even if no database was emptied.
    """

    __slots__ = ("_found", "changes", "databases", "emptied", "expiries", "generations", "has_read", "now", "save")

    def __init__(self, databases: Databases, found: Found, now: int) -> None:
        self.databases, self._found, self.now = databases, found, now
        self.changes: Found = {}
        self.expiries: dict[Place, int] = {}
        self.generations: list[int] | None = None
        self.emptied: list[int] = []
        self.has_read = self.save = False

    def _cell(self, place: Place) -> bytes | None:
        return self.changes[place] if place in self.changes else self._found.get(place)

    def _read(self, place: Place) -> tuple[bytes, Stamp] | None:
        self.has_read = True
        cell = self._cell(place)
        if cell is None:
            return None
        return self.databases.read(place, cell, self.now, self.generations)

    def value(self, place: Place) -> bytes | None:
        """Return the value at a place, or None.

        Raises
        ------
        Refused
            If the cell is that of another key, or was not made by :mod:`omap.cells`.
        """
        read = self._read(place)
        return None if read is None else read[0]

    def expiry(self, place: Place) -> int | None:
        """Return when the value at a place expires; None for never or no value. Raises as :meth:`value`."""
        read = self._read(place)
        return None if read is None else read[1].expiry

    def there(self, place: Place) -> bool:
        """Return whether a key is there, even if its cell can't be read."""
        try:
            return self._read(place) is not None
        except Refused:
            return True

    def put(self, place: Place, value: bytes, expiry: int | None = None) -> None:
        """Set a value.

        Raises
        ------
        Refused
            If the value does not fit.
        """
        self.changes[place] = self.databases.cell(place, value, expiry, self.generations)
        if expiry is not None:
            self.expiries[place] = expiry
        elif self.expiries:
            self.expiries.pop(place, None)

    def delete(self, place: Place) -> None:
        """Remove a key."""
        self.changes[place] = None
        self.expiries.pop(place, None)

    def flush(self, databases: list[int]) -> None:
        """Empty databases."""
        self.generations = self.databases.after_flush(databases, self.generations)
        self.emptied += databases

    # -- operations ---------------------------------------------------------------------------------------------

    def operations(self, places: Sequence[Place]) -> list[Operation]:
        """Return the operations that write the changes: one for each place, in their order.

        A place that stands twice is written at its last mention. An expired or stale cell that the command did not
        write is deleted, which frees its room.
        """
        last = {place: at for at, place in enumerate(places)}
        made = []
        for at, place in enumerate(places):
            if last[place] != at or place is NOWHERE:
                made.append(NO_OPERATION)
            elif place is REGISTER:
                made.append(self._register())
            elif place in self.changes:
                cell, key = self.changes[place], self.databases.key(place)
                made.append(
                    Operation(Kind.PUT, key, cell)
                    if cell is not None
                    else (Operation(Kind.DELETE, key) if self._found.get(place) is not None else NO_OPERATION)
                )
            elif self._outdated(place):
                made.append(Operation(Kind.DELETE, self.databases.key(place)))
            else:
                made.append(NO_OPERATION)
        return made

    def _register(self) -> Operation:
        if self.generations is None and not self.save:
            return NO_OPERATION
        return Operation(Kind.PUT, self.databases.register_key, self.databases.register(self.generations))

    def _outdated(self, place: Place) -> bool:
        if self._found.get(place) is None or not self.databases.may_write:
            return False
        try:
            return self._read(place) is None
        except Refused:
            return False

    def commit(
        self, operations: list[Operation], places: Sequence[Place], live: int | None
    ) -> tuple[int | None, list[Operation]]:
        """Put the changes of some operations over what was found, for the next command.

        Parameters
        ----------
        operations, places
            What :meth:`operations` returned, and for which places.
        live : int or None
            Live keys before; None if that is not known.

        Returns
        -------
        live : int or None
            Live keys after.
        operations : list of Operation
            In the order in which to run them: what is deleted comes last, so that RENAME loses no value if the
            connection breaks in between; but first if the map has no room before.

        Raises
        ------
        Refused
            If the map would have more keys than its capacity, or the proxy's credential does not let it write. Then
            nothing was put over anything.
        """
        if not self.databases.may_write and any(operation.kind is not Kind.NOP for operation in operations):
            raise Refused(DENIED)
        new, gone = self._count(operations, places)
        capacity = self.databases.params.capacity
        room = capacity if live is None else capacity - live
        if new > room + gone:
            raise Refused(OUT_OF_ROOM)
        for place, operation in zip(places, operations, strict=True):
            if operation.kind != Kind.NOP and place is not REGISTER:
                after = operation.value if operation.kind == Kind.PUT else None
                self.databases.account(place, self._found.get(place), after)
                self._found[place] = after
        if self.generations is not None:
            self.databases.flushed(self.generations)
        if REGISTER in places and (self.generations is not None or self.save):
            self.databases.registered = True
        ordered = sorted(operations, key=lambda operation: (operation.kind == Kind.DELETE) == (new <= room))
        return None if live is None else live + new - gone, ordered

    def _count(self, operations: list[Operation], places: Sequence[Place]) -> tuple[int, int]:
        """Return how many keys operations add to the map, and how many they take from it."""
        new = gone = 0
        for place, operation in zip(places, operations, strict=True):
            held = self.databases.registered if place is REGISTER else self._found.get(place) is not None
            new += operation.kind == Kind.PUT and not held
            gone += operation.kind == Kind.DELETE and held
        return new, gone
