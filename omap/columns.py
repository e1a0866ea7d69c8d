"""Operations and their answers as arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]


class Columns(NamedTuple):
    """Operations as arrays: ``(n,)`` kinds, ``(n, key_bytes)`` keys and ``(n, value_bytes)`` values, all of uint8."""

    kinds: Bytes
    keys: Bytes
    values: Bytes


class Answers(NamedTuple):
    """Answers as arrays.

    Parameters
    ----------
    statuses : (n,) uint8 array
        Numbers of :class:`~omap.operations.Status`.
    found : (n,) bool array
        Whether the key had a value before.
    values : (n, value_bytes) uint8 array
        The value that it had; zeros if it had none.
    """

    statuses: Bytes
    found: npt.NDArray[np.bool_]
    values: Bytes
