"""Key derivation and confirmation tags: CMAC-AES-256 (NIST SP 800-38B) and the counter-mode KDF (NIST SP 800-108)."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFCMAC, CounterLocation, Mode


def cmac(key: bytes, message: bytes) -> bytes:
    """Return the 16-byte CMAC-AES-256 of ``message``."""
    mac = CMAC(algorithms.AES256(key))
    mac.update(message)
    return mac.finalize()


def derive(key: bytes, label: bytes, context: bytes, length: int) -> bytes:
    """Return ``length`` bytes that are derived from a 32-byte key.

    Block i, from 1, is CMAC-AES-256 of ``i (32 bits) || label || 00 || context || 8 * length (32 bits)``, integers
    big-endian (SP 800-108r1 section 4.1, counter before the fixed data).
    """
    kdf = KBKDFCMAC(
        algorithm=algorithms.AES256,
        mode=Mode.CounterMode,
        length=length,
        rlen=4,
        llen=4,
        location=CounterLocation.BeforeFixed,
        label=label,
        context=context,
        fixed=None,
    )
    return kdf.derive(key)
