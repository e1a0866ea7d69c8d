"""Which pages a batch touches, each listed once: they are opened before all else, and sealed at the end."""

from __future__ import annotations

from typing import Final

import numpy as np

from omap.fast.compiled import compiled
from omap.fast.numbers import (
    BINS_OF_KEY,
    EPOCH_BITS,
    HBM_BINS,
    LIMIT,
    LINE_WORDS,
    PAGES,
    STALE_PAGE,
    STALE_VERSION,
    Numbers,
    Words32,
)
from omap.versions import KEPT_MASK

_MASK: Final = KEPT_MASK
_HIGH: Final = KEPT_MASK >> 32
_SPREAD: Final = 0x9E37_79B9  # odd, so that neighbours lie apart: 2^32 over the golden ratio


# Many: compiled code takes arrays and numbers; an object that gathers them could not be kept compiled.
@compiled
def list_pages(
    sizes: Numbers,
    state: Numbers,
    lines: Words32,
    touched: Numbers,
    first: int,
    heads: Numbers,
    rows: Numbers,
    pages: Numbers,
    versions: Numbers,
    newest: Numbers,
    starts: Numbers,
) -> None:
    """List the pages of a batch in the order of their first touches.

    Stops at a touch of a page whose key is gone (state: LIMIT, STALE_PAGE, STALE_VERSION).

    Parameters
    ----------
    sizes, state
        See :mod:`omap.fast.numbers`.
    lines : uint32 array
        Region ``page descriptors``.
    touched : int64 array
        Bins that the operations touch.
    first : int
        Version of the first operation.
    heads : int64 array
        A hash table of rows, all -1; a power of two of them, at least twice as many as touches.
    rows : int64 array
        Written here, for each touch: its page's row in the list, or -1 for a bin in HBM.
    pages, versions
        Written here, for each row: page, and version under which host memory holds it.
    newest : int64 array
        For each row, the version of its last touch so far.
    starts : int64 array
        Written here, for each row: its first touch.
    """
    bins, hbm_bins, bits, most = sizes[BINS_OF_KEY], sizes[HBM_BINS], sizes[EPOCH_BITS], len(heads) - 1
    state[LIMIT], state[PAGES] = len(touched), 0
    for touch in range(len(touched)):
        page, present = touched[touch] - hbm_bins, first + touch // bins
        rows[touch] = -1
        if page < 0:
            continue
        at = page * _SPREAD & most
        while heads[at] >= 0 and pages[heads[at]] != page:
            at = at + 1 & most
        row = heads[at]
        if row >= 0:
            version = newest[row]
        else:
            line = touched[touch] * sizes[LINE_WORDS]
            kept = np.int64(lines[line]) | (np.int64(lines[line + 1]) & _HIGH) << 32
            version = present - (present - kept & _MASK)
        if (present >> bits) - (version >> bits) > 1:
            state[LIMIT], state[STALE_PAGE], state[STALE_VERSION] = touch, page, version
            return
        if row < 0:
            row = state[PAGES]
            heads[at] = row
            pages[row], versions[row], starts[row] = page, version, touch
            state[PAGES] += 1
        newest[row] = present
        rows[touch] = row
