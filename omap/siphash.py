"""SipHash-2-4 with a 64-bit result (Aumasson and Bernstein, INDOCRYPT 2012), for one key and for arrays of keys."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_MASK = (1 << 64) - 1
INITIAL = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
FINAL = 0xFF


def siphash24(key: bytes, message: bytes) -> int:
    """Return SipHash-2-4 of ``message`` under the 16-byte ``key``."""
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    v0, v1, v2, v3 = INITIAL[0] ^ k0, INITIAL[1] ^ k1, INITIAL[2] ^ k0, INITIAL[3] ^ k1
    padded = message + bytes(7 - len(message) % 8) + bytes([len(message) & 0xFF])
    words = [int.from_bytes(padded[at : at + 8], "little") for at in range(0, len(padded), 8)]
    for word, rounds in [(word, 2) for word in words] + [(0, 4)]:
        v3 ^= word
        if rounds == 4:
            v2 ^= FINAL
        for _ in range(rounds):
            v0 = (v0 + v1) & _MASK
            v1 = ((v1 << 13 | v1 >> 51) & _MASK) ^ v0
            v0 = (v0 << 32 | v0 >> 32) & _MASK
            v2 = (v2 + v3) & _MASK
            v3 = ((v3 << 16 | v3 >> 48) & _MASK) ^ v2
            v0 = (v0 + v3) & _MASK
            v3 = ((v3 << 21 | v3 >> 43) & _MASK) ^ v0
            v2 = (v2 + v1) & _MASK
            v1 = ((v1 << 17 | v1 >> 47) & _MASK) ^ v2
            v2 = (v2 << 32 | v2 >> 32) & _MASK
        v0 ^= word
    return v0 ^ v1 ^ v2 ^ v3


def siphash24_rows(key: bytes, rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """Return SipHash-2-4 of every row of an (n, width) array of bytes, as n ``uint64``."""
    count, width = rows.shape
    padded = np.zeros((count, width // 8 * 8 + 8), np.uint8)
    padded[:, :width] = rows
    padded[:, -1] = width & 0xFF
    words = padded.view("<u8")
    k0, k1 = np.frombuffer(key, "<u8")
    v = [np.full(count, np.uint64(start) ^ k) for start, k in zip(INITIAL, (k0, k1, k0, k1), strict=True)]

    def rotated(word: npt.NDArray[np.uint64], by: int) -> npt.NDArray[np.uint64]:
        return word << np.uint64(by) | word >> np.uint64(64 - by)

    def mix(rounds: int) -> None:
        v0, v1, v2, v3 = v
        for _ in range(rounds):
            v0 = v0 + v1
            v1 = rotated(v1, 13) ^ v0
            v0 = rotated(v0, 32)
            v2 = v2 + v3
            v3 = rotated(v3, 16) ^ v2
            v0 = v0 + v3
            v3 = rotated(v3, 21) ^ v0
            v2 = v2 + v1
            v1 = rotated(v1, 17) ^ v2
            v2 = rotated(v2, 32)
        v[:] = v0, v1, v2, v3

    for word in words.T:
        v[3] = v[3] ^ word
        mix(2)
        v[0] = v[0] ^ word
    v[2] = v[2] ^ np.uint64(FINAL)
    mix(4)
    result: npt.NDArray[np.uint64] = v[0] ^ v[1] ^ v[2] ^ v[3]
    return result
