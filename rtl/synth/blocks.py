# amaranth: UnusedElaboratable=no
"""The blocks of a map's accelerator by name, each with the parameters that the map gives it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from amaranth.lib import wiring

from omap.crypto import MAP_ID_BYTES
from omap.kdf import SESSION
from omap.params import Params, Rule
from omap.wire import HEADER, LINE_BYTES, SESSIONS, RecordCodec
from rtl.config import EngineConfig
from rtl.crypto.cmac import Cmac
from rtl.crypto.drbg import Drbg
from rtl.crypto.gcm import GcmOpen, GcmOpenEach, GcmSeal
from rtl.crypto.kdf import Kdf
from rtl.crypto.siphash import SipHash
from rtl.engine import Engine
from rtl.map.epoch_keys import KEYS, EpochKeys
from rtl.stream.interfaces import require

CIPHERS = ("*.core.aes", "*.core.ghash")
"""Parts of each lane of AES-GCM. Without them the rest of an engine fits the 4 GB of the synthesiser."""


@dataclass(frozen=True)
class Block:
    """A component and its arguments.

    Attributes
    ----------
    component : type
        Class of the component.
    arguments : dict
        Keyword arguments that make it.
    apart : tuple of str
        Patterns of parts that are synthesised by themselves: see `rtl.synth.netlist.synthesise`.
    """

    component: type[wiring.Component]
    arguments: dict[str, Any] = field(default_factory=dict)
    apart: tuple[str, ...] = ()

    def make(self) -> wiring.Component:
        """Return a fresh component; Amaranth elaborates each only once."""
        return self.component(**self.arguments)


def blocks(params: Params, *, journal: bool = False) -> dict[str, Block]:
    """Return the accelerator of one map, ``engine``, with a journal or without one, and its cryptographic blocks.

    Raises
    ------
    ParamsError
        If the map's rule is not the one that the accelerator implements.
    """
    require(
        params.rule is Rule.ONE_CHOICE,
        f"rule is {params.rule.value!r}; the accelerator implements {Rule.ONE_CHOICE.value!r} alone, "
        "the other rules are for comparison in the reference",
    )
    page = {"sealed_bytes": params.page_bytes, "aad_bytes": MAP_ID_BYTES, "keys": KEYS}
    record = {
        "sealed_bytes": LINE_BYTES * RecordCodec(params).most_lines,
        "header_bytes": HEADER.size,
        "keys": SESSIONS,
        "lengths": True,
    }
    return {
        "page_open": Block(GcmOpen, page),
        "page_seal": Block(GcmSeal, page),
        "page_keys": Block(EpochKeys),
        "record_open": Block(GcmOpenEach, record),
        "record_seal": Block(GcmSeal, record),
        "draws": Block(Drbg, {"pages": params.pages}),
        "key_hash": Block(SipHash, {"message_bytes": params.key_bytes}),
        "session_kdf": Block(Kdf, {"fixed_bytes": SESSION.fixed_bytes, "output_bytes": SESSION.length}),
        "session_cmac": Block(Cmac),
        "engine": Block(Engine, {"config": EngineConfig(params=params, journal=journal)}, CIPHERS),
    }
