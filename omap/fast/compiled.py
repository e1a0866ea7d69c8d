"""How functions of this package are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

from omap.fast.kept import folder

_F = TypeVar("_F", bound=Callable[..., Any])

_FOLDER = folder()


def compiled(function: _F) -> _F:
    """Have a function compiled at its first call. It takes arrays and numbers, not objects."""
    if _FOLDER is None:  # every process compiles anew
        return cast(_F, numba.njit(function))
    config: Any = numba.config
    before = config.CACHE_DIR
    config.CACHE_DIR = str(_FOLDER)  # read when the function is wrapped
    try:
        return cast(_F, numba.njit(cache=True)(function))
    finally:
        config.CACHE_DIR = before
