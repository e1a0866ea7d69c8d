"""Versions of pages, and the epochs that they belong to.

The operation with index i since the format, from 0, seals its page under version i + 1. A format seals under version 0,
a bulk load under the version of its last operation. So no version comes twice for a page, and the version of a seal
follows from the index alone. An epoch is 2^k versions, and each epoch has a page key of its own, because AES-GCM wears
out with the number of blocks that one key encrypts.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import numpy.typing as npt

_Versions = TypeVar("_Versions", int, npt.NDArray[np.int64])
"""A version, or many in an array."""

KEPT_BITS = 48
"""Bits of a version that HBM keeps."""

KEPT_MASK = (1 << KEPT_BITS) - 1

LEAST_EPOCH_BITS = 16
"""Smallest k that is chosen for a map; a test may ask for less."""

MOST_EPOCH_BITS = KEPT_BITS - 2
"""Largest k: the low 48 bits tell apart all versions of two epochs, and of two more."""

UNTOUCHED_BITS = 122
"""All pages are touched within an epoch, but for a probability of 2^-122."""


def choose_epoch_bits(pages: int, touches: float) -> int:
    """Return k for a map: 2^k operations touch all pages, but for a probability of 2^-122, whatever they are.

    A page stays untouched for n operations with the probability (1 - touches / pages)^n, because pages are uniform
    draws. The sum over all pages is below 2^-122 from ``pages / touches * (ln pages + 122 ln 2)`` operations on. More
    than one touch an operation does not make epochs shorter.

    Parameters
    ----------
    pages : int
        Pages of the map.
    touches : float
        Touches of pages by an operation, on average.
    """
    operations = pages / min(touches, 1) * (math.log(pages) + UNTOUCHED_BITS * math.log(2))
    return max(LEAST_EPOCH_BITS, math.ceil(math.log2(operations)))


def epoch(version: _Versions, epoch_bits: int) -> _Versions:
    """Return the epoch of a version, or of each in an array."""
    return version >> epoch_bits


def whole(kept: _Versions, present: int) -> _Versions:
    """Return the version of which HBM kept the low 48 bits: the last one that is not above ``present``.

    ``kept`` may be an array; then so is what is returned.
    """
    return present - ((present - kept) & KEPT_MASK)
