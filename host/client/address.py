"""Where a relay is: a machine and a TCP port, or a socket file on this machine."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from host.framing import DEFAULT_PORT, SOCKET_SCHEME
from omap.errors import InputError

DEFAULT_URL = f"omap://127.0.0.1:{DEFAULT_PORT}"
"""Where a client looks for a relay if no address is given: on its own machine."""


@dataclass(frozen=True)
class Address:
    """Address of a relay.

    Parameters
    ----------
    host : str
        Name or address of the relay's machine; empty for a socket file.
    port : int
        The relay's TCP port.
    path : str
        The relay's socket file; empty for TCP.
    """

    host: str
    port: int
    path: str = ""

    @classmethod
    def parse(cls, url: str) -> Address:
        """Return the address in ``omap://host:port`` or ``omap+unix:///path``.

        Without a port, the port is ``host.framing.DEFAULT_PORT``.

        Raises
        ------
        InputError
            If the URL says anything else.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
            parts = urlsplit("")
        if parts.query or parts.fragment or parts.username is not None:
            host = None
        elif parts.scheme == SOCKET_SCHEME and not parts.netloc and parts.path.strip("/"):
            return cls("", 0, unquote(parts.path))
        if parts.scheme != "omap" or not host or parts.path not in ("", "/"):
            raise InputError(
                f"{url!r} is no address of a relay; write omap://host:port, such as {DEFAULT_URL}, or "
                f"{SOCKET_SCHEME}:///path for a socket file"
            )
        return cls(host, DEFAULT_PORT if port is None else port)

    def __str__(self) -> str:
        """Return the address as messages show it."""
        return self.path or (f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}")

    @property
    def label(self) -> str:
        """What stands for this address in names of files."""
        if self.path:
            digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]  # two paths may look alike as words
            return f"unix-{_word(os.path.basename(self.path))}-{digest}"
        return f"{_word(self.host)}-{self.port}"


def _word(text: str) -> str:
    return re.sub("[^a-z0-9.-]", "_", text.lower())
