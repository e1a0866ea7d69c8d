"""Maps that run elsewhere. :func:`omap.connect` finds an opener for the scheme of a URL through entry points.

The group ``omap.connections`` has one opener for each scheme: ``opener(url, **options) -> RemoteMap``. The group
``omap.connections.asyncio`` has one that is awaited and returns an :class:`AsyncMap`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast, overload
from urllib.parse import urlsplit

from omap.errors import FullError, InputError
from omap.interface import D, ObliviousMap, operation_of, settled
from omap.operations import Kind, Operation, Response
from omap.rows import BytesLike, Rows, as_rows

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from omap.columns import Answers
    from omap.params import Params

GROUP = "omap.connections"
"""Entry-point group of the openers that return a :class:`RemoteMap`."""

ASYNC_GROUP = "omap.connections.asyncio"
"""Entry-point group of the openers that return an :class:`AsyncMap`."""

Progress = Callable[[int, int], object]
"""Called with the number of operations that are done, and with the number of all."""


class RemoteMap(ObliviousMap):
    """A map behind a connection. It offers what every map offers, and bulk work as a stream of operations.

    Use it as a context manager, or call :meth:`close`.
    """

    load_operations = 2, 1

    @abstractmethod
    def put_many(self, keys: Rows, values: Rows, *, progress: Progress | None = None) -> int:
        """Set many keys, in order, and return how many of them were new.

        A client that may not read is told that all were.

        Parameters
        ----------
        keys, values
            ``(n, key_bytes)`` and ``(n, value_bytes)`` arrays of ``uint8``, or what :func:`~omap.rows.as_rows`
            takes.
        progress : callable, optional
            Called as ``progress(done, n)`` from time to time, and at the end.

        Reveals
            That n operations ran, and when; for each, pages drawn uniformly at random.

        Raises
        ------
        FullError, DeniedError
            If new keys found no room, or the client's credential does not allow some of the operations. All others
            ran, because an early end would show it. The message says how many were refused.
        InputError
            For wrong shapes or sizes. In this case no operation was sent.
        """

    @abstractmethod
    def delete_many(self, keys: Rows, *, progress: Progress | None = None) -> int:
        """Remove many keys, in order, and return how many of them were there.

        A client that may not read is told that none was. Parameters, what is revealed, and errors: as :meth:`get_many`.

        Parameters
        ----------
        keys
            As for :meth:`get_many`.
        progress : callable, optional
            As for :meth:`put_many`.
        """

    @abstractmethod
    def get_many(
        self, keys: Rows, *, progress: Progress | None = None
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Return the values of many keys, and which of the keys are live.

        Parameters
        ----------
        keys
            ``(n, key_bytes)`` array of ``uint8``, or what :func:`~omap.rows.as_rows` takes.
        progress : callable, optional
            As for :meth:`put_many`.

        Returns
        -------
        values : (n, value_bytes) uint8 array
            Zeros where a key is absent.
        found : (n,) bool array
            Whether each key is live.

        Reveals
            As :meth:`put_many`.

        Raises
        ------
        DeniedError
            If the client's credential does not allow some of the operations. All others ran. The message says how many
            were refused.
        InputError
            For wrong shapes or sizes. In this case no operation was sent.
        """

    @abstractmethod
    def close(self) -> None:
        """End the session and the connection. Reveals that they ended. A closed map refuses work."""

    def bulk_load(self, keys: Rows, values: Rows) -> None:
        """Insert n new keys, one operation after another, because there is no scan over a connection.

        This method first looks up whether the keys are new and find room. Another client can change that before the
        keys are inserted. :meth:`put_many` does not look them up. A client that is not told how many keys are live
        learns only from FullError that there is no room, when some of the keys were inserted.

        Reveals
            That 2n + 1 operations ran, and hence n, which a bulk load in the device hides. If it is refused, fewer ran:
            one if there is no room, n + 1 if some of the keys are there.
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
                f"{len(rows)} new keys need more room than there is: {live} of {self.params.capacity} are live"
            )
        _, found = self.get_many(rows)
        if found.any():
            raise InputError(
                f"{found.sum()} of the keys are in the map already; bulk_load only inserts: use put_many to overwrite"
            )
        self.put_many(rows, cells)

    def format(self) -> None:
        """Raise InputError, because only the host of a map can format it. Reveals nothing."""
        raise InputError("a client can't format a map: its host does, by starting `omap serve` anew")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __bool__(self) -> bool:
        return True  # Python would call __len__ otherwise, which is an operation here


class AsyncMap(ABC):
    """A map behind a connection, for asyncio. Tasks that wait at the same time share the connection, pipelined.

    Operations run in the order in which they were submitted. They reveal and hide what
    :meth:`omap.interface.ObliviousMap.execute` reveals and hides. Keys and values in arrays are not copied, so they
    must stay as they are until the call is done.

    Attributes
    ----------
    params : Params
        Public parameters of the map.
    """

    params: Params

    @abstractmethod
    async def execute(self, batch: Sequence[Operation]) -> list[Response]:
        """Run operations in order and return one response for each. Reveals as :meth:`ObliviousMap.execute`."""

    @abstractmethod
    async def execute_arrays(self, kinds: npt.ArrayLike, keys: Rows, values: Rows) -> Answers:
        """Run operations that come as arrays. See :meth:`omap.interface.ObliviousMap.execute_arrays`."""

    @abstractmethod
    async def put_many(self, keys: Rows, values: Rows, *, progress: Progress | None = None) -> int:
        """Set many keys, and return how many of them were new. See :meth:`RemoteMap.put_many`."""

    @abstractmethod
    async def delete_many(self, keys: Rows, *, progress: Progress | None = None) -> int:
        """Remove many keys, and return how many of them were there. See :meth:`RemoteMap.delete_many`."""

    @abstractmethod
    async def get_many(
        self, keys: Rows, *, progress: Progress | None = None
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Return the values of many keys, and which of the keys are live. See :meth:`RemoteMap.get_many`."""

    @abstractmethod
    async def live(self) -> int:
        """Return the number of live keys. Reveals that one operation ran, because a NOP asks for the number."""

    @abstractmethod
    async def close(self) -> None:
        """End the session and the connection. Reveals that they ended."""

    @overload
    async def get(self, key: BytesLike) -> bytes | None: ...

    @overload
    async def get(self, key: BytesLike, default: D) -> bytes | D: ...

    async def get(self, key: BytesLike, default: D | None = None) -> bytes | D | None:
        """Return the value of ``key``, or ``default`` if the key is absent. Reveals as :meth:`execute`."""
        previous = settled(self.params, Kind.GET, (await self.execute([operation_of(Kind.GET, key)]))[0])
        return default if previous is None else previous

    async def put(self, key: BytesLike, value: BytesLike) -> bytes | None:
        """Set ``key`` to ``value`` and return its previous value, or None. Reveals as :meth:`execute`.

        Raises
        ------
        FullError
            If the key is new and the map has no room for it.
        DeniedError
            If the client's credential does not allow it.
        """
        return settled(self.params, Kind.PUT, (await self.execute([operation_of(Kind.PUT, key, value)]))[0])

    async def delete(self, key: BytesLike) -> bytes | None:
        """Remove ``key`` and return its value, or None if the key was absent. Reveals as :meth:`execute`."""
        return settled(self.params, Kind.DELETE, (await self.execute([operation_of(Kind.DELETE, key)]))[0])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


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
        Address of the map: ``omap://host:port``, or ``omap+unix:///path`` for a socket file.
    **options
        Options of the opener. For ``omap://`` see :func:`host.client.sync.open_url`; ``key_file`` is needed.

    Reveals
        That a client connected, and when.

    Raises
    ------
    InputError
        If no installed package speaks this scheme.
    OmapError
        If the connection can't be opened; says why.
    """
    return cast(RemoteMap, _opener(GROUP, url)(url, **options))


async def connect_async(url: str, **options: Any) -> AsyncMap:
    """Open a connection to a map, for asyncio. Reveals and raises as :func:`connect`.

    Parameters
    ----------
    url : str
        Address of the map: ``omap://host:port``, or ``omap+unix:///path`` for a socket file.
    **options
        Options of the opener. For ``omap://`` see :func:`host.client.aio.open_url`; ``key_file`` is needed.
    """
    return cast(AsyncMap, await _opener(ASYNC_GROUP, url)(url, **options))
