"""State of one connection to the proxy, and what all connections share."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

from host.redis.guesses import Guesses
from host.redis.replies import RESP2, Encoder
from host.redis.scheduler import Scheduler
from host.redis.scripts.runs import Scripts
from host.redis.watches import Watch

DIALECT = "7.0.0"
"""Version of Redis whose texts the proxy uses. Clients read it to choose among features."""


@dataclass
class Shared:
    """What all connections of a proxy share.

    Parameters
    ----------
    scheduler : Scheduler
        Runs plans.
    info : callable
        Returns lines for INFO, by section.
    password : str or None
        What AUTH must give.
    max_clients : int
        Most connections at once.
    timeout : float
        Seconds after which a connection that does nothing is closed; 0 for never.
    numbers : iterator of int
        Gives each connection its number.
    guesses : Guesses
        Slows down wrong passwords.
    sessions : dict
        Connections by number.
    calls, refusals : Counter
        How many commands of each name were taken, and how many of these were refused at once.
    scripts : Scripts
        Runs scripts.
    """

    scheduler: Scheduler
    info: Callable[[], dict[str, dict[str, object]]]
    password: str | None = field(default=None, repr=False)
    max_clients: int = 1000
    timeout: float = 0
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    guesses: Guesses = field(default_factory=Guesses)
    sessions: dict[int, Session] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    scripts: Scripts = field(default_factory=Scripts)


@dataclass
class Session:
    """What the proxy knows of one connection.

    Parameters
    ----------
    shared : Shared
        What all connections share.
    address : str
        Address of the peer.
    group : str
        What stands for the owner of this address, see :func:`host.peers.peer_group`.

    Attributes
    ----------
    authenticated : bool
        Whether the peer has given the password, if there is one.
    closed : bool
        Whether the socket must be closed after the replies.
    form : Encoder
        Makes replies in the version of the protocol that the peer chose.
    name : bytes
        Name that the peer gave itself.
    database : int or None
        Database of its commands; None after a SELECT that failed.
    queue : list or None
        Words of each command of a transaction, between MULTI and EXEC.
    queue_bytes : int
        Bytes of these words.
    spoilt : bool
        Whether a command of the transaction was refused.
    watch : Watch
        Keys that the peer watches.
    muted : bool
        Whether the peer wants no replies.
    skip : int
        Commands, this one included, until the peer wants replies again.
    last : str
        Name of its last command.
    """

    shared: Shared
    address: str = ""
    group: str = "local"

    def __post_init__(self) -> None:
        self.number = next(self.shared.numbers)
        self.since = self.last_seen = time.monotonic()
        self.closed = False
        self.last = "NULL"
        self.watch = Watch()
        self.reset()

    def reset(self) -> None:
        """Forget all that the peer said, as RESET and a new connection do."""
        self.authenticated = self.shared.password is None
        self.form: Encoder = RESP2
        self.name = b""
        self.database: int | None = 0
        self.muted, self.skip = False, 0
        self.leave_transaction()

    @property
    def is_plain(self) -> bool:
        """Whether a command runs as it comes and is answered: no password, transaction or database is missing."""
        ready = self.authenticated and self.queue is None and self.database is not None
        return ready and not (self.muted or self.skip)

    @property
    def choices(self) -> tuple[int | None, Encoder, bytes, bool, int]:
        """What commands of a transaction may change of the connection, so that it can be taken back."""
        return self.database, self.form, self.name, self.muted, self.skip

    @choices.setter
    def choices(self, before: tuple[int | None, Encoder, bytes, bool, int]) -> None:
        self.database, self.form, self.name, self.muted, self.skip = before

    def leave_transaction(self) -> None:
        """Queue nothing and watch nothing any more."""
        self.queue: list[list[bytes]] | None = None
        self.queue_bytes, self.spoilt = 0, False
        self.shared.scheduler.watches.remove(self.watch)

    def line(self) -> str:
        """Return what CLIENT LIST says of this connection."""
        now = time.monotonic()
        queued = -1 if self.queue is None else len(self.queue)
        return (
            f"id={self.number} addr={self.address} name={self.name.decode()} age={int(now - self.since)} "
            f"idle={int(now - self.last_seen)} db={self.database or 0} multi={queued} "
            f"watch={len(self.watch.places)} cmd={self.last} user=default resp={self.form.version}\n"
        )
