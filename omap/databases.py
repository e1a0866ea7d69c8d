"""Databases: name spaces of one map, each of which can be emptied at once.

Each database has a *generation*, which stands in its cells (:mod:`omap.cells`). Raising the generation empties the
database, because all cells with a lower one are *stale*: they count as absent, but keep their room until their key is
written or deleted. Generations, and how many keys each database holds, stand in one cell of the map, the *register*::

    value of the register = (generation (32 bits) || keys (32 bits)) of each database || stale cells (32 bits)

Its key is an image under a key of its own, so that no name reaches it. A map has up to 16 databases: as many as its
register has room for. A map with keys of fewer than 16 bytes has no register; it has database 0 alone, which can't be
emptied. The counts are those of the last time that the register was written; nothing but statistics rests on them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from omap.cells import IMAGE_BYTES, LENGTH_BYTES, image, pack_value, unpack_value
from omap.credentials import ClientKey
from omap.errors import InputError
from omap.kdf import DATABASE
from omap.params import Params

MOST_DATABASES = 16

_ENTRY, _STALE = struct.Struct(">II"), struct.Struct(">I")
_REGISTER = b"\xff"
_MOST = (1 << 32) - 1


def has_register(params: Params) -> bool:
    """Return whether a map has room for a register, so that its databases can be emptied."""
    room = params.value_bytes - LENGTH_BYTES - _STALE.size
    return params.key_bytes >= IMAGE_BYTES and room >= _ENTRY.size


def database_count(params: Params) -> int:
    """Return how many databases a map has: 1 to 16."""
    if not has_register(params):
        return 1
    return min(MOST_DATABASES, (params.value_bytes - LENGTH_BYTES - _STALE.size) // _ENTRY.size)


def register_key(params: Params, client: ClientKey) -> bytes:
    """Return the key of the register of all clients that have this client's prefix."""
    prefix = client.credential.prefix
    return (prefix + image(DATABASE.derive(client.names_key, _REGISTER), b"register"))[: params.key_bytes]


@dataclass
class Register:
    """What the register says.

    Parameters
    ----------
    generations, keys : list of int
        Of each database.
    stale : int
        Cells of earlier generations that keep their room.
    """

    generations: list[int] = field(default_factory=lambda: [0])
    keys: list[int] = field(default_factory=lambda: [0])
    stale: int = 0

    @classmethod
    def read(cls, params: Params, cell: bytes | None) -> Register:
        """Return what a cell of the register says; that of a map without a register if the cell is None.

        Raises
        ------
        InputError
            If the cell is no register.
        """
        count = database_count(params)
        if cell is None:
            return cls([0] * count, [0] * count)
        value = unpack_value(cell)
        if len(value) != count * _ENTRY.size + _STALE.size:
            raise InputError("the register of databases has another length: another version of omap wrote it")
        entries = list(_ENTRY.iter_unpack(value[: -_STALE.size]))
        return cls([g for g, _ in entries], [k for _, k in entries], *_STALE.unpack(value[-_STALE.size :]))

    def pack(self, params: Params) -> bytes:
        """Return the cell."""
        entries = zip(self.generations, self.keys, strict=True)
        value = b"".join(_ENTRY.pack(generation, min(keys, _MOST)) for generation, keys in entries)
        return pack_value(value + _STALE.pack(min(self.stale, _MOST)), params.value_bytes)
