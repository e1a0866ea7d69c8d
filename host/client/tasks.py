"""The background tasks of an asyncio client, by name."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class Tasks:
    """Tasks of which at most one of each name runs."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._running)

    def start(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run ``work`` in a task, unless a task of this name runs."""
        if name in self._running:
            return

        async def run() -> None:
            try:
                await work()
            finally:
                if self._running.get(name) is asyncio.current_task():
                    del self._running[name]

        self._running[name] = asyncio.get_running_loop().create_task(run())

    def start_after(
        self, pause: Callable[[], Awaitable[object]], name: str, work: Callable[[], Awaitable[None]]
    ) -> None:
        """Run ``work`` in a task of this name after a pause. One pause at a time is enough for all."""

        async def wait() -> None:
            await pause()
            self._running.pop("pause", None)
            self.start(name, work)

        self.start("pause", wait)

    def cancel(self, *names: str) -> None:
        """Forget the tasks of these names, and cancel those that do not run this call themselves."""
        for name in names:
            task = self._running.pop(name, None)
            if task is not None and task is not asyncio.current_task():
                task.cancel()

    async def end(self) -> None:
        """Cancel all tasks and wait for their end."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
