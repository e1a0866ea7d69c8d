"""Runs the plans of all connections: in bulk, atomically, and on a schedule that does not depend on keys.

Locks on keys would be the usual way to make read-modify-write commands atomic. But if a command waits for another,
locks show that both are about the same key. Here the kind of a command alone decides what it waits for:

* :class:`~host.redis.plans.Direct` plans go to the map at once, with many batches in flight. The map runs the batches
  in order, and none inside another.
* :class:`~host.redis.plans.Change` plans of all connections are gathered into rounds. A round reads all its values with
  one batch of GETs. It decides one command after the other in memory, so that the second INCR of a key sees the first.
  Then it writes with one batch of PUTs and NOPs. Nothing else is submitted during a round.

Commands are atomic only if no other client writes the same keys: another client's write between the two batches of a
round would be lost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from host.redis import replies
from host.redis.commands import Data
from host.redis.plans import OUT_OF_ROOM, Change, Direct, Refused
from omap.errors import OmapError, UnknownFateError
from omap.operations import Kind, Operation, Response, Status

ROUND_LIMIT = 1024
"""Changes in one round."""

NO_OPERATION = Operation(Kind.NOP)


class Store(Protocol):
    """What runs operations: :class:`host.client.aio.AsyncClient`, or a stand-in for it."""

    @property
    def trouble(self) -> OmapError | None:
        """Why no operation can run now; None if nothing is known to be wrong."""
        ...

    def submit(self, batch: Sequence[Operation]) -> asyncio.Future[list[Response]]:
        """Queue operations and return a future of their responses. Operations run in the order of the calls."""
        ...

    async def live(self) -> int:
        """Return the number of live keys. This takes one operation."""
        ...


IN_DOUBT = (
    "ERR omap: unknown fate: the connection to the map broke while this command was under way; it ran once or not at "
    "all (of several keys, perhaps the first) and is not repeated: read before you send it again"
)
NOT_RUN = "ERR omap: the connection to the map broke before this command was sent: nothing was changed, send it again"


class Scheduler:
    """Runs plans and returns their replies.

    Parameters
    ----------
    data : Data
        Reads and makes cells.
    store : Store
        Runs operations on the map.
    report : callable
        Called with every error of the store.

    Reveals
        Of each plan: how many operations it has, and whether it is a change. Both follow from the words of its command.
        Never revealed: whether two plans are about the same key, and what was found.
    """

    def __init__(self, data: Data, store: Store, report: Callable[[OmapError], object] = lambda _: None) -> None:
        self._data = data
        self._store = store
        self._report = report
        self._free = asyncio.Event()  # set, except while a round has read and not yet written
        self._free.set()
        self._waiting: deque[tuple[Sequence[Change], asyncio.Future[list[bytes]]]] = deque()
        self._worker: asyncio.Task[None] | None = None

    def trouble(self) -> bytes | None:
        """Return the reply to PING if the map is known to be away or refused. Takes no operation."""
        problem = self._store.trouble
        return None if problem is None else self._failure(problem)

    def _failure(self, problem: OmapError) -> bytes:
        """Return the reply to commands that a problem kept from running."""
        self._report(problem)
        return replies.error(f"ERR omap: {problem}")

    async def size(self) -> bytes:
        """Return the reply to DBSIZE."""
        await self._turn()
        try:
            return replies.integer(await self._store.live())
        except OmapError as problem:
            return self._failure(problem)

    async def direct(self, plans: Sequence[Direct]) -> list[bytes]:
        """Run direct plans in one batch."""
        await self._turn()
        answered = doubted = sum(len(plan.operations) for plan in plans)
        try:
            answers = await self._store.submit([operation for plan in plans for operation in plan.operations])
        except UnknownFateError as error:  # the error says what was answered and what was not sent
            self._report(error)
            answers, answered, doubted = list(error.responses), error.answered, error.answered + error.in_doubt
        except OmapError as problem:
            return [self._failure(problem)] * len(plans)
        made, at = [], 0
        for plan in plans:
            end = at + len(plan.operations)
            if end <= answered:
                made.append(_reply(plan, answers[at:end]))
            else:
                made.append(replies.error(IN_DOUBT if at < doubted else NOT_RUN))
            at = end
        return made

    async def _turn(self) -> None:
        # SEC_CM: REDIS.WAIT.KEYLESS -- a plan waits for any round, whatever the keys of both
        while not self._free.is_set():
            await self._free.wait()

    async def change(self, plans: Sequence[Change]) -> list[bytes]:
        """Run changes, in their order, in one of the next rounds."""
        future: asyncio.Future[list[bytes]] = asyncio.get_running_loop().create_future()
        self._waiting.append((plans, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._rounds())
        return await future

    async def _rounds(self) -> None:
        while self._waiting:
            group = [self._waiting.popleft()]
            count = len(group[0][0])
            while self._waiting and count + len(self._waiting[0][0]) <= ROUND_LIMIT:
                group.append(self._waiting.popleft())
                count += len(group[-1][0])
            plans = [plan for some, _ in group for plan in some]
            try:
                made = await self._round(plans)
            except OmapError as problem:
                made = [self._failure(problem)] * len(plans)
            except BaseException as problem:
                for _, future in group:
                    if not future.done():
                        future.set_exception(problem)
                raise
            at = 0
            for some, future in group:
                if not future.done():  # its connection may be gone
                    future.set_result(made[at : at + len(some)])
                at += len(some)
            await asyncio.sleep(0)  # plans that waited for this round come before the next

    async def _round(self, plans: list[Change]) -> list[bytes]:
        self._free.clear()
        try:
            try:
                answers = await self._store.submit([Operation(Kind.GET, plan.key) for plan in plans])
            except UnknownFateError as error:  # only reading was in doubt, which changes nothing
                self._report(error)
                return [replies.error(NOT_RUN)] * len(plans)
            before = {plan.key: answer.previous for plan, answer in zip(plans, answers, strict=True)}
            decided = self._decide(plans, before)
            # SEC_CM: REDIS.OPS.FIXED -- a NOP in place of every PUT that is not needed
            writes = [
                NO_OPERATION if cell is None else Operation(Kind.PUT, plan.key, cell)
                for plan, (cell, _) in zip(plans, decided, strict=True)
            ]
            writing = self._store.submit(writes)
        finally:
            self._free.set()  # whatever is submitted now runs after the writes
        doubted = len(plans)
        try:
            written = await writing
        except UnknownFateError as error:
            self._report(error)
            written, doubted = list(error.responses), error.answered + error.in_doubt
        statuses = [answer.status for answer in written]
        if Status.FULL in statuses:
            decided = self._decide(plans, before, statuses)
        made = [reply for _, reply in decided[: len(statuses)]]
        made += [replies.error(IN_DOUBT)] * (doubted - len(statuses))
        return made + [replies.error(NOT_RUN)] * (len(plans) - doubted)

    def _decide(
        self,
        plans: list[Change],
        before: dict[bytes, bytes | None],
        statuses: list[Status] | None = None,
    ) -> list[tuple[bytes | None, bytes]]:
        """Go through the plans in order. Return for each the cell to write, or None, and the reply.

        ``statuses`` are those of the writes. With them, the plans are decided again as the map ran them: a value that
        the map refused for lack of room was not there for later plans. A round frees no room, so that after the first
        refusal the map refuses every new key. Therefore no plan would now write what the round has not tried to write.
        """
        now = dict(before)
        full = False
        decided: list[tuple[bytes | None, bytes]] = []
        for place, plan in enumerate(plans):
            cell = None
            try:
                found = self._data.value(plan.name, now[plan.key])
                value, reply = plan.decide(found)
                if value is not None:
                    cell = self._data.cell(plan.name, value)
                    if statuses and (statuses[place : place + 1] == [Status.FULL] or (full and found is None)):
                        full = True
                        raise Refused(OUT_OF_ROOM)
                    now[plan.key] = cell
            except Refused as refused:
                cell, reply = None, replies.error(str(refused))
            decided.append((cell, reply))
        return decided


def _reply(plan: Direct, answers: list[Response]) -> bytes:
    try:
        return plan.reply(answers)
    except Refused as refused:
        return replies.error(str(refused))
