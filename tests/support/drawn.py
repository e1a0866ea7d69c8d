"""Operations on few keys, so that all kinds find something and nothing."""

import random

from omap.operations import Kind, Operation
from omap.params import Params


def drawn_operations(params: Params, rng: random.Random, count: int, keys: int = 20) -> list[Operation]:
    """Return operations on ``keys`` keys, more than TINY has room for."""
    return [
        Operation(Kind(rng.randrange(4)), name(params, rng.randrange(keys)), rng.randbytes(params.value_bytes))
        for _ in range(count)
    ]


def name(params: Params, number: int) -> bytes:
    """Return the key with a number; the key of 0 is all zeros."""
    return number.to_bytes(params.key_bytes, "big")
