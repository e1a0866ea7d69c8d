"""What a client remembers of a map, so that nobody can show it an earlier state or another map.

The device numbers operations from 0 at every format, and each sealed answer carries the number of its operation. A
client demands that the numbers rise. A witness file carries the highest number, and the map's id, from run to run and
between clients.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from omap.crypto import MAP_ID_BYTES
from omap.errors import InputError, RollbackError

FILE_VERSION = 1
MAX_FILE_BYTES = 4096
SAVE_SECONDS = 1.0
"""How often a working client writes the file. If the client is killed, the numbers since then are not remembered."""


class Witness:
    """Remembers a map's id and the highest operation number seen.

    Parameters
    ----------
    path : Path or str, optional
        File to keep them in. The first use makes the file, and believes what it sees. Clients may share a file. Its
        contents are public.

    Attributes
    ----------
    map_id : bytes
        The map's id; empty before the first session.
    operation : int
        Highest operation number seen, -1 before the first.
    """

    def __init__(self, path: Path | str | None = None) -> None:
        self.path = None if path is None else Path(path)
        self.map_id = b""
        self.operation = -1

    def session_opened(self, map_id: bytes) -> None:
        """Compare the map of a new session with the map that is remembered. No operation may be in flight.

        Raises
        ------
        RollbackError
            If it is another map.
        InputError
            If the file can't be read or written.
        """
        if self.path is not None:
            with self._locked():
                told_id, told = self._read()
            if self.map_id and told_id and told_id != self.map_id:
                raise self._another(told_id)
            self.map_id = self.map_id or told_id
            # other clients saw these numbers before this session sends anything
            self.operation = max(self.operation, told)
        # SEC_CM: CLIENT.MAP.REMEMBERED -- an emptied or exchanged map is never taken for the known one
        if self.map_id and map_id != self.map_id:
            raise self._another(map_id)
        self.map_id = map_id
        self.save()

    def _another(self, map_id: bytes) -> RollbackError:
        where = f", or remove {self.path}" if self.path is not None else ""
        return RollbackError(
            f"this is map {map_id.hex()[:8]}, and the client knows map {self.map_id.hex()[:8]}: it was formatted, or "
            f"another was put in its place, and what was stored is gone; if that was meant, connect anew{where}"
        )

    def note(self, operation: int) -> None:
        """Compare the number in an answer with the numbers before it.

        Raises
        ------
        RollbackError
            If it is not higher.
        """
        # SEC_CM: CLIENT.OPERATION.RISES -- a device that was set back to an earlier state repeats numbers
        if operation <= self.operation:
            raise RollbackError(
                f"the device ran operation {operation} after {self.operation} had been seen: it is in an earlier state"
            )
        self.operation = operation

    def save(self) -> None:
        """Replace the file, if there is one, in one step. A higher number that another client wrote is kept.

        Reveals
            To whoever reads the file: the map's id and how many operations ran.

        Raises
        ------
        InputError
            If it can't be written.
        """
        if self.path is None or not self.map_id:
            return
        with self._locked():
            told_id, told = self._read()
            if told_id not in (b"", self.map_id) or (told_id == self.map_id and told >= self.operation):
                return
            text = json.dumps({"version": FILE_VERSION, "map_id": self.map_id.hex(), "operation": self.operation})
            with self._readable("written"):
                handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
                try:
                    with os.fdopen(handle, "w") as file:
                        file.write(text + "\n")
                        file.flush()
                        os.fsync(file.fileno())
                    os.replace(name, self.path)
                except BaseException:
                    os.unlink(name)
                    raise

    def _read(self) -> tuple[bytes, int]:
        assert self.path is not None
        with self._readable("read"):
            try:
                with self.path.open("rb") as file:
                    text = file.read(MAX_FILE_BYTES)
            except FileNotFoundError:
                return b"", -1
        try:
            told = json.loads(text)
            map_id, operation = bytes.fromhex(told["map_id"]), told["operation"]
            if told["version"] != FILE_VERSION or len(map_id) != MAP_ID_BYTES or type(operation) is not int:
                raise ValueError
        except (ValueError, KeyError, TypeError, RecursionError):
            raise InputError(
                f"{self.path} is no witness file of this version: move it away to start a new one"
            ) from None
        return map_id, operation

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        assert self.path is not None
        with self._readable("locked"):
            handle = os.open(self.path.with_name(self.path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def _readable(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(
                f"the witness file {self.path} can't be {what}: {error.strerror}; name another (--witness FILE), or go "
                "without (--no-witness)"
            ) from None
