"""How long a task waits for its peer, with one timer for all its waits: most end at once, and a timer costs more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class Patience:
    """Time limits of one task. Made in this task, and of no use to others."""

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._loop = asyncio.get_running_loop()
        self._end: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ran_out = False

    async def wait(self, work: Awaitable[T], seconds: float | None) -> T:
        """Await ``work``, for at most so many seconds; None for ever.

        Raises
        ------
        TimeoutError
            If that is not enough. The work is cancelled.
        """
        self._end = None if seconds is None else self._loop.time() + seconds
        if self._end is not None and (self._timer is None or self._timer.when() > self._end):
            self.stop()
            self._timer = self._loop.call_at(self._end, self._look)
        try:
            return await work
        except asyncio.CancelledError:
            if not self._ran_out:
                raise
            self._task.uncancel()
            self._ran_out = False
            raise TimeoutError from None
        finally:
            self._end = None

    def _look(self) -> None:
        """End the wait if its time is over. Else look again when it is, or at the next wait."""
        self._timer = None
        if self._end is None:
            return
        if self._loop.time() < self._end:
            self._timer = self._loop.call_at(self._end, self._look)
            return
        self._ran_out = True
        self._task.cancel()

    def stop(self) -> None:
        """Forget the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
