"""Keys and values of many operations, in the forms in which callers have them, as rows of an array.

What lies in memory row by row becomes an array without a copy of single elements: arrays of numpy, whatever has the
buffer protocol in two dimensions, columns of Arrow, and columns of pandas that one of these stands behind. None of
these packages is needed for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from omap.errors import InputError

BytesLike = bytes | bytearray | memoryview | npt.NDArray[np.uint8]
"""What may be given as a key or a value, if it has the right length."""

Rows = npt.ArrayLike | Sequence[BytesLike]
"""What may be given as many keys or values, see :func:`as_rows`."""


def as_bytes(value: object, otherwise: bytes) -> bytes:
    """Return the bytes of ``bytes``, ``bytearray``, ``memoryview`` or a one-dimensional array of ``uint8``.

    Parameters
    ----------
    value : object
        What a caller gave as a key or a value.
    otherwise : bytes
        Returned if ``value`` is something else.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 1:
        return value.tobytes()
    return otherwise


def as_rows(what: str, width: int, rows: Rows) -> npt.NDArray[np.uint8]:
    """Return ``rows`` as an (n, width) array of ``uint8``, which shares their memory where that is possible.

    Parameters
    ----------
    what : str
        What they are, for messages.
    width : int
        Bytes of each.
    rows
        One of these:

        - an ``(n, width)`` array of ``uint8``, or what shows itself as one by the buffer protocol;
        - an ``(n,)`` array of strings or voids of ``width`` bytes (numpy's types ``S`` and ``V``);
        - an ``(n,)`` array of big-endian unsigned integers of ``width`` bytes, such as numpy's ``>u8``;
        - an array or a column of Arrow, of the type ``fixed_size_binary[width]``, without nulls;
        - a column of pandas that holds one of these, or objects that :func:`as_bytes` reads;
        - a sequence of n objects that :func:`as_bytes` reads.

    Raises
    ------
    InputError
        If they are something else; says what came, without showing it.
    """
    found = rows if isinstance(rows, (np.ndarray, list, tuple)) else _found(what, width, rows)
    if isinstance(found, np.ndarray):
        return _of_array(what, width, found)
    if not isinstance(found, Sequence) or isinstance(found, (bytes, bytearray, memoryview, str)):
        raise InputError(f"{what} must be an (n, {width}) array of uint8 or a sequence of bytes, not {describe(rows)}")
    read = [as_bytes(row, b"") for row in found]
    for place, row in enumerate(read):
        if len(row) != width:
            raise InputError(f"{what}[{place}] must be {width} bytes, not {describe(found[place])}")
    return np.frombuffer(b"".join(read), np.uint8).reshape(-1, width)


def _of_array(what: str, width: int, array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    kind = array.dtype.kind
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise InputError(f"{what} have rows that are masked: give only those that are there")
    if array.ndim == 1 and array.dtype.itemsize == width and array.dtype.names is None:
        if kind in "SV" or (kind == "u" and array.dtype.str.startswith(">")):
            return np.ascontiguousarray(array).view(np.uint8).reshape(-1, width)
        if kind in "ui" and width > 1:
            raise InputError(
                f"{what} are integers of {array.dtype}, whose bytes may be meant in either order: give unsigned "
                f"big-endian ones, as .astype('>u{width}') makes them"
            )
    if array.dtype != np.uint8 or array.ndim != 2 or array.shape[1] != width:
        raise InputError(f"{what} must be an (n, {width}) array of uint8, not {array.shape} of {array.dtype}")
    return np.ascontiguousarray(array)


def _found(what: str, width: int, rows: Any) -> Any:
    """Return the array behind an object, or a list of its elements; the object itself if it has neither."""
    behind = getattr(rows, "array", rows)  # of a column of pandas
    arrow = behind.__arrow_array__() if hasattr(behind, "__arrow_array__") else rows
    parts = getattr(arrow, "chunks", [arrow])
    if hasattr(arrow, "type") and all(hasattr(part, "buffers") for part in parts):
        return _of_arrow(what, width, arrow.type, parts)
    if isinstance(rows, memoryview):
        return np.asarray(rows) if rows.ndim == 2 else rows
    if hasattr(rows, "__array__") or (hasattr(rows, "__array_interface__") and not isinstance(rows, Sequence)):
        array = np.asarray(rows)
        return array.tolist() if array.dtype.kind == "O" and array.ndim == 1 else array
    return rows


def _of_arrow(what: str, width: int, kind: Any, parts: Sequence[Any]) -> npt.NDArray[np.uint8]:
    wanted = f"fixed_size_binary[{width}]"
    if str(kind) != wanted:
        raise InputError(f"{what} must be an Arrow column of {wanted}, not of {kind}: cast it first")
    if nulls := sum(part.null_count for part in parts):
        raise InputError(f"{what} have {nulls} nulls; each must have {width} bytes")
    full = [part for part in parts if len(part)]
    views = [np.frombuffer(part.buffers()[1], np.uint8, len(part) * width, part.offset * width) for part in full]
    joined = views[0] if len(views) == 1 else np.concatenate([np.empty(0, np.uint8), *views])
    return joined.reshape(-1, width)


def describe(value: object) -> str:
    """Say what came without showing it, because a misplaced argument may be a key."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"{len(as_bytes(value, b''))} bytes"
    # a named tuple, as an operation is, counts as one thing
    many = f" of {len(value)}" if isinstance(value, (tuple, list)) and not hasattr(value, "_fields") else ""
    return f"a {type(value).__name__}{many}"
