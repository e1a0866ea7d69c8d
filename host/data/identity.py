"""The file by which a data folder is known: its version, and the parameters of its map."""

from __future__ import annotations

import os
from contextlib import closing

from host.data.files import LOCK, PART, Layer, telling, write_whole
from host.data.frames import VERSION
from omap.errors import InputError
from omap.params import Params

NAME = "omap-data"
"""Name of the file."""

_FIRST = "omap data folder"
_MOST_BYTES = 1024


def identify(layer: Layer, folder: str, params: Params) -> None:
    """Refuse what is no data folder of these parameters; make an empty folder one.

    Raises
    ------
    InputError
        If it belongs to other parameters or another version, or holds other files.
    DataError
        If it can't be read or written.
    """
    path = os.path.join(folder, NAME)
    wanted = f"{_FIRST}\nversion {VERSION}\nparameters {params.digest.hex()}\n"
    with telling(folder, "used as a data folder", "nothing was changed"):
        names = layer.names(folder)
        if NAME not in names:
            others = sorted(name for name in names if name != LOCK and not name.endswith(PART))
            if others:
                raise InputError(
                    f"{folder} is no data folder and holds other files, such as {others[0]}: give an empty folder, or "
                    "one that is not there yet"
                )
            write_whole(layer, path, wanted.encode())
            return
        with closing(layer.reader(path)) as file:
            there = file.read(_MOST_BYTES)
    if there == wanted.encode():
        return
    lines = there.decode("ascii", "replace").splitlines()
    if lines[:1] != [_FIRST]:
        raise InputError(f"{path} is not what a data folder is known by: give back the file, or give another folder")
    if lines[1:2] != [f"version {VERSION}"]:
        raise InputError(f"the data folder {folder} has another version than {VERSION}: use the omap that wrote it")
    raise InputError(
        f"the data folder {folder} belongs to a map with other parameters: give these, or give another folder"
    )
