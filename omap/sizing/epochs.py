"""How far page keys wear: a bound on what an observer can tell from the ciphertext of all pages.

A page is sealed with AES in counter mode. Whoever sees the ciphertext of sigma blocks under one key can tell it from
random bytes with an advantage of at most sigma^2 / 2^129, because AES is a permutation and its outputs never repeat
(Bellare, Desai, Jokipii, Rogaway, FOCS 1997). Each epoch has a key of its own, so these bounds add up over the epochs.
"""

from __future__ import annotations

import math

from omap.errors import InputError
from omap.params import Params, Rule

YEAR_SECONDS = 365 * 24 * 3600

BLOCK_BYTES = 16


def epoch_blocks(params: Params) -> int:
    """Return most blocks that one page key encrypts: of all seals of an epoch, and of one scan over all pages.

    A seal takes a block for each 16 bytes of plaintext, and one that masks the tag.
    """
    touches = {Rule.ONE_CHOICE: 1, Rule.TWO_CHOICE: 2, Rule.RESIDENT: 0}[params.rule]
    return ((touches << params.epoch_bits) + params.pages) * params.page_bytes // BLOCK_BYTES


def wear_bits(params: Params, operations_per_second: float, seconds: float = YEAR_SECONDS) -> float:
    """Return -log2 of the bound on the advantage after so many seconds at a rate; infinite without pages.

    Parameters
    ----------
    params : Params
        Parameters of the map.
    operations_per_second : float
        Its rate.
    seconds : float
        How long it runs; a year by default.

    Raises
    ------
    InputError
        If one of them is negative or no number.
    """
    if params.rule is Rule.RESIDENT:
        return math.inf
    if not 0 <= operations_per_second * seconds < math.inf:
        raise InputError(
            f"{operations_per_second} operations a second for {seconds} s: both must be numbers, 0 or more"
        )
    epochs = operations_per_second * seconds / 2**params.epoch_bits + 1
    return 129 - 2 * math.log2(epoch_blocks(params)) - math.log2(epochs)
