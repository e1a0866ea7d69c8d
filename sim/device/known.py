"""An engine whose root key and noise are known, and the secrets that it makes of them: the reference makes the same."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from omap.crypto import Secrets
from omap.fresh import DEVICE_ID_BYTES, NOISE_BYTES, Fresh
from omap.session import ROOT_KEY_BYTES
from rtl.constants import BLOCK_BYTES

DEVICE_ID = bytes(range(0xA0, 0xA0 + DEVICE_ID_BYTES))
"""Id of a simulated engine."""

Seed = int | str


def fixed_root_key(seed: Seed) -> bytes:
    """Return a root key that anybody can compute."""
    return random.Random(f"root key {seed}").randbytes(ROOT_KEY_BYTES)


def fixed_noise(seed: Seed) -> Iterator[int]:
    """Yield words of noise that anybody can compute, for ever."""
    rng = random.Random(f"noise {seed}")
    while True:
        yield rng.getrandbits(8 * BLOCK_BYTES)


def fresh_of(root_key: bytes, words: Iterator[int], device_id: bytes = DEVICE_ID) -> Fresh:
    """Return what makes the fresh values of an engine that gets these words of noise, from its start on."""

    def noise() -> bytes:
        return b"".join(next(words).to_bytes(BLOCK_BYTES, "little") for _ in range(NOISE_BYTES // BLOCK_BYTES))

    return Fresh(root_key, device_id=device_id, noise=noise)


def fixed_formats(seed: Seed) -> Callable[[], Secrets]:
    """Return a source of the secrets of an engine's formats, in their order; one handshake follows each.

    The engine has :func:`fixed_root_key` and :func:`fixed_noise` of the same seed.
    """
    fresh = fresh_of(fixed_root_key(seed), fixed_noise(seed))

    def source() -> Secrets:
        secrets = fresh.secrets()
        fresh.nonce()
        return secrets

    return source
