"""Traces as files: NumPy's ``.npz``, with the public parameters and the events."""

from __future__ import annotations

import json
import operator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from omap.errors import InputError, OmapError
from omap.outfiles import writing
from omap.params import Params
from omap.trace import Submitted, Trace

Kept = TypeVar("Kept", np.int64, np.uint64, np.bool_)

FORMAT_NAME = "omap-trace-2"
"""Name of the file format; it changes when the columns change."""


def save_trace(path: Path | str, trace: Trace, params: Params) -> None:
    """Write ``trace`` and ``params`` to ``path``.

    Operation numbers are stored as they are, addresses as 64-bit integers relative to the start of the pages. A touch
    takes about four bytes, because the file is compressed.

    Reveals
        To whoever reads the file: what the observer saw and the public parameters. Nothing in it is secret.

    Raises
    ------
    InputError
        If no file can be written there.
    OutputError
        If writing fails later. A file that was there before is unchanged.
    """
    with writing(path) as file:  # opened here, because numpy would append .npz to a path
        np.savez_compressed(
            file,
            format=np.array(FORMAT_NAME),
            params=np.array(json.dumps(params.to_dict())),
            operations=np.array(trace.operations),
            submitted=np.array(json.dumps(trace.submitted and asdict(trace.submitted))),
            operation=trace.operation,
            address=trace.address,
            length=trace.length,
            write=trace.write,
        )


def load_trace(path: Path | str) -> tuple[Trace, Params]:
    """Read what :func:`save_trace` wrote.

    Raises
    ------
    InputError
        If the file is missing or is no trace; says what was wanted and what came.
    ParamsError
        If its parameters contradict each other.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            name = str(file["format"])
            if name != FORMAT_NAME:
                raise InputError(f"{path} has format {name!r}; this version reads {FORMAT_NAME!r}")
            params = Params.from_dict(json.loads(str(file["params"])))
            submitted = json.loads(str(file["submitted"]))
            trace = Trace(
                operation=_column(file["operation"], np.int64),
                address=_column(file["address"], np.uint64),
                length=_column(file["length"], np.uint64),
                write=_column(file["write"], np.bool_),
                operations=operator.index(file["operations"][()]),
                submitted=None if submitted is None else _submitted(**submitted),
            )
    except FileNotFoundError:
        raise InputError(f"there is no file {path}; `omap audit --save FILE` writes one") from None
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror or 'it is damaged'}") from None
    except OmapError:
        raise
    except Exception:
        # a damaged file makes numpy raise whatever it trips over, down to errors of Python's tokenizer; and not in its
        # own words, which suggest to load unsafely whatever is no archive
        raise InputError(
            f"{path} is no trace, or it is damaged: expected an .npz file written by `omap audit --save`"
        ) from None
    return trace, params


def _column(found: npt.NDArray[Any], wanted: type[Kept]) -> npt.NDArray[Kept]:
    """Return a column as another type, with every number as it was; refuse what would not stay the same."""
    kept = found.astype(wanted)
    if (found.dtype.kind == "b") != (kept.dtype.kind == "b") or found.dtype.kind not in "biu":
        raise TypeError(f"a column of {found.dtype}")
    if (kept != found).any():
        raise ValueError("a number out of range")
    return kept


def _submitted(**counts: int) -> Submitted:
    """Return what was submitted, of whole numbers alone."""
    return Submitted(**{name: operator.index(count) for name, count in counts.items()})
