"""Faults that a memory model injects: what a hostile or broken memory does to the design."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from omap.errors import ParamsError

FOREVER = (1 << 64) - 1


class FaultKind(IntEnum):
    """What happens to an access."""

    FLIP = 0
    """One bit of the data is inverted: in what a read returns, or in what a write stores."""
    REPLAY = 1
    """A read returns what each 64-byte line held before the last write to it."""
    DROP = 2
    """A write is answered but not stored."""
    STALL = 3
    """The access takes ``argument`` nanoseconds longer."""
    ERROR = 4
    """The access is answered SLVERR; reads return zero, writes store nothing."""
    DEAD = 5
    """From this access on the port accepts and answers nothing."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One rule: which accesses of a port it strikes, and how.

    Attributes
    ----------
    kind : FaultKind
        What happens.
    write : bool
        Strike writes instead of reads.
    low, high : int
        Strike accesses that touch a byte in [low, high).
    skip, count : int
        Let the first ``skip`` such accesses through, strike the next ``count``.
    argument : int
        FLIP: which bit of the access, counted from its first byte's lowest, modulo its length. STALL: nanoseconds.
    """

    kind: FaultKind
    write: bool = False
    low: int = 0
    high: int = FOREVER
    skip: int = 0
    count: int = 1
    argument: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", FaultKind(self.kind))
        if self.kind is FaultKind.REPLAY and self.write:
            raise ParamsError("REPLAY strikes reads; to leave a write undone use DROP")
        if self.kind is FaultKind.DROP and not self.write:
            raise ParamsError("DROP strikes writes: give write=True")
        for name in ("low", "high", "skip", "count", "argument"):
            if not 0 <= getattr(self, name) <= FOREVER:
                raise ParamsError(f"{name} is {getattr(self, name)!r}; it must be 0 to 2**64 - 1")
        if self.low >= self.high:
            raise ParamsError(f"no byte lies in [{self.low}, {self.high}): low must be below high")
