"""What the proxy set to expire, and when. It is kept in memory, and lost when the proxy ends."""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable, Collection

from host.redis.places import Place

LONGEST_WAIT = 3600.0
"""Seconds after which the time is looked at again in any case, because a clock may be set."""


class Expiries:
    """Expiries by place: one for each key, the newest.

    Attributes
    ----------
    expired : int
        How many keys were given out because their time had passed.
    """

    def __init__(self) -> None:
        self._when: dict[Place, int] = {}
        self._counts: Counter[int] = Counter()  # by database
        self._queue: list[tuple[int, Place]] = []  # entries that are no longer true are skipped
        self._news = asyncio.Event()
        self.expired = 0

    def __len__(self) -> int:
        """Return how many keys are known to expire."""
        return len(self._when)

    def count(self, database: int) -> int:
        """Return how many keys of a database are known to expire."""
        return self._counts[database]

    def has_passed(self, place: Place, now: int) -> bool:
        """Return whether a key is known to have expired, and is not deleted yet."""
        return self._when.get(place, now) < now

    def note(self, place: Place, expiry: int | None) -> None:
        """Take note that a key expires at a time in milliseconds since 1970; None for never, or no longer."""
        if expiry is None:
            if self._when and self._when.pop(place, None) is not None:
                self._counts[place[0]] -= 1
            return
        self._counts[place[0]] += place not in self._when
        self._when[place] = expiry
        heapq.heappush(self._queue, (expiry, place))
        if len(self._queue) > 2 * len(self._when) + 1024:  # mostly entries that are no longer true
            self._queue = [(when, place) for place, when in self._when.items()]
            heapq.heapify(self._queue)
        if self._queue[0][0] == expiry:
            self._news.set()

    def forget(self, databases: Collection[int]) -> None:
        """Forget the keys of databases that were emptied."""
        self._when = {place: when for place, when in self._when.items() if place[0] not in databases}
        self._counts = Counter(place[0] for place in self._when)

    def take(self, now: int, most: int) -> list[tuple[Place, int]]:
        """Return up to ``most`` keys whose time has passed, and forget them."""
        due: list[tuple[Place, int]] = []
        while self._queue and self._queue[0][0] < now and len(due) < most:
            when, place = heapq.heappop(self._queue)
            if self._when.get(place) == when:
                self.note(place, None)
                due.append((place, when))
        self.expired += len(due)
        return due

    async def wait(self, now: Callable[[], int]) -> None:
        """Wait until the time of the first key has passed."""
        while not self._queue or self._queue[0][0] >= now():
            self._news.clear()
            seconds = (self._queue[0][0] + 1 - now()) / 1000 if self._queue else LONGEST_WAIT
            try:
                async with asyncio.timeout(min(seconds, LONGEST_WAIT)):
                    await self._news.wait()
            except TimeoutError:
                pass
