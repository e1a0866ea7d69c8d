"""Writes a base: a file from which a restore can begin. It comes into force as a whole, by a new name.

A snapshot in a data folder is a base, and a backup is one. It is written beside its place and renamed when it is on
disk.
"""

from __future__ import annotations

import os
import time

from host.data.files import PART, File, Layer, remove, telling
from host.data.frames import HEAD_BYTES, PARAMS_BYTES, FileHead, FileKind, frame
from host.data.reading import END
from omap.lineage import NO_MAP
from omap.params import Params


class BaseFile:
    """A base that is being written.

    Parameters
    ----------
    layer : Layer
        Where it goes.
    path : str
        Its name once it is whole.
    params : Params
        Parameters of the map.

    Attributes
    ----------
    then : str
        What holds if it can't be written, for messages.

    Raises
    ------
    DataError
        If it can't be made.
    """

    then = "what was there before stays in force, and nothing is lost"

    def __init__(self, layer: Layer, path: str, params: Params) -> None:
        self.path, self.time = path, time.time()
        self._layer, self._size, self._params = layer, HEAD_BYTES, params
        self._file: File | None = None
        head = FileHead(FileKind.BASE, params.digest[:PARAMS_BYTES], NO_MAP, 0, 0, int(self.time * 1000))
        self._head = head.pack()
        with telling(path, "written", self.then):
            remove(layer, path + PART)
            self._file = layer.create(path + PART)
            try:
                self._file.write(self._head)
            except BaseException:
                self.abort()
                raise

    def add(self, records: bytes) -> None:
        """Write whole records."""
        assert self._file is not None
        data = frame(self._head, self._size, 0, records)
        with telling(self.path, "written", self.then):
            self._file.write(data)
        self._size += len(data)

    def finish(self) -> None:
        """Put the file in force, on disk on return."""
        self.add(END)
        assert self._file is not None
        with telling(self.path, "written", self.then):
            self._file.sync()
            self._layer.replace(self.path + PART, self.path)
            self._file.close()
            self._file = None
            self._layer.sync_folder(os.path.dirname(self.path))

    def abort(self) -> None:
        """Leave nothing behind, unless it is in force."""
        if self._file is not None:
            self._file.close()
            self._file = None
            remove(self._layer, self.path + PART)
