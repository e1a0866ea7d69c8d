"""Key files: lines of text, readable by their owner alone, of which the first says whose key it is.

A root file holds the root key of a device. Who has it can make the key of every client, so it stays with the owner of
the device. If a model stands for the card, it is on the model's machine as well::

    omap root key
    key 64 hexadecimal digits

A client's file holds its credential and its keys, see :mod:`omap.credentials`. It belongs on the client's machine::

    omap client key
    credential 64 hexadecimal digits
    key 64 hexadecimal digits
    names 64 hexadecimal digits

The relay reads neither.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from omap.credentials import CREDENTIAL_BYTES, ClientKey, Credential
from omap.errors import InputError, OutputError
from omap.outfiles import CLIENT_KEY, ROOT_KEY
from omap.session import ROOT_KEY_BYTES

MAX_FILE_BYTES = 1024
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True)
class _Kind:
    """One kind of key file.

    Parameters
    ----------
    first_line : str
        What the file begins with.
    fields : mapping of str to int
        Names of the lines after it, and the bytes that their digits stand for.
    whose : str
        Whose key it is, for messages.
    command : str
        What makes such a file.
    """

    first_line: str
    fields: Mapping[str, int]
    whose: str
    command: str


_ROOT = _Kind(ROOT_KEY, {"key": ROOT_KEY_BYTES}, "a root key", "`omap provision FILE`")
_CLIENT = _Kind(
    CLIENT_KEY,
    {"credential": CREDENTIAL_BYTES, "key": 32, "names": 32},
    "the key of a client",
    "`omap provision --client NAME --root ROOT_FILE FILE`",
)


def read_root_file(path: str | os.PathLike[str]) -> bytes:
    """Return the 32-byte root key in a file.

    Raises
    ------
    InputError
        If the file can't be read, is open to others than its owner, or holds no root key. The error never repeats what
        the file holds.
    """
    return _read(path, _ROOT)["key"]


def read_client_file(path: str | os.PathLike[str]) -> ClientKey:
    """Return what a client holds, from its file. Raises as :func:`read_root_file`."""
    read = _read(path, _CLIENT)
    try:
        credential = Credential.unpack(read["credential"])
    except InputError as error:
        raise InputError(f"the key file {os.fspath(path)} can't be used: {error}") from None
    return ClientKey(credential, read["key"], read["names"])


def write_root_file(path: str | os.PathLike[str]) -> bytes:
    """Write a fresh root key to a new file of mode 0600, and return the key.

    Reveals
        Nothing but that a file was made.

    Raises
    ------
    InputError
        If no file can be written there; or if one exists, because its key would be lost.
    OutputError
        If writing fails. No file is left then.
    """
    key = secrets.token_bytes(ROOT_KEY_BYTES)
    _write(path, _ROOT, key)
    return key


def write_client_file(path: str | os.PathLike[str], client: ClientKey) -> None:
    """Write what a client holds to a new file of mode 0600. Reveals and raises as :func:`write_root_file`."""
    _write(path, _CLIENT, client.credential.pack(), client.key, client.names_key)


def _read(path: str | os.PathLike[str], kind: _Kind) -> dict[str, bytes]:
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read(MAX_FILE_BYTES)
    except OSError as error:
        raise InputError(f"the key file {name} can't be read: {error.strerror}; {kind.command} writes one") from None
    if mode & _OTHERS:
        # SEC_CM: KEY.FILE.OWNER -- a key that others can read is no secret
        raise InputError(
            f"the key file {name} has mode {mode:04o}, so that others can use it: chmod 600, or provision a new key if "
            "somebody may have read it"
        )
    first, *lines = text.decode("ascii", "replace").strip().splitlines() or [""]
    for other in (_ROOT, _CLIENT):
        if other is not kind and first == other.first_line:
            raise InputError(
                f"the key file {name} holds {other.whose}, and {kind.whose} is wanted here: {kind.command} writes one"
            )
    read = dict(filter(None, map(_field, lines)))
    if first != kind.first_line or {field: len(value) for field, value in read.items()} != dict(kind.fields):
        raise InputError(
            f"the key file {name} does not hold {kind.whose}: the line {kind.first_line!r} and a line for "
            f"{' and '.join(kind.fields)} were expected, as {kind.command} writes them"
        )
    return read


def _field(line: str) -> tuple[str, bytes] | None:
    name, _, digits = line.partition(" ")
    try:
        return name, bytes.fromhex(digits)
    except ValueError:
        return None


def _write(path: str | os.PathLike[str], kind: _Kind, *values: bytes) -> None:
    lines = [f"{field} {value.hex()}" for field, value in zip(kind.fields, values, strict=True)]
    try:
        # SEC_CM: KEY.FILE.OWNER -- the file is never open to others, not even for a moment, and replaces no other key
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise InputError(
            f"{os.fspath(path)} exists and may hold the only copy of a key: choose another name or move it away"
        ) from None
    except OSError as error:
        raise InputError(f"{os.fspath(path)} can't be written: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)  # also if the umask took some of it away
            file.write("\n".join([kind.first_line, *lines, ""]).encode("ascii"))
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        Path(path).unlink(missing_ok=True)
        raise OutputError(f"{os.fspath(path)} can't be written: {error.strerror}") from None
