"""Names and values of any length, in a map whose keys have one size and whose values have one size.

A value is stored after its length and padded with zeros::

    cell = length of the value (16 bits, big-endian) || value || zeros

If a name is no longer than a key, the key is the name, padded with zeros on the right. The key of a longer name, and
of a name that itself ends with a zero, is an image: the first 16 bytes of HMAC-SHA-256 of the name, under a key derived
from the root key. So whoever chooses names can't aim at collisions, and all clients that hold the root key agree. Only
a map with 16-byte keys has room for images. Its cell then keeps the name too, so that every answer can be verified::

    cell = length of the value (16) || value || length of the name (16) || name || zeros

:func:`pack_value` and :func:`unpack_value` make and read cells; :class:`Cells` handles names too. What one client
(command line, proxy, a program) stores through :class:`Cells`, every other can read. Nothing here reveals anything: all
of it happens in the client.
"""

from __future__ import annotations

import hmac

from omap.errors import InputError
from omap.kdf import NAMES
from omap.params import Params

LENGTH_BYTES = 2
"""Bytes of the length before a value and before a name; big-endian."""

IMAGE_BYTES = 16
"""Bytes of the image of a long name."""


def pack_value(value: bytes, size: int) -> bytes:
    """Return the cell of ``size`` bytes that holds ``value``.

    Raises
    ------
    InputError
        If the value does not fit.
    """
    if len(value) > size - LENGTH_BYTES:
        raise InputError(
            f"the value has {len(value)} bytes; a cell of {size} holds at most {max(0, size - LENGTH_BYTES)}: "
            "shorten it, or plan a map with longer values"
        )
    return (len(value).to_bytes(LENGTH_BYTES, "big") + value).ljust(size, b"\0")


def unpack_value(cell: bytes) -> bytes:
    """Return the value in a cell.

    Raises
    ------
    InputError
        If :func:`pack_value` did not make this cell.
    """
    end = LENGTH_BYTES + int.from_bytes(cell[:LENGTH_BYTES], "big")
    if not LENGTH_BYTES <= end <= len(cell):
        raise InputError("no length stands before the value: it was stored without omap.cells; read it raw")
    return cell[LENGTH_BYTES:end]


def image(secret: bytes, name: bytes) -> bytes:
    """Return the 16-byte image of a name under the pseudo-random function with a 32-byte key."""
    return hmac.digest(secret, name, "sha256")[:IMAGE_BYTES]


class Cells:
    """Keys and cells of fixed size for names and values of any length, as the module describes.

    Parameters
    ----------
    params : Params
        The map's parameters.
    root_key : bytes
        32 secret bytes, see :mod:`omap.session`. Images of names are made under a key derived from them.
    """

    def __init__(self, params: Params, root_key: bytes) -> None:
        self.params = params
        self._secret = NAMES.derive(root_key)

    def is_hashed(self, name: bytes) -> bool:
        """Return whether the key of a name is its image, because the name itself can't be the key."""
        return len(name) > self.params.key_bytes or name.endswith(b"\0")

    def key(self, name: bytes) -> bytes:
        """Return the key of a name.

        Raises
        ------
        InputError
            If the name needs an image, and the keys of the map are too short for one.
        """
        if not self.is_hashed(name):
            return name.ljust(self.params.key_bytes, b"\0")
        if self.params.key_bytes < IMAGE_BYTES:
            what = "ends with a zero" if len(name) <= self.params.key_bytes else f"has {len(name)} bytes"
            raise InputError(
                f"the key {what}; this map takes keys of up to {self.params.key_bytes} bytes that do not end with "
                f"a zero: use shorter ones, or plan a map with {IMAGE_BYTES}-byte keys, which takes any"
            )
        return image(self._secret, name)

    def room(self, name: bytes) -> int:
        """Return how many bytes a value stored under ``name`` may have."""
        beside = LENGTH_BYTES + len(name) if self.is_hashed(name) else 0
        return self.params.value_bytes - LENGTH_BYTES - beside

    def pack(self, name: bytes, value: bytes) -> bytes:
        """Return the cell that holds ``value`` for ``name``.

        Raises
        ------
        InputError
            If value and name do not fit.
        """
        room = self.room(name)
        if room < 0:
            raise InputError(
                f"the key has {len(name)} bytes; a cell of {self.params.value_bytes} holds keys of at most "
                f"{max(0, self.params.value_bytes - 2 * LENGTH_BYTES)}, and that with an empty value: shorten it, or "
                "plan a map with longer values"
            )
        if len(value) > room:
            raise InputError(
                f"the value has {len(value)} bytes; under this key {room} fit (cells have "
                f"{self.params.value_bytes}, and hold long keys too): shorten it, or plan a map with longer values"
            )
        cell = len(value).to_bytes(LENGTH_BYTES, "big") + value
        if self.is_hashed(name):
            cell += len(name).to_bytes(LENGTH_BYTES, "big") + name
        return cell.ljust(self.params.value_bytes, b"\0")

    def unpack(self, name: bytes, cell: bytes) -> bytes:
        """Return the value in a cell that was stored for ``name``.

        Raises
        ------
        InputError
            If the cell was not made by :meth:`pack`, or was made for another name.
        """
        value = unpack_value(cell)
        if self.is_hashed(name):
            rest = cell[LENGTH_BYTES + len(value) :]
            if rest[: LENGTH_BYTES + len(name)] != len(name).to_bytes(LENGTH_BYTES, "big") + name:
                raise InputError("the value was stored for another key: it was written without omap.cells")
        return value
