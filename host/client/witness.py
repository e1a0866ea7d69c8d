"""What a client remembers of a map, so that nobody can show it an earlier state or another map.

The device numbers operations from 0 at every format, and each sealed answer carries the number of its operation. A
client demands that the numbers rise. A witness file carries the highest number, and the map's id, from run to run and
between clients.

A map that was restored has another id, and goes on with the numbers of the map that it was restored from
(:mod:`omap.lineage`). When a session opens, the device says how many operations of the known map its map holds. If the
client has seen none beyond these, nothing is missing, and it goes on without a question.
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
from omap.errors import InputError, MapChangedError, OutputError, RollbackError
from omap.lineage import NO_MAP
from omap.outfiles import DISK_FAILS
from omap.wire import MOST_ANCESTORS

FILE_VERSION = 1
MAX_FILE_BYTES = 4096
SAVE_SECONDS = 1.0
"""How often a working client writes the file. If the client is killed, the numbers since then are not remembered."""

ANY = "any"
"""In the place of a map's id: every map is accepted."""


class Witness:
    """Remembers a map's id and the highest operation number seen.

    Parameters
    ----------
    path : Path or str, optional
        File to keep them in. The first use makes the file, and believes what it sees. Clients may share a file. Its
        contents are public.
    accept : str, optional
        Id of a map, in hexadecimal digits, that may once take the place of the known one; :data:`ANY` for any map, any
        time.

    Attributes
    ----------
    map_id : bytes
        The map's id; empty before the first session.
    operation : int
        Highest operation number seen, -1 before the first.
    complete : bool
        Whether the map holds all that was seen of the map before it.
    refused : tuple of bytes and int
        Id of the map that was refused last, :data:`omap.lineage.NO_MAP` if none was, and number of the session that was
        opened there.
    """

    def __init__(self, path: Path | str | None = None, accept: str | None = None) -> None:
        self.path = None if path is None else Path(path)
        self._accept = accept
        self.map_id = b""
        self.operation = -1
        self.complete = True
        self.refused = NO_MAP, 0

    def replaces(self, map_id: bytes, session: int) -> int:
        """Return the number of the session that a new one replaces, 0 for none.

        Parameters
        ----------
        map_id : bytes
            Id of the map where the new session opens.
        session : int
            Number of the last session that was used. In another map this number may be another client's session.
        """
        if map_id == self.map_id:
            return session
        return self.refused[1] if map_id == self.refused[0] else 0  # so that trying again leaves one session there

    def known(self) -> bytes:
        """Return the id of the map to ask a device about, the one that is remembered.

        It is :data:`omap.lineage.NO_MAP` if none is.
        """
        if not self.map_id and self.path is not None:
            with self._locked():
                return self._read()[0] or NO_MAP
        return self.map_id or NO_MAP

    def session_opens(self, map_id: bytes, known: bytes | None = None, kept: int | None = None) -> bool:
        """Compare the map of a session that has just opened with the map that is remembered.

        No operation may be in flight, and none was sent in the session.

        Parameters
        ----------
        map_id : bytes
            Id of the session's map.
        known : bytes, optional
            Id of the map that the device was asked about: what :meth:`known` said.
        kept : int, optional
            How many operations of that map the session's map holds; None if it was not restored from it.

        Returns
        -------
        bool
            Whether all is well. Else another client has seen a map meanwhile that the device was not asked about: open
            another session, and ask about that one.

        A file that names another map than before was changed by a client that was told to accept this map. So the file
        counts, and all clients that share it go on with the map that one of them accepted.

        Raises
        ------
        MapChangedError
            If it is another map, or a restored one that lacks operations, and nobody accepted it.
        InputError
            If the file can't be read or written.
        """
        if self.path is None:
            self._compare(map_id, kept)
            return True
        with self._locked():
            told = self._read()
            if told[0] not in (b"", self.map_id):
                self.map_id, self.operation = told
                self.complete = False  # nobody has compared it with what this client knew
            # other clients saw these numbers before this session sends anything
            self.operation = max(self.operation, told[1])
            if known not in (None, self.map_id or NO_MAP) and map_id != self.map_id:
                return False
            self._compare(map_id, kept)
            if told != (self.map_id, self.operation):
                self._write()
        return True

    def _compare(self, map_id: bytes, kept: int | None) -> None:
        # SEC_CM: CLIENT.MAP.REMEMBERED -- an emptied or exchanged map is never taken for the known one
        if self.map_id and map_id != self.map_id:
            # SEC_CM: CLIENT.RESTORE.COMPLETE -- a restored map is the known one only if it holds all that was seen
            self.complete = kept is not None and self.operation < kept
            if not self.complete:
                if self._accept not in (ANY, map_id.hex()):
                    raise self._another(map_id, kept)
                self._accept = ANY if self._accept == ANY else None  # or it could take the place of a later map
                self.operation = -1 if kept is None else kept - 1
        self.map_id = map_id

    def _another(self, map_id: bytes, kept: int | None) -> MapChangedError:
        how = (
            "connect anew, or start the proxy again"
            if self.path is None
            else f"accept it: `omap status --accept {map_id.hex()} --key-file FILE` (address and witness as before)"
        )
        if kept is None:
            what = (
                "it was formatted, or another was put in its place, such as a backup of before the last restart, or "
                f"it was restored more than {MOST_ANCESTORS} times since; nobody can tell what is missing in this one; "
                "if `omap serve` was started without its --data-dir, start it with that folder; if this map was meant"
            )
        else:
            what = (
                f"it was restored from that one as it was before operation {kept}, so operations {kept} to "
                f"{self.operation}, which had been answered, are gone: what it was restored from is older, or was cut; "
                "if that was meant"
            )
        error = MapChangedError(
            f"this is map {map_id.hex()}, and the client knows map {self.map_id.hex()}: {what}, {how}"
        )
        error.map_id = map_id.hex()
        return error

    def note(self, operation: int, count: int = 1) -> None:
        """Compare the number in an answer with the numbers before it.

        Parameters
        ----------
        operation : int
            Number of the first operation that was answered.
        count : int
            How many operations were answered; their numbers follow each other.

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
        self.operation = operation + count - 1

    def save(self) -> None:
        """Replace the file, if there is one, in one step. A higher number that another client wrote is kept.

        Reveals
            To whoever reads the file: the map's id and how many operations ran.

        Raises
        ------
        InputError
            If no file can be written there.
        OutputError
            If writing fails, for want of room. The file that was there before is unchanged.
        """
        if self.path is None or not self.map_id:
            return
        with self._locked():
            told_id, told = self._read()
            if told_id not in (b"", self.map_id) or (told_id == self.map_id and told >= self.operation):
                return
            self._write()

    def _write(self) -> None:
        assert self.path is not None
        text = json.dumps({"version": FILE_VERSION, "map_id": self.map_id.hex(), "operation": self.operation})
        with self._readable("written"):
            goal = os.path.realpath(self.path)  # a symbolic link stays one
            handle, name = tempfile.mkstemp(dir=os.path.dirname(goal), prefix=f".{os.path.basename(goal)}.")
            try:
                with os.fdopen(handle, "w") as file:
                    file.write(text + "\n")
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(name, goal)
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
            # beside the file itself: who comes by a symbolic link and who does not have one lock
            handle = os.open(os.path.realpath(self.path) + ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            with self._readable("locked"):
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def _readable(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            kind = OutputError if what != "read" and error.errno in DISK_FAILS else InputError
            raise kind(
                f"the witness file {self.path} can't be {what}: {error.strerror}; name another (--witness FILE), or go "
                "without (--no-witness)"
            ) from None
