"""The synchronous client of a constant rate: an asyncio client in a thread, which sends whether it has work or not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from host.client.aio import open_client
from host.client.settings import Settings
from omap.bodies import Reply
from omap.columns import Answers
from omap.connections import Progress, RemoteMap
from omap.errors import SessionError
from omap.operations import Operation, Response
from omap.rows import Rows

T = TypeVar("T")


class PacedClient(RemoteMap):
    """A map behind a relay, used at a constant rate. Make one with ``omap.connect(..., rate=...)``.

    Parameters
    ----------
    settings : Settings
        Where and how, with a ``rate``.

    Reveals
        The rate, the operations of each record, and for how long the client is connected; not when it has work, nor
        how much.
    """

    def __init__(self, settings: Settings) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="omap client", daemon=True)
        self._thread.start()
        self._closed = False
        try:
            self._client = self._wait(open_client(settings))
        except BaseException:
            self._stop()
            raise
        self.params = self._client.params

    @property
    def may_read(self) -> bool:
        """Whether the client is told what keys held."""
        return self._client.settings.client.credential.reads

    def execute(self, batch: Sequence[Operation]) -> list[Response]:
        """Run operations at the next ticks. See :meth:`host.client.sync.Client.execute`.

        Reveals
            Nothing.
        """
        return self._wait(self._client.execute(batch))

    def execute_arrays(self, kinds: npt.ArrayLike, keys: Rows, values: Rows) -> Answers:
        """Run operations that come as arrays. See :meth:`omap.interface.ObliviousMap.execute_arrays`.

        Reveals
            Nothing.
        """
        return self._wait(self._client.execute_arrays(kinds, keys, values))

    def put_many(self, keys: Rows, values: Rows, *, progress: Progress | None = None) -> int:
        """Set many keys. See :meth:`omap.connections.RemoteMap.put_many`; ``progress`` is called in another thread.

        Reveals
            Nothing.
        """
        return self._wait(self._client.put_many(keys, values, progress=progress))

    def delete_many(self, keys: Rows, *, progress: Progress | None = None) -> int:
        """Remove many keys. See :meth:`omap.connections.RemoteMap.delete_many`.

        ``progress`` is called in another thread.

        Reveals
            Nothing.
        """
        return self._wait(self._client.delete_many(keys, progress=progress))

    def get_many(
        self, keys: Rows, *, progress: Progress | None = None
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Get the values of many keys. See :meth:`omap.connections.RemoteMap.get_many`.

        ``progress`` is called in another thread.

        Reveals
            Nothing.
        """
        return self._wait(self._client.get_many(keys, progress=progress))

    def ping(self) -> Reply:
        """Run a NOP and return its answer: live keys, number of the operation, overruns.

        Reveals
            Nothing.
        """
        return self._wait(self._client.ping())

    def __len__(self) -> int:
        """Return the number of live keys. This takes one operation, a NOP.

        Reveals
            Nothing.
        """
        return self.ping().live

    def close(self) -> None:
        """End the session and hang up; then nothing is sent any more.

        Reveals
            That the client ends its session, and when.
        """
        if self._closed:
            return
        try:
            self._wait(self._client.close())
        finally:
            self._stop()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        if self._closed:
            work.close()
            raise SessionError("the client was closed: connect anew")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _stop(self) -> None:
        self._closed = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
