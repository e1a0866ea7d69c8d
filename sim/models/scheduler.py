"""A burst on its way, and what gives it its times. Compiled form: ``native/scheduler.h``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple


class Address(NamedTuple):
    """Payload of AR or AW."""

    id: int
    addr: int
    len: int
    size: int
    burst: int


class Burst:
    """A burst on its way: what was asked, and when it takes effect or is answered (``time``, femtoseconds)."""

    __slots__ = (
        "address", "beats", "data", "done", "drop", "flip", "id", "length", "replay", "resp", "sequence", "stall",
        "strobe", "time", "write",
    )  # fmt: skip

    def __init__(self, write: bool, address: Address, length: int, beats: int, resp: int) -> None:
        self.write, self.id, self.address, self.length, self.beats = write, address.id, address.addr, length, beats
        self.resp = resp
        self.data = bytearray()
        self.strobe = bytearray()
        self.flip: list[int] = []
        self.drop = self.replay = self.done = False
        self.stall = self.time = self.sequence = 0


class Scheduler(ABC):
    """Gives accesses their times; one per port, called in the order of arrival."""

    @abstractmethod
    def arrive(self, burst: Burst, now: int) -> None:
        """Set ``burst.time`` to when the access takes effect in memory, later than ``now``."""

    @abstractmethod
    def answer(self, burst: Burst) -> None:
        """Set ``burst.time`` to when the answer is there; called in the order in which accesses take effect."""
