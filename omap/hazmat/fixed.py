"""Secrets that anybody can compute: the same seed gives the same map, bit for bit. What they seal is not secret."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from omap.crypto import Secrets
from omap.kdf import FORMAT


def fixed_secrets(seed: int | str) -> Callable[[], Secrets]:
    """Return a source of secrets for ``create(..., secrets=...)``. Every format gets its own, in a fixed order.

    Reveals
        Everything: whoever knows the seed can open every page.
    """
    formats = 0

    def source() -> Secrets:
        nonlocal formats
        stream = hashlib.shake_256(f"omap fixed secrets {seed} {formats}".encode()).digest(FORMAT.length)
        formats += 1
        return Secrets.unpack(stream)

    return source
