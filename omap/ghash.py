"""GHASH, the universal hash inside GCM (NIST SP 800-38D, section 6.4): checks the RTL, and is not constant-time."""

from __future__ import annotations

_REDUCTION = 0xE1 << 120


def multiply(a: int, b: int) -> int:
    """Return the product of two elements of GF(2^128), each a block read as a big-endian number (section 6.3)."""
    product = 0
    for bit in range(127, -1, -1):
        if a >> bit & 1:
            product ^= b
        b = b >> 1 ^ (_REDUCTION if b & 1 else 0)
    return product


def ghash(hash_key: bytes, aad: bytes, text: bytes) -> bytes:
    """Return the 16-byte GHASH of additional data and ciphertext, with the block of lengths that GCM appends.

    Parameters
    ----------
    hash_key : bytes
        16 bytes, H of the standard.
    aad, text : bytes
        Additional data and ciphertext, of any length.
    """
    key = int.from_bytes(hash_key, "big")
    padded = b"".join(part + bytes(-len(part) % 16) for part in (aad, text))
    padded += (8 * len(aad)).to_bytes(8, "big") + (8 * len(text)).to_bytes(8, "big")
    total = 0
    for at in range(0, len(padded), 16):
        total = multiply(total ^ int.from_bytes(padded[at : at + 16], "big"), key)
    return total.to_bytes(16, "big")
