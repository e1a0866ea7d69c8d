"""The process that runs Lua, seen from the proxy: started when it is first needed, killed when its time is up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable

from host.redis.scripts.messages import LENGTH, body_length, pack, unpack

START_SECONDS = 30.0
"""How long the process may take until it is ready."""


class Ended(Exception):  # noqa: N818 -- an outcome
    """The process did not answer. The text says why."""


class Process:
    """A process that runs Lua, for one request at a time.

    Parameters
    ----------
    seconds : float
        How long a request may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Number of the process; None while there is none."""
        return None if self._process is None else self._process.pid

    @property
    def running(self) -> bool:
        """Whether there is a process, as far as is known."""
        return self._process is not None and self._process.returncode is None

    async def request(self, parts: list[bytes], call: Callable[[list[bytes]], list[bytes]]) -> list[bytes]:
        """Send a request, answer its calls, and return what the process says at the end.

        Raises
        ------
        Ended
            If the process took too long, died, or broke the rules. The next request starts another.
        """
        try:
            await self._wait_until_ready()
            # SEC_CM: REDIS.SCRIPT.BOUNDED -- a step of Lua may take for ever, so the clock ends what no count does
            async with asyncio.timeout(self._seconds):
                return await self._talk(parts, call)
        except TimeoutError:
            await self.close()
            raise Ended(f"it ran for more than {self._seconds:g} seconds") from None
        except (OSError, EOFError, ValueError):
            await self.close()
            raise Ended("its process died") from None
        except BaseException:  # such as the end of the proxy: what comes next must not be taken for an answer
            self._kill()
            raise

    async def _wait_until_ready(self) -> None:
        if not self.running:
            await self._start()
        try:
            async with asyncio.timeout(START_SECONDS):
                greeting = await self._receive()
        except TimeoutError:
            greeting = []
        if greeting != [b"ready"]:
            raise ValueError("it is not ready")

    async def _talk(self, parts: list[bytes], call: Callable[[list[bytes]], list[bytes]]) -> list[bytes]:
        await self._send(parts)
        while True:
            message = await self._receive()
            if message[:1] != [b"call"]:
                return message  # the process makes itself ready for the next request meanwhile
            await self._send(call(message[1:]))

    async def _start(self) -> None:
        # SEC_CM: REDIS.SCRIPT.SANDBOXED -- a program of its own: no memory, file or variable of the proxy comes along
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-P", "-S", "-m", "host.redis.scripts.sandbox", f"{self._seconds + 1:g}"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
            cwd="/",
            start_new_session=True,  # Ctrl-C is for the proxy, which ends in order
        )

    async def _send(self, parts: list[bytes]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(pack(parts))
        await self._process.stdin.drain()

    async def _receive(self) -> list[bytes]:
        assert self._process is not None
        assert self._process.stdout is not None
        head = await self._process.stdout.readexactly(LENGTH.size)
        return unpack(await self._process.stdout.readexactly(body_length(head)))

    def _kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                # the whole session: whatever it may have started would hold the pipes open, for which its end waits
                os.killpg(self._process.pid, signal.SIGKILL)

    async def close(self) -> None:
        """End the process. A further request starts another."""
        self._kill()
        process, self._process = self._process, None
        if process is not None:
            if process.stdin is not None:
                process.stdin.close()
            await process.wait()
            if process.stdin is not None:
                with contextlib.suppress(OSError):
                    await process.stdin.wait_closed()
