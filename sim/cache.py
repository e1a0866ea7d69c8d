"""A folder of what was made before: Verilog of designs, compiled simulations.

Everything lies under ``build/sim`` at the root of the repository, or of the working directory; the environment variable
OMAP_BUILD names another folder than ``build``. An entry is a folder whose name holds a digest of all that went in, so
no entry is ever out of date. When all entries together grow over :data:`LARGEST_BYTES`, those that were used longest
ago are removed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sim.design_key import design_key, silence

LARGEST_BYTES = 2 << 30
"""Bytes of all entries together, above which the oldest go."""
YOUNGEST_SECONDS = 6 * 3600
"""An entry that was used within this time stays: somebody may be about to load it."""
PRUNE_SECONDS = 3600
"""Time between two looks at how much there is."""


def root() -> Path:
    """Return the folder of all entries."""
    if "OMAP_BUILD" in os.environ:
        return Path(os.environ["OMAP_BUILD"]).absolute() / "sim"
    repository = Path(__file__).parents[1]
    base = repository if (repository / "pyproject.toml").exists() else Path.cwd()
    return base / "build" / "sim"


def digest(*parts: object) -> str:
    """Return a short digest of printable values and their boundaries."""
    state = hashlib.sha256()
    for part in parts:
        text = repr(part).encode()
        state.update(len(text).to_bytes(8, "big") + text)
    return state.hexdigest()[:24]


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def cached(name: str, make: Callable[[Path], None]) -> Path:
    """Return the entry ``name``, made by ``make(folder)`` if it is not there. Safe among processes; never half made."""
    folder = root() / name
    with suppress(FileNotFoundError):
        os.utime(folder)  # so that what is in use is not removed
        return folder
    with _lock(folder.with_name(folder.name + ".lock")):
        if not folder.exists():
            fresh = Path(tempfile.mkdtemp(prefix=folder.name + ".", dir=folder.parent))
            try:
                make(fresh)
                fresh.rename(folder)
            except BaseException:
                shutil.rmtree(fresh, ignore_errors=True)
                raise
    _prune_at_times()
    return folder


def _prune_at_times() -> None:
    stamp = root() / "pruned"
    if stamp.exists() and time.time() - stamp.stat().st_mtime < PRUNE_SECONDS:
        return
    stamp.touch()
    prune()


def prune(*, largest_bytes: int = LARGEST_BYTES, youngest_seconds: float = YOUNGEST_SECONDS) -> list[str]:
    """Remove the entries that were used longest ago until the others fit, and return the names of the removed ones.

    Parameters
    ----------
    largest_bytes : int
        Bytes that the entries may take together.
    youngest_seconds : float
        An entry that was used within this time stays, whatever its size.
    """
    entries = []
    for folder in root().iterdir():
        with suppress(FileNotFoundError):  # another process may prune, too
            if folder.is_dir():
                size = sum(file.lstat().st_size for file in folder.rglob("*"))
                entries.append((folder.stat().st_mtime, size, folder))
    total, removed = sum(size for _, size, _ in entries), []
    for used, size, folder in sorted(entries):
        if total <= largest_bytes or time.time() - used < youngest_seconds:
            break
        doomed = folder.with_name(f"removed-{folder.name}")
        with suppress(OSError):
            folder.rename(doomed)  # at once, so that nobody finds half an entry
            removed.append(folder.name)
        shutil.rmtree(doomed, ignore_errors=True)
        total -= size
    return removed


def kept_text(component: Any, translate: Callable[[Any], str]) -> str:
    """Return ``translate(component)``, from a file if nothing that it depends on has changed since.

    To generate a large design takes many seconds. A component whose state can't be told apart from others' is
    translated every time; see :func:`sim.design_key.design_key`.

    Parameters
    ----------
    component : wiring.Component
        The design. It is not elaborated if the file is there.
    translate : function
        Makes the text. It is a function of a module, and depends on nothing but the component.
    """
    key = design_key(component, translate)
    if key is None:
        return translate(component)

    def make(folder: Path) -> None:
        (folder / "text").write_text(translate(component))

    folder = cached(f"text-{digest(key)}", make)
    silence(component)
    return (folder / "text").read_text()
