"""What every map offers, whether the reference, the model, simulated RTL or a card runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Protocol, TypeVar, overload

import numpy as np
import numpy.typing as npt

from omap.columns import Answers, Bytes, Columns
from omap.errors import DeniedError, FullError, InputError
from omap.operations import Kind, Operation, Response, Status
from omap.params import Params
from omap.rows import BytesLike, Rows, as_bytes, as_rows, describe

D = TypeVar("D")

_KINDS = tuple(Kind)  # an enum is slow to look into
_NOP, _PUT = int(Kind.NOP), int(Kind.PUT)


class ObliviousMap(ABC):
    """A map of fixed-size keys to fixed-size values that hides which of them are used.

    Every operation has one of the kinds of :class:`~omap.operations.Kind`. Whatever its kind is and whatever it finds,
    an observer of host memory sees the same distribution of events. ``m[k]``, ``m[k] = v``, ``del m[k]`` and
    ``k in m`` are one operation each. The map does not iterate, because keys can't be listed without touching every
    page.

    Attributes
    ----------
    params : Params
        Public parameters of the map.
    load_operations : (int, int)
        Operations that a bulk load runs: so many for each key, and so many besides. None, if it is one scan.
    """

    params: Params
    load_operations: ClassVar[tuple[int, int]] = (0, 0)

    @abstractmethod
    def execute(self, batch: Sequence[Operation]) -> list[Response]:
        """Run operations in order and return one response for each.

        The map checks the whole batch first. If one operation is malformed, it runs none.

        Reveals
            How many operations ran, and when; for each, pages drawn uniformly at random.
        Hides
            Keys, values, kinds, hit or miss, repetition, number of live keys.

        Raises
        ------
        InputError
            For a key or a value of the wrong size or type, naming the operation's place in the batch.
        TamperedError
            If host memory was altered, replayed or exchanged. No response is returned, and the map refuses all further
            work.
        FaultError
            If an earlier fault is latched.
        """

    def execute_arrays(
        self,
        kinds: npt.ArrayLike,
        keys: Rows,
        values: Rows,
    ) -> Answers:
        """Run operations that come as arrays, in order, and return their answers as arrays.

        Parameters
        ----------
        kinds : (n,) array of uint8
            Numbers of :class:`~omap.operations.Kind`.
        keys, values
            ``(n, key_bytes)`` and ``(n, value_bytes)`` arrays of ``uint8``, or what :func:`omap.rows.as_rows` takes.
            The key of a NOP does not count, and neither does the value of anything but a PUT.

        Returns
        -------
        Answers
            Statuses, whether each key had a value before, and these values.

        Reveals
            How many operations ran, and when; for each, pages drawn uniformly at random.
        Hides
            Keys, values, kinds, hit or miss, repetition, number of live keys.

        Raises
        ------
        InputError
            For arrays of the wrong shape or type, or a kind that does not exist. No operation ran.
        TamperedError, FaultError
            As :meth:`execute`.
        """
        columns = blanked(check_columns(self.params, kinds, keys, values))
        names = list(Kind)
        batch = [
            Operation(names[kind], key.tobytes(), value.tobytes())
            for kind, key, value in zip(columns.kinds.tolist(), columns.keys, columns.values, strict=True)
        ]
        responses = self.execute(batch)
        found = np.array([response.previous is not None for response in responses], bool)
        absent = bytes(self.params.value_bytes)
        previous = b"".join([response.previous or absent for response in responses])
        return Answers(
            np.array([response.status for response in responses], np.uint8),
            found,
            np.frombuffer(previous, np.uint8).reshape(len(batch), self.params.value_bytes),
        )

    @abstractmethod
    def bulk_load(self, keys: Rows, values: Rows) -> None:
        """Insert n new keys at once, in one scan over all pages.

        Parameters
        ----------
        keys, values
            ``(n, key_bytes)`` and ``(n, value_bytes)`` arrays of ``uint8``, ``(n,)`` arrays of numpy's type ``S``, or
            sequences of n ``bytes``. The keys must be distinct and absent from the map.

        Reveals
            That a bulk load ran: every page is read and written back once, in order.
        Hides
            How many keys were loaded, which keys, and their values.

        Raises
        ------
        InputError
            For wrong shapes or sizes, and for keys that are repeated or in the map already. The map is unchanged.
        FullError
            For more keys than the map has room for. The map is unchanged.
        """

    @abstractmethod
    def format(self) -> None:
        """Empty the map under fresh secrets and a fresh map id; every page is sealed empty, under version 0.

        Reveals
            That a format ran: every page is written once, in order.
        """

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of live keys. Takes no operation and reveals nothing outside the trusted side."""

    @overload
    def get(self, key: BytesLike) -> bytes | None: ...

    @overload
    def get(self, key: BytesLike, default: D) -> bytes | D: ...

    def get(self, key: BytesLike, default: D | None = None) -> bytes | D | None:
        """Return the value of ``key``, or ``default`` if the key is absent. Reveals and hides as :meth:`execute`.

        Raises
        ------
        DeniedError
            If the client's credential does not allow it.
        """
        previous = settled(self.params, Kind.GET, self.execute([operation_of(Kind.GET, key)])[0])
        return default if previous is None else previous

    def put(self, key: BytesLike, value: BytesLike) -> bytes | None:
        """Set ``key`` to ``value`` and return its previous value, or None. Reveals and hides as :meth:`execute`.

        Raises
        ------
        FullError
            If the key is new and the map has no room for it.
        DeniedError
            If the client's credential does not allow it.
        """
        return settled(self.params, Kind.PUT, self.execute([operation_of(Kind.PUT, key, value)])[0])

    def delete(self, key: BytesLike) -> bytes | None:
        """Remove ``key`` and return its value, or None if the key was absent. Reveals and hides as :meth:`execute`.

        Raises
        ------
        DeniedError
            If the client's credential does not allow it.
        """
        return settled(self.params, Kind.DELETE, self.execute([operation_of(Kind.DELETE, key)])[0])

    def __getitem__(self, key: BytesLike) -> bytes:
        value = self.get(key)
        if value is None:
            raise KeyError("the key is not in the map")  # never the key itself: it may end up in a log
        return value

    def __setitem__(self, key: BytesLike, value: BytesLike) -> None:
        self.put(key, value)

    @property
    def may_read(self) -> bool:
        """Whether the user is told what keys held; not a client without the right to read."""
        return True

    def __delitem__(self, key: BytesLike) -> None:
        if self.delete(key) is None and self.may_read:
            raise KeyError("the key is not in the map")

    def __contains__(self, key: object) -> bool:
        return settled(self.params, Kind.GET, self.execute([operation_of(Kind.GET, key)])[0]) is not None

    __iter__ = None  # without it, Python would iterate by calling __getitem__ with 0, 1, ...


