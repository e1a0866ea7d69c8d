"""Traces without a map: what public parameters alone produce, and departures from it for every check."""

import numpy as np

from omap.audit.structure import Touches
from omap.params import Params
from omap.trace import BULK_LOAD, EXPORT, FORMAT, Submitted, Trace

PAGE_BYTES = 128


def params(rule="one_choice", pages=191, hbm_bins=0):
    """Return parameters of which only rule, pages and bins matter here."""
    return Params(
        capacity=8,
        key_bytes=8,
        value_bytes=8,
        rule=rule,
        page_bytes=PAGE_BYTES if pages else 0,
        pages=pages,
        hbm_bins=hbm_bins,
        waiting_slots=8,
        further_lines=8 if pages else 0,
        bucket_bytes=128,
        buckets=8,
    )


def draw(shape, operations, rng):
    """Draw bins as the rule says: (operation, page) of every touch."""
    if shape.rule == "one_choice":
        return np.arange(operations), rng.integers(0, shape.pages, operations)
    one = rng.integers(0, shape.bins, operations)
    other = rng.integers(0, shape.bins - 1, operations)
    return seen(shape, one, other + (other >= one))


def seen(shape, one, other):
    """Return (operation, page) of every touch, given both bins of every operation."""
    bins = np.stack([one, other], axis=1).ravel()
    visible = bins >= shape.hbm_bins
    return np.repeat(np.arange(len(one)), 2)[visible], bins[visible] - shape.hbm_bins


def touches(operation, page, operations):
    """Return what the exact checks would hand on."""
    second = np.zeros(len(page), bool)
    second[1:] = operation[1:] == operation[:-1]
    return Touches(page, operation, second, np.bincount(operation, minlength=operations))


def trace(operation, page, operations, page_bytes=PAGE_BYTES):
    """Return the trace of touches, each a read and a write."""
    return Trace(
        operation=np.repeat(operation, 2).astype(np.int64),
        address=np.repeat(page * page_bytes, 2).astype(np.uint64),
        length=np.full(2 * len(page), page_bytes, np.uint64),
        write=np.tile([False, True], len(page)),
        operations=operations,
        submitted=Submitted(operations=operations),
    )


def scan(kind, pages):
    """Return the trace of a scan."""
    events = {FORMAT: [True], BULK_LOAD: [False, True], EXPORT: [False]}[kind]
    return Trace(
        operation=np.full(pages * len(events), kind, np.int64),
        address=np.repeat(np.arange(pages) * PAGE_BYTES, len(events)).astype(np.uint64),
        length=np.full(pages * len(events), PAGE_BYTES, np.uint64),
        write=np.tile(events, pages).astype(bool),
        operations=0,
        submitted=Submitted(
            operations=0, formats=int(kind == FORMAT), bulk_loads=int(kind == BULK_LOAD), exports=int(kind == EXPORT)
        ),
    )
