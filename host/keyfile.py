"""Root key files: 64 hexadecimal digits and a newline, readable by their owner alone.

Whoever holds the file can read and change the map. The file belongs on the client's machine. If a model stands for the
card, the file belongs on the model's machine as well. The relay never reads it.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from omap.errors import InputError, OutputError
from omap.session import ROOT_KEY_BYTES

DIGITS = 2 * ROOT_KEY_BYTES
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def read_key_file(path: str | os.PathLike[str]) -> bytes:
    """Return the 32-byte root key in a file.

    Raises
    ------
    InputError
        If the file can't be read, is open to others than its owner, or holds no root key. The error never repeats what
        the file holds.
    """
    try:
        with open(path, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read(DIGITS + 3)
    except OSError as error:
        raise InputError(
            f"the key file {os.fspath(path)} can't be read: {error.strerror}; `omap provision` writes one"
        ) from None
    if mode & _OTHERS:
        # SEC_CM: KEY.FILE.OWNER -- a key that others can read is no secret
        raise InputError(
            f"the key file {os.fspath(path)} has mode {mode:04o}, so that others can use it: chmod 600, "
            "or provision a new key if somebody may have read it"
        )
    digits = text.strip()
    try:
        key = bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        key = b""
    if len(digits) != DIGITS or len(key) != ROOT_KEY_BYTES:
        raise InputError(
            f"the key file {os.fspath(path)} holds no root key: {DIGITS} hexadecimal digits and a newline were "
            f"expected, {len(digits)}{' or more' if len(text) > DIGITS + 2 else ''} characters came"
        )
    return key


def write_key_file(path: str | os.PathLike[str]) -> bytes:
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
    try:
        # SEC_CM: KEY.FILE.OWNER -- the file is never open to others, not even for a moment, and replaces no other key
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise InputError(
            f"{os.fspath(path)} exists and may hold the only copy of a root key: choose another name or move it away"
        ) from None
    except OSError as error:
        raise InputError(f"{os.fspath(path)} can't be written: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)  # also if the umask took some of it away
            file.write(key.hex().encode("ascii") + b"\n")
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        Path(path).unlink(missing_ok=True)
        raise OutputError(f"{os.fspath(path)} can't be written: {error.strerror}") from None
    return key
