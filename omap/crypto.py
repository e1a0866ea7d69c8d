"""Sealing of pages: AES-256-GCM (NIST SP 800-38D), with page and version in the nonce, and a key for each epoch."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from omap.errors import ExhaustedError, PageAlteredError
from omap.versions import epoch, whole

# `omap.kdf` is imported where it is used: this module comes with `import omap`, and the process of a relay, which
# imports that, must load no code that derives keys (RELAY.KEY.ABSENT).

MAP_ID_BYTES = 16


@dataclass(frozen=True)
class Secrets:
    """What every format makes afresh. All but the map id is secret and never stands in a representation.

    Attributes
    ----------
    page_secret, draw_seed : bytes
        32 bytes each: what the page keys of all epochs are derived from; AES-256 key of the draws.
    hash_key : bytes
        16 bytes: SipHash key of the position map.
    map_id : bytes
        16 bytes, public: additional data of every page.
    """

    # SEC_CM: ERROR.TEXT.CLEAN -- not in the representation, because representations end in logs and tracebacks
    page_secret: bytes = field(repr=False)
    draw_seed: bytes = field(repr=False)
    hash_key: bytes = field(repr=False)
    map_id: bytes

    @classmethod
    def generate(cls) -> Secrets:
        """Draw all of them from the random source of the operating system."""
        from omap.kdf import FORMAT

        return cls.unpack(secrets.token_bytes(FORMAT.length))

    @classmethod
    def unpack(cls, stream: bytes) -> Secrets:
        """Cut all of them out of the bytes of :data:`omap.kdf.FORMAT`."""
        from omap.kdf import FORMAT

        ends = list(accumulate(FORMAT.output.values(), initial=0))
        return cls(*(stream[start:end] for start, end in pairwise(ends)))


def page_key(page_secret: bytes, map_id: bytes, number: int) -> bytes:
    """Return the 32-byte page key of an epoch."""
    from omap.kdf import PAGE

    return PAGE.derive(page_secret, map_id, number.to_bytes(8, "big"))


def altered(page: int) -> PageAlteredError:
    """Return the error of a page that is not what was sealed."""
    return PageAlteredError(
        f"page {page} failed authentication: host memory was altered, exchanged or replayed; "
        "the map has erased its keys, format it to start again"
    )


class PageCipher:
    """Seals and opens pages under one page key.

    Parameters
    ----------
    key, map_id : bytes
        32 and 16 bytes: the page key of an epoch, and see :class:`Secrets`.

    Attributes
    ----------
    aead : AESGCM
        The cipher under the page key.
    """

    def __init__(self, key: bytes, map_id: bytes) -> None:
        self.aead = AESGCM(key)
        self._map_id = map_id

    def _nonce(self, page: int, version: int) -> bytes:
        # SEC_CM: PAGE.NONCE.UNIQUE -- page and version are in every nonce, so none repeats under one key
        return (page << 64 | version).to_bytes(12, "big")

    def seal(self, page: int, version: int, plaintext: bytes | bytearray) -> bytes:
        """Return ``ciphertext || tag`` of a page."""
        # SEC_CM: PAGE.MEM.ENCRYPT -- whatever reaches host memory is sealed here first
        return self.aead.encrypt(self._nonce(page, version), plaintext, self._map_id)

    def open(self, page: int, version: int, sealed: bytes) -> bytes:
        """Return the plaintext of a sealed page.

        Raises
        ------
        PageAlteredError
            If this is not what was sealed for this page under this version, in this map.
        """
        try:
            # SEC_CM: PAGE.VERSION.FRESH -- the version comes from HBM, so that an earlier page does not authenticate
            return self.aead.decrypt(self._nonce(page, version), sealed, self._map_id)
        except InvalidTag:
            raise altered(page) from None


class PageCodec:
    """Seals and opens the pages of a map, each under the page key of its version's epoch.

    Parameters
    ----------
    page_secret, map_id : bytes
        32 and 16 bytes, see :class:`Secrets`.
    epoch_bits : int
        log2 of the versions in an epoch, see :mod:`omap.versions`.
    """

    def __init__(self, page_secret: bytes, map_id: bytes, epoch_bits: int) -> None:
        self._page_secret = page_secret
        self._map_id = map_id
        self._epoch_bits = epoch_bits
        self._ciphers: dict[int, PageCipher] = {}

    def _cipher(self, version: int) -> PageCipher:
        """Return the cipher of a version's epoch; only the newest ones are kept.

        They are three, because a bulk load that passes from one epoch to the next opens pages of both and of the one
        before.
        """
        # SEC_CM: PAGE.KEY.EPOCH -- a key of its own for each epoch, so that none encrypts too many blocks
        number = epoch(version, self._epoch_bits)
        if number not in self._ciphers:
            self._ciphers[number] = PageCipher(page_key(self._page_secret, self._map_id, number), self._map_id)
            if len(self._ciphers) > 3:
                del self._ciphers[min(self._ciphers.keys() - {number})]
        return self._ciphers[number]

    def seal(self, page: int, version: int, plaintext: bytes | bytearray) -> bytes:
        """Return ``ciphertext || tag`` of a page that is sealed under ``version``, from 0 to 2^64 - 1."""
        return self._cipher(version).seal(page, version, plaintext)

    def seal_rows(
        self, pages: npt.NDArray[np.int64], versions: npt.NDArray[np.int64], rows: npt.NDArray[np.uint8]
    ) -> list[bytes]:
        """Return what :meth:`seal` returns for every row of an (n, plaintext_bytes) array, in order."""
        ciphers = self._ciphers_of(versions)
        # SEC_CM: PAGE.MEM.ENCRYPT -- whatever a batch writes to host memory is sealed here
        return [
            ciphers[number].encrypt(nonce, plaintext, self._map_id)
            for number, nonce, plaintext in self._each(pages, versions, rows)
        ]

    def open_rows(
        self, pages: npt.NDArray[np.int64], versions: npt.NDArray[np.int64], rows: npt.NDArray[np.uint8]
    ) -> tuple[list[bytes], PageAlteredError | None]:
        """Return the plaintext of every row of an (n, page_bytes) array, sealed under whole ``versions``, in order.

        If a page is not what was sealed, these are the plaintexts of those before it, and the error of :meth:`open`.
        """
        ciphers, opened = self._ciphers_of(versions), []
        try:
            for number, nonce, sealed in self._each(pages, versions, rows):
                opened.append(ciphers[number].decrypt(nonce, sealed, self._map_id))
        except InvalidTag:
            return opened, altered(int(pages[len(opened)]))
        return opened, None

    def _ciphers_of(self, versions: npt.NDArray[np.int64]) -> dict[int, AESGCM]:
        """Return the AES-GCM of each epoch that one of the versions belongs to."""
        numbers = set((versions >> self._epoch_bits).tolist())
        return {number: self._cipher(number << self._epoch_bits).aead for number in sorted(numbers)}

    def _each(
        self, pages: npt.NDArray[np.int64], versions: npt.NDArray[np.int64], rows: npt.NDArray[np.uint8]
    ) -> zip[tuple[int, bytes, bytes]]:
        """Return epoch, nonce and bytes of every row."""
        nonces = np.empty(len(pages), [("page", ">u4"), ("version", ">u8")])
        # SEC_CM: PAGE.NONCE.UNIQUE -- page and version are in every nonce, so none repeats under one key
        nonces["page"], nonces["version"] = pages, versions
        numbers = (versions >> self._epoch_bits).tolist()
        return zip(numbers, nonces.view("V12").tolist(), rows.view(f"V{rows.shape[1]}").ravel().tolist(), strict=True)

    def open(self, page: int, kept: int, sealed: bytes, *, present: int) -> bytes:
        """Return the plaintext of a sealed page.

        Parameters
        ----------
        page : int
            Index of the page.
        kept : int
            The low 48 bits of the version under which the page was sealed, as HBM keeps them.
        sealed : bytes
            What host memory holds.
        present : int
            The version under which the operation that opens the page seals.

        Raises
        ------
        PageAlteredError
            If this is not what was sealed for this page under this version, in this map.
        ExhaustedError
            If no operation of the epoch before the present one touched the page.
        """
        version = whole(kept, present)
        if epoch(present, self._epoch_bits) - epoch(version, self._epoch_bits) > 1:
            raise ExhaustedError(
                f"page {page} was not touched for a whole epoch, and its page key is gone; format the map, "
                "with as many epoch_bits as its plan has"
            )
        return self._cipher(version).open(page, version, sealed)
