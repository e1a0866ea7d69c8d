"""The work of a client: operations to send in order, a place for their answers, and how many were answered.

Work hands out operations as items and takes answers as items (:mod:`omap.bodies`), one after the other in one piece of
bytes. Only lists of operations become objects, where they come from the caller and where they go back to it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from omap.bodies import column_items, operation_items, read_answers, read_responses
from omap.columns import Answers, Bytes, Columns, copy_rows
from omap.connections import Progress
from omap.errors import DeniedError, FullError, InputError, TamperedError, UnknownFateError
from omap.interface import blanked, check_batch, check_columns
from omap.operations import Kind, Operation, Response, Status
from omap.rows import Rows, as_rows
from omap.wire import RecordCodec

Items = bytes | memoryview
"""Items of operations or of answers, one after the other."""

PACKED_BYTES = 1 << 18
"""Bytes of items that are packed from arrays at once."""


class Work(ABC):
    """Operations that are sent in pieces and answered in order.

    Parameters
    ----------
    codec : RecordCodec
        Sizes of the map's items.
    total : int
        How many operations there are.

    Attributes
    ----------
    wanted : int
        How many operations shall be sent and answered in all; fewer than ``total`` after :meth:`stop`.
    sent, answered : int
        How many were sent, and how many of these were answered.
    """

    def __init__(self, codec: RecordCodec, total: int) -> None:
        self.codec = codec
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

    @abstractmethod
    def next(self, count: int) -> Items:
        """Return the items of the next ``count`` operations, which count as sent from now on."""

    @abstractmethod
    def take(self, items: Items) -> None:
        """Take the items of the next answers."""

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
    codec : RecordCodec
        Sizes of the map's items.
    operations : sequence of Operation
        What to run.

    Raises
    ------
    InputError
        If an operation is malformed.
    """

    def __init__(self, codec: RecordCodec, operations: Sequence[Operation]) -> None:
        operations = check_batch(codec.params, operations)
        super().__init__(codec, len(operations))
        self._source = tuple(operations)  # the caller may change a list before it is sent
        self.kept: list[Response] = []

    def next(self, count: int) -> Items:
        """Return the items of the next ``count`` operations, which count as sent from now on."""
        first, self.sent = self.sent, self.sent + count
        return operation_items(self.codec, self._source if count == self.total else self._source[first : self.sent])

    def take(self, items: Items) -> None:
        """Take the items of the next answers."""
        responses = read_responses(self.codec, items)
        self.answered += len(responses)
        self.kept += responses

    def responses(self) -> Sequence[Response]:
        """Return the responses so far."""
        return self.kept


class Plain(Work):
    """Operations of one kind that need no key, and whose answers nobody wants: NOPs, or the CLOSE of a session.

    Parameters
    ----------
    codec : RecordCodec
        Sizes of the map's items.
    total : int
        How many operations there are.
    kind : int
        Their kind.
    """

    def __init__(self, codec: RecordCodec, total: int = 1, kind: int = Kind.NOP) -> None:
        super().__init__(codec, total)
        self._item = bytes([kind]).ljust(codec.item_bytes, b"\0")

    def next(self, count: int) -> Items:
        """Return the items of the next ``count`` operations, which count as sent from now on."""
        self.sent += count
        return self._item * count

    def take(self, items: Items) -> None:
        """Count the next answers."""
        self.answered += len(items) // self.codec.item_bytes