def operation_of(kind: Kind, key: Any, value: Any = b"") -> Operation:
    """Return an operation with a key and a value as a caller gave them; :func:`check_batch` makes them bytes."""
    return Operation(kind, key, value)


def settled(params: Params, kind: Kind, response: Response) -> bytes | None:
    """Return the value that a key had before an operation of a kind, or None.

    Raises
    ------
    FullError
        If a PUT found no room.
    DeniedError
        If the client's credential does not allow the operation.
    """
    status, previous = response
    if status < Status.FULL:
        return previous
    if status is Status.FULL:
        raise FullError(f"the map has no room for a new key: capacity is {params.capacity}; delete keys or plan more")
    raise DeniedError(
        f"the credential of this client does not allow {kind.name} of this key: provision a client that has the right, "
        "and whose prefix the key begins with"
    )


def check_batch(params: Params, batch: Sequence[Operation]) -> Sequence[Operation]:
    """Refuse a batch that holds a malformed operation, so that it fails before any operation runs.

    Returns
    -------
    sequence of Operation
        The batch itself if all its keys and values are ``bytes``; else a copy in which they are.

    Raises
    ------
    InputError
        Says which operation it is, what was wanted and what came. The message never holds a key or a value.
    """
    # a list is what comes nearly always, and asking for a Sequence takes as long as the check of an operation
    if type(batch) is not list and (not isinstance(batch, Sequence) or isinstance(batch, (Operation, str, bytes))):
        raise InputError(f"a batch is a list of operations, not {describe(batch)}: put one operation in a list")
    key_bytes, value_bytes = params.key_bytes, params.value_bytes
    nop, get, put, delete = _KINDS
    plain = True
    for place, operation in enumerate(batch):
        if not isinstance(operation, tuple) or len(operation) != 3:
            raise InputError(
                f"operation {place}: it must be an Operation, as Operation(Kind.GET, key) is, not {describe(operation)}"
            )
        kind, key, value = operation
        if type(kind) is not Kind and not isinstance(kind, (int, np.integer)):  # 1.0 equals a kind and is none
            raise InputError(_strange(place, batch, kind))
        if kind == nop:
            continue
        if type(key) is not bytes or len(key) != key_bytes:
            plain = False
            if len(as_bytes(key, b"")) != key_bytes:
                raise InputError(f"{_at(place, batch)}a key must be {key_bytes} bytes, not {describe(key)}")
        if kind == put:
            if type(value) is not bytes or len(value) != value_bytes:
                plain = False
                if len(as_bytes(value, b"")) != value_bytes:
                    raise InputError(f"{_at(place, batch)}a value must be {value_bytes} bytes, not {describe(value)}")
        elif kind != get and kind != delete:
            raise InputError(_strange(place, batch, kind))
    return batch if plain else [Operation(kind, as_bytes(key, b""), as_bytes(value, b"")) for kind, key, value in batch]


