"""The work of a client: operations to send in order, a place for their responses, and how many were answered."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from omap.connections import Progress
from omap.errors import FullError, InputError, TamperedError, UnknownFateError
from omap.interface import as_rows, check_batch
from omap.operations import Kind, Operation, Response, Status
from omap.params import Params


class Work(ABC):
    """Operations that are sent in pieces and answered in order.

    Parameters
    ----------
    total : int
        How many operations there are.

    Attributes
    ----------
    wanted : int
        How many operations shall be sent and answered in all; fewer than ``total`` after :meth:`stop`.
    sent, answered : int
        How many were sent, and how many of these were answered.
    """

    def __init__(self, total: int) -> None:
        self.total = self.wanted = total
        self.sent = self.answered = 0

    @property
    def unsent(self) -> int:
        """Operations still to be sent."""
        return self.wanted - self.sent

    @property
    def done(self) -> bool:
        """Whether all wanted operations were answered."""
        return self.answered >= self.wanted

    def stop(self) -> None:
        """Let no further operation be sent."""
        self.wanted = self.sent

    def next(self, count: int) -> Sequence[Operation]:
        """Return the next ``count`` operations, which count as sent from now on."""
        first, self.sent = self.sent, self.sent + count
        return self._operations(first, self.sent)

    def take(self, responses: list[Response]) -> None:
        """Take the next responses."""
        self.answered += len(responses)
        self._keep(responses)

    @abstractmethod
    def _operations(self, first: int, end: int) -> Sequence[Operation]: ...

    @abstractmethod
    def _keep(self, responses: list[Response]) -> None: ...

    def responses(self) -> Sequence[Response]:
        """Return the responses so far, if they are kept one by one."""
        return ()

    # -- errors -------------------------------------------------------------------------------------------------

    def unknown(self, why: str) -> UnknownFateError:
        """Return the error of work that a broken connection cut short."""
        error = UnknownFateError(
            f"{why}; of {self.total} operations {self.answered} were answered, {self.sent - self.answered} are in "
            f"doubt (each ran once or not at all) and {self.total - self.sent} were not sent; the next call opens a "
            "new session, after which none of these can run any more: then read before you repeat"
        )
        self.note_fate(error)
        return error

    def note_fate(self, error: UnknownFateError | TamperedError) -> None:
        """Write into an error how many operations were answered, are in doubt, and were not sent."""
        error.answered, error.responses = self.answered, self.responses()
        error.in_doubt, error.not_sent = self.sent - self.answered, self.total - self.sent


class Batch(Work):
    """Operations in a list, with responses in a list.

    Parameters
    ----------
    params : Params
        The map's parameters.
    operations : sequence of Operation
        What to run.

    Raises
    ------
    InputError
        If an operation is malformed.
    """

    def __init__(self, params: Params, operations: Sequence[Operation]) -> None:
        operations = check_batch(params, operations)
        super().__init__(len(operations))
        self._source = operations
        self.kept: list[Response] = []

    def _operations(self, first: int, end: int) -> Sequence[Operation]:
        return self._source if end - first == self.total else self._source[first:end]

    def _keep(self, responses: list[Response]) -> None:
        self.kept += responses

    def responses(self) -> Sequence[Response]:
        """Return the responses so far."""
        return self.kept


class Single(Batch):
    """One operation that needs no check: a NOP, or the CLOSE that ends a session.

    Parameters
    ----------
    kind : int
        Its kind.
    """

    def __init__(self, kind: int = Kind.NOP) -> None:
        Work.__init__(self, 1)
        self._source = [Operation(kind)]  # type: ignore[arg-type]  # CLOSE is a kind on the wire alone
        self.kept = []


class _Rows(Work):
    """Work on arrays.

    Parameters
    ----------
    params : Params
        The map's parameters.
    keys
        Keys, as :class:`~omap.connections.RemoteMap` takes them.
    progress : callable or None
        Called with the number of answered operations, and of all.
    """

    def __init__(self, params: Params, keys: npt.ArrayLike | Sequence[bytes], progress: Progress | None) -> None:
        rows = as_rows("keys", params.key_bytes, keys)
        super().__init__(len(rows))
        self.params = params
        self._keys = rows
        self._progress = progress

    def _sliced(self, rows: npt.NDArray[np.uint8], first: int, end: int) -> list[bytes]:
        flat, width = rows[first:end].tobytes(), rows.shape[1]
        return [flat[at : at + width] for at in range(0, len(flat), width)]

    def take(self, responses: list[Response]) -> None:
        """Take the next responses, and report the progress."""
        super().take(responses)
        if self._progress is not None:
            self._progress(self.answered, self.total)


class PutRows(_Rows):
    """PUTs of keys and values in arrays.

    Parameters
    ----------
    params : Params
        The map's parameters.
    keys, values
        As :class:`~omap.connections.RemoteMap` takes them.
    progress : callable or None
        Called with the number of answered operations, and of all.
    """

    def __init__(
        self,
        params: Params,
        keys: npt.ArrayLike | Sequence[bytes],
        values: npt.ArrayLike | Sequence[bytes],
        progress: Progress | None,
    ) -> None:
        super().__init__(params, keys, progress)
        self._values = as_rows("values", params.value_bytes, values)
        if len(self._values) != self.total:
            raise InputError(f"{self.total} keys came with {len(self._values)} values; there must be one for each")
        self.new = 0
        self.refused = 0

    def _operations(self, first: int, end: int) -> Sequence[Operation]:
        keys, values = self._sliced(self._keys, first, end), self._sliced(self._values, first, end)
        return [Operation(Kind.PUT, key, value) for key, value in zip(keys, values, strict=True)]

    def _keep(self, responses: list[Response]) -> None:
        refused = sum(response.status is Status.FULL for response in responses)
        self.new += sum(response.previous is None for response in responses) - refused
        self.refused += refused
        if refused:
            self.stop()

    def result(self) -> int:
        """Return how many keys were new. Raises FullError if there was no room for some."""
        if self.refused:
            raise FullError(
                f"the map has no room for {self.refused} new keys of the first {self.answered} (of {self.total}); the "
                f"others of these are stored and the rest was not sent; capacity is {self.params.capacity}: "
                "delete keys or plan more"
            )
        return self.new


class GetRows(_Rows):
    """GETs of keys in an array.

    Parameters
    ----------
    params : Params
        The map's parameters.
    keys
        As :class:`~omap.connections.RemoteMap` takes them.
    progress : callable or None
        Called with the number of answered operations, and of all.
    """

    def __init__(self, params: Params, keys: npt.ArrayLike | Sequence[bytes], progress: Progress | None) -> None:
        super().__init__(params, keys, progress)
        self._absent = bytes(params.value_bytes)
        self._values = np.zeros((self.total, params.value_bytes), np.uint8)
        self._found = np.zeros(self.total, np.bool_)

    def _operations(self, first: int, end: int) -> Sequence[Operation]:
        return [Operation(Kind.GET, key) for key in self._sliced(self._keys, first, end)]

    def _keep(self, responses: list[Response]) -> None:
        absent, end = self._absent, self.answered
        first = end - len(responses)
        flat = b"".join([absent if value is None else value for _, value in responses])
        self._values[first:end] = np.frombuffer(flat, np.uint8).reshape(len(responses), -1)
        self._found[first:end] = [value is not None for _, value in responses]

    def result(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Return the values, and for each whether its key was there."""
        return self._values, self._found
