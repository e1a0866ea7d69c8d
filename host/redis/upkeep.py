"""What the proxy does by itself: it keeps the register of databases, and deletes what has expired."""

from __future__ import annotations

import asyncio

from host.redis import replies
from host.redis.places import REGISTER
from host.redis.plans import Plan
from host.redis.scheduler import Scheduler
from host.redis.view import View

EXPIRED_AT_ONCE = 256
"""Keys that are deleted in one round because their time has come."""

AGAIN_SECONDS = 1.0
"""Pause before the proxy tries again to delete what has expired, while the map does not answer."""


class Upkeep:
    """Keeps the register, and deletes what has expired.

    Parameters
    ----------
    scheduler : Scheduler
        Runs its plans.

    Reveals
        To whoever watches the map: that a proxy starts (three operations) or ends (two); and when a key expires that
        was neither deleted nor written since, two operations. At a constant rate nothing.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the register of databases and write it anew, so that it has its room; then watch what expires.

        Raises
        ------
        OmapError
            If the map does not answer, or the register can't be read.
        """
        await self._scheduler.meet()
        await self.save()
        self._sweeper = asyncio.create_task(self._sweep())

    async def save(self) -> None:
        """Write the register, so that counts of keys outlive the proxy; with what another proxy wrote to it."""
        if self._scheduler.databases.register_key and self._scheduler.databases.may_write:

            def apply(view: View) -> bytes:
                view.save = True
                return b""

            await self._scheduler.change([Plan(apply, [REGISTER])])

    async def stop(self) -> None:
        """Write the register, and watch nothing any more."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
            await self.save()

    async def _sweep(self) -> None:
        scheduler, expiries = self._scheduler, self._scheduler.expiries
        while True:
            await expiries.wait(scheduler.now)
            due = expiries.take(scheduler.now(), EXPIRED_AT_ONCE)
            for place, _ in due:
                scheduler.watches.touch_expired(place)
            # a round deletes an expired cell that no command writes
            made = await scheduler.change([Plan(lambda _: replies.OK, [place]) for place, _ in due])
            failed = [one for one, reply in zip(due, made, strict=True) if reply != replies.OK]
            for place, expiry in failed:
                expiries.note(place, expiry)
            if failed:
                await asyncio.sleep(AGAIN_SECONDS)
