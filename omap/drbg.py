"""Page draws: AES-256 in counter mode, indexed by the sequence number of the operation.

The same seed and the same operations draw the same pages in the reference and in the RTL.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


class Drbg:
    """Uniform draws below a bound, from 32 bytes of seed.

    Block i is AES-256(seed, i as a 128-bit big-endian integer); its first and last 8 bytes, big-endian, are the two
    64-bit words of index i. Source: AES counter mode, NIST SP 800-38A section 6.5.

    Parameters
    ----------
    seed : bytes
        32 secret bytes.
    """

    def __init__(self, seed: bytes) -> None:
        self._cipher = algorithms.AES256(seed)

    def words(self, first: int, count: int) -> npt.NDArray[np.uint64]:
        """Return the words of indices ``first`` to ``first + count - 1`` as a (count, 2) array of ``uint64``."""
        encryptor = Cipher(self._cipher, modes.CTR(first.to_bytes(16, "big"))).encryptor()
        return np.frombuffer(encryptor.update(bytes(16 * count)), ">u8").reshape(count, 2).astype(np.uint64)

    def pairs(self, first: int, count: int, bound: int) -> npt.NDArray[np.int64]:
        """Return two draws below ``bound`` for each index from ``first`` on, as a (count, 2) array."""
        return scale(self.words(first, count), bound)


def scale(words: npt.NDArray[np.uint64], bound: int) -> npt.NDArray[np.int64]:
    """Return ``(word * bound) >> 64`` for every word, with ``bound`` at most 2^31.

    The distance of a draw from the uniform distribution, in total variation, is below bound / 2^64.
    """
    half, low, factor = np.uint64(32), np.uint64(0xFFFF_FFFF), np.uint64(bound)
    return (((words >> half) * factor + ((words & low) * factor >> half)) >> half).astype(np.int64)
