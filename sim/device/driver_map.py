"""A map behind a driver: the client's session and the host's driver in one process, as a user of both would have it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from host.device.driver import Driver
from omap.errors import FullError, InputError
from omap.interface import ObliviousMap, check_batch
from omap.operations import Kind, Operation, Response
from omap.rows import Rows, as_rows
from sim.device.client import open_all, open_session, responses_of, seal_all

LOAD = 1024
"""Keys looked up or put at a time in a bulk load."""


class DriverMap(ObliviousMap):
    """A map on a device that a driver has opened, through sealed records and rings. It is formatted at once.

    A bulk load is a GET and a PUT for each key: there is no scan in a device, so the number of keys shows.

    Parameters
    ----------
    driver : Driver
        The device; whoever opened it closes it.
    root_key : bytes
        The device's.
    format_seconds : float, optional
        Longest that a format may take; by default as long as the driver finds right.
    """

    load_operations = 2, 0

    def __init__(self, driver: Driver, root_key: bytes, *, format_seconds: float | None = None) -> None:
        self.params = driver.params
        self._driver, self._root_key, self._format_seconds = driver, root_key, format_seconds
        self._live = 0
        self.format()

    def format(self) -> None:
        """Empty the map under fresh secrets, and open a new session. See :meth:`ObliviousMap.format`."""
        self._driver.format(timeout=self._format_seconds)
        self._session = open_session(self._driver, self._root_key)
        self._live = 0

    def execute(self, batch: Sequence[Operation]) -> list[Response]:
        """Run operations through the rings. See :meth:`ObliviousMap.execute`."""
        batch = check_batch(self.params, batch)
        if not batch:
            return []
        answers = self._exchange(b"".join(seal_all(self._session, batch)))
        replies = open_all(self._session, answers)
        self._live = replies[-1].live
        return responses_of(self._session, replies)

    def _exchange(self, records: bytes) -> bytes:
        """Return the answers to the records of operations."""
        return self._driver.exchange(records)

    def bulk_load(self, keys: Rows, values: Rows) -> None:
        """Insert new keys, one operation after another.

        Reveals
            Other than a scan: that 2n operations ran, hence n.
        """
        rows = as_rows("keys", self.params.key_bytes, keys)
        cells = as_rows("values", self.params.value_bytes, values)
        if len(rows) != len(cells):
            raise InputError(f"{len(rows)} keys came with {len(cells)} values; there must be one for each")
        if len(np.unique(rows, axis=0)) != len(rows):
            raise InputError("some keys are repeated; keys must be distinct")
        if len(rows) > self.params.capacity - self._live:
            raise FullError(
                f"{len(rows)} new keys need more room than is left: {self._live} of {self.params.capacity} are live"
            )
        for kind in (Kind.GET, Kind.PUT):  # all are looked up before any is put: a refusal leaves the map as it was
            for first in range(0, len(rows), LOAD):
                part = slice(first, first + LOAD)
                batch = [
                    Operation(kind, key.tobytes(), value.tobytes() if kind == Kind.PUT else b"")
                    for key, value in zip(rows[part], cells[part], strict=True)
                ]
                if any(response.previous is not None for response in self.execute(batch)):
                    raise InputError(
                        "some keys are in the map already; bulk_load only inserts: use execute to overwrite"
                    )

    def __len__(self) -> int:
        return self._live
