"""Secrets that anybody can compute: the same seed gives the same map, bit for bit. What they seal is not secret."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from omap.crypto import Secrets


def fixed_secrets(seed: int | str) -> Callable[[], Secrets]:
    """Return a source of secrets for ``create(..., secrets=...)``. Every format gets its own, in a fixed order.

    Reveals
        Everything: whoever knows the seed can open every page.
    """
    formats = 0

    def source() -> Secrets:
        nonlocal formats
        stream = hashlib.shake_256(f"omap fixed secrets {seed} {formats}".encode()).digest(96)
        formats += 1
        return Secrets(stream[:32], stream[32:64], stream[64:80], stream[80:96])

    return source
