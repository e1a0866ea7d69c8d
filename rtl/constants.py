"""Plain numbers that the configuration and several wings share; this module imports no block, so that all may use it.

A number that one wing alone uses stands in that wing.
"""

from __future__ import annotations

from omap.board import BOARDS
from omap.sizing import channels

BLOCK_BYTES = 16
"""A block of AES, and the width of a lane."""

BLOCK_BITS = 8 * BLOCK_BYTES

LANES = channels.LANES
"""Blocks that a beat can carry."""

LINE_BYTES = 64
"""A line of host memory: one beat of the host's bus. Everything in the shared buffer is a multiple of it."""

LINE_BITS = 8 * LINE_BYTES

HOST_IDS = (64, 128)
"""AXI IDs that the host port can have. The rings have some of them, the pages in flight have the others."""

RING_IDS = 8
"""IDs of the rings: 0 for records, 1 to 3 for the host's counters, 4 to 6 for early records, 7 for REQUESTS.

All writes have 0."""

RING_ACCESS_LINES = 16
"""Most lines of one access to a ring: 4 packets of PCIe, so that headers cost little and pages wait little."""

CHANNEL_BITS = BOARDS["u55c"].channel_bits
"""Address bits within a pseudo-channel of HBM, unless a configuration says otherwise."""

SPARE_BITS = 32
"""Lowest bits of each draw, which hardly ever decide a page (:mod:`rtl.crypto.drbg`). The host never learns them."""

PSEUDO_CHANNELS = channels.PSEUDO_CHANNELS
"""Pseudo-channels of HBM on a card. Each has a port of its own."""

MOST_LINES = 128
"""Most lines of each table of the position map that are kept on chip."""

MOST_TRANSIT_ENTRIES = 128
"""Entries in transit that are compared with a key in one cycle."""
