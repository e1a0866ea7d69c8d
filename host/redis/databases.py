"""Databases as the proxy uses them: cells of each, their generations, and how many keys each holds."""

from __future__ import annotations

from host.redis.places import REGISTER, Place, Refused
from omap.cells import LAST_GENERATION, PLAIN, Cells, Stamp
from omap.credentials import ClientKey, Right
from omap.databases import Register, database_count, has_register, register_key
from omap.errors import InputError
from omap.params import Params

State = tuple[list[int], list[int], int, bool]
"""Generations, keys of each database, stale cells, and whether there is a register."""


class Databases:
    """Places to keys and cells, and what is known of the map.

    Parameters
    ----------
    params : Params
        The map's parameters.
    client : ClientKey
        Who the proxy is for the map; long names are hashed under its names key.

    Attributes
    ----------
    count : int
        How many databases there are.
    keys : list of int
        Keys of each database, expired ones that were not deleted yet included.
    stale : int
        Cells of earlier generations that keep their room.
    live : int or None
        Live keys of the map, the register included, as of the newest answer; None if the proxy is not told.
    may_read, may_write : bool
        What the proxy's credential lets it do.
    registered : bool
        Whether the map holds the register.
    """

    def __init__(self, params: Params, client: ClientKey) -> None:
        self.params = params
        self.cells = Cells(params, client)
        self.count = database_count(params)
        self.register_key = register_key(params, client) if has_register(params) else b""
        rights = client.credential.rights
        self.may_read, self.may_write = Right.READ in rights, Right.WRITE in rights
        self._sees_map = client.credential.sees_map
        self.live: int | None = None
        self.load(None)

    def told(self, live: int | None) -> None:
        """Take the number of live keys in the newest answer, which counts only for whom the map tells it to."""
        self.live = live if self._sees_map else None

    # -- the register -------------------------------------------------------------------------------------------

    def load(self, cell: bytes | None) -> None:
        """Take what the map's register says; None if the map has none yet.

        Raises
        ------
        InputError
            If the cell is no register.
        """
        found = Register.read(self.params, cell)
        self.registered = cell is not None
        self._generations, self.keys, self.stale = found.generations, found.keys, found.stale

    def learn(self, cell: bytes | None) -> None:
        """Take generations of the map's register that are higher: of another proxy, or of a flush of unknown fate.

        Raises
        ------
        InputError
            If the cell is no register.
        """
        self.registered = cell is not None
        found = Register.read(self.params, cell).generations
        self.flushed([max(pair) for pair in zip(self._generations, found, strict=True)])

    def state(self) -> State:
        """Return what a flush changes, for :meth:`restore`."""
        return list(self._generations), list(self.keys), self.stale, self.registered

    def restore(self, state: State) -> None:
        """Take back a flush that never ran, or perhaps."""
        self._generations, self.keys, self.stale, self.registered = state

    def register(self, generations: list[int] | None) -> bytes:
        """Return the register's cell, with other generations than now if some are given."""
        now = Register(list(self._generations), self._counts(), self.stale)
        if generations is not None:
            for database, generation in enumerate(generations):
                if generation != now.generations[database]:
                    now.stale, now.keys[database] = now.stale + now.keys[database], 0
            now.generations = generations
        return now.pack(self.params)

    def _counts(self) -> list[int]:
        """Return the keys of each database. What other clients stored without the proxy counts for database 0."""
        counts = list(self.keys)
        if self.live is not None:
            counts[0] = max(0, self.live - self.registered - self.stale - sum(counts[1:]))
        return counts

    def size(self, database: int) -> int:
        """Return how many keys a database holds."""
        return self._counts()[database]

    def after_flush(self, databases: list[int], generations: list[int] | None) -> list[int]:
        """Return the generations after databases are emptied.

        Raises
        ------
        Refused
            If this map has no room for a register, or a generation is the last.
        """
        if not self.register_key:
            raise Refused(
                "ERR a map with keys of fewer than 16 bytes, or values of fewer than 14, keeps no generations, so it "
                "can't be emptied here: format it where it is served, see docs/use/redis.md"
            )
        after = list(self._generations if generations is None else generations)
        for database in databases:
            if after[database] >= LAST_GENERATION:
                raise Refused(f"ERR database {database} was emptied {LAST_GENERATION} times: format the map")
            after[database] += 1
        return after

    def flushed(self, generations: list[int]) -> None:
        """Take note of generations that were written to the register."""
        counts = self._counts()
        for database, generation in enumerate(generations):
            if generation != self._generations[database]:
                self.stale, counts[database] = self.stale + counts[database], 0
        self.keys, self._generations = counts, list(generations)

    # -- cells --------------------------------------------------------------------------------------------------

    def key(self, place: Place) -> bytes:
        """Return the map's key of a place.

        Raises
        ------
        Refused
            If the map's keys are too short for this name.
        """
        if place is REGISTER:
            return self.register_key
        try:
            return self.cells.key(place[1], place[0])
        except InputError as problem:
            raise Refused(f"ERR key is too long: {problem}") from None

    def can_hold(self, place: Place) -> bool:
        """Return whether there can be a value at a place: not if the cell has no room for the name."""
        return self.cells.room(place[1], Stamp(database=place[0])) >= 0

    def cell(self, place: Place, value: bytes, expiry: int | None, generations: list[int] | None = None) -> bytes:
        """Return the cell of a value.

        Raises
        ------
        Refused
            If the value does not fit.
        """
        database, name = place
        generation = (generations or self._generations)[database]
        stamp = Stamp(expiry, database, generation) if database or generation or expiry is not None else PLAIN
        try:
            return self.cells.pack(name, value, stamp)
        except InputError as problem:
            room = self.cells.room(name, stamp)
            if room < 0:
                raise Refused(f"ERR key is too long: {problem}") from None
            raise Refused(f"ERR value is too long: {len(value)} bytes, and under this key {room} fit") from None

    def read(
        self, place: Place, cell: bytes, now: int, generations: list[int] | None = None
    ) -> tuple[bytes, Stamp] | None:
        """Return value and stamp of a cell; None for a stale or expired one.

        Raises
        ------
        Refused
            If the cell was made for another key, or without :mod:`omap.cells`.
        """
        try:
            # SEC_CM: REDIS.KEY.VERIFIED -- a long key is looked up by its keyed image, and its cell names the key
            read = self.cells.open(place[1], cell, place[0])
        except InputError as problem:
            raise Refused(f"ERR omap: {problem}") from None
        stamp = read[1]
        known = generations or self._generations
        if stamp is PLAIN and not known[0]:
            return read
        if stamp.generation > known[stamp.database]:
            known[stamp.database] = stamp.generation  # another client emptied the database
        return None if stamp.is_absent(now, known[stamp.database]) else read

    def account(self, place: Place, before: bytes | None, after: bytes | None) -> None:
        """Count one write: the cells at a place before and after, or None."""
        if before is not None:
            generation = self._generations[place[0]]
            try:  # in a first generation nothing is stale
                stale = generation > 0 and self.cells.open(place[1], before, place[0])[1].generation < generation
            except InputError:
                stale = False
            if stale:
                self.stale -= 1
            elif after is None:
                self.keys[place[0]] -= 1
                return
            else:
                return
        if after is not None:
            self.keys[place[0]] += 1
