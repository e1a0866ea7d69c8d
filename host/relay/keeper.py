"""Keeps what a device journals: answers leave the relay when the journal up to them is on disk.

The device writes the journal record of a command before its response. So whoever takes responses out of their ring, and
then the journal out of its own, holds all journal records that belong to these responses. The keeper appends them to
the data folder and syncs in a thread, and gives the responses away afterwards. What comes meanwhile is the next group:
the more clients wait, the more of them one sync serves.

While the folder can't be written, the keeper takes nothing more out of the rings. Then the device stops at full rings,
nobody is told of what is not kept, and all goes on when there is room.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from host.device.driver import Driver
from host.relay.export import Export, Taken
from omap.errors import DamagedError, DataError, OmapError
from omap.wire import LINE_BYTES

if TYPE_CHECKING:
    from host.data.folder import DataFolder

LOG = logging.getLogger("omap.serve")

RETRY_SECONDS = 1.0
"""How long after a failure the folder is tried again."""

_WATCH_SECONDS = 1.0
"""How often the keeper looks whether a snapshot is due. A moment is quiet if nothing was journalled since."""

_URGENT = 4
"""A journal so many times longer than it should be does not wait for a quiet moment."""

_ASK_SECONDS = 1e-3
"""How long to wait before a device is looked at again that still works for a request."""

_RINGS = 4
"""Answers that fill so many rings may wait for the disk."""

_LEAST_JOURNAL = 16 << 20
"""Bytes of a journal that is not worth a snapshot."""


@dataclass(frozen=True)
class Keeping:
    """How a map is kept.

    Parameters
    ----------
    interval : float or None
        None: answers wait until the journal is synced. Else they leave at once, and the journal is synced after at most
        so many seconds, and what a power cut may take is as much.
    snapshot_bytes : int or None
        Bytes of journal after which a snapshot is taken; None for the size of a snapshot, but at least 16 MiB.
    snapshot_seconds : float
        Least time between two such snapshots.
    """

    interval: float | None = None
    snapshot_bytes: int | None = None
    snapshot_seconds: float = 600.0


class Keeper:
    """Stands between the rings and the switch of a relay. Lives in the relay's event loop.

    Parameters
    ----------
    driver : Driver
        The device, which writes a journal.
    folder : DataFolder
        Where the journal goes. Its map has begun. The keeper does not close it.
    keeping : Keeping, optional
        How.

    Attributes
    ----------
    wake : callable
        Called when answers may leave that could not before.

    Reveals
        To the disk: how many records of which lengths ran, and when.
    """

    def __init__(self, driver: Driver, folder: DataFolder, keeping: Keeping | None = None) -> None:
        self.driver, self.folder, self.keeping = driver, folder, keeping or Keeping()
        self.wake: Callable[[], object] = lambda: None
        self._troubles: dict[str, str] = {}  # by what can't be done
        self._failure: OmapError | None = None
        self._items: deque[tuple[str, Any]] = deque()  # in the order of the rings: journal, answers, a snapshot
        self._waiting = 0  # bytes of answers that may not leave yet
        self._ready: list[bytes] = []
        self._export: Export | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._committing = self._syncing = False
        self._journal_thread = ThreadPoolExecutor(1, "omap-journal")
        self._snapshot_thread = ThreadPoolExecutor(1, "omap-snapshot")
        self._most = _RINGS * driver.ring_lines * LINE_BYTES
        codec = driver.codec
        self.snapshot_bytes = codec.chunks * codec.chunk_lines * LINE_BYTES
        self._enough = self.keeping.snapshot_bytes or max(_LEAST_JOURNAL, self.snapshot_bytes)
        self._busy = self._appended = False
        self._asked: Export | None = None

    # -- what the relay calls -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Look for moments to take a snapshot in, from now on."""
        self._run(self._watch())

    @property
    def trouble(self) -> str:
        """Why nothing can be kept at the moment; empty if all is well."""
        return next(iter(self._troubles.values()), "")

    @property
    def _stopped(self) -> bool:
        full = self._waiting > self._most or (self._export is not None and self._export.full)
        return bool(self.trouble) or full

    @property
    def answered(self) -> int:
        """Lines that can be taken out of the rings now."""
        return 0 if self._stopped else self.driver.answered + self.driver.journalled

    @property
    def exporting(self) -> bool:
        """Whether the device is writing a snapshot, or will."""
        return self._export is not None

    def take(self) -> bytes:
        """Take what is in the rings, and return the answers that may leave now.

        Reveals
            When the journal was synced.

        Raises
        ------
        DeviceError
            If the device's counters make no sense.
        DataError
            If the device's journal does not follow what is in the folder.
        """
        if self._failure is not None:
            raise self._failure
        if not self._stopped:
            answers = self.driver.take()
            self._sort(self.driver.take_journal())  # after the answers, so that it has the records of all of them
            if answers:
                self._waiting += len(answers)
                self._items.append(("answers", answers))
        if self._items and not self._committing:
            self._committing = True
            self._run(self._commit())
        ready = b"".join(self._ready)
        self._ready.clear()
        return ready

    def _sort(self, records: bytes) -> None:
        """Tell journal and snapshot apart."""
        parts = [("journal", records)] if self._export is None else self._export.sort(records)
        for what, part in parts:
            if what == "journal" and part:
                self._items.append((what, part))
                self._busy = True
            elif what == "source":
                self._items.append(("export", self._export))
        if self._export is not None and self._export.ended:
            self._export = None

    async def _commit(self) -> None:
        """Write what waits, group by group, and let the answers leave that it covers."""
        try:
            while self._items:
                if self._items[0][0] == "export":
                    await self._begin_export(self._items.popleft()[1])
                    continue
                records: list[bytes] = []
                answers: list[bytes] = []
                while self._items and self._items[0][0] != "export":
                    what, part = self._items.popleft()
                    (records if what == "journal" else answers).append(part)
                if records:
                    await self._keep(b"".join(records))
                # SEC_CM: RELAY.ACK.SYNCED -- all journal records that came before these answers are on disk
                self._ready += answers
                self._waiting -= sum([len(each) for each in answers])
                self.wake()
        except OmapError as error:  # the folder and the device contradict each other
            self._failure = error
            self.wake()
        finally:
            self._committing = False

    async def _keep(self, records: bytes) -> None:
        """Append records and sync them, or, if that is asked for, sync them later."""
        interval = self.keeping.interval
        if interval is None:
            await self._patiently(self._append_and_sync, records)
            return
        await self._patiently(self.folder.append, records)
        if not self._syncing:
            self._syncing = True
            self._run(self._sync_after(interval))

    def _append_and_sync(self, records: bytes) -> None:
        if not self._appended:
            self.folder.append(records)
        self._appended = True  # until it is synced, because a second try must not append it again
        self.folder.sync()
        self._appended = False

    async def _sync_after(self, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
        finally:
            self._syncing = False
        await self._patiently(self.folder.sync)

    async def _patiently(self, work: Callable[..., object], *arguments: object) -> None:
        """Do work on the folder in the journal's thread, again and again until it is done."""
        while True:
            try:
                await self._loop().run_in_executor(self._journal_thread, work, *arguments)
                break
            except DamagedError:
                raise
            except DataError as error:
                if not self._troubles:
                    LOG.error("no write is acknowledged", extra={"why": str(error)})
                self._troubles[work.__name__] = str(error)
            await asyncio.sleep(RETRY_SECONDS)
        if self._troubles.pop(work.__name__, "") and not self._troubles:
            LOG.warning("writes are acknowledged again")
            self.wake()

    # -- snapshots ------------------------------------------------------------------------------------------------

    async def snapshot(self) -> Taken:
        """Have the device write a snapshot, and return what came of it when it is in force.

        If one is under way already, it is that one.

        Raises
        ------
        DataError
            If it could not be written. Then the older files stay in force.
        DeviceFaultError, DeviceError
            If the device can't be asked.

        Reveals
            That a snapshot is taken. For the time that it takes, the device does nothing else.
        """
        while self._asked is None or self._asked.taken.done():
            self.driver.check()
            if self.driver.asked:  # the snapshot before this one is here, and the device has still to say so
                await asyncio.sleep(_ASK_SECONDS)
                continue
            self.driver.ask_export()
            self._export = self._asked = Export(self._loop().create_future())
            self.wake()
        return await asyncio.shield(self._asked.taken)

    async def _begin_export(self, export: Export) -> None:
        """Open a snapshot's file between two records of the journal, and fill it while the journal goes on."""
        await self._loop().run_in_executor(self._journal_thread, export.open, self.folder)
        self._run(self._fill(export))

    async def _fill(self, export: Export) -> None:
        while not export.done:
            await export.more.wait()
            export.more.clear()
            await self._loop().run_in_executor(self._snapshot_thread, export.write)
            self.wake()  # the device may have waited for room

    async def _watch(self) -> None:
        """Take a snapshot when the journal is long."""
        last = -self.keeping.snapshot_seconds
        while True:
            self._busy = False
            await asyncio.sleep(_WATCH_SECONDS)
            length = self.folder.status.bytes
            due = length > self._enough and self._loop().time() - last > self.keeping.snapshot_seconds
            if due and not self.trouble and not (self._busy and length < _URGENT * self._enough):
                last = self._loop().time()
                try:
                    await self.snapshot()
                except OmapError as error:
                    LOG.warning("no snapshot was taken", extra={"why": str(error)})

    # -- what else -------------------------------------------------------------------------------------------------

    def facts(self) -> dict[str, Any]:
        """Return how far journal and snapshot are, JSON-ready. All of it is public."""
        status = self.folder.status
        interval = self.keeping.interval
        return {
            "sync": "always" if interval is None else f"interval {1e3 * interval:g}",
            "synced_operation": status.operation,
            "journal_bytes": status.bytes,
            "snapshot_time": status.snapshot_time,
            "trouble": self.trouble,
        }

    async def backup(self, path: str) -> int:
        """Write all that is kept into a file, see :meth:`host.data.folder.DataFolder.backup_to`."""
        return await self._loop().run_in_executor(self._snapshot_thread, self.folder.backup_to, path)

    async def stop(self) -> None:
        """Sync what is there, and end. The answers of what can't be synced never leave."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await self._loop().run_in_executor(self._journal_thread, self.folder.sync)
        except DataError as error:
            LOG.error("the end of the journal is not on disk", extra={"why": str(error)})
        self._journal_thread.shutdown()
        self._snapshot_thread.shutdown()

    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
