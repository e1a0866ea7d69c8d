"""The control socket of a data folder: how commands on the same machine ask a relay for a snapshot or a backup.

It lies in the folder, so whoever may write there may ask. A request and its answer are one line of JSON each.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from host.listening import cannot_listen_at
from host.relay.keeper import Keeper
from host.socketfile import SocketFile
from omap import errors
from omap.errors import DataError, DeviceError, InputError, OmapError, UnwrittenError

NAME = "control"
"""Name of the socket file in a data folder."""

_MOST_BYTES = 1 << 16
_SECONDS = 3600.0


class Control:
    """Answers at the control socket of a folder.

    Parameters
    ----------
    keeper : Keeper
        What keeps the map.
    folder : path
        The data folder.

    Reveals
        To users of this machine who may write to the folder: how far journal and snapshot are.
    """

    def __init__(self, keeper: Keeper, folder: str | os.PathLike[str]) -> None:
        self._keeper, self._path = keeper, Path(folder, NAME)
        self._file: SocketFile | None = None
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. Raises InputError if the socket can't be made."""
        try:
            with _short(self._path) as path:
                self._file = SocketFile(path)
        except OSError as error:
            raise cannot_listen_at(self._path, error) from None
        self._server = await asyncio.start_unix_server(self._serve, sock=self._file.socket, limit=_MOST_BYTES)

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
        with contextlib.suppress(OSError):
            self._path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = json.loads(await reader.readline())
            try:
                answer = await self._do(request)
            except OmapError as error:
                answer = {"error": str(error), "kind": type(error).__name__}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except (OSError, ValueError, KeyError, TypeError):
            pass  # what is no request gets no answer
        finally:
            with contextlib.suppress(OSError):
                writer.close()

    async def _do(self, request: dict[str, Any]) -> dict[str, Any]:
        match request["do"]:
            case "snapshot":
                if self._keeper.trouble:
                    raise UnwrittenError(self._keeper.trouble)
                return asdict(await self._keeper.snapshot())
            case "backup":
                return {"operations": await self._keeper.backup(request["to"])}
            case _:
                return self._keeper.facts()


def ask(folder: str | os.PathLike[str], **request: Any) -> dict[str, Any] | None:
    """Ask the relay that serves a data folder, and return its answer; None if none serves it.

    Raises
    ------
    OmapError
        What the relay says is wrong.
    DeviceError
        If it does not answer.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as there:
        there.settimeout(_SECONDS)
        try:
            with _short(Path(folder, NAME)) as path:
                there.connect(path)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            return None
        except OSError as error:
            raise InputError(f"{Path(folder, NAME)} can't be asked: {error.strerror or error}") from None
        try:
            there.sendall(json.dumps(request).encode() + b"\n")
            with there.makefile("rb") as answers:
                answer = json.loads(answers.readline(_MOST_BYTES))
        except (OSError, ValueError):
            raise DeviceError(f"`omap serve` at {folder} ended, or did not answer: see its log") from None
    if "error" in answer:
        raise getattr(errors, str(answer.get("kind")), DataError)(answer["error"])
    found: dict[str, Any] = answer
    return found


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """Yield a short name of a socket file, because an address holds no more than 107 bytes."""
    if len(os.fsencode(path.absolute())) < 100:
        yield str(path.absolute())
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
