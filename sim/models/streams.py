"""Streams in a bench: producers and consumers with drawn waiting times, and the check of docs/hardware/streams.md.

This is the Python form, used under cocotb and Amaranth's simulator; the compiled form is ``native/streams.h``. Both
make the same moves in the same cycles from the same seed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from amaranth.hdl import Const
from amaranth.lib import data

from omap.errors import ParamsError
from sim.models.draws import Purpose, draw
from sim.models.protocol import Breach, Rule
from sim.models.timing import SHARE_ONE


def idle_payload(width: int) -> int:
    """Return what a payload of ``width`` bits shows while it is not valid: 0xA5 in every byte."""
    return int.from_bytes(b"\xa5" * -(-width // 8), "little") & ((1 << width) - 1)


def pack(shape: Any, item: Any) -> int:
    """Return a payload as a whole number: from a number, from bytes (lowest first), or from what a layout takes."""
    if isinstance(item, (bytes, bytearray)):
        return int.from_bytes(item, "little")
    if isinstance(item, data.Const):
        return int(item.as_value().value)
    if isinstance(item, (dict, list, tuple)):
        return int(shape.const(item).as_value().value)
    return int(item)


class Waits:
    """Waiting times of a stream: those given, one an item, then a draw each cycle.

    Parameters
    ----------
    seed : int
        Seed of the stream's draws.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._given: deque[int] = deque()
        self._remaining = 0
        self._begun = False
        self._share = 0

    def set(self, waits: Iterable[int] = (), idle: float | None = None) -> None:
        """Give waiting times for the next items, in cycles, and the share of cycles to wait in after those."""
        self._given.extend(waits)
        if idle is not None:
            self._share = share_of(idle)

    def wait(self, cycle: int) -> bool:
        """Whether to wait in the coming cycle. An item's waiting begins with the first call after :meth:`done`."""
        if not self._begun:
            self._begun = True
            self._remaining = self._given.popleft() if self._given else 0
        if self._remaining:
            self._remaining -= 1
            return True
        return self._share > 0 and draw(self._seed, Purpose.STREAM, cycle) & 0xFFFF < self._share

    def done(self) -> None:
        """Note that an item has gone."""
        self._begun = False


def share_of(idle: float) -> int:
    """Return a share of cycles in the scale of the draws; one that would let nothing move raises ParamsError."""
    if not 0.0 <= idle <= 0.99:
        raise ParamsError(f"idle is {idle!r}; it must be 0 to 0.99 of the cycles")
    return round(idle * SHARE_ONE)


class Source:
    """Feeds a stream: offers each item pushed until it is taken.

    Attributes
    ----------
    cycles : list of int
        When each item was taken.
    """

    def __init__(self, name: str, seed: int, width: int, shape: Any = None) -> None:
        self.name = name
        self.waits = Waits(seed)
        self.shape = shape
        self.cycles: list[int] = []
        self.transfers = 0
        self._idle = idle_payload(width)
        self._items: deque[int] = deque()
        self._offering = False

    def push(self, items: Iterable[Any]) -> None:
        """Queue items: whole numbers, bytes, or what the payload's layout takes."""
        self._items.extend(pack(self.shape, item) for item in items)

    @property
    def remaining(self) -> int:
        """Items not taken yet."""
        return len(self._items)

    def wait_for(self, waits: Iterable[int], idle: float | None) -> None:
        """As :meth:`Waits.set`."""
        self.waits.set(waits, idle)

    def drive(self, cycle: int) -> tuple[int, int]:
        """Return (valid, payload) for the coming cycle."""
        if not self._offering and self._items:
            self._offering = not self.waits.wait(cycle)
        return int(self._offering), self._items[0] if self._offering else self._idle

    def step(self, cycle: int, ready: int) -> bool:
        """Take the end of the cycle; return whether an item went."""
        if not (self._offering and ready):
            return False
        self._items.popleft()
        self._offering = False
        self.waits.done()
        self.cycles.append(cycle)
        self.transfers += 1
        return True


class Check:
    """Holds the producer of one stream to the rules: what is offered stays, unchanged, until it is taken."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._open: int | None = None

    def step(self, cycle: int, valid: int, ready: int, payload: int) -> Breach | None:
        """Take one cycle; return the rule it breaks, if any."""
        found = None
        if self._open is not None and not valid:
            found = Breach(cycle, self.name, Rule.STREAM_WITHDRAWN)
        elif self._open is not None and payload != self._open:
            found = Breach(cycle, self.name, Rule.STREAM_CHANGED)
        self._open = payload if valid and not ready else None
        return found

    def forget(self) -> None:
        """Note that the design was erased: what it offered may be gone."""
        self._open = None


class Sink:
    """Takes from a stream and checks its producer.

    Attributes
    ----------
    cycles : list of int
        When each item was taken.
    """

    def __init__(self, name: str, seed: int, shape: Any = None, *, always_ready: bool = False) -> None:
        self.name = name
        self.waits = Waits(seed)
        self.shape = shape
        self.cycles: list[int] = []
        self.transfers = 0
        self._check = Check(name)
        self._always = always_ready
        self._items: list[int] = []
        self._taking = False

    def wait_for(self, waits: Iterable[int], idle: float | None) -> None:
        """As :meth:`Waits.set`."""
        self.waits.set(waits, idle)

    def drive(self, cycle: int) -> int:
        """Return ready for the coming cycle."""
        self._taking = self._always or not self.waits.wait(cycle)
        return int(self._taking)

    def step(self, cycle: int, valid: int, payload: int) -> tuple[bool, Breach | None]:
        """Take the end of the cycle; return whether an item came, and the rule that was broken."""
        breach = self._check.step(cycle, valid, self._taking, payload)
        if not (valid and self._taking):
            return False, breach
        self._items.append(payload)
        self.waits.done()
        self.cycles.append(cycle)
        self.transfers += 1
        return True, breach

    def forget(self) -> None:
        """Note that the design was erased: what it offered may be gone."""
        self._check.forget()

    def take(self) -> list[int]:
        """Return the items that came since the last call."""
        items, self._items = self._items, []
        return items


def watch(name: str, flow: Any, *, erase: Any = None) -> Any:
    """Return a process for ``Simulator.add_process`` that checks a stream anywhere in a design.

    A breach raises :class:`~sim.errors.ProtocolError` out of the simulation. After a cycle of ``erase`` an offer may be
    gone.
    """

    async def process(ctx: Any) -> None:
        check, cycle = Check(name), 0
        erasing = Const(0) if erase is None else erase
        sampled = ctx.tick().sample(flow.valid, flow.ready, flow.payload, erasing)
        async for _, reset, valid, ready, payload, erased in sampled:
            breach = check.step(cycle, valid, ready, payload)
            if breach and not reset:
                raise breach.error()
            if erased:
                check.forget()
            cycle += 1

    return process
