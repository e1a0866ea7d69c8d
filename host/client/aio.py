"""The asyncio client: many tasks share one connection, pipelined.

Work waits in the order of its submission, is sealed when there is room in the window, and is answered in that order.
One task reads. What is submitted in one turn of the event loop is sent in one write.
"""
# Long: one class, because queue, connection and latched error are one state.

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from host.client.conversation import Broken, Conversation
from host.client.opening import new_session, opening
from host.client.pacing import Ticks
from host.client.queue import Queue
from host.client.settings import Settings
from host.client.streams import connect, drive
from host.client.tasks import Tasks
from host.client.trouble import LOG, Trouble, dead, latches, unsent
from host.client.witness import SAVE_SECONDS, Witness
from host.client.work import Batch, DeleteRows, GetRows, Mixed, Plain, PutRows, Work
from host.framing import Greeting
from omap.bodies import Reply
from omap.columns import Answers
from omap.connections import AsyncMap, Progress
from omap.errors import MapChangedError, OmapError, SessionError, TamperedError
from omap.operations import Operation, Response
from omap.rows import Rows
from omap.wire import CLOSE, RecordCodec

READ_BYTES = 1 << 18
"""Most bytes taken from the socket at once."""

RETRY_SECONDS = 1.0
"""Pause between two attempts to connect, when no work asks for one earlier."""


