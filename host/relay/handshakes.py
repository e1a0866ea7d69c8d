"""Whose handshake is next, and how long one may hold up others. Does no input or output, and reads no record.

A device numbers handshakes as it takes their HELLOs, and keeps as many as it has *places*: handshake n is forgotten
when number n + places begins. So a handshake may begin once the one that it overwrites is over. It is over when its
CONFIRM was put into the ring, when its client hung up or began another, or when its time has passed. This time runs
from the device's answer to the HELLO, whatever the client sends, and ends nothing while nobody waits.

Of the addresses that wait, the one with the fewest handshakes under way is next; among equals, the one that came first
to be so. Connections of one address have turns in the order in which they asked. A client keeps the longer of the two
times only if its handshake is the only one of its address, and if nobody waits whose address has none: so many
connections of few addresses can't shorten the time of a client that is far away.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from host.relay.port import Limits, Port


@dataclass(eq=False, slots=True)
class Handshake:
    """A handshake that a HELLO has begun.

    Attributes
    ----------
    port : Port
        Whose it is.
    session : int
        Its number, which the device has given it; 0 before its answer.
    answered : float
        When the device answered the HELLO, on the clock; infinite before that.
    over : bool
        Whether another may overwrite it.
    """

    port: Port
    session: int = 0
    answered: float = math.inf
    over: bool = False


class Handshakes:
    """The handshakes under way, and the ports that wait for one.

    Parameters
    ----------
    places : int
        Handshakes that the device keeps.
    limits : Limits
        How long a handshake may take.
    clock : callable
        Seconds, monotonic.
    """

    def __init__(self, places: int, limits: Limits, clock: Callable[[], float]) -> None:
        self._places = places
        self._limits = limits
        self._clock = clock
        self._begun: deque[Handshake] = deque()
        self._current: dict[Port, Handshake] = {}
        self._under_way: Counter[str] = Counter()
        self._waiting: dict[str, deque[Port]] = {}
        self._turns: list[dict[str, None]] = [{} for _ in range(places + 1)]

    @property
    def waiting(self) -> bool:
        """Whether a port waits."""
        return bool(self._waiting)

    def wait(self, port: Port) -> None:
        """Let a port wait for its turn. A handshake that it has under way is over."""
        self._end(port)
        port.waiting = True
        if port.group not in self._waiting:
            self._waiting[port.group] = deque()
            self._turns[self._under_way[port.group]][port.group] = None
        self._waiting[port.group].append(port)

    def next(self) -> Port | None:
        """Return the port whose turn it is and which must send its HELLO now; None if nobody may now."""
        if not self._waiting or self._clock() < self._free_at():
            return None
        if len(self._begun) == self._places:
            self._finish(self._begun.popleft())
        group = next(iter(next(filter(None, self._turns))))
        port = self._waiting[group][0]
        self._stop_waiting(port)
        return port

    def begin(self, port: Port) -> Handshake:
        """Take note that a port's HELLO was put into the ring."""
        handshake = Handshake(port)
        self._begun.append(handshake)
        self._current[port] = handshake
        self._count(port.group, 1)
        return handshake

    def answered(self, handshake: Handshake, session: int) -> None:
        """Take note of the device's answer to a HELLO: the number of the handshake, or 0 if it was refused."""
        handshake.session, handshake.answered = session, self._clock()
        if not session:
            self._finish(handshake)

    def confirm(self, port: Port, session: int) -> bool:
        """Whether a port may confirm a handshake now, which is over then: a later HELLO comes after its CONFIRM."""
        handshake = self._current.get(port)
        if handshake is None or not session or handshake.session != session:
            return False
        self._finish(handshake)
        return True

    def forget(self, port: Port) -> None:
        """Take note that a port is closed."""
        if port.waiting:
            self._stop_waiting(port)
        self._end(port)

    @property
    def deadline(self) -> float | None:
        """When the next handshake may begin, on the clock; None if nobody waits, or if an answer must come first."""
        if not self._waiting:
            return None
        at = self._free_at()
        return None if at == math.inf else at

    # -- inside ---------------------------------------------------------------------------------------------------

    def _free_at(self) -> float:
        """Return when a place is free for the port whose turn is next."""
        while self._begun and self._begun[0].over:
            self._begun.popleft()
        if len(self._begun) < self._places:
            return -math.inf
        oldest = self._begun[0]
        # SEC_CM: RELAY.TURNS.SHARED -- the time does not depend on what the client sends, and is short in a crowd
        crowded = self._under_way[oldest.port.group] > 1 or self._turns[0]
        return oldest.answered + (self._limits.crowded_seconds if crowded else self._limits.handshake_seconds)

    def _finish(self, handshake: Handshake) -> None:
        if not handshake.over:
            handshake.over = True
            del self._current[handshake.port]
            self._count(handshake.port.group, -1)

    def _end(self, port: Port) -> None:
        if (handshake := self._current.get(port)) is not None:
            self._finish(handshake)

    def _count(self, group: str, change: int) -> None:
        before = self._under_way[group]
        self._under_way[group] = before + change
        if group in self._waiting:
            del self._turns[before][group]
            self._turns[before + change][group] = None
        if not self._under_way[group]:
            del self._under_way[group]

    def _stop_waiting(self, port: Port) -> None:
        port.waiting = False
        queue = self._waiting[port.group]
        queue.remove(port)
        if not queue:
            del self._waiting[port.group]
            del self._turns[self._under_way[port.group]][port.group]
