"""Maps whose snapshots are written in tests, and what their slots hold."""

import numpy as np

from omap import sizing
from omap.columns import Columns
from omap.operations import Kind
from omap.presets import preset
from omap.wire import RecordCodec
from tests.support.rtl.session_ends import number

CHUNKED = sizing.one_choice(capacity=12, key_bytes=16, value_bytes=256, page_bytes=1024)
"""A map with WIDE's keys and values, whose snapshot has a few chunks."""

MAPS = {"TINY": preset("TINY"), "WIDE": preset("WIDE"), "CHUNKED": CHUNKED}


def drawn_slots(params, seed):
    """Return all slots of a map: some used, of which one may hold zeros, and some free."""
    rng = np.random.default_rng(seed)
    kinds = np.where(rng.random(params.slots) < rng.choice([0.0, 0.3, 1.0]), np.uint8(Kind.PUT), np.uint8(Kind.NOP))
    used = (kinds == Kind.PUT) & (np.arange(params.slots) != params.slots // 2)
    keys = rng.integers(0, 256, (params.slots, params.key_bytes), np.uint8) * used[:, None]
    return Columns(kinds, keys, rng.integers(0, 256, (params.slots, params.value_bytes), np.uint8) * used[:, None])


def fields_of(columns):
    """Return operations as items of a stream of commands."""
    return [
        {"kind": int(kind), "key": number(key.tobytes()), "value": number(value.tobytes())}
        for kind, key, value in zip(*columns, strict=True)
    ]


def slot_items(params, slots):
    """Return what a scan of the map gives: its slots, and what fills the last chunk."""
    codec, blank = RecordCodec(params), {"kind": Kind.NOP, "key": 0, "value": 0}
    return fields_of(slots) + [blank] * (codec.chunks * codec.most_operations - params.slots)
