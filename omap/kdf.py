"""Key derivation and confirmation tags: CMAC-AES-256 (NIST SP 800-38B) and the counter-mode KDF (NIST SP 800-108).

:data:`DERIVATIONS` lists everything that is derived: under which key, with which label, from which context. Reference,
accelerator and host take labels and sizes from there. No two derivations have one label, and the parts of a context
have fixed lengths. So two derivations under one key have different inputs, unless they are one and the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFCMAC, CounterLocation, Mode

from omap.errors import InputError

LENGTH_BYTES = 4
"""Bytes of the length that ends the input of a derivation."""


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
        llen=LENGTH_BYTES,
        location=CounterLocation.BeforeFixed,
        label=label,
        context=context,
        fixed=None,
    )
    return kdf.derive(key)


@dataclass(frozen=True)
class Derivation:
    """One use of the KDF.

    Attributes
    ----------
    label : bytes
        Its label.
    key : str
        Name of the key that it derives from.
    context, output : mapping
        Parts of the context and of what is derived, in their order: name, and length in bytes.
    """

    label: bytes
    key: str
    context: Mapping[str, int]
    output: Mapping[str, int]

    @property
    def length(self) -> int:
        """Bytes that are derived."""
        return sum(self.output.values())

    @property
    def fixed_bytes(self) -> int:
        """Bytes of the fixed input: label, a zero, context, length."""
        return len(self.label) + 1 + sum(self.context.values()) + LENGTH_BYTES

    def derive(self, key: bytes, *context: bytes) -> bytes:
        """Return what is derived from a 32-byte key and the parts of the context, in their order.

        Raises
        ------
        InputError
            If a part is missing, is too many, or has another length.
        """
        came, wanted = [len(part) for part in context], list(self.context.values())
        if came != wanted:
            raise InputError(
                f"the context of {self.label.decode()!r} has parts of {wanted} bytes ({', '.join(self.context)}); "
                f"parts of {came} bytes came"
            )
        return derive(key, self.label, b"".join(context), self.length)


def _derivation(label: bytes, key: str, context: Mapping[str, int], output: Mapping[str, int]) -> Derivation:
    return Derivation(label, key, MappingProxyType(dict(context)), MappingProxyType(dict(output)))


_FRESH = {"device id": 12, "noise": 32, "counter": 8}
"""Context of every fresh value, see :mod:`omap.fresh`; their labels have one length, so that one circuit does them."""

CLIENT = _derivation(b"omap client 2", "root key", {"credential": 32}, {"client key": 32})
"""Key of a client, see :mod:`omap.credentials`."""
SESSION = _derivation(
    b"omap session 2",
    "client key",
    {"client nonce": 16, "device nonce": 16, "digest of the parameters": 32, "map id": 16, "session number": 4},
    {"command key": 32, "response key": 32, "confirmation key": 32},
)
"""Keys of a session, see :mod:`omap.session`."""
NAMES = _derivation(b"omap names 2", "root key", {"prefix length": 1, "prefix": 8}, {"names key": 32})
"""Key of long names, one for each prefix, see :mod:`omap.cells`."""
DATABASE = _derivation(b"omap database 2", "names key", {"number": 1}, {"database key": 32})
"""Key of all names of a database but database 0, and of the register, see :mod:`omap.databases`."""
WITNESS = _derivation(b"omap witness 2", "client key", {}, {"witness tag": 8})
"""Tag in the name of a client's witness file."""
PAGE = _derivation(b"omap page 2", "page secret", {"map id": 16, "epoch": 8}, {"page key": 32})
"""Page key of an epoch, see :mod:`omap.versions`."""
FORMAT = _derivation(
    b"omap format 1", "root key", _FRESH, {"page secret": 32, "draw seed": 32, "hash key": 16, "map id": 16}
)
"""Secrets of a new map."""
NONCE = _derivation(b"omap nonces 1", "root key", _FRESH, {"device nonce": 16})
"""Nonce of the device for a handshake."""
EXPORT = _derivation(b"omap export 1", "root key", _FRESH, {"export id": 16})
"""Id of a snapshot."""
JOURNAL = _derivation(b"omap journal 1", "root key", {"map id": 16, "era": 4}, {"journal key": 32})
"""Key of 2^32 records of a map's journal, see :mod:`omap.journal`."""
SNAPSHOT = _derivation(b"omap snapshot 1", "root key", {"map id": 16, "export id": 16}, {"snapshot key": 32})
"""Key of a snapshot, see :mod:`omap.snapshot`."""

DERIVATIONS = (CLIENT, SESSION, NAMES, DATABASE, WITNESS, PAGE, FORMAT, NONCE, EXPORT, JOURNAL, SNAPSHOT)
"""All uses of the KDF."""
