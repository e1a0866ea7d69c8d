"""Names and values of any length, in a map whose keys have one size and whose values have one size.

A value is stored after a head and padded with zeros::

    cell = head (16 bits, big-endian) || value || expiry (48) || database (4) and generation (28) || zeros

The head holds the length of the value, and two flags that say whether an expiry and a database with its generation
follow. A cell of database 0 that was never emptied has neither flag unless it expires.

A key is ``prefix || rest``, with the prefix of the client's credential (:mod:`omap.credentials`), which often is empty.
If a name is no longer than the rest, the rest is the name, padded with zeros on the right. The rest of the key of a
longer name, and of a name that itself ends with a zero, is an image: the first bytes of HMAC-SHA-256 of the name, under
the names key of the client. So whoever chooses names can't aim at collisions, and all clients with one prefix agree.
Only a map with 16-byte keys has room for images. Its cell then keeps the name too, before the padding, so that every
answer can be verified::

    ... || length of the name (16) || name || zeros

A *database* is a name space of its own. In all but database 0 every key is an image, under a key of that database. To
empty a database, a client raises its *generation*; a cell of an earlier one is *stale*, and counts as absent.
:mod:`omap.databases` says where generations are kept. A cell whose *expiry* has passed counts as absent too.

:func:`pack_value` and :func:`unpack_value` make and read cells; :class:`Cells` handles names too. What one client
(command line, proxy, a program) stores through :class:`Cells`, every other can read. Nothing here reveals anything: all
of it happens in the client.
"""

from __future__ import annotations

import hmac
import struct
from functools import lru_cache
from typing import NamedTuple

from omap.credentials import ClientKey
from omap.errors import InputError
from omap.kdf import DATABASE
from omap.params import Params

LENGTH_BYTES = 2
"""Bytes of the head before a value, and of the length before a name; big-endian."""

IMAGE_BYTES = 16
"""Bytes of the image of a long name. After a prefix it is cut to what is left of a key."""

EXPIRY_BYTES = 6
"""Bytes of an expiry: milliseconds since 1970 (UTC)."""

STAMP_BYTES = 4
"""Bytes of a database's number and generation."""

GENERATION_BITS = 28
LAST_EXPIRY = (1 << 8 * EXPIRY_BYTES) - 1
LAST_GENERATION = (1 << GENERATION_BITS) - 1

_EXPIRES, _STAMPED, _LENGTH = 0x8000, 0x4000, 0x3FFF
_HEAD = struct.Struct(">H")


class Stamp(NamedTuple):
    """What a cell says beside its value.

    Parameters
    ----------
    expiry : int or None
        Milliseconds since 1970 (UTC), after which the value counts as absent.
    database : int
        Name space that the name belongs to.
    generation : int
        Generation of this database when the cell was made.
    """

    expiry: int | None = None
    database: int = 0
    generation: int = 0

    @property
    def bytes(self) -> int:
        """Bytes that the stamp takes in a cell."""
        return (self.expiry is not None) * EXPIRY_BYTES + (self.database > 0 or self.generation > 0) * STAMP_BYTES

    def is_absent(self, now: int, generation: int) -> bool:
        """Return whether a value counts as absent at a time in milliseconds: it is stale, or has expired.

        ``generation`` is what its database has now.
        """
        return self.generation < generation or (self.expiry is not None and now > self.expiry)


PLAIN = Stamp()
"""A value of database 0 that does not expire."""


def pack_value(value: bytes, size: int, stamp: Stamp = PLAIN) -> bytes:
    """Return the cell of ``size`` bytes that holds ``value``.

    Raises
    ------
    InputError
        If the value does not fit.
    """
    room = min(size - LENGTH_BYTES - stamp.bytes, _LENGTH)
    if len(value) > room:
        raise InputError(
            f"the value has {len(value)} bytes; a cell of {size} holds at most {max(0, room)}: "
            "shorten it, or plan a map with longer values"
        )
    return _front(value, stamp).ljust(size, b"\0")


def _front(value: bytes, stamp: Stamp) -> bytes:
    if stamp is PLAIN or stamp == PLAIN:
        return _HEAD.pack(len(value)) + value
    head, tail = len(value), b""
    if stamp.expiry is not None:
        head, tail = head | _EXPIRES, stamp.expiry.to_bytes(EXPIRY_BYTES, "big")
    if stamp.database or stamp.generation:
        head |= _STAMPED
        tail += (stamp.database << GENERATION_BITS | stamp.generation).to_bytes(STAMP_BYTES, "big")
    return head.to_bytes(LENGTH_BYTES, "big") + value + tail


def unpack_value(cell: bytes) -> bytes:
    """Return the value in a cell.

    Raises
    ------
    InputError
        If :func:`pack_value` did not make this cell.
    """
    return _split(cell)[0]


def _split(cell: bytes) -> tuple[bytes, Stamp, int]:
    """Return value and stamp of a cell, and where what follows them begins."""
    head = int.from_bytes(cell[:LENGTH_BYTES], "big")
    end = LENGTH_BYTES + (head & _LENGTH)
    at = end + (EXPIRY_BYTES if head & _EXPIRES else 0) + (STAMP_BYTES if head & _STAMPED else 0)
    if not LENGTH_BYTES <= at <= len(cell):
        raise InputError("no length stands before the value: it was stored without omap.cells; read it raw")
    value = cell[LENGTH_BYTES:end]
    if at == end:
        return value, PLAIN, at
    expiry, mark = None, 0
    if head & _EXPIRES:
        expiry, end = int.from_bytes(cell[end : end + EXPIRY_BYTES], "big"), end + EXPIRY_BYTES
    if head & _STAMPED:
        mark = int.from_bytes(cell[end:at], "big")
    return value, Stamp(expiry, mark >> GENERATION_BITS, mark & LAST_GENERATION), at


