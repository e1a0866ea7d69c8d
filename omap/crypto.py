"""Sealing of pages: AES-256-GCM (NIST SP 800-38D), with page, boot counter and version in the nonce."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from omap.errors import PageAlteredError

MAP_ID_BYTES = 16
VERSION_BITS = 48


@dataclass(frozen=True)
class Secrets:
    """What every format makes afresh. All but the map id is secret and never stands in a representation.

    Attributes
    ----------
    page_key, draw_seed : bytes
        32 bytes each: AES-256 keys of the pages and of the draws.
    hash_key : bytes
        16 bytes: SipHash key of the position map.
    map_id : bytes
        16 bytes, public: additional data of every page.
    """

    # SEC_CM: ERROR.TEXT.CLEAN -- not in the representation, because representations end in logs and tracebacks
    page_key: bytes = field(repr=False)
    draw_seed: bytes = field(repr=False)
    hash_key: bytes = field(repr=False)
    map_id: bytes

    @classmethod
    def generate(cls) -> Secrets:
        """Draw all of them from the random source of the operating system."""
        return cls(secrets.token_bytes(32), secrets.token_bytes(32), secrets.token_bytes(16), secrets.token_bytes(16))


class PageCodec:
    """Seals and opens pages under one page key.

    Parameters
    ----------
    page_key, map_id : bytes
        32 and 16 bytes, see :class:`Secrets`.
    boot : int
        16 bits above the version in the nonce. Today always 0, because no page key outlives a restart.
    """

    def __init__(self, page_key: bytes, map_id: bytes, boot: int = 0) -> None:
        self._cipher = AESGCM(page_key)
        self._map_id = map_id
        self._boot = boot << VERSION_BITS

    def _nonce(self, page: int, version: int) -> bytes:
        # SEC_CM: PAGE.NONCE.UNIQUE -- page and version are in every nonce, so none repeats under one key
        return (page << 64 | self._boot | version).to_bytes(12, "big")

    def seal(self, page: int, version: int, plaintext: bytes | bytearray) -> bytes:
        """Return ``ciphertext || tag`` of a page."""
        # SEC_CM: PAGE.MEM.ENCRYPT -- whatever reaches host memory is sealed here first
        return self._cipher.encrypt(self._nonce(page, version), plaintext, self._map_id)

    def open(self, page: int, version: int, sealed: bytes) -> bytes:
        """Return the plaintext of a sealed page.

        Raises
        ------
        PageAlteredError
            If this is not what was sealed for this page under this version, in this map.
        """
        try:
            # SEC_CM: PAGE.VERSION.FRESH -- the version comes from HBM, so that an earlier page does not authenticate
            return self._cipher.decrypt(self._nonce(page, version), sealed, self._map_id)
        except InvalidTag:
            raise PageAlteredError(
                f"page {page} failed authentication: host memory was altered, exchanged or replayed; "
                "the map has erased its keys, format it to start again"
            ) from None
