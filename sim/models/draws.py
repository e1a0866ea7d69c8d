"""Draws of the models: a hash of (seed, purpose, counter), the same in Python and in C++ (``native/draws.h``).

Nothing is kept between draws, so the order in which models ask does not matter. The mixing function is the finaliser of
splitmix64 (Steele, Lea and Flood, OOPSLA 2014).
"""

from __future__ import annotations

import hashlib
from enum import IntEnum

_MASK = (1 << 64) - 1


class Purpose(IntEnum):
    """What a draw is for. The first five are the AXI channels."""

    AW = 0
    W = 1
    B = 2
    AR = 3
    R = 4
    LATENCY = 5
    REFRESH = 6
    STREAM = 7


def draw(seed: int, purpose: int, counter: int) -> int:
    """Return 64 bits for ``counter``."""
    x = (seed + purpose * 0xD6E8FEB86659FD93 + counter * 0x9E3779B97F4A7C15) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def seed_of(seed: int, name: str) -> int:
    """Return the 64-bit seed of the port ``name`` in a bench with ``seed``."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "big")
