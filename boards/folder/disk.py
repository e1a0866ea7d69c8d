"""A build folder on disk: written whole or not at all, and never over what is not ours or can't be made again."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from boards.folder import manifest
from boards.gateware.root_key import MODULE
from omap.errors import InputError, OutputError

SECRET_FOLDER = "secret"
SECRET = f"{SECRET_FOLDER}/{MODULE}.v"
"""The root key as a constant. No manifest knows its digest, and it is readable by its owner alone."""

OUT = "out"
"""Where the vendor's tools put what they make. It takes them hours, so it is kept; no check looks at it."""


def write(folder: Path, files: Mapping[str, bytes], secret: bytes | None) -> list[str]:
    """Write a build folder, or bring one up to date; return what its user should know.

    Parameters
    ----------
    folder : Path
        Where to.
    files : mapping
        Name to content of every file, the manifest among them.
    secret : bytes or None
        The file with the root key. None keeps the one that is there.

    Raises
    ------
    InputError
        If the folder holds something that is not ours, another root key, or results of another build; or if no folder
        can be made there.
    OutputError
        If writing fails later, for want of room. What was there before is unchanged.
    """
    folder = folder.absolute()
    notes: list[str] = []
    old = _old_manifest(folder)
    kept = _kept_secret(folder, secret)
    if kept is not None and secret is None:
        notes.append(f"{SECRET} was there and is kept")
    same, made = old == files[manifest.NAME], (folder / OUT).exists() and any((folder / OUT).iterdir())
    if made and not same:
        raise InputError(
            f"{folder / OUT} holds what the vendor's tools made of another build: choose another folder, or remove "
            "it if you don't need it"
        )
    if made:
        notes.append(f"{OUT} is of the same build and is kept")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # beside its goal, so that it can be renamed; until then its owner alone can read it
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise InputError(f"{folder} can't be written: {error.strerror}: {error.filename}") from None
    try:
        _fill(fresh, files, kept if secret is None else secret)
        if same:
            _mend(folder, fresh)
        else:
            _replace(folder, fresh)
    except OSError as error:
        raise OutputError(f"{folder} can't be written: {error.strerror}: {error.filename or folder.parent}") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return notes


def check(folder: Path, secret: bytes | None) -> None:
    """Raise InputError if a folder can't be written because of what it holds."""
    _old_manifest(folder)
    _kept_secret(folder, secret)


def others(folder: Path, known: Mapping[str, object]) -> list[str]:
    """Return the files of a folder that its manifest does not know, beside secrets and results."""
    found = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() and not path.is_symlink():
            continue
        if name.partition("/")[0] != OUT and name not in (SECRET, manifest.NAME) and name not in known:
            found.append(name)
    return found


def _old_manifest(folder: Path) -> bytes | None:
    """Return the manifest of what is there, if anything is; refuse what is not ours."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InputError(f"{folder} is no folder: choose another name")
    if not folder.exists() or not any(folder.iterdir()):
        return None
    try:
        known = manifest.read(folder)["files"]
    except InputError as error:
        raise InputError(f"{folder} is not empty, and nothing is written over what is not ours: {error}") from None
    strange = others(folder, known)
    if strange:
        raise InputError(
            f"{folder} holds files that no build made ({', '.join(strange[:3])}{', ...' if strange[3:] else ''}): move "
            "them away or choose another folder"
        )
    return (folder / manifest.NAME).read_bytes()


def _kept_secret(folder: Path, secret: bytes | None) -> bytes | None:
    path = folder / SECRET
    try:
        kept = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from None
    # SEC_CM: BUILD.KEY.KEPT -- a card may live by it already
    if secret is not None and kept != secret:
        raise InputError(
            f"{path} holds another root key than the key file, and may be the only copy: move it away, or build into "
            "another folder"
        )
    return kept


def _fill(fresh: Path, files: Mapping[str, bytes], secret: bytes | None) -> None:
    for name, content in files.items():
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o644)
    if secret is not None:
        path = fresh / SECRET
        path.parent.mkdir(mode=0o700)
        # SEC_CM: BUILD.KEY.OWNER -- never open to others, not even for a moment
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)  # whatever the umask has taken away
            file.write(secret)
            file.flush()
            os.fsync(descriptor)


def _mend(folder: Path, fresh: Path) -> None:
    """Move the files of ``fresh`` over those of the same build, which may be somebody's working directory."""
    for path in sorted(fresh.rglob("*")):
        goal = folder / path.relative_to(fresh)
        if path.is_dir():
            goal.mkdir(mode=stat.S_IMODE(path.stat().st_mode), exist_ok=True)
        else:
            path.replace(goal)


def _replace(folder: Path, fresh: Path) -> None:
    """Put ``fresh`` in place of ``folder``; what was there is removed once the new one stands."""
    fresh.chmod(0o755)
    if not folder.exists():
        fresh.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
    folder.rename(old)
    try:
        fresh.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old)
