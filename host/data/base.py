"""Writes a base: a file from which a restore can begin. It comes into force as a whole, by a new name.

A snapshot in a data folder is a base, and a backup is one. It is written beside its place and renamed when it is on
disk.
"""

from __future__ import annotations

import os
import time

from host.data.files import PART, File, Layer, remove, telling
from host.data.frames import HEAD_BYTES, PARAMS_BYTES, FileHead, FileKind, frames
from omap.lineage import NO_MAP
from omap.params import Params
from omap.source import END

SYNC_BYTES = 32 << 20
"""Bytes after which a file is synced while it is written, so that no sync of a journal has to wait for all of it."""


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
        self._layer, self._size, self._synced = layer, HEAD_BYTES, HEAD_BYTES
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
        data = frames(self._head, self._size, 0, records)
        with telling(self.path, "written", self.then):
            self._file.write(data)
            self._size += len(data)
            if self._size - self._synced > SYNC_BYTES:
                self._file.sync()
                self._synced = self._size

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
