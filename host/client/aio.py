"""The asyncio client: many tasks share one connection, pipelined.

Work is queued in the order in which it was submitted, sealed when there is room in the window, and answered in order.
One task reads; what is submitted in one turn of the event loop leaves in one write.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from host.client.conversation import BUSY_SECONDS, HANDSHAKES, Broken, Busy, Conversation, dead, handshake
from host.client.pacing import Ticks
from host.client.settings import Settings, check_greeting, silent, unreachable
from host.client.witness import SAVE_SECONDS, Witness
from host.client.work import Batch, GetRows, PutRows, Single, Work
from host.framing import PREFIX, Greeting, facts_length, read_greeting
from omap.connections import AsyncMap, Progress
from omap.errors import OmapError, SessionError, TamperedError, UnknownFateError
from omap.interface import Operation, Response
from omap.session import ClientSession
from omap.wire import CLOSE, Reply

READ_BYTES = 1 << 18
"""Most bytes taken from the socket at once."""

RETRY_SECONDS = 1.0
"""Pause of a constant-rate client between two attempts to connect."""


class AsyncClient(AsyncMap):
    """A map behind a relay. Make one with :func:`open_url`, or await :func:`omap.connect_async`.

    After a broken connection the next operation opens a new session, which shuts the old one out: what was in doubt ran
    before that or never will. After tampering was noticed, every call raises.

    Parameters
    ----------
    settings : Settings
        Where and how.
    now, sleep : callable, optional
        Clock of the constant-rate mode and of timeouts; anything but the default is for tests.
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
        self.witness = Witness(settings.witness)
        self._loop = asyncio.get_running_loop()
        self._now, self._sleep = now or self._loop.time, sleep
        self._queue: deque[Work] = deque()
        self._flying: deque[Work] = deque()
        self._futures: dict[Work, asyncio.Future[Any]] = {}
        self._conversation: Conversation | None = None
        self._last: Reply | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._replaces = 0
        self._window = settings.window
        self._rekeying = self._flush_due = self._closed = False
        self._dead: TamperedError | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._progress = 0.0
        self._ticks = Ticks(settings.rate, self._now) if settings.rate is not None else None

    # -- use ----------------------------------------------------------------------------------------------------

    def submit(self, batch: Sequence[Operation]) -> asyncio.Future[list[Response]]:
        """Queue operations and return a future of their responses. They run in the order of the calls.

        A future that is cancelled stops what was not sent of its batch; the rest runs.

        Raises
        ------
        InputError
            If an operation is malformed; nothing was queued. Other errors come through the future.
        """
        work = Batch(self.params, batch)
        return self._submit(work, work.kept)

    async def execute(self, batch: Sequence[Operation]) -> list[Response]:
        """Run operations in order. See :meth:`omap.interface.ObliviousMap.execute` for what it reveals.

        Raises
        ------
        UnknownFateError
            If the connection broke or no answer came in time; its attributes say how far it came.
        TamperedError
            If an answer was altered, replayed, lost or rolled back; nothing of it is returned.
        DeviceError, SessionError
            If no connection could be made; nothing was sent.
        """
        return await self.submit(batch)

    async def put_many(
        self,
        keys: npt.ArrayLike | Sequence[bytes],
        values: npt.ArrayLike | Sequence[bytes],
        *,
        progress: Progress | None = None,
    ) -> int:
        """Set many keys. See :meth:`omap.connections.RemoteMap.put_many`."""
        work = PutRows(self.params, keys, values, progress)
        await self._submit(work, None)
        return work.result()

    async def get_many(
        self, keys: npt.ArrayLike | Sequence[bytes], *, progress: Progress | None = None
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Get many keys. See :meth:`omap.connections.RemoteMap.get_many`."""
        work = GetRows(self.params, keys, progress)
        await self._submit(work, None)
        return work.result()

    async def live(self) -> int:
        """Return the number of live keys. Costs an operation, a NOP."""
        return (await self.ping()).live

    async def ping(self) -> Reply:
        """Run a NOP and return the newest answer: live keys, number of the operation, overruns."""
        await self._submit(Single(), None)
        assert self._last is not None
        return self._last

    async def close(self) -> None:
        """Wait for what was submitted, end the session, and hang up."""
        if self._closed:
            return
        self._closed = True
        if self._dead is None and self._conversation is not None:
            work = Single(CLOSE)
            self._queue.append(work)
            done = self._futures[work] = self._loop.create_future()
            self._flush_soon()
            with contextlib.suppress(OmapError, TimeoutError):
                await asyncio.wait_for(done, self.settings.timeout)
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._hang_up()
        self._fail(list(self._queue), lambda _: SessionError("the client was closed"))
        self.witness.save()

    # -- queue --------------------------------------------------------------------------------------------------

    def _submit(self, work: Work, result: list[Response] | None) -> asyncio.Future[Any]:
        future = self._loop.create_future()
        if self._dead is not None:
            future.set_exception(dead(self._dead))
        elif self._closed:
            future.set_exception(SessionError("the client was closed: connect anew"))
        elif work.done:
            future.set_result(result)
        else:
            self._futures[work] = future
            self._queue.append(work)
            if self._conversation is None:
                self._start("connect", self._connect)
            else:
                self._flush_soon()
        return future

    def _flush_soon(self) -> None:
        if not self._flush_due and self._ticks is None:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Send as much of the queue as there is room for."""
        self._flush_due = False
        self._send(self._window)

    def _send(self, most: int, *, pad: bool = False) -> None:
        """Seal and send up to ``most`` operations, or exactly as many as there is room for, with NOPs in the end."""
        talk, writer, queue = self._conversation, self._writer, self._queue
        if talk is None or writer is None or self._rekeying:
            return
        if not talk.in_flight:
            self._progress = self._now()
        room = min(most, self._window - talk.in_flight, talk.left)
        records = []
        while room > 0:
            if not queue:
                if not pad:
                    break
                queue.append(Single())
            work = queue[0]
            future = self._futures.get(work)
            if future is not None and future.cancelled():
                work.stop()
            count = min(room, work.unsent)
            if count:
                if not work.sent:
                    self._flying.append(work)
                records.append(talk.seal(work.next(count)))
                room -= count
            if not work.unsent:
                queue.popleft()
                if not work.sent:  # cancelled before anything of it left
                    self._futures.pop(work, None)
        if records:
            writer.write(b"".join(records))

    def _deliver(self, responses: list[Response]) -> None:
        """Hand responses to the work they belong to."""
        at = 0
        while at < len(responses):
            work = self._flying[0]
            end = min(len(responses), at + work.sent - work.answered)
            try:
                work.take(responses[at:end] if (at, end) != (0, len(responses)) else responses)
            except Exception as error:  # a caller's progress callback
                work.stop()
                self._resolve(work, error)
            at = end
            if work.answered == work.sent and not work.unsent:
                self._flying.popleft()
                self._resolve(work, None)

    def _resolve(self, work: Work, error: BaseException | None) -> None:
        future = self._futures.pop(work, None)
        if future is None or future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(work.responses())

    def _fail(self, works: Sequence[Work], error: Callable[[Work], Exception]) -> None:
        for work in works:
            if work in self._futures:
                self._resolve(work, error(work))

    # -- connection ---------------------------------------------------------------------------------------------

    def _start(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        if name not in self._tasks:

            async def run() -> None:
                try:
                    await work()
                finally:
                    if self._tasks.get(name) is asyncio.current_task():
                        del self._tasks[name]

            self._tasks[name] = self._loop.create_task(run())

    async def open(self) -> None:
        """Connect now, and not at the first operation; raises what made that impossible."""
        try:
            await self._open()
        except TamperedError as error:
            self._dead = error
            raise

    async def _connect(self) -> None:
        """Connect for what is in the queue, which fails if that is impossible."""
        try:
            await self._open()
        except TamperedError as error:
            self._die(error)
        except OmapError as error:
            waiting, text, kind = list(self._queue), f"{error} (nothing was sent)", type(error)
            self._queue.clear()
            self._fail(waiting, lambda _: kind(text))
            self._retry()

    def _retry(self) -> None:
        if self._ticks is None or self._closed:
            return

        async def later() -> None:
            await self._sleep(RETRY_SECONDS)
            self._tasks.pop("retry", None)
            if self._conversation is None:
                self._start("connect", self._connect)

        self._start("retry", later)

    async def _open(self) -> None:
        settings = self.settings
        context = settings.context
        try:
            async with asyncio.timeout(settings.timeout):
                reader, writer = await asyncio.open_connection(settings.host, settings.port, ssl=context)
        except OSError as error:
            raise unreachable(settings, error) from None
        self._writer = writer
        try:
            async with asyncio.timeout(settings.timeout):
                prefix = await reader.readexactly(PREFIX.size)
                greeting = read_greeting(prefix, await reader.readexactly(facts_length(prefix)))
                check_greeting(settings, getattr(self, "greeting", None), greeting)
                self.greeting, self.params = greeting, greeting.params
                session = await self._shake_hands(reader, writer)
        except TimeoutError:
            self._hang_up()
            raise silent(settings) from None
        except (OSError, EOFError):
            self._hang_up()
            raise SessionError(f"{settings.address} hung up before a session was open: try again") from None
        except BaseException:
            self._hang_up()
            raise
        self._window = min(settings.window, greeting.ring_entries)
        self._converse(session)
        self._start("read", lambda: self._read(reader, writer))
        self._start("watch", self._watch)
        if self._ticks is not None:
            self._start("pace", self._pace)
        if self.witness.path is not None:
            self._start("witness", self._save)
        self._flush_soon()

    def _converse(self, session: ClientSession) -> None:
        self._conversation = Conversation(session, self.witness, self.settings.record_limit)
        self._replaces = session.session
        self._progress = self._now()

    async def _shake_hands(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> ClientSession:
        size = self.greeting.record_bytes
        for attempt in range(1, HANDSHAKES + 1):
            steps = handshake(self.params, self.settings.root_key, self.witness, self._replaces)
            record = next(steps)
            try:
                while True:
                    writer.write(record)
                    record = steps.send(await reader.readexactly(size))
            except StopIteration as end:
                session: ClientSession = end.value
                return session
            except Busy:
                await asyncio.sleep(BUSY_SECONDS * attempt * (0.5 + random.random()))
        raise SessionError(f"other clients kept opening sessions at the same time, {HANDSHAKES} times: try again")

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                data = await reader.read(READ_BYTES)
                talk = self._conversation
                if not data or talk is None:
                    raise Broken("the peer hung up")
                self._progress = self._now()
                responses: list[Response] = []
                try:
                    talk.feed(data, responses)
                finally:
                    self._last = talk.last
                    self._deliver(responses)
                if talk.exhausted:
                    self._rekeying = True
                    async with asyncio.timeout(self.settings.timeout):
                        self._converse(await self._shake_hands(reader, writer))
                    self._rekeying = False
                if self._ticks is None:
                    self._flush()
        except TamperedError as error:
            self._die(error)
        except Broken as why:
            self._break(str(why))
        except (OSError, EOFError, OmapError) as error:
            self._break(f"the connection broke ({error or type(error).__name__})")

    async def _watch(self) -> None:
        """Break the connection if nothing comes although something should."""
        patience = self.settings.timeout
        while (talk := self._conversation) is not None:
            waited = self._now() - self._progress if talk.in_flight else 0.0
            if waited >= patience:
                self._break(f"no answer came for {patience:g} s")
                return
            await self._sleep(max(patience - waited, patience / 8))

    async def _save(self) -> None:
        """Keep the witness file up to date."""
        while self._conversation is not None:
            await self._sleep(SAVE_SECONDS)
            with contextlib.suppress(OmapError):  # close() tries again, and tells
                await asyncio.to_thread(self.witness.save)

    async def _pace(self) -> None:
        """Send what is due at every tick, whatever there is to do."""
        assert self._ticks is not None
        self._ticks.start()
        while self._conversation is not None:
            await self._sleep(self._ticks.wait())
            # SEC_CM: CLIENT.RATE.CONSTANT -- as many records as are due by the clock alone, NOPs among them
            self._send(self._ticks.due(), pad=True)

    def _hang_up(self) -> None:
        self._conversation = None
        self._rekeying = False
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        for name in ("read", "watch", "pace", "witness"):
            task = self._tasks.pop(name, None)
            if task is not None and task is not asyncio.current_task():
                task.cancel()

    def _break(self, why: str) -> None:
        """Fail what is in flight; what was not sent waits for the next connection."""
        self._hang_up()
        flying = list(self._flying)
        self._flying.clear()
        if self._queue and self._queue[0].sent:
            self._queue.popleft()

        def fate(work: Work) -> UnknownFateError:
            return work.unknown(why)

        self._fail(flying, fate)
        if self._queue and not self._closed:
            self._start("connect", self._connect)
        else:
            self._retry()

    def _die(self, error: TamperedError) -> None:
        # SEC_CM: CLIENT.FAULT.LATCH -- after tampering nothing is believed any more
        self._dead = error
        self._hang_up()
        works = list(dict.fromkeys([*self._flying, *self._queue]))
        self._flying.clear()
        self._queue.clear()

        def fate(work: Work) -> TamperedError:
            told = type(error)(str(error)) if work.sent else dead(error)
            work.note_fate(told)
            return told

        self._fail(works, fate)


async def open_url(url: str, **options: Any) -> AsyncClient:
    """Connect to the relay at ``omap://host:port``. What :func:`omap.connect_async` calls.

    Parameters
    ----------
    url : str
        The address.
    **options
        ``key_file`` or ``root_key``, and those of :class:`~host.client.settings.Settings`.

    Reveals
        That a client connected, and when.

    Raises
    ------
    InputError
        Malformed address or option, unusable key or witness file.
    DeviceError
        Nothing, or no relay, answers there.
    WrongKeyError
        The device holds another root key.
    RollbackError
        The map is not the one in the witness file.
    SessionError
        The session was refused.
    """
    return await open_client(Settings.from_url(url, **options))


async def open_client(settings: Settings) -> AsyncClient:
    """Return a connected client; raises as :func:`open_url`."""
    client = AsyncClient(settings)
    try:
        await client.open()
    except BaseException:
        await client.close()
        raise
    return client
