"""What compiled functions get in arrays: the sizes of a map, and the state that is neither in HBM nor in pages."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from omap.params import Params

Bytes = npt.NDArray[np.uint8]
Words32 = npt.NDArray[np.uint32]
Words64 = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int64]
Int = int | np.int64

(
    BUCKETS,
    BUCKET_WORDS,
    BUCKET_ENTRIES,
    BINS_OF_KEY,
    KEY_WORDS,
    STEPS,
    TRANSIT_LIMIT,
    CAPACITY,
    BINS,
    HBM_BINS,
    KEY_BYTES,
    TUPLE_BYTES,
    VALUE_BYTES,
    PAGE_SLOTS,
    PLAINTEXT_BYTES,
    SLOT_BYTES,
    LINE_WORDS,
    FIRST_INDICES,
    FURTHER_INDICES,
    WAITING_SLOTS,
    EPOCH_BITS,
) = range(21)
"""Indices of the sizes. A word has 32 bits."""

(
    LIVE,
    TRANSIT,
    VICTIM,
    FREE_SLOTS,
    FREE_LINES,
    MAP_READS,
    MAP_WRITES,
    LINE_READS,
    LINE_WRITES,
    SLOT_READS,
    SLOT_WRITES,
    FREE_READS,
    FREE_WRITES,
    PAGES,
    LIMIT,
    STALE_PAGE,
    STALE_VERSION,
    DONE,
    FAILURE,
) = range(19)
"""Indices of the state: live keys, entries in transit, next victim, free waiting slots and further lines; reads and
writes of the regions since the batch began; pages that the batch touches, touches that may run, and the page whose key
is gone, with its version, if they are not all; touches that are done, and why no more are."""

STATE = 19

NO_FAILURE, NO_SLOT, NO_LINE, LOST = range(4)
"""Why no more touches can be done: no waiting slot is free, no further line is, or a tuple is not where it must be."""


def sizes_of(params: Params) -> Numbers:
    """Return the sizes of a map, in the order of their indices."""
    return np.array(
        [
            params.buckets,
            params.bucket_bytes // 4,
            params.bucket_entries,
            params.entry_words,
            params.key_bytes // 4,
            params.relocation_steps,
            params.transit_entries,
            params.capacity,
            params.bins,
            params.hbm_bins,
            params.key_bytes,
            params.tuple_bytes,
            params.value_bytes,
            params.page_slots,
            params.plaintext_bytes,
            params.slot_bytes,
            params.descriptor_bytes // 4,
            *params.line_indices,
            params.waiting_slots,
            params.epoch_bits,
        ],
        np.int64,
    )
