"""What can be wrong with the files of a data folder, in words."""

from __future__ import annotations

from enum import StrEnum

from omap.errors import DamagedError


class Damage(StrEnum):
    """Classes of damage. Each message names its own."""

    ALTERED = "altered"
    """Bytes are not what was written."""
    CUT = "cut"
    """A file ends too early."""
    MISSING = "missing"
    """Records are not there that later ones follow."""
    REPEATED = "repeated"
    """Records come a second time, or out of their order."""
    FOREIGN = "foreign"
    """It belongs to another map, or to other parameters."""


RING = "the journal ring"
"""Stands in the place of a file for what a device writes at the moment."""


def damaged(path: str, damage: Damage, what: str) -> DamagedError:
    """Return the error that says what is wrong with a file."""
    remedy = "restart the device" if path == RING else "give back the file as it was, or restore a backup"
    return DamagedError(f"{path} is damaged ({damage}): {what}. Nothing was changed; {remedy}")
