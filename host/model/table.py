"""A stand-in for a device, to measure the road to it: the real rings, records and sessions, with an open table behind.

It is **not** an oblivious map. The table lies in memory as it is: nothing is sealed, no page is touched, and how long
an operation takes follows from its key. It is as fast as a hash table, so that what remains of the time is the time of
clients, relay and rings. It says what it is in the register MODE, and nobody gets it without asking for it by name.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from host.model import table_code
from omap.columns import Answers, Columns
from omap.crypto import MAP_ID_BYTES, Secrets
from omap.device import DeviceModel
from omap.errors import FaultError
from omap.interface import ObliviousMap, check_batch, check_columns
from omap.operations import Kind, Operation, Response, Status
from omap.params import Params
from omap.regmap import State, identity
from omap.rows import Rows
from omap.trace import Observer

STEP_OPERATIONS = 4096
"""Operations after which a step fetches no further record."""

WIDTH_ALIGNMENT = 16
"""Places are multiples of so many bytes, so that few of them lie in two lines of the cache."""


class TableMap(ObliviousMap):
    """A hash table in open memory, with the answers of a map. It hides nothing.

    Parameters
    ----------
    params : Params
        Sizes and capacity. The placement rule does not matter.

    Attributes
    ----------
    map_id : bytes
        16 public bytes, fresh at every format.
    sequence : int
        Number of the next operation.
    """

    def __init__(self, params: Params) -> None:
        self.params = params
        self.format()

    def format(self) -> None:
        """Empty the table."""
        params = self.params
        slots = 1 << (2 * params.capacity - 1).bit_length()
        self._table = np.zeros((slots, -(-(1 + params.tuple_bytes) // WIDTH_ALIGNMENT) * WIDTH_ALIGNMENT), np.uint8)
        self._live, self.sequence, self._erased = 0, 0, False
        self.map_id = secrets.token_bytes(MAP_ID_BYTES)

    def export(self) -> Iterator[Columns]:
        """Yield all tuples, and free slots up to as many as a map has. Reveals everything."""
        rows = self._table[:, : 1 + self.params.tuple_bytes]
        used = np.zeros((self.params.slots, rows.shape[1]), np.uint8)
        used[: self._live] = rows[rows[:, 0] != 0]
        key_end = 1 + self.params.key_bytes
        yield Columns((used[:, 0] != 0) * np.uint8(Kind.PUT), used[:, 1:key_end], used[:, key_end:])

    def erase(self) -> None:
        """Forget all. Only a format makes the table usable again."""
        self._table, self._erased = np.zeros((0, 0), np.uint8), True

    def __len__(self) -> int:
        return self._live

    def execute_arrays(self, kinds: Any, keys: Rows, values: Rows) -> Answers:
        """Run operations that come as arrays. Reveals everything; raises as :meth:`ObliviousMap.execute_arrays`."""
        if self._erased:
            raise FaultError("the table was erased; format it to start again")
        params, columns = self.params, check_columns(self.params, kinds, keys, values)
        count = len(columns.kinds)
        statuses, found = np.zeros((2, count), np.uint8)
        previous = np.zeros((count, params.value_bytes), np.uint8)
        # compiled code is compiled again for arrays that are read-only
        kinds, keys, values = (np.require(part, requirements=["C", "W"]).ravel() for part in columns)
        live = table_code.run(
            self._table.ravel(), self._table.shape[1],
            params.key_bytes, params.value_bytes, params.capacity, self._live,
            kinds, keys, values, statuses, found, previous.ravel(), np.empty(count, np.int64),
        )  # fmt: skip
        self._live = int(live)
        self.sequence += count
        return Answers(statuses, found.astype(bool), previous)

    def execute(self, batch: Sequence[Operation]) -> list[Response]:
        """Run a batch. Reveals everything; raises as :meth:`ObliviousMap.execute`."""
        batch = check_batch(self.params, batch)
        if not batch:
            return []
        kinds, keys, values = zip(*batch, strict=True)
        key, value = bytes(self.params.key_bytes), bytes(self.params.value_bytes)
        answers = self.execute_arrays(
            np.array(kinds, np.uint8), [one or key for one in keys], [one or value for one in values]
        )
        return [
            Response(Status(status), value.tobytes() if found else None)
            for status, found, value in zip(*answers, strict=True)
        ]

    def bulk_load(self, keys: Rows, values: Rows) -> None:
        """Not for a stand-in: its clients load with PUTs, as those of a card do."""
        raise NotImplementedError("a stand-in has no bulk load")


def create(
    params: Params,
    *,
    observer: Observer | None = None,
    memory: bytearray | memoryview | None = None,
    secrets: Callable[[], Secrets] | None = None,
) -> TableMap:
    """Return an empty table. It leaves the memory for pages alone, and shows an observer nothing."""
    return TableMap(params)


class TableDevice(DeviceModel):
    """A device model over a table, which says in MODE that it is insecure.

    Parameters
    ----------
    params, root_key, buffer, **options
        As for :class:`~omap.device.DeviceModel`.
    """

    def __init__(self, params: Params, root_key: bytes, buffer: bytearray | memoryview, **options: Any) -> None:
        super().__init__(params, root_key, buffer, create=create, **options)
        claims = {"hbm_private": False, "attested": False, "hardware": False, "journal": self.journalled}
        is_what = identity(params, insecure=True, **claims)
        for name, value in is_what.items():
            self.registers.write(name, value)
        self._set_state(State.IDLE)

    def step(self, limit: int = STEP_OPERATIONS) -> int:
        """Serve records as :meth:`DeviceModel.step` does, more of them at once, because each takes little time."""
        return super().step(limit)


def prepare() -> None:
    """Load the compiled code; the first time compile it, which takes some seconds."""
    sizes = Params(
        capacity=1, key_bytes=4, value_bytes=1, page_bytes=64, pages=1, waiting_slots=1, further_lines=1,
        bucket_bytes=64, buckets=1,
    )  # fmt: skip
    TableMap(sizes).execute_arrays([0], [bytes(4)], [bytes(1)])
