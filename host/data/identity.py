"""The file by which a data folder is known: its version, and the parameters of its map.

The parameters are public, because every host that serves a map knows them. So the file reveals nothing. It holds them
in full, so that nobody has to give them again, and a later planner that sizes maps in another way does no harm. Folders
of the first form have their digest alone. They get the parameters when somebody opens them with the right ones.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from typing import NamedTuple

from host.data.damage import Damage, damaged
from host.data.files import DISK, LOCK, PART, Layer, telling, write_whole
from host.data.frames import VERSION
from omap.errors import InputError, OmapError
from omap.params import Params

NAME = "omap-data"
"""Name of the file."""

_FIRST = "omap data folder"
_DIGEST = re.compile("parameters ([0-9a-f]{64})")
_VALUES = "values "
_MOST_BYTES = 4096
_SHOWN = 16
"""Digits of a digest that messages show."""


class Known(NamedTuple):
    """What a data folder says of its map.

    Parameters
    ----------
    digest : bytes
        Digest of the map's parameters.
    params : Params or None
        The parameters; None in a folder of the first form.
    """

    digest: bytes
    params: Params | None


def known(path: str | os.PathLike[str], layer: Layer = DISK) -> Known | None:
    """Return what a folder says of its map; None if there is no such folder, or no map was ever kept in it.

    Nothing is made, locked or changed.

    Raises
    ------
    InputError
        If the file is not of a data folder, or is of another version.
    DamagedError
        If the file was altered.
    DataError
        If the file can't be read.

    Reveals
        Nothing: the parameters of a map are public.
    """
    folder = os.path.abspath(path)
    with telling(folder, "used as a data folder", "nothing was changed"):
        return _read(layer, folder)


def identify(layer: Layer, folder: str, params: Params) -> None:
    """Refuse what is no data folder of these parameters; make an empty folder one.

    Raises
    ------
    InputError
        If it belongs to other parameters or another version, or holds other files.
    DamagedError
        If what it says of its map was altered.
    DataError
        If it can't be read or written.
    """
    path = os.path.join(folder, NAME)
    wanted = f"{_FIRST}\nversion {VERSION}\nparameters {params.digest.hex()}\n{_VALUES}{json.dumps(params.to_dict())}\n"
    with telling(folder, "used as a data folder", "nothing was changed"):
        there = _read(layer, folder)
        if there is None:
            others = sorted(name for name in layer.names(folder) if name != LOCK and not name.endswith(PART))
            if others:
                raise InputError(
                    f"{folder} is no data folder and holds other files, such as {others[0]}: give an empty folder, or "
                    "one that is not there yet"
                )
            write_whole(layer, path, wanted.encode())
            return
    if there.digest != params.digest:
        raise another_map(folder, there, params)
    if there.params is None:
        with contextlib.suppress(OSError):  # the first form does as well, as long as somebody gives the parameters
            write_whole(layer, path, wanted.encode())


def another_map(folder: str | os.PathLike[str], there: Known, asked: Params) -> InputError:
    """Return the error that says which map a folder holds, and which one was asked for instead."""
    if there.params is None:
        return InputError(
            f"the data folder {os.fspath(folder)} is of an earlier omap and names its map by a digest alone "
            f"({there.digest.hex()[:_SHOWN]}), and a map of {described(asked)} was asked for: give --params FILE with "
            "what `omap plan --json` prints for that map in the version of omap that made the folder, or give another "
            "folder"
        )
    return InputError(
        f"the data folder {os.fspath(folder)} holds a map of {described(there.params)}, and one of "
        f"{described(asked)} was asked for: leave --preset, --params and sizes out to use the folder's map, or give "
        "another folder"
    )


def described(params: Params) -> str:
    """Return what tells a map from others, for messages."""
    return (
        f"{params.capacity:,} keys of {params.key_bytes} bytes, values of {params.value_bytes} bytes, pages of "
        f"{params.page_bytes} bytes, descriptor lines of {params.descriptor_bytes} bytes (digest "
        f"{params.digest.hex()[:_SHOWN]})"
    )


def _read(layer: Layer, folder: str) -> Known | None:
    path = os.path.join(folder, NAME)
    try:
        with contextlib.closing(layer.reader(path)) as file:
            text = file.read(_MOST_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    first, version, digest, *values = [*text.decode("ascii", "replace").splitlines(), "", "", ""]
    if first != _FIRST:
        raise InputError(f"{path} is not what a data folder is known by: give back the file, or give another folder")
    if version != f"version {VERSION}":
        raise InputError(f"the data folder {folder} has another version than {VERSION}: use the omap that wrote it")
    named = _DIGEST.fullmatch(digest)
    if named is None:
        raise damaged(path, Damage.ALTERED, "its line of parameters is no digest")
    there = Known(bytes.fromhex(named[1]), None)
    lines = [line for line in values if line]
    if not lines:
        return there
    with contextlib.suppress(ValueError, TypeError, AttributeError, RecursionError, OmapError):
        params = Params.from_dict(json.loads("".join(lines).removeprefix(_VALUES)))
        if params.digest == there.digest:
            return Known(there.digest, params)
    raise damaged(
        path,
        Damage.ALTERED,
        f"its values are not those of the digest {named[1][:_SHOWN]} in it, unless a later omap wrote them (without "
        "the line `values`, --params may say which map it is)",
    )
