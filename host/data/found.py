"""What a data folder held when it was opened, and what will be done with it, for programs and for people."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from host.data.reading import SNAPSHOT, Place, Reading


@dataclass(frozen=True)
class Found:
    """What a folder held when it was opened.

    Parameters
    ----------
    empty : bool
        Whether there is nothing to restore. Then the device is asked for a format.
    maps : tuple of bytes
        Ids of the maps to restore, each made from the one before.
    operations : int
        Operations that the restored map will hold, as clients number them.
    records, lines : int
        Records that :meth:`host.data.folder.DataFolder.records` yields, and their lines.
    snapshot_time : float
        When the snapshot was taken, in seconds since 1970; 0 if there is none.
    cut_bytes : int
        Bytes at the end of journals that were not whole, because a crash came before they were synced.
    sentences : tuple of str
        What was found, for people.
    """

    empty: bool
    maps: tuple[bytes, ...]
    operations: int
    records: int
    lines: int
    snapshot_time: float
    cut_bytes: int
    sentences: tuple[str, ...]

    @property
    def asked(self) -> str:
        """What is asked of a device that is there, for people."""
        if self.empty:
            return "The device is asked for a format."
        return (
            f"The device is asked to restore {self._what}. All files stay until the first snapshot of the restored map "
            "is on disk."
        )

    @property
    def next(self) -> str:
        """What will be asked of a device later, for people."""
        if self.empty:
            return "The next `omap serve` will ask its device for a format."
        return f"No damage was found: the next `omap serve` will have its device restore {self._what}."

    @property
    def _what(self) -> str:
        return f"{self.operations:,} operations from {self.records:,} records"


def found_in(reading: Reading, used: Sequence[Place]) -> Found:
    """Return what was found, after all files were read."""
    chain, told = reading.chain, []
    if reading.snapshot_time:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(reading.snapshot_time))
        name = next(place.name for place in used if place.suffix == SNAPSHOT)
        told.append(f"{name} is a snapshot of {when}.")
    segments = sum(place.suffix != SNAPSHOT for place in used)
    if segments:
        told.append(f"The journal has {segments} segment{'s' * (segments > 1)}.")
    if len(chain.maps) > 1:
        told.append(f"They are of {len(chain.maps)} maps, each restored from the one before.")
    if reading.cut_bytes:
        told.append(
            f"{reading.cut_bytes} bytes at the end of the journal are not whole and are left out, because a crash came "
            "before they were synced."
        )
    empty = not chain.maps
    if empty:
        told.append("Nothing is there to restore.")
    return Found(
        empty,
        tuple(chain.maps),
        chain.operation,
        0 if empty else chain.records + 1,
        0 if empty else chain.lines + 1,
        reading.snapshot_time,
        reading.cut_bytes,
        tuple(told),
    )