class _Arrays(Work):
    """Work on arrays.

    Parameters
    ----------
    codec : RecordCodec
        Sizes of the map's items.
    columns : Columns
        The operations; kinds or values may have one row for all.
    progress : callable or None
        Called with the number of answered operations, and of all.
    """

    def __init__(self, codec: RecordCodec, columns: Columns, progress: Progress | None) -> None:
        super().__init__(codec, len(columns.keys))
        self._columns = columns
        self._progress = progress
        self._packed: memoryview = memoryview(b"")
        self._from = self._to = 0
        self._at_once = max(1, PACKED_BYTES // codec.item_bytes)

    def next(self, count: int) -> Items:
        """Return the items of the next ``count`` operations, which count as sent from now on."""
        first, self.sent = self.sent, self.sent + count
        end = self.sent
        if end > self._to:
            self._from, self._to = first, min(self.total, max(end, first + self._at_once))
            part = slice(self._from, self._to)
            columns = Columns(*(column[part] for column in self._columns))
            self._packed = column_items(self.codec, self._prepared(columns))
        size = self.codec.item_bytes
        return self._packed[(first - self._from) * size : (end - self._from) * size]

    def _prepared(self, columns: Columns) -> Columns:
        return columns

    def take(self, items: Items) -> None:
        """Take the items of the next answers, and report the progress."""
        answers = read_answers(self.codec, items)
        first, self.answered = self.answered, self.answered + len(answers.statuses)
        self._store(first, answers)
        if self._progress is not None:
            self._progress(self.answered, self.total)

    @abstractmethod
    def _store(self, first: int, answers: Answers) -> None: ...


class Mixed(_Arrays):
    """Operations of any kinds in arrays, with answers in arrays.

    Parameters
    ----------
    codec : RecordCodec
        Sizes of the map's items.
    kinds, keys, values
        As :meth:`omap.interface.ObliviousMap.execute_arrays` takes them.
    """

    def __init__(self, codec: RecordCodec, kinds: npt.ArrayLike, keys: Rows, values: Rows) -> None:
        super().__init__(codec, check_columns(codec.params, kinds, keys, values), None)
        self.kept = Answers(
            np.zeros(self.total, np.uint8),
            np.zeros(self.total, np.bool_),
            np.zeros((self.total, codec.params.value_bytes), np.uint8),
        )

    def _prepared(self, columns: Columns) -> Columns:
        return blanked(columns)

    def _store(self, first: int, answers: Answers) -> None:
        part = slice(first, first + len(answers.statuses))
        self.kept.statuses[part], self.kept.found[part] = answers.statuses, answers.found
        copy_rows(self.kept.values[part], answers.values)


class _OneKind(_Arrays):
    """Operations of one kind, which all run, even if some of them are refused."""

    KIND: ClassVar[Kind]

    def __init__(self, codec: RecordCodec, keys: Bytes, values: Bytes | None, progress: Progress | None) -> None:
        kinds = np.broadcast_to(np.uint8(self.KIND), len(keys))
        if values is None:
            values = np.broadcast_to(
                np.zeros(codec.params.value_bytes, np.uint8), (len(keys), codec.params.value_bytes)
            )
        super().__init__(codec, Columns(kinds, keys, values), progress)
        self.found = self.full = self.denied = 0

    def _store(self, first: int, answers: Answers) -> None:
        self.found += int(np.count_nonzero(answers.found))
        if answers.statuses.max(initial=0) < Status.FULL:
            return
        # the rest is sent all the same: an early end would show the host that something was refused
        self.full += int(np.count_nonzero(answers.statuses == Status.FULL))
        self.denied += int(np.count_nonzero(answers.statuses == Status.DENIED))

    def check(self) -> None:
        """Raise DeniedError or FullError if the map has refused some of the operations."""
        if self.denied:
            raise DeniedError(
                f"the credential of this client does not allow {self.denied} of {self.total} operations, each a "
                f"{self.KIND.name}; the others ran: provision a client that may"
            )
        if self.full:
            raise FullError(
                f"the map has no room for {self.full} new keys of {self.total} keys; the others are stored; capacity "
                f"is {self.codec.params.capacity}: delete keys or plan more"
            )


class PutRows(_OneKind):
    """PUTs of keys and values in arrays.

    Parameters
    ----------
    codec : RecordCodec
        Sizes of the map's items.
    keys, values
        As :class:`~omap.connections.RemoteMap` takes them.
    progress : callable or None
        Called with the number of answered operations, and of all.
    """

    KIND = Kind.PUT

    def __init__(self, codec: RecordCodec, keys: Rows, values: Rows, progress: Progress | None) -> None:
        rows, cells = as_rows("keys", codec.params.key_bytes, keys), as_rows("values", codec.params.value_bytes, values)
        if len(rows) != len(cells):
            raise InputError(f"{len(rows)} keys came with {len(cells)} values; there must be one for each")
        super().__init__(codec, rows, cells, progress)

    def result(self) -> int:
        """Return how many keys were new. Raises DeniedError or FullError if the map refused some."""
        self.check()
        return self.answered - self.found


class _KeyRows(_OneKind):
    """Operations of one kind that need keys alone."""

    def __init__(self, codec: RecordCodec, keys: Rows, progress: Progress | None) -> None:
        super().__init__(codec, as_rows("keys", codec.params.key_bytes, keys), None, progress)


class DeleteRows(_KeyRows):
    """DELETEs of keys in an array.

    Parameters
    ----------
    codec : RecordCodec
        Sizes of the map's items.
    keys
        As :class:`~omap.connections.RemoteMap` takes them.
    progress : callable or None
        Called with the number of answered operations, and of all.
    """

    KIND = Kind.DELETE

    def result(self) -> int:
        """Return how many keys were there. Raises DeniedError if the map refused some."""
        self.check()
        return self.found


class GetRows(_KeyRows):
    """GETs of keys in an array.

    Parameters
    ----------
    codec : RecordCodec
        Sizes of the map's items.
    keys
        As :class:`~omap.connections.RemoteMap` takes them.
    progress : callable or None
        Called with the number of answered operations, and of all.
    """

    KIND = Kind.GET

    def __init__(self, codec: RecordCodec, keys: Rows, progress: Progress | None) -> None:
        super().__init__(codec, keys, progress)
        self._values = np.zeros((self.total, codec.params.value_bytes), np.uint8)
        self._found = np.zeros(self.total, np.bool_)

    def _store(self, first: int, answers: Answers) -> None:
        super()._store(first, answers)
        part = slice(first, first + len(answers.statuses))
        self._found[part] = answers.found
        copy_rows(self._values[part], answers.values)

    def result(self) -> tuple[Bytes, npt.NDArray[np.bool_]]:
        """Return the values, and for each whether its key was there. Raises DeniedError if the map refused some."""
        self.check()
        return self._values, self._found
