"""Which part of the work the crypto of records, the rings and the map have, all in one process."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from host.device.driver import Driver
from host.measuring.workload import Workload
from host.model.model import ModelTransport
from host.records import split
from omap.bodies import Reply, answers, command_items, pack_answers, reply_text, unpack_columns
from omap.columns import Answers, Columns
from omap.credentials import Credential, provision
from omap.session import ClientSession
from omap.sessions import DeviceSessions
from omap.wire import RecordCodec, Refusal, read_header

RECORDS = 4
"""Records in each step of the device."""

_ROOT_KEY = bytes(32)


def shares(workload: Workload) -> dict[str, float]:
    """Return which part of one process' time the crypto of records, the rings and the map take.

    The crypto of pages counts as the map's. Client, driver and device run in this process, a few records at a time.
    After each step its operations run on a bare map, and as many are sealed and opened with no map between. The
    remaining time belongs to rings and copying.
    """
    spent = {"all": 0.0, "map": 0.0, "crypto": 0.0}

    def timed(what: str, work: Callable[[Columns], object], columns: Columns) -> None:
        start = time.process_time()
        work(columns)
        spent[what] += time.process_time() - start

    params = workload.params
    records, store, owner = Records(workload), workload.bare(), provision(_ROOT_KEY, Credential())
    most = RecordCodec(params).most_operations
    with ModelTransport(params, _ROOT_KEY, stepped=True) as transport:
        driver = Driver(transport, params)
        driver.start()
        session = ClientSession(params, owner)
        session.opened(driver.exchange(session.confirm(driver.exchange(session.hello()))))

        def execute(columns: Columns) -> None:
            driver.put(b"".join([session.seal_columns(part) for part in cut(columns, most)]))
            transport.step(len(columns.kinds))
            for record in split(driver.take()):
                answers(session.codec, session.open(record))

        for columns in cut(workload.columns, RECORDS * most):
            timed("all", execute, columns)
            timed("map", lambda columns: store.execute_arrays(*columns), columns)
            timed("crypto", records.exchange, columns)
        driver.close()
    parts = {name: spent[name] / spent["all"] for name in ("crypto", "map")}
    return parts | {"rings": 1 - sum(parts.values())}


def cut(columns: Columns, size: int) -> list[Columns]:
    """Return operations in pieces of ``size``."""
    return [Columns(*(part[first : first + size] for part in columns)) for first in range(0, len(columns.kinds), size)]


class Records:
    """Both ends of a session, without a map between them.

    Parameters
    ----------
    workload : Workload
        Gives the map's parameters.
    """

    def __init__(self, workload: Workload) -> None:
        params = workload.params
        self._device = DeviceSessions(params, _ROOT_KEY)
        self._client = ClientSession(params, provision(_ROOT_KEY, Credential()))
        hello = self._device.hello(self._client.hello(), bytes(16))
        self._client.opened(self._device.confirm(self._client.confirm(hello)))

    def exchange(self, columns: Columns) -> None:
        """Seal and open the commands, and as many answers."""
        codec = self._client.codec
        for part in cut(columns, codec.most_operations):
            record = self._client.seal_columns(part)
            header = read_header(record)
            text = self._device.open(record, header)
            assert not isinstance(text, Refusal)
            kinds, _, values = unpack_columns(codec, command_items(codec, text, header.count))
            items = pack_answers(codec, Answers(np.zeros_like(kinds), kinds > 0, values))
            response = self._device.seal(header, reply_text(codec, Reply(0, 0, 0, header.count, items)))
            answers(codec, self._client.open(response))
