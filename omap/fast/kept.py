"""Where compiled code is kept, which needs no numba to say.

numba keeps what it has compiled, and compiles again when the file of a function changes. It does not notice a change of
a function in another file, or of a constant. So the folder is named by a digest of the sources that compiled code can
come from.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

_HERE = Path(__file__).resolve().parent


def digest() -> str:
    """Return a digest of the modules of ``omap.fast``, and of those beside it, which it takes constants from."""
    sources = hashlib.sha256()
    for path in sorted([*_HERE.glob("*.py"), *_HERE.parent.glob("*.py")]):
        text = path.read_bytes()
        sources.update(f"{path.name} {len(text)}\n".encode() + text)
    return sources.hexdigest()[:32]


def folder() -> Path | None:
    """Return the folder of compiled code, or None if none can be had.

    It lies in ``OMAP_BUILD``, or where the user of this machine keeps such things.
    """
    try:
        if "OMAP_BUILD" in os.environ:
            root = Path(os.environ["OMAP_BUILD"]).absolute()
        else:
            root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "omap"
        path = root / "fast" / digest()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # no home, no room, no right to write
        return None
    return path if os.access(path, os.W_OK) else None


def compiled_before() -> bool:
    """Return whether the folder holds compiled code."""
    path = folder()
    return path is not None and any(path.rglob("*.nbi"))
