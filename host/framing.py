"""What goes over a connection between client and relay: one greeting, then records both ways.

The relay sends a greeting as soon as a client connects::

    magic "OMAP" (4) || wire version (16 bits) || most lines of a record (16) || length of facts (32) || zeros (4)
    facts: UTF-8 JSON of that length

Integers are big-endian. The facts are public and *not authenticated*. The client learns from them which map it talks
to, and the handshake of :mod:`omap.session` proves that, because the digest of the parameters is in every session key.
From then on both sides send whole records (:mod:`omap.wire`), whose headers say how many lines they have. Each record
of a client gets one record in answer, in the order in which this client sent them. The relay answers a malformed record
with a REFUSED record, and hangs up. A relay that takes no client says why in ``refused`` and hangs up.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import quote

from omap.errors import OmapError, SessionError
from omap.params import Params
from omap.wire import LEAST_RING_LINES, MAX_RING_LINES, WIRE_VERSION, RecordCodec

DEFAULT_PORT = 7450
"""TCP port of a relay, if no port is given."""

SOCKET_SCHEME = "omap+unix"
"""Scheme of the addresses of relays at socket files: ``omap+unix:///path``."""

MAGIC = b"OMAP"
PREFIX = struct.Struct(">4sHHI4x")
"""Fixed part of a greeting: magic, wire version, most lines of a record, length of the facts."""

MAX_FACTS_BYTES = 1 << 16
"""Most bytes of facts that a client reads."""

MAX_REFUSAL = 300
"""Most characters of a relay's reason that a client repeats. If there are more, the last one is an ellipsis."""

MOST_NUMBER = 1 << 64
"""Numbers in a greeting are smaller."""


def socket_url(path: str) -> str:
    """Return the address of a relay at a socket file, whose path is absolute."""
    return f"{SOCKET_SCHEME}://{quote(path)}"


@dataclass(frozen=True)
class Greeting:
    """What a relay tells every client first. It is public, and believed only as far as a handshake proves it.

    Parameters
    ----------
    params : Params
        Parameters of the map.
    ring_lines : int
        Lines of each ring. If a client has more in flight, they wait in the relay.
    mode : dict of str to bool
        What the relay says that the board guarantees: the fields of MODE in :mod:`omap.regmap`.
    refused : str
        Why the relay takes no client now; empty if it takes clients.
    kept : dict of str to str, int or float
        How far the map is kept on disk, as :meth:`host.relay.keeper.Keeper.facts` says; empty if it is not.
    """

    params: Params
    ring_lines: int
    mode: dict[str, bool] = field(default_factory=dict)
    refused: str = ""
    kept: dict[str, Any] = field(default_factory=dict)

    @property
    def most_lines(self) -> int:
        """Lines of the longest record."""
        return RecordCodec(self.params).most_lines

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON-ready values."""
        return asdict(self) | {"params": self.params.to_dict(), "digest": self.params.digest.hex()}

    def pack(self) -> bytes:
        """Return the bytes of the greeting."""
        facts = json.dumps(self.to_dict(), separators=(",", ":")).encode()
        return PREFIX.pack(MAGIC, WIRE_VERSION, self.most_lines, len(facts)) + facts


def not_a_relay() -> SessionError:
    """Return the error of a peer that speaks another protocol."""
    return SessionError("what answers at this address is no omap relay: check host and port")


def facts_length(prefix: bytes) -> int:
    """Return how many bytes of facts follow a greeting's first 16 bytes.

    Raises
    ------
    SessionError
        If the peer is no relay, or a relay of another version.
    """
    magic, version, _, length = PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise not_a_relay()
    if version != WIRE_VERSION:
        raise SessionError(
            f"the relay speaks wire version {version} and this client {WIRE_VERSION}: install the same version at both"
        )
    if not 2 <= length <= MAX_FACTS_BYTES:
        raise SessionError(f"the relay announces {length} bytes of facts; 2 to {MAX_FACTS_BYTES} are believed")
    return int(length)


def read_greeting(prefix: bytes, facts: bytes) -> Greeting:
    """Return the greeting in a prefix, which :func:`facts_length` has accepted, and in the facts after it.

    Raises
    ------
    SessionError
        If prefix and facts contradict each other, or are not what this module describes.
    """
    most_lines = PREFIX.unpack(prefix)[2]
    try:
        told = json.loads(facts)
        params = Params.from_dict(told["params"])
        ring_lines, mode, refused, kept = told["ring_lines"], told["mode"], told["refused"], told.get("kept", {})
        well_formed = type(ring_lines) is int and LEAST_RING_LINES <= ring_lines <= MAX_RING_LINES
        well_formed = well_formed and isinstance(refused, str)
        well_formed = well_formed and all(map(_is_fact, kept.values()))
        well_formed = well_formed and all(type(value) is bool for value in mode.values())
        digest_fits = told["digest"] == params.digest.hex()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OmapError):
        well_formed = digest_fits = False
    if not well_formed or not digest_fits:
        raise SessionError("the relay's greeting is not well-formed: it was altered, or the relay is broken")
    mode = {_printable(name): value for name, value in mode.items()}
    kept = {_printable(name): _printable(value) if isinstance(value, str) else value for name, value in kept.items()}
    greeting = Greeting(params, ring_lines, mode, _shortened(_printable(refused)), kept)
    if greeting.most_lines != most_lines:
        raise SessionError(
            f"the relay announces records of up to {most_lines} lines; its parameters make {greeting.most_lines}"
        )
    return greeting


def _is_fact(value: Any) -> bool:
    """Return whether a relay may say this of what is kept: a text, or a number of bytes, operations or seconds."""
    return type(value) is str or (type(value) in (int, float) and abs(value) < MOST_NUMBER)


def _printable(text: str) -> str:
    """Return a text without what would move the cursor of a terminal, because nobody trusts the relay that sent it."""
    return "".join(filter(str.isprintable, text))


def _shortened(text: str) -> str:
    """Return a reason as it is, or cut, so that everybody sees that it goes on."""
    return text if len(text) <= MAX_REFUSAL else text[: MAX_REFUSAL - 1].rstrip() + "…"
