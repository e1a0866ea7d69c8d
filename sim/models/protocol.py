"""The rules that models and stream checks hold a design to, and the report of a breach.

Sources: Arm IHI 0022 (AXI), and docs/hardware/streams.md for the rules of streams.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from sim.errors import ProtocolError


class Rule(IntEnum):
    """A rule, numbered as in ``native/protocol.h``."""

    AW_WITHDRAWN = 0
    AW_CHANGED = 1
    W_WITHDRAWN = 2
    W_CHANGED = 3
    AR_WITHDRAWN = 4
    AR_CHANGED = 5
    BURST_KIND = 6
    BURST_NARROW = 7
    BURST_LENGTH = 8
    BURST_CROSSES_4K = 9
    BURST_UNALIGNED = 10
    ADDRESS_RANGE = 11
    ID_RANGE = 12
    LAST_EARLY = 13
    LAST_MISSING = 14
    STREAM_WITHDRAWN = 15
    STREAM_CHANGED = 16
    STREAM_WAITS = 17


TEXTS = {
    Rule.AW_WITHDRAWN: "awvalid fell before awready answered it",
    Rule.AW_CHANGED: "a write address changed while it was offered",
    Rule.W_WITHDRAWN: "wvalid fell before wready answered it",
    Rule.W_CHANGED: "write data changed while it was offered",
    Rule.AR_WITHDRAWN: "arvalid fell before arready answered it",
    Rule.AR_CHANGED: "a read address changed while it was offered",
    Rule.BURST_KIND: "the burst is not INCR",
    Rule.BURST_NARROW: "the beats are narrower than the bus",
    Rule.BURST_LENGTH: "the burst is longer than this version of AXI allows",
    Rule.BURST_CROSSES_4K: "the burst crosses a 4 KB boundary",
    Rule.BURST_UNALIGNED: "the address is not a multiple of a beat",
    Rule.ADDRESS_RANGE: "the burst touches bytes that the memory does not have",
    Rule.ID_RANGE: "the port does not know this ID",
    Rule.LAST_EARLY: "wlast came before the last beat of the burst",
    Rule.LAST_MISSING: "wlast is missing on the last beat of the burst",
    Rule.STREAM_WITHDRAWN: "valid fell before ready answered it",
    Rule.STREAM_CHANGED: "the payload changed while it was offered",
    Rule.STREAM_WAITS: "valid or payload depends on ready in the same cycle",
}
"""What each rule reports when it is broken."""


@dataclass(frozen=True)
class Breach:
    """A rule broken by a design: in which cycle, at which port."""

    cycle: int
    port: str
    rule: Rule

    def error(self) -> ProtocolError:
        """Return the breach as an exception to raise."""
        return ProtocolError(f"{self.port}, cycle {self.cycle}: {TEXTS[self.rule]} ({self.rule.name})")