def _strange(place: int, batch: Sequence[Operation], kind: object) -> str:
    """Say that a kind does not exist. A misplaced key is not shown."""
    what = kind if type(kind) is int and 0 <= kind < 256 else describe(kind)
    return f"{_at(place, batch)}kind must be one of {', '.join(Kind.__members__)}, not {what}"


def _at(place: int, batch: Sequence[Operation]) -> str:
    """Say which operation of a batch a message is about, unless it can only be one."""
    return f"operation {place}: " if len(batch) > 1 else ""


def check_columns(
    params: Params,
    kinds: npt.ArrayLike,
    keys: Rows,
    values: Rows,
) -> Columns:
    """Return operations that came as arrays; :func:`blanked` clears the keys and values that do not count.

    Raises
    ------
    InputError
        If lengths, types or kinds are wrong; says what was wanted and what came.
    """
    read = np.asarray(kinds)
    if not read.size:  # numpy takes an empty list for numbers with a fraction
        read = read.astype(np.uint8)
    if read.ndim != 1 or read.dtype.kind not in "ui" or (read.size and not 0 <= read.min() <= read.max() < len(Kind)):
        raise InputError(
            f"kinds must be an (n,) array of numbers of Kind, 0 to {len(Kind) - 1}, not {read.shape} of {read.dtype}"
        )
    read = read.astype(np.uint8)  # a copy: what was checked is what runs, also if it is sent later
    key_rows, value_rows = as_rows("keys", params.key_bytes, keys), as_rows("values", params.value_bytes, values)
    if not len(read) == len(key_rows) == len(value_rows):
        raise InputError(
            f"{len(read)} kinds came with {len(key_rows)} keys and {len(value_rows)} values; there must be one for each"
        )
    return Columns(read, key_rows, value_rows)


def blanked(columns: Columns) -> Columns:
    """Return operations with zeros in place of the keys of NOPs, and of the values of all but PUTs."""
    kinds, keys, values = columns
    if not (named := kinds != _NOP).all():
        keys = keys * named[:, None]
    if not (valued := kinds == _PUT).all():
        values = values * valued[:, None]
    return Columns(kinds, keys, values)


class DeviceMap(Protocol):
    """What a device asks of its map. A :class:`~omap.reference.ReferenceMap` is one."""

    map_id: bytes
    sequence: int

    def __len__(self) -> int: ...

    def format(self) -> None:
        """Empty the map under fresh secrets."""

    def execute_arrays(self, kinds: Bytes, keys: Bytes, values: Bytes) -> Answers:
        """Run operations in order."""
        ...

    def export(self) -> Iterator[Columns]:
        """Yield all slots, as many as the parameters say."""
        ...

    def erase(self) -> None:
        """Forget all keys and contents."""
