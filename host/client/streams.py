"""The connection of the asyncio client: makes it, and drives an opening over it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TypeVar

from host.client.opening import Knock, Pause, Steps
from host.client.settings import Settings, unreachable
from omap.errors import OmapError

T = TypeVar("T")


async def connect(settings: Settings) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return the two ends of a new connection, with TLS if the settings say so.

    Reveals
        That a client connected, and when.

    Raises
    ------
    DeviceError
        If nothing answers there, or not in time.
    InputError
        If the certificates can't be read.
    """
    where, context = settings.where, settings.context
    try:
        async with asyncio.timeout(settings.timeout):
            if where.path:
                return await asyncio.open_unix_connection(where.path)
            return await asyncio.open_connection(where.host, where.port, ssl=context)
    except OSError as error:
        raise unreachable(settings, error) from None


async def drive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, steps: Steps[T]) -> T:
    """Do the steps of an opening, and return its result. Raises what the opening raises."""
    try:
        step = next(steps)
        while True:
            came = b""
            try:
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                elif isinstance(step, Knock):
                    came = await _knock(step)
                else:
                    async with asyncio.timeout(step.seconds):
                        writer.write(step.data)
                        came = await reader.readexactly(step.wanted)
            except (OSError, EOFError) as error:
                step = steps.throw(error)
            else:
                step = steps.send(came)
    except StopIteration as end:
        result: T = end.value
        return result


async def _knock(step: Knock) -> bytes:
    try:
        reader, writer = await connect(replace(step.settings, timeout=step.seconds))
    except OmapError:
        raise TimeoutError from None
    try:
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(step.seconds):
                writer.write(step.data)
                return await reader.read(step.wanted)
    finally:
        writer.close()
    return b""
