"""What the proxy wants of a client of the map."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from omap.errors import OmapError
from omap.operations import Operation, Response


class Store(Protocol):
    """What runs operations: :class:`host.client.aio.AsyncClient`, or a stand-in for it."""

    @property
    def map_id(self) -> bytes:
        """Id of the map; another one when the store was told to accept another map."""
        ...

    @property
    def trouble(self) -> OmapError | None:
        """Why no operation can run now; None if nothing is known to be wrong."""
        ...

    @property
    def live_keys(self) -> int | None:
        """Live keys of the map as of the newest answer; None before the first."""
        ...

    def submit(self, batch: Sequence[Operation]) -> asyncio.Future[list[Response]]:
        """Queue operations and return a future of their responses. Operations run in the order of the calls."""
        ...
