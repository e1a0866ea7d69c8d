"""A backup: one sealed file with everything that a restore takes.

It is a base like a snapshot, with the journals behind it. So a folder is filled from it by copying it to the place of
its first snapshot.
"""

from __future__ import annotations

import contextlib
import os

from host.data.base import BaseFile
from host.data.files import DISK, Layer, hold, telling
from host.data.frames import PARAMS_BYTES, START_BYTES, FrameReader, begins_as_backup
from host.data.identity import described, identify
from host.data.reading import SNAPSHOT, Part, Place, Reading, places
from omap.errors import InputError
from omap.params import Params
from omap.wire import RecordCodec


def restore_backup(
    file: str | os.PathLike[str], path: str | os.PathLike[str], params: Params, *, layer: Layer = DISK
) -> int:
    """Fill an empty folder, or one that is not there, from a backup; return how many operations it holds.

    The next start restores the map.

    Parameters
    ----------
    file : path
        The backup.
    path : path
        The folder.
    params : Params
        Parameters of the map.
    layer : Layer, optional
        What reads and writes; another than the default only in tests.

    Raises
    ------
    InputError
        If the file is no backup, or is of other parameters; if the folder holds a map or other files, or is of other
        parameters.
    DamagedError
        If the backup is not whole. The folder holds nothing then.
    DataError
        If it can't be read or written.
    """
    folder, codec = os.path.abspath(path), RecordCodec(params)
    with telling(os.path.abspath(file), "read", "nothing was changed"):
        start = layer.start(os.path.abspath(file), START_BYTES)
    if start and not begins_as_backup(start):
        raise InputError(f"{os.fspath(file)} is no backup: give a file that `omap backup --to` wrote")
    _check_params(file, params, layer)
    with contextlib.closing(Reading(layer, [Part(os.path.abspath(file))], codec)) as reading:
        for _ in reading:  # before anything is made
            pass
    release = hold(layer, folder)
    try:
        identify(layer, folder, params)
        with telling(folder, "read", "nothing was changed"):
            if places(layer.names(folder)):
                raise InputError(f"the data folder {folder} holds a map: give an empty folder, or one not there yet")
        base = BaseFile(layer, os.path.join(folder, Place(1, SNAPSHOT).name), params)
        with contextlib.closing(Reading(layer, [Part(os.path.abspath(file))], codec)) as reading:
            try:
                for records in reading:
                    base.add(records)
                base.finish()
            except BaseException:
                base.abort()
                raise
        return reading.chain.operation
    finally:
        release()


def _check_params(file: str | os.PathLike[str], params: Params, layer: Layer) -> None:
    """Refuse a backup of another map than the options say. Nothing is wrong with the file then."""
    path = os.path.abspath(file)
    with telling(path, "read", "nothing was changed"), contextlib.closing(layer.reader(path)) as opened:
        head = FrameReader(opened, path).head
    if head is not None and head.params != params.digest[:PARAMS_BYTES]:
        raise InputError(
            f"{os.fspath(file)} is a backup of another map, of digest {head.params.hex()}, and a folder for one of "
            f"{described(params)} was asked for: say with --preset, --params, or --capacity, --key-bytes and "
            "--value-bytes which map it is of"
        )