def image(secret: bytes, name: bytes) -> bytes:
    """Return the 16-byte image of a name under the pseudo-random function with a 32-byte key."""
    return hmac.digest(secret, name, "sha256")[:IMAGE_BYTES]


class Cells:
    """Keys and cells of fixed size for names and values of any length, as the module describes.

    Parameters
    ----------
    params : Params
        The map's parameters.
    client : ClientKey
        The client's keys. Images of names are made under its names key, or under keys derived from that.
    """

    def __init__(self, params: Params, client: ClientKey) -> None:
        self.params = params
        self._size = params.value_bytes
        self._prefix = client.credential.prefix
        self._rest = params.key_bytes - len(self._prefix)
        names_key = client.names_key
        self._secret = lru_cache(maxsize=None)(
            lambda database: DATABASE.derive(names_key, bytes([database])) if database else names_key
        )

    def is_hashed(self, name: bytes, database: int = 0) -> bool:
        """Return whether the key of a name is its image, because the name itself can't be the key."""
        return database > 0 or len(name) > self._rest or name[-1:] == b"\0"

    def key(self, name: bytes, database: int = 0) -> bytes:
        """Return the key of a name.

        Raises
        ------
        InputError
            If the name needs an image, and the keys of the map are too short for one.
        """
        if not (database or len(name) > self._rest or name[-1:] == b"\0"):  # not is_hashed(), in less time
            return self._prefix + name.ljust(self._rest, b"\0")
        if self.params.key_bytes < IMAGE_BYTES:
            what = "ends with a zero" if len(name) <= self._rest else f"has {len(name)} bytes"
            if database:
                what = f"is in database {database}"
            raise InputError(
                f"the key {what}; this map takes keys of up to {self._rest} bytes that do not end with "
                f"a zero, in database 0: use such ones, or plan a map with {IMAGE_BYTES}-byte keys, which takes any"
            )
        return self._prefix + image(self._secret(database), name)[: self._rest]

    def room(self, name: bytes, stamp: Stamp = PLAIN) -> int:
        """Return how many bytes a value stored under ``name`` may have; below 0 if the name leaves no room at all."""
        beside = LENGTH_BYTES + len(name) if self.is_hashed(name, stamp.database) else 0
        return self.params.value_bytes - LENGTH_BYTES - stamp.bytes - beside

    def pack(self, name: bytes, value: bytes, stamp: Stamp = PLAIN) -> bytes:
        """Return the cell that holds ``value`` for ``name``.

        Raises
        ------
        InputError
            If value and name do not fit, or the expiry or the generation is too large.
        """
        size = self._size
        if stamp is PLAIN and len(value) <= size - LENGTH_BYTES and not self.is_hashed(name):
            return (_HEAD.pack(len(value)) + value).ljust(size, b"\0")  # nearly all cells, and nothing can be wrong
        room = self.room(name, stamp)
        if room < 0:
            raise InputError(
                f"the key has {len(name)} bytes; a cell of {self.params.value_bytes} holds keys of at most "
                f"{max(0, len(name) + room)}, and that with an empty value: shorten it, or plan a map with longer "
                "values"
            )
        if len(value) > room:
            raise InputError(
                f"the value has {len(value)} bytes; under this key {room} fit (cells have "
                f"{self.params.value_bytes}, and hold long keys too): shorten it, or plan a map with longer values"
            )
        if stamp.expiry is not None and not 0 <= stamp.expiry <= LAST_EXPIRY:
            raise InputError(f"the expiry is {stamp.expiry} ms; it must be 0 to {LAST_EXPIRY}")
        cell = _front(value, stamp)
        if self.is_hashed(name, stamp.database):
            cell += len(name).to_bytes(LENGTH_BYTES, "big") + name
        return cell.ljust(self.params.value_bytes, b"\0")

    def open(self, name: bytes, cell: bytes, database: int = 0) -> tuple[bytes, Stamp]:
        """Return value and stamp of a cell that was stored for ``name`` in ``database``.

        Raises
        ------
        InputError
            If the cell was not made by :meth:`pack`, or was made for another name or database.
        """
        size = len(cell)
        end = LENGTH_BYTES + (cell[0] << 8 | cell[1]) if size >= LENGTH_BYTES else size + 1
        if end <= size and cell[:end].ljust(size, b"\0") == cell and not self.is_hashed(name, database):
            return cell[LENGTH_BYTES:end], PLAIN  # nearly all cells: neither flag, and zeros after the value
        value, stamp, at = _split(cell)
        wanted = len(name).to_bytes(LENGTH_BYTES, "big") + name if self.is_hashed(name, database) else b""
        after = at + len(wanted)
        # what stands behind shows most values that are no cells: one of them could pass for a later generation
        if stamp.database != database or cell[at:after] != wanted or cell[after:].strip(b"\0"):
            raise InputError("the value was stored for another key: it was written without omap.cells")
        return value, stamp

    def unpack(self, name: bytes, cell: bytes) -> bytes:
        """Return the value in a cell that was stored for ``name`` in database 0, even if it is expired or stale.

        Raises
        ------
        InputError
            If the cell was not made by :meth:`pack`, or was made for another name.
        """
        return self.open(name, cell)[0]
