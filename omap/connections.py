"""Maps that run elsewhere: ``connect`` finds what speaks a URL's scheme through entry points.

The group ``omap.connections`` has one opener for each scheme, ``opener(url, **options) -> RemoteMap``, and the group
``omap.connections.asyncio`` one that is awaited and returns an :class:`AsyncMap`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import urlsplit

from omap.errors import FullError, InputError
from omap.interface import ObliviousMap, as_rows
from omap.operations import Kind, Operation, Response, Status

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from omap.params import Params

GROUP = "omap.connections"
"""Entry-point group of the openers that return a :class:`RemoteMap`."""

ASYNC_GROUP = "omap.connections.asyncio"
"""Entry-point group of the openers that return an :class:`AsyncMap`."""

Progress = Callable[[int, int], object]
"""Told how many operations of how many are done."""


class RemoteMap(ObliviousMap):
    """A map behind a connection: what every map offers, and bulk work as a stream of operations.

    Use it as a context manager, or call :meth:`close`.
    """

    @abstractmethod
    def put_many(
        self,
        keys: npt.ArrayLike | Sequence[bytes],
        values: npt.ArrayLike | Sequence[bytes],
        *,
        progress: Progress | None = None,
    ) -> int:
        """Set many keys, in order, and return how many of them were new.

        Parameters
        ----------
        keys, values
            ``(n, key_bytes)`` and ``(n, value_bytes)`` arrays of ``uint8``, or sequences of n ``bytes``.
        progress : callable, optional
            Called as ``progress(done, n)`` now and then, and at the end.

        Reveals
            That n operations ran, and when; for each, pages drawn uniformly at random.

        Raises
        ------
        FullError
            If new keys found no room; says how many operations ran.
        InputError
            For wrong shapes or sizes. Nothing was sent.
        """

    @abstractmethod
    def get_many(
        self, keys: npt.ArrayLike | Sequence[bytes], *, progress: Progress | None = None
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Return values and presence of many keys.

        Returns
        -------
        values : (n, value_bytes) uint8 array
            Zeros where the key is absent.
        found : (n,) bool array
            Whether the key is there.

        Reveals
            As :meth:`put_many`.
        """

    @abstractmethod
    def close(self) -> None:
        """End the session and the connection. Reveals that it ended. A closed map refuses work."""

    def bulk_load(self, keys: npt.ArrayLike | Sequence[bytes], values: npt.ArrayLike | Sequence[bytes]) -> None:
        """Insert new keys, one operation after another: there is no scan over a connection.

        Whether they are new, and find room, is looked up first, which other clients can overtake. :meth:`put_many`
        does not look.

        Reveals
            Other than a bulk load in the device: that 2n + 1 operations ran, hence n.
        """
        rows = as_rows("keys", self.params.key_bytes, keys)
        cells = as_rows("values", self.params.value_bytes, values)
        if len(rows) != len(cells):
            raise InputError(f"{len(rows)} keys came with {len(cells)} values; there must be one for each")
        if len(set(map(bytes, rows))) != len(rows):
            raise InputError("some keys are repeated; keys must be distinct")
        live = len(self)
        if len(rows) > self.params.capacity - live:
            raise FullError(
                f"{len(rows)} new keys need more room than is left: {live} of {self.params.capacity} are live"
            )
        _, found = self.get_many(rows)
        if found.any():
            raise InputError(
                f"{found.sum()} of the keys are in the map already; bulk_load only inserts: use put_many to overwrite"
            )
        self.put_many(rows, cells)

    def format(self) -> None:
        """Refuse: a client can't format a map, its host does."""
        raise InputError("a client can't format a map: its host does, by starting `omap serve` anew")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __bool__(self) -> bool:
        return True  # not "has keys": that would be an operation


class AsyncMap(ABC):
    """A map behind a connection, for asyncio. Tasks that wait at the same time share the connection, pipelined.

    Operations run in the order in which they were submitted. What they reveal and hide is what
    :class:`~omap.interface.ObliviousMap` says.

    Attributes
    ----------
    params : Params
        Public parameters of the map.
    """

    params: Params

    @abstractmethod
    async def execute(self, batch: Sequence[Operation]) -> list[Response]:
        """Run operations in order and return one response each. See :meth:`ObliviousMap.execute`."""

    @abstractmethod
    async def live(self) -> int:
        """Return the number of live keys. Costs an operation, a NOP."""

    @abstractmethod
    async def close(self) -> None:
        """End the session and the connection."""

    async def get(self, key: bytes) -> bytes | None:
        """Return the value of ``key``, or None if it is absent."""
        return (await self.execute([Operation(Kind.GET, key)]))[0].previous

    async def put(self, key: bytes, value: bytes) -> bytes | None:
        """Set ``key`` to ``value`` and return the previous value, or None; raises FullError as a map does."""
        status, previous = (await self.execute([Operation(Kind.PUT, key, value)]))[0]
        if status is Status.FULL:
            raise full(self.params)
        return previous

    async def delete(self, key: bytes) -> bytes | None:
        """Remove ``key`` and return its value, or None if it was absent."""
        return (await self.execute([Operation(Kind.DELETE, key)]))[0].previous

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


def full(params: Params) -> FullError:
    """Return the error of a PUT that found no room."""
    return FullError(f"the map has no room for a new key: capacity is {params.capacity}; delete keys or plan more")


def _opener(group: str, url: str) -> Any:
    scheme = urlsplit(url).scheme
    found: Iterable[metadata.EntryPoint] = metadata.entry_points(group=group, name=scheme)
    for entry_point in found:
        return entry_point.load()
    names = ", ".join(f"{name}://" for name in sorted(metadata.entry_points(group=group).names)) or "none"
    raise InputError(f"nothing speaks {url!r}; addresses start with {names}, as omap://127.0.0.1:7450 does")


def connect(url: str, **options: Any) -> RemoteMap:
    """Open a connection to a map.

    Parameters
    ----------
    url : str
        Where it is: ``omap://host:port``.
    **options
        What its opener takes: for ``omap://`` see :func:`host.client.sync.open_url`; ``key_file`` is a must.

    Reveals
        That a client connected, and when.

    Raises
    ------
    InputError
        No package that is installed speaks this scheme.
    OmapError
        The connection could not be opened; says why.
    """
    return cast(RemoteMap, _opener(GROUP, url)(url, **options))


async def connect_async(url: str, **options: Any) -> AsyncMap:
    """Open a connection to a map, for asyncio. As :func:`connect`; options as :func:`host.client.aio.open_url`."""
    return cast(AsyncMap, await _opener(ASYNC_GROUP, url)(url, **options))
