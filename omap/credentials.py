"""Credentials: who a client is, what it may do, and the keys that follow from it.

A client does not hold the root key. It holds a *credential*, which is public, and keys derived from the root key and
this credential. A credential is 32 bytes::

    rights (8 bits): bit 0 read, bit 1 write || length of the prefix (8) || prefix (64) || name (176)

The prefix has at most 8 bytes, and no more than a key; the bytes after it are zeros. A client with a prefix reaches
only keys that begin with it. Two holders of one credential are one client to the device. The device derives the client
key itself, so that it keeps no list of clients; it enforces rights and prefix, whatever the client's software does.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntFlag
from functools import cached_property

from omap.errors import InputError
from omap.kdf import CLIENT, NAMES
from omap.params import Params

_LAYOUT = struct.Struct(">BB8s22s")
CREDENTIAL_BYTES = _LAYOUT.size
MOST_PREFIX_BYTES = 8
NAME_BYTES = 22


class Right(IntFlag):
    """What a client may do, as bits."""

    READ = 1
    WRITE = 2


ALL_RIGHTS = Right.READ | Right.WRITE


@dataclass(frozen=True)
class Credential:
    """Who a client is and what it may do. All of it is public.

    Parameters
    ----------
    rights : Right
        At least one.
    prefix : bytes
        What all its keys begin with, 0 to 8 bytes.
    name : bytes
        Up to 22 bytes without zeros at the end, so that two clients with the same rights differ.

    Raises
    ------
    InputError
        If a part is out of its range; says which.
    """

    rights: Right = ALL_RIGHTS
    prefix: bytes = b""
    name: bytes = b""

    def __post_init__(self) -> None:
        if not 0 < self.rights <= ALL_RIGHTS:
            raise InputError(f"rights are {int(self.rights)}; they must be 1 (read), 2 (write) or 3 (both)")
        object.__setattr__(self, "rights", Right(self.rights))
        if len(self.prefix) > MOST_PREFIX_BYTES:
            raise InputError(f"the prefix has {len(self.prefix)} bytes; at most {MOST_PREFIX_BYTES} are allowed")
        if len(self.name) > NAME_BYTES or self.name.endswith(b"\0"):
            raise InputError(
                f"the name has {len(self.name)} bytes; it must have at most {NAME_BYTES}, the last of them not zero"
            )

    def pack(self) -> bytes:
        """Return the 32 bytes of the credential."""
        return _LAYOUT.pack(self.rights, len(self.prefix), self.prefix, self.name)

    @classmethod
    def unpack(cls, packed: bytes) -> Credential:
        """Return the credential in 32 bytes.

        Raises
        ------
        InputError
            If they are none.
        """
        if len(packed) != CREDENTIAL_BYTES:
            raise InputError(f"a credential has {CREDENTIAL_BYTES} bytes, not {len(packed)}")
        rights, length, prefix, name = _LAYOUT.unpack(packed)
        if length > MOST_PREFIX_BYTES or prefix[length:].strip(b"\0"):
            raise InputError("the credential has a prefix that does not fit its length: it is damaged")
        return cls(Right(rights), prefix[:length], name.rstrip(b"\0"))

    def check(self, params: Params) -> None:
        """Refuse a credential that no client of a map can have.

        Raises
        ------
        InputError
            If the prefix is longer than a key.
        """
        if len(self.prefix) > params.key_bytes:
            raise InputError(
                f"the prefix has {len(self.prefix)} bytes and keys of this map have {params.key_bytes}: "
                "provision the client with a shorter prefix"
            )

    @cached_property
    def allows_all(self) -> bool:
        """Whether its holder may do everything."""
        return self.rights == ALL_RIGHTS and not self.prefix

    @cached_property
    def reads(self) -> bool:
        """Whether the client may read."""
        return bool(self.rights & Right.READ)

    @cached_property
    def sees_map(self) -> bool:
        """Whether the client is told the number of live keys and of overruns."""
        # SEC_CM: SESSION.TOLD.BOUNDED -- else a client in league with the host could count what others insert
        return self.reads and not self.prefix


@dataclass(frozen=True)
class ClientKey:
    """All that a client holds.

    Parameters
    ----------
    credential : Credential
        Who it is.
    key : bytes
        32 secret bytes: sessions are opened under it.
    names_key : bytes
        32 secret bytes, which all clients with the same prefix have: long names become keys under it
        (:mod:`omap.cells`).
    """

    credential: Credential
    key: bytes = field(repr=False)
    names_key: bytes = field(repr=False)


def derive_client_key(root_key: bytes, credential: bytes) -> bytes:
    """Return the 32-byte key under which a client with these 32 bytes of credential opens sessions."""
    # SEC_CM: SESSION.KEY.OWN -- no client can derive the key of another, or of another credential of its own
    return CLIENT.derive(root_key, credential)


def provision(root_key: bytes, credential: Credential) -> ClientKey:
    """Return all that a client holds. Only who holds the root key can do this; reveals nothing.

    Parameters
    ----------
    root_key : bytes
        32 secret bytes.
    credential : Credential
        Who the client is to be, and what it may do.
    """
    prefix = credential.prefix
    names_key = NAMES.derive(root_key, bytes([len(prefix)]), prefix.ljust(MOST_PREFIX_BYTES, b"\0"))
    return ClientKey(credential, derive_client_key(root_key, credential.pack()), names_key)
