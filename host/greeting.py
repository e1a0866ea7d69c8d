"""What a relay says first on a connection: the public facts that a client needs in order to make records.

``magic (4) || wire version (16 bits) || zeros (2) || record bytes (32) || length of the rest (32)``, big-endian, then
as many bytes of JSON. Nothing here is authenticated: a client that was told other parameters than the device has
finds out by the session's keys, which depend on them.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass, field
from typing import Any

from omap.errors import DeviceError, ParamsError
from omap.params import Params
from omap.wire import WIRE_VERSION, RecordCodec

MAGIC = b"OMAP"
PREFIX = struct.Struct(">4sH2xII")
"""The fixed first part, 16 bytes."""

MOST_BYTES = 1 << 16
"""Most bytes of JSON that a client accepts."""

DEFAULT_PORT = 7450
"""TCP port of a relay."""


@dataclass(frozen=True)
class Mode:
    """What the board says it guarantees; hearsay until the board is attested."""

    hbm_private: bool = False
    attested: bool = False
    hardware: bool = False


@dataclass(frozen=True)
class Greeting:
    """The facts of a greeting.

    Parameters
    ----------
    params : Params
        The map behind the relay.
    ring_entries : int
        Records in each ring: more than these in flight wait in the relay.
    mode : Mode
        The device's register MODE.
    in_flight : int
        Commands that the relay forwards for one client before their answers are back.
    error : str, optional
        Why the relay closes the connection right after this.
    """

    params: Params
    ring_entries: int
    mode: Mode = field(default_factory=Mode)
    in_flight: int = 0
    error: str | None = None

    def pack(self) -> bytes:
        """Return the greeting's bytes."""
        facts: dict[str, Any] = {
            "params": self.params.to_dict(),
            "digest": self.params.digest.hex(),
            "ring_entries": self.ring_entries,
            "mode": asdict(self.mode),
            "in_flight": self.in_flight,
        }
        if self.error is not None:
            facts["error"] = self.error
        text = json.dumps(facts, separators=(",", ":")).encode()
        return PREFIX.pack(MAGIC, WIRE_VERSION, RecordCodec(self.params).record_bytes, len(text)) + text


def read_prefix(prefix: bytes) -> tuple[int, int]:
    """Return the size of a record, and how many bytes of JSON follow the 16 bytes of ``prefix``.

    Raises
    ------
    DeviceError
        If this is no relay, or one of another version.
    """
    magic, version, record_bytes, length = PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise DeviceError("this is no omap relay: its first bytes are not OMAP; check address and port, and TLS")
    if version != WIRE_VERSION:
        raise DeviceError(
            f"the relay speaks version {version} of the records, this client version {WIRE_VERSION}: update the older"
        )
    if length > MOST_BYTES:
        raise DeviceError(f"the relay announces {length} bytes of facts; at most {MOST_BYTES} are accepted")
    return record_bytes, length


def read_facts(record_bytes: int, text: bytes) -> Greeting:
    """Return the greeting whose prefix gave ``record_bytes`` and whose JSON is ``text``.

    Raises
    ------
    DeviceError
        If it is malformed, contradicts itself, or is a refusal by the relay.
    """
    try:
        facts = json.loads(text)
        params = Params.from_dict(facts["params"])
        mode = Mode(**{name: bool(value) for name, value in facts["mode"].items()})
        greeting = Greeting(params, int(facts["ring_entries"]), mode, int(facts["in_flight"]), facts.get("error"))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, ParamsError) as error:
        raise DeviceError(
            f"the relay's facts can't be read ({type(error).__name__}): it is of another version"
        ) from None
    if facts.get("digest") != params.digest.hex() or record_bytes != RecordCodec(params).record_bytes:
        raise DeviceError(
            f"the relay contradicts itself: digest {facts.get('digest')!r} and records of {record_bytes} bytes do not "
            f"belong to its parameters, digest {params.digest.hex()!r}, {RecordCodec(params).record_bytes} bytes"
        )
    if greeting.error is not None:
        raise DeviceError(f"the relay refuses the connection: {greeting.error!s:.200}")
    return greeting
