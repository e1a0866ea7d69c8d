"""Where a backup may be written: a new name, or the place of another backup. Nothing else is ever replaced."""

from __future__ import annotations

import os

from host.data.files import PART, Layer, telling
from host.data.frames import START_BYTES, begins_as_backup
from host.data.identity import NAME
from omap.errors import InputError
from omap.outfiles import holds_key, key_kept


def target(layer: Layer, path: str | os.PathLike[str]) -> str:
    """Return the whole path of a backup that is to be written, behind all symbolic links.

    Parameters
    ----------
    layer : Layer
        What reads there.
    path : path
        The name that was given.

    Raises
    ------
    InputError
        If something else than a backup has this name, or that of the file in which a backup grows; if the folder is not
        there, or is a data folder.
    DataError
        If it can't be read.
    """
    goal = os.path.realpath(path)
    folder = os.path.dirname(goal)
    with telling(goal, "written", "nothing was changed; choose another name"):
        try:
            names = layer.names(folder)
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"{goal} can't be written: the folder {folder} does not exist") from None
        if NAME in names:
            raise InputError(f"{goal} is in the data folder {folder}: a backup belongs elsewhere, best on another disk")
        for name in (goal, goal + PART):
            start = layer.start(name, START_BYTES)
            if start is None or begins_as_backup(start):
                continue
            if name != goal and not start.strip(b"\0"):  # a power cut may leave that
                continue
            if holds_key(start):
                raise key_kept(name)
            raise InputError(f"{name} exists and is no backup: choose another name, or move it away")
    return goal
