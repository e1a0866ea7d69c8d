"""How a client connects and behaves: the options of :func:`omap.connect`, and the address in a URL."""

from __future__ import annotations

import errno
import os
import re
import ssl
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from host.client.address import Address
from host.client.state import witness_file
from host.client.witness import ANY
from host.keyfile import read_client_file
from omap.credentials import ClientKey
from omap.crypto import MAP_ID_BYTES
from omap.errors import DeviceError, InputError
from omap.params import Params
from omap.session import RECORD_LIMIT

MOST_SECONDS = 1_000_000
"""Longest of times. The system's calls take no more than twice as many."""

_BOUNDS = {
    "timeout": (0.001, MOST_SECONDS),
    "idle": (0.001, MOST_SECONDS),
    "rate": (0.001, 10**9),
    "window": (1, 1 << 32),
    "record_limit": (1, 1 << 64),
    "count": (1, 1 << 16),
}
"""Options that are numbers: the least and the most of each, as whole numbers where the option must be one."""

_OPTIONAL = "idle", "rate", "window"
"""Those that may be missing."""

_MAP_ID = re.compile(f"[0-9a-f]{{{2 * MAP_ID_BYTES}}}")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Options of a client.

    Parameters
    ----------
    where : Address
        Where the relay is.
    client : ClientKey
        Who the client is, and its key. ``repr`` never shows the key.
    witness : Path, str or True, optional
        File that remembers the map from run to run, see :class:`host.client.witness.Witness`. True for one that belongs
        to this address and key, where the user's state is kept, see :func:`host.client.state.witness_file`.
    accept : str, optional
        Id of a map, in hexadecimal digits, that may once take the place of the one that is remembered. "any" for any
        map, any time: then an emptied map looks like an empty one.
    params : Params, optional
        Parameters that the map must have. By default the relay names the parameters, and the handshake proves them.
    timeout : float
        Seconds without any answer after which the peer counts as gone.
    window : int, optional
        Operations in flight at most. By default as many as the rings of the device hold.
    record_limit : int
        Records after which a new session replaces a session.
    rate : float, optional
        Send exactly this many operations a second; NOPs stand in where there is no work.
    count : int
        How many operations each record has at a constant rate: fewer leave sooner, more take less of the link.
    idle : float, optional
        Seconds without an answer after which an asyncio client asks with a NOP whether the map is still there.
    tls : Path, str, True or ssl.SSLContext, optional
        Speak TLS, for networks that demand it; secrecy does not depend on it. A file of certificates to trust, True
        for the certificates of the system, or a context.
    """

    where: Address
    client: ClientKey
    witness: Path | str | bool | None = None
    accept: str | None = None
    params: Params | None = None
    timeout: float = 30.0
    window: int | None = None
    record_limit: int = RECORD_LIMIT
    rate: float | None = None
    count: int = 1
    idle: float | None = None
    tls: Path | str | bool | ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.client, ClientKey):
            raise InputError(f"client is a {type(self.client).__name__}; it must be a ClientKey, as a key file holds")
        for name, (least, most) in _BOUNDS.items():
            value: Any = getattr(self, name)
            if value is None and name in _OPTIONAL:
                continue
            kind, what = (Integral, "a whole number") if isinstance(least, int) else (Real, "a number")
            fits = isinstance(value, kind)
            if not fits or not least <= value <= most:
                raise InputError(f"{name} is {value!r}; it must be {what} from {least} to {most}")
        if self.where.path and self.tls:
            raise InputError(f"{self.where} is a socket file, to which nobody else listens: leave out TLS")
        if self.accept is not None and self.accept != ANY and not _MAP_ID.fullmatch(self.accept):
            raise InputError(
                f"{self.accept!r} is no id of a map: accept the {2 * MAP_ID_BYTES} hexadecimal digits that the refusal "
                f"of the map names, or {ANY!r} for any map"
            )

    @cached_property
    def context(self) -> ssl.SSLContext | None:
        """Context of TLS connections, or None without TLS.

        Raises
        ------
        InputError
            If the certificates can't be read.
        """
        if isinstance(self.tls, ssl.SSLContext):
            return self.tls
        if self.tls is None or self.tls is False:
            return None
        try:
            return ssl.create_default_context(cafile=None if self.tls is True else os.fspath(self.tls))
        except OSError as error:
            reason = getattr(error, "reason", None) or error.strerror or error
            raise InputError(f"the certificates in {self.tls} can't be used: {reason}; give a PEM file") from None

    @cached_property
    def witness_file(self) -> Path | None:
        """The witness file; None if there is none, because nobody wants it or the user has no home directory.

        Raises
        ------
        InputError
            If the folder for it can't be made.
        """
        if self.witness is True:
            # SEC_CM: CLIENT.WITNESS.DEFAULT -- an emptied map is noticed from run to run although nobody thought of it
            return witness_file(self.where, self.client)
        return Path(self.witness) if self.witness else None

    @property
    def address(self) -> str:
        """Where the relay is, as messages show it."""
        return str(self.where)

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        key_file: str | os.PathLike[str] | None = None,
        client: ClientKey | None = None,
        **options: Any,
    ) -> Settings:
        """Return the settings for a URL and the options of :func:`omap.connect`.

        Raises
        ------
        InputError
            For a malformed URL, an unknown option, an unusable key file, or not exactly one of key file and key.
        """
        where = Address.parse(url)
        if key_file is not None and client is None:
            client = read_client_file(key_file)
        elif client is None or key_file is not None:
            raise InputError("give key_file=, a file of `omap provision --client` (or client=, what it holds)")
        known = set(cls.__dataclass_fields__) - {"where", "client"}
        if unknown := sorted(set(options) - known):
            raise InputError(f"{unknown[0]!r} is no option of a connection; there are {', '.join(sorted(known))}")
        return cls(where=where, client=client, **options)


def unreachable(settings: Settings, error: OSError) -> DeviceError:
    """Return the error of a connection that could not be made."""
    # if a name has several addresses, asyncio joins their errors in one text
    if isinstance(error, (ConnectionRefusedError, FileNotFoundError)) or f"[Errno {errno.ECONNREFUSED}]" in str(error):
        return DeviceError(f"nothing listens at {settings.address}: start `omap serve` there, or check the address")
    if isinstance(error, ssl.SSLError):
        return DeviceError(
            f"no TLS connection to {settings.address}: {error.reason or error}; check its certificate, and that it "
            "speaks TLS"
        )
    if isinstance(error, TimeoutError):
        return DeviceError(f"{settings.address} does not answer within {settings.timeout:g} s: check host and network")
    return DeviceError(f"{settings.address} can't be reached: {error.strerror or error}")
