"""Guesses of the password: each wrong one makes the next from its address wait longer.

The proxy looks at a password only when the wait of its address is over, and at one password of the address after the
other, however many connections there are. A right password makes nobody wait. Other addresses are not held up.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

FIRST_SECONDS = 0.1
"""Wait after the first wrong password; each further one doubles it."""

LONGEST_SECONDS = 2.0
"""Longest wait after a wrong password."""

PATIENCE_SECONDS = 30.0
"""About how long a password waits to be looked at. If more are before it, it is refused unseen."""

FORGET_SECONDS = 600.0
"""After this long without a wrong password an address begins anew."""

ADDRESSES = 4096
"""Most addresses that are remembered. The one whose last wrong password is the oldest is forgotten for another."""


@dataclass(slots=True)
class _Suspect:
    """An address that gave a wrong password: how many, when the next is looked at, and how many wait for that."""

    wrong: int = 0
    free: float = 0.0
    waiting: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def wait(self) -> float:
        """Seconds from one wrong password to the next."""
        return min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(self.wrong - 1, 16))


class Guesses:
    """What is remembered of addresses that gave a wrong password. It is bounded.

    Parameters
    ----------
    now, sleep : callable, optional
        Clock; anything but the default is for tests.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._now, self._sleep = now, sleep
        self._suspects: OrderedDict[str, _Suspect] = OrderedDict()

    def __len__(self) -> int:
        """Return how many addresses are remembered."""
        return len(self._suspects)

    @asynccontextmanager
    async def turn(self, group: str) -> AsyncIterator[bool]:
        """Wait until a password from an address may be looked at, and let no other in meanwhile.

        Gives False, at once, if so many wait before it that this one must be refused unseen.

        Parameters
        ----------
        group : str
            What stands for the owner of the address, see :func:`host.peers.peer_group`.

        Reveals
            To the peer: whether wrong passwords came from its address lately.
        """
        suspect = self._suspects.get(group)
        if suspect is None:
            yield True
            return
        if suspect.waiting * suspect.wait >= PATIENCE_SECONDS:
            yield False
            return
        suspect.waiting += 1
        try:
            # SEC_CM: REDIS.AUTH.SLOWED -- one after the other, so that more connections make no more guesses
            async with suspect.turn:
                if (wait := suspect.free - self._now()) > 0:
                    await self._sleep(wait)
                yield True
        finally:
            suspect.waiting -= 1

    def wrong(self, group: str) -> None:
        """Take note of a wrong password from an address."""
        now = self._now()
        suspect = self._suspects.setdefault(group, _Suspect())
        if now - suspect.free > FORGET_SECONDS:
            suspect.wrong = 0
        suspect.wrong += 1
        suspect.free = now + suspect.wait
        self._suspects.move_to_end(group)
        if len(self._suspects) > ADDRESSES:
            self._suspects.popitem(last=False)
