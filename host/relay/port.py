"""A client as the relay's switch sees it, how much the relay does for one, and what it counts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Limits:
    """How much a relay does for its clients.

    Parameters
    ----------
    clients : int
        Connections at once, with those whose TLS is not set up yet.
    in_flight : int or None
        Lines of one client's commands in the ring, beyond which no further record of it is put there; None for half of
        the ring.
    quantum : int
        Lines of one client that go into the ring before it is the turn of another client. One record goes in any case.
    input_bytes : int
        Bytes of one client that may wait for the ring, or twice the longest record if that is more. While so many wait,
        its socket is not read.
    handshake_seconds : float
        How long a client has to confirm a handshake if somebody else waits for one.
    crowded_seconds : float
        The same if somebody waits whose address has no handshake under way, or if the client's address has several.
    hellos : int
        Handshakes that a connection may begin without opening a session.
    idle_seconds : float
        How long a connection may last without opening a session.
    slow_seconds : float
        How long a client may leave answers unread.
    drain_seconds : float
        How long a shutdown waits for answers.
    """

    clients: int = 1200
    in_flight: int | None = None
    quantum: int = 256
    input_bytes: int = 1 << 17
    handshake_seconds: float = 1.0
    crowded_seconds: float = 0.05
    hellos: int = 32
    idle_seconds: float = 30.0
    slow_seconds: float = 30.0
    drain_seconds: float = 10.0

    def share(self, ring_lines: int) -> int:
        """Return the lines that one client may have in a ring, apart from a single record that is longer."""
        return ring_lines // 2 if self.in_flight is None else self.in_flight


@dataclass
class Numbers:
    """What a relay counts since its start. All of it is public.

    Parameters
    ----------
    connections : int
        Accepted.
    sessions : int
        Opened through it.
    records_in, records_out : int
        Records put into the ring for clients, and sent to them.
    operations : int
        Operations of the records put into the ring, as their headers say.
    unwanted : int
        Answers whose client was gone.
    refused : collections.Counter
        Records that the relay itself refused, by reason.
    disconnected : collections.Counter
        Connections that the relay ended, by reason.
    """

    connections: int = 0
    sessions: int = 0
    records_in: int = 0
    records_out: int = 0
    operations: int = 0
    unwanted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    disconnected: Counter[str] = field(default_factory=Counter)


class Port(ABC):
    """A client as the switch sees it.

    Attributes
    ----------
    group : str
        What stands for the owner of the client's address, see :func:`host.peers.peer_group`.
    incoming : bytearray
        What came from the client and was not taken yet.
    in_flight : int
        Lines of the records taken whose answers were not delivered.
    sessions : dict
        What the commands of the client's open sessions begin with, oldest first: no more than the device has places.
    hellos : int
        Handshakes begun since the last session was opened.
    closed : bool
        Nothing is taken from the client any more, and nothing is delivered.
    blocked : bool
        Nothing is taken from the client for now.
    ending : bool
        Nothing is taken from the client any more; answers that are due are delivered.
    queued : bool
        Whether the client has a turn to come in the ring.
    waiting : bool
        Whether the client has a turn to come for a handshake. It has no other turn meanwhile.
    """

    def __init__(self) -> None:
        self.group = ""
        self.incoming = bytearray()
        self.in_flight = 0
        self.sessions: dict[int, None] = {}
        self.hellos = 0
        self.closed = False
        self.blocked = False
        self.ending = False
        self.queued = False
        self.waiting = False

    @abstractmethod
    def deliver(self, records: bytes | memoryview) -> None:
        """Send records to the client, in order."""

    @abstractmethod
    def opened(self) -> None:
        """Take note that a session of the client is open."""

    @abstractmethod
    def over(self) -> None:
        """Take note that no session of the client is open any more."""

    @abstractmethod
    def taken(self) -> None:
        """Take note that some of ``incoming`` was taken."""

    @abstractmethod
    def disconnect(self, reason: str) -> None:
        """End the connection once all that was delivered is sent."""