class AsyncClient(AsyncMap):
    """A map behind a relay. Make one with :func:`open_url`, or await :func:`omap.connect_async`.

    After a broken connection the client opens a new session, which ends the old one: an operation in doubt has run by
    then, or never will. It does so for the next operation, and tries once a second without any; with a constant rate
    once a second alone. Another map than the known one is refused, and nothing is sent to it; the client tries until
    the known map is back, or the other one is accepted. After the client has noticed tampering, every call raises.

    Parameters
    ----------
    settings : Settings
        Where and how.
    now, sleep : callable, optional
        Clock of the constant-rate mode and of time limits; anything but the default is for tests.

    Attributes
    ----------
    map_id : bytes
        The map of the newest session. It changes only if another map was accepted.

    Reveals
        That a client is connected or tries to be, and when; how many operations it sends, and when. With a constant
        rate: only the rate, the operations of each record, and for how long the client is connected. With ``idle``: a
        NOP after so long without one.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        now: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.settings = settings
        self.greeting: Greeting
        self.witness = Witness(settings.witness_file, settings.accept)
        self.map_id = b""
        self._codec: RecordCodec
        self._trouble = Trouble()
        self._loop = asyncio.get_running_loop()
        self._now, self._sleep = now or self._loop.time, sleep
        self._queue = Queue()
        self._conversation: Conversation | None = None
        self._newest: Conversation | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._replaces = 0
        self._rekeying = self._flush_due = self._closed = False
        self._dead: TamperedError | None = None
        self._tasks = Tasks()
        self._progress = 0.0
        self._count = 1 if settings.rate is None else settings.count
        self._ticks = None if settings.rate is None else Ticks(settings.rate / settings.count, self._now)

    @property
    def trouble(self) -> OmapError | None:
        """Why no session is open; None while one is."""
        return self._trouble.error

    # -- use ----------------------------------------------------------------------------------------------------

    def submit(self, batch: Sequence[Operation]) -> asyncio.Future[list[Response]]:
        """Queue operations and return a future of their responses. Operations run in the order of the calls.

        If the future is cancelled, what was not sent of its batch is never sent; what was sent runs.

        Reveals
            How many operations are sent, and when. With a constant rate: nothing beyond the rate.

        Raises
        ------
        InputError
            If an operation is malformed; then nothing was queued. Other errors come through the future.
        """
        work = Batch(self._codec, batch)
        return self._submit(work, work.kept)

    async def execute(self, batch: Sequence[Operation]) -> list[Response]:
        """Run operations in order.

        Reveals
            How many operations are sent, and when. With a constant rate: nothing beyond the rate.

        Raises
        ------
        UnknownFateError
            If the connection broke or no answer came in time; its attributes say how many operations were answered.
        TamperedError
            If an answer was altered, replayed, lost or rolled back; the error holds the answers before it.
        DeviceError, SessionError
            If no connection could be made; nothing was sent.
        """
        return await self.submit(batch)

    async def execute_arrays(self, kinds: npt.ArrayLike, keys: Rows, values: Rows) -> Answers:
        """Run operations that come as arrays. See :meth:`host.client.sync.Client.execute_arrays`.

        Reveals
            How many operations are sent, and when. With a constant rate: nothing beyond the rate.
        """
        work = Mixed(self._codec, kinds, keys, values)
        await self._submit(work, None)
        return work.kept

    async def put_many(self, keys: Rows, values: Rows, *, progress: Progress | None = None) -> int:
        """Set many keys, and return how many were new. See :meth:`omap.connections.RemoteMap.put_many`.

        Reveals
            How many operations are sent, and when. With a constant rate: nothing beyond the rate.
        """
        work = PutRows(self._codec, keys, values, progress)
        await self._submit(work, None)
        return work.result()

    async def delete_many(self, keys: Rows, *, progress: Progress | None = None) -> int:
        """Remove many keys, and return how many were there. See :meth:`omap.connections.RemoteMap.delete_many`.

        Reveals
            How many operations are sent, and when. With a constant rate: nothing beyond the rate.
        """
        work = DeleteRows(self._codec, keys, progress)
        await self._submit(work, None)
        return work.result()

    async def get_many(
        self, keys: Rows, *, progress: Progress | None = None
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Get the values of many keys. See :meth:`omap.connections.RemoteMap.get_many`.

        Reveals
            How many operations are sent, and when. With a constant rate: nothing beyond the rate.
        """
        work = GetRows(self._codec, keys, progress)
        await self._submit(work, None)
        return work.result()

    @property
    def live_keys(self) -> int | None:
        """Live keys of the map as of the newest answer; None before the first. Reveals nothing."""
        return None if self._newest is None else self._newest.live

    async def live(self) -> int:
        """Return the number of live keys. This takes one operation, a NOP.

        Reveals
            That one operation is sent, and when.
        """
        return (await self.ping()).live

    async def ping(self) -> Reply:
        """Run a NOP and return the newest answer: live keys, number of the operation, overruns.

        Reveals
            That one operation is sent, and when.
        """
        await self._submit(Plain(self._codec), None)
        assert self._newest is not None
        assert self._newest.last is not None
        return self._newest.last

    async def close(self) -> None:
        """Wait for what was submitted, end the session, and hang up.

        Reveals
            That the client ends its session, and when.
        """
        if self._closed:
            return
        self._closed = True
        if self._dead is None and self._conversation is not None:
            done = self._queue.add(Plain(self._codec, kind=CLOSE))
            self._flush_soon()
            with contextlib.suppress(OmapError, TimeoutError):
                await asyncio.wait_for(done, self.settings.timeout)
        await self._tasks.end()
        self._hang_up()
        self._queue.fail_flying(lambda work: work.unknown("the client was closed"))
        self._queue.fail_waiting(lambda _: SessionError("the client was closed"))
        self.witness.save()

    # -- queue --------------------------------------------------------------------------------------------------

    def _submit(self, work: Work, result: list[Response] | None) -> asyncio.Future[Any]:
        if self._dead is None and not self._closed and not work.done:
            future = self._queue.add(work)
            if self._conversation is not None:
                self._flush_soon()
            elif self._ticks is None:
                self._tasks.start("connect", self._connect)
            return future
        future = self._loop.create_future()
        if self._dead is not None:
            future.set_exception(dead(self._dead))
        elif self._closed:
            future.set_exception(SessionError("the client was closed: connect anew"))
        else:
            future.set_result(result)
        return future

    def _flush_soon(self) -> None:
        if not self._flush_due and self._ticks is None:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Send as much of the queue as there is room for, unless enough is in flight."""
        self._flush_due = False
        talk = self._conversation
        if talk is not None and not talk.crowded:
            self._send(self._queue.seal)

    def _send(self, seal: Callable[[Conversation], bytes]) -> None:
        """Send what ``seal`` returns, if that is possible now."""
        talk, writer = self._conversation, self._writer
        if talk is None or writer is None or self._rekeying:
            return
        if not talk.in_flight:
            self._progress = self._now()
        if records := seal(talk):
            writer.write(records)

    def _send_one(self) -> None:
        """Send one record, of as many operations as a record has at the constant rate, if there is room for it."""
        self._send(lambda talk: self._queue.seal_one(talk, self._count))

    # -- connection ---------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect now, and not at the first operation. Raises as :func:`host.client.sync.open_url`.

        Reveals
            That a client connects, and when.
        """
        reader, writer = await connect(self.settings)
        self._writer = writer
        steps = opening(self.settings, getattr(self, "greeting", None), self.witness, self._replaces)
        try:
            opened = await drive(reader, writer, steps)
        except BaseException as error:
            self._dead = error if latches(error) else None
            self._hang_up()
            raise
        self.greeting, self.params = opened.greeting, opened.greeting.params
        self._codec = opened.conversation.codec
        self._converse(opened.conversation)
        self._trouble.end()
        self._tasks.start("read", lambda: self._read(reader, writer))
        self._tasks.start("watch", self._watch)
        if self._ticks is not None:
            self._tasks.start("pace", self._pace)
        if self.witness.path is not None:
            self._tasks.start("witness", self._save)
        self._flush_soon()

    async def _connect(self) -> None:
        """Connect, unless that was done meanwhile. If it is impossible, the work that waits fails."""
        if self._conversation is not None:
            return
        try:
            await self.open()
        except OmapError as problem:
            error = problem
            if latches(error):
                return self._die(error)
            self._trouble.note(error)
            self._queue.fail_waiting(lambda _: unsent(error))
            self._retry()

    def _retry(self) -> None:
        if not self._closed:
            self._tasks.start_after(lambda: self._sleep(RETRY_SECONDS), "connect", self._connect)

    def _converse(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._replaces = conversation.session.session
        self._progress = self._now()
        before, self.map_id = self.map_id, conversation.session.map_id
        if before not in (b"", self.map_id) and self.witness.complete:
            LOG.warning("the map was restored", extra={"map": self.map_id.hex(), "before": before.hex()})
        elif before not in (b"", self.map_id):
            LOG.warning("another map was accepted", extra={"map": self.map_id.hex(), "before": before.hex()})
            # whoever submitted this work may have read in the other map what it is about to write
            self._queue.fail_all(lambda _: MapChangedError("another map was accepted meanwhile: read before you write"))

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                data = await reader.read(READ_BYTES)
                talk = self._conversation
                if not data or talk is None:
                    raise Broken("the peer hung up")
                answers: list[memoryview] = []
                try:
                    talk.feed(data, answers)
                finally:
                    if answers:
                        self._newest = talk
                        self._queue.deliver(answers)
                        self._progress = self._now()  # whole answers count, or a byte at a time would be enough
                if talk.exhausted:
                    self._rekeying = True
                    steps = new_session(self.settings, self.greeting, self.witness, self._replaces)
                    self._converse(await drive(reader, writer, steps))
                    self._rekeying = False
                if self._ticks is None:
                    self._flush()
        except Broken as why:
            self._break(str(why))
        except (OSError, EOFError, OmapError) as error:
            if latches(error):
                self._die(error)
            else:
                self._break(f"the connection broke ({error or type(error).__name__})")

    async def _watch(self) -> None:
        """Break the connection if answers are due and nothing comes. Ask for an answer if none came for long."""
        patience, idle = self.settings.timeout, self.settings.idle
        while (talk := self._conversation) is not None:
            waited = self._now() - self._progress if talk.in_flight else 0.0
            if waited >= patience:
                self._break(f"no answer came for {patience:g} s")
                return
            least = max(patience - waited, patience / 8)
            if idle is not None and not talk.in_flight:
                rest = self._progress + idle - self._now()
                least = min(least, rest if rest > 0 else idle)
                if rest <= 0:
                    self._send_one()
            await self._sleep(least)

    async def _save(self) -> None:
        """Keep the witness file up to date."""
        while self._conversation is not None:
            await self._sleep(SAVE_SECONDS)
            with contextlib.suppress(OmapError):  # close() tries again, and raises
                await asyncio.to_thread(self.witness.save)

    async def _pace(self) -> None:
        """Send what is due at every tick, whether there is work or not."""
        assert self._ticks is not None
        self._ticks.start()
        while self._conversation is not None:
            await self._sleep(self._ticks.wait())
            for _ in range(self._ticks.due()):
                # SEC_CM: CLIENT.RATE.CONSTANT -- the clock alone says how many records leave; NOPs give them one size
                self._send_one()

    def _hang_up(self) -> None:
        self._conversation = None
        self._rekeying = False
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._tasks.cancel("read", "watch", "pace", "witness")

    def _break(self, why: str) -> None:
        """Fail what is in flight. What was not sent waits for the next connection."""
        self._hang_up()
        self._trouble.note(SessionError(why))
        self._queue.fail_flying(lambda work: work.unknown(why))
        # SEC_CM: CLIENT.RATE.CONSTANT -- at a constant rate the next attempt does not come sooner if there is work
        if self._queue.waiting and self._ticks is None and not self._closed:
            self._tasks.start("connect", self._connect)
        else:
            self._retry()

    def _die(self, error: TamperedError) -> None:
        # SEC_CM: CLIENT.FAULT.LATCH -- after tampering nothing is believed any more
        self._dead = error
        self._trouble.note(dead(error))
        self._hang_up()
        self._queue.fail_all(lambda work: type(error)(str(error)) if work.sent else dead(error))


async def open_url(url: str, **options: Any) -> AsyncClient:
    """Connect to the relay at ``omap://host:port``. What :func:`omap.connect_async` calls.

    Options, errors, and what this reveals: as :func:`host.client.sync.open_url`.
    """
    return await open_client(Settings.from_url(url, **options))


async def open_client(settings: Settings) -> AsyncClient:
    """Return a connected client. Raises as :func:`host.client.sync.open_url`."""
    client = AsyncClient(settings)
    try:
        await client.open()
    except BaseException:
        await client.close()
        raise
    return client
