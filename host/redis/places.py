"""Where a command looks: databases and names of keys, and refusals of what has no place."""

from __future__ import annotations

OUT_OF_ROOM = (
    "OOM command not allowed: the map holds as many keys as its capacity; delete some, or plan a map with a larger "
    "capacity"
)
"""What the proxy says when the map is full, with the word by which clients know such an error."""

DENIED = (
    "NOPERM the proxy's key does not allow this: the map takes only what the key's rights and prefix name, so start "
    "`omap proxy` with the file of a client that may do it"
)
"""What the proxy says when its credential does not allow a command, with the word by which clients know it."""

Place = tuple[int, bytes]
"""Database and name of a key."""

REGISTER: Place = (-1, b"")
"""Stands for the register of :mod:`omap.databases`."""

NOWHERE: Place = (-2, b"")
"""Stands for no key: the operation is a NOP."""


class Refused(Exception):  # noqa: N818 -- an answer, not a failure
    """A command that is answered with an error. The text is the reply."""
