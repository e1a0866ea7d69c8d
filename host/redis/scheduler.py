"""Runs the plans of all connections: in bulk, atomically, and on a schedule that does not depend on keys.

Locks on keys would be the usual way to make read-modify-write commands atomic. But if a command waits for another,
locks show that both are about the same key. Here the kind of a command alone decides what it waits for:

* Plans that need one pass go to the map at once, with many batches in flight. The map runs the batches in order, and
  none inside another.
* Plans that need two passes, and all plans of a transaction, are gathered from all connections into rounds. A round
  reads all its values with one batch of GETs. It does one command after the other in memory, so that the second INCR of
  a key sees the first. Then it writes with one batch of PUTs, DELETEs and NOPs. Nothing else is submitted during a
  round: until its writes are, or until they are answered if they empty a database.

Commands are atomic only if no other client writes the same keys: another client's write between the two batches of a
round would be lost.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from host.redis import replies
from host.redis.databases import Databases
from host.redis.direct import Direct
from host.redis.expiries import Expiries
from host.redis.onepass import OnePass
from host.redis.places import NOWHERE, REGISTER, Place, Refused
from host.redis.plans import Plan
from host.redis.rounds import UNSETTLED, Decided, Group, refusal, settled, was_refused
from host.redis.store import Store
from host.redis.view import NO_OPERATION, Found, View
from host.redis.watches import Watch, Watches
from omap.errors import DeniedError, OmapError, UnknownFateError
from omap.operations import Kind, Operation, Response, Status

ROUND_LIMIT = 1024
"""Plans in one round. A transaction is never split, so that a round may have more."""

BLIND = (
    "the proxy's key does not allow it to read, and without its register of databases nobody knows what counts in the "
    "map: start `omap proxy` with the file of a client that may read"
)
"""Why a proxy that may only write does not start."""

BATCH_LIMIT = 256
"""Plans of several connections in one batch: enough to fill records and writes to the relay, and few enough that their
replies are made while the map runs the next."""


@dataclass(slots=True)
class _Batch:
    """Plans of several connections that need one pass, and who waits for how many of their replies."""

    plans: list[Plan | Direct] = field(default_factory=list)
    waiting: list[tuple[asyncio.Future[list[bytes]], int]] = field(default_factory=list)
    task: asyncio.Task[None] | None = None


class Scheduler:
    """Runs plans and returns their replies.

    Parameters
    ----------
    databases : Databases
        Reads and makes cells.
    store : Store
        Runs operations on the map.
    report : callable
        Called with every error of the store.
    clock : callable, optional
        Seconds since 1970; anything but the default is for tests.

    Attributes
    ----------
    databases, store
        As given.
    expiries : Expiries
        What is to be deleted when its time has come.
    watches : Watches
        Who wants to know of changes.

    Reveals
        Of each plan: how many operations it has, whether they are two passes, and whether all others wait for the
        second, as they do if it empties a database. All this follows from the words of its command. Never revealed:
        whether two plans are about the same key, and what was found.
    """

    def __init__(
        self,
        databases: Databases,
        store: Store,
        report: Callable[[OmapError], object] = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.databases = databases
        self.expiries, self.watches = Expiries(), Watches()
        self.store = store
        self._map_id: bytes | None = None  # of the map whose register was read
        self._is_unsure = False  # whether the register was written
        self._report = report
        self._clock = clock
        self._free = asyncio.Event()  # set, except while a round has read and not yet written
        self._free.set()
        self._pass = OnePass(databases, self.expiries, self.watches)
        self._gathered: _Batch | None = None
        self._waiting: deque[Group] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def meet(self) -> None:
        """Read the register of a map that is new to the proxy, and forget what was known of the map before it.

        Reveals
            To whoever watches the map: one operation at the start, one after another map was accepted, and one after a
            connection that broke while a database was emptied.

        Raises
        ------
        OmapError
            If the map does not answer, its register can't be read, or the proxy may read nothing.
        """
        if not self.databases.may_read:
            raise DeniedError(BLIND)
        map_id = self.store.map_id
        cell = None
        if self.databases.register_key:
            (answer,) = await self.store.submit([Operation(Kind.GET, self.databases.register_key)])
            cell = answer.previous
        if self._is_unsure and self._map_id in (None, map_id):
            self.databases.learn(cell)
        else:
            self.databases.load(cell)
        self.databases.told(self.store.live_keys)
        if self._map_id not in (None, map_id):
            self.expiries.forget(range(self.databases.count))
            self.watches.touch_databases(range(self.databases.count))
        self._map_id, self._is_unsure = map_id, False

    def _must_meet(self) -> bool:
        return self._is_unsure or self._map_id not in (None, self.store.map_id)

    def now(self) -> int:
        """Return the time in milliseconds since 1970."""
        return int(self._clock() * 1000)

    def trouble(self) -> bytes | None:
        """Return the reply to PING if the map is known to be away or refused. Takes no operation."""
        problem = self.store.trouble
        return None if problem is None else self._failure(problem)

    def _failure(self, problem: OmapError) -> bytes:
        """Return the reply to commands that a problem kept from running."""
        self._report(problem)
        return replies.error(f"ERR omap: {problem}")

    # -- one pass -----------------------------------------------------------------------------------------------

    async def direct(self, plans: Sequence[Plan | Direct]) -> list[bytes]:
        """Run plans that need one pass, together with those of other connections."""
        future: asyncio.Future[list[bytes]] = asyncio.get_running_loop().create_future()
        batch = self._gathered
        if batch is None or len(batch.plans) >= BATCH_LIMIT:
            batch = self._gathered = _Batch()
            batch.task = asyncio.create_task(self._run_batch(batch))
        batch.waiting.append((future, len(plans)))
        batch.plans += plans
        return await future

    async def _run_batch(self, batch: _Batch) -> None:
        made: list[bytes] | BaseException
        try:
            try:
                await self._turn()
            finally:
                if self._gathered is batch:
                    self._gathered = None  # what comes from now on waits for its own turn
            made = await self._one_pass(batch.plans)
        except OmapError as problem:
            made = [self._failure(problem)] * len(batch.plans)
        except BaseException as problem:
            made = problem
        at = 0
        for future, count in batch.waiting:
            if not future.done():  # its connection may be gone
                if isinstance(made, BaseException):
                    future.set_exception(made)
                else:
                    future.set_result(made[at : at + count])
            at += count

    async def _one_pass(self, plans: Sequence[Plan | Direct]) -> list[bytes]:
        """Run plans in one batch, which is submitted before anything else can happen."""
        now = self.now()
        begun, operations = self._pass.begin(plans, now)  # now, because a flush may have come before
        doubted = len(operations)
        answers: Sequence[Response] = ()
        failure = b""
        try:
            if operations:
                answers = await self.store.submit(operations)
        except UnknownFateError as error:  # the error says what was answered and what was not sent
            self._report(error)
            answers, doubted = error.responses, error.answered + error.in_doubt
        except OmapError as problem:
            failure = self._failure(problem)
        self.databases.told(self.store.live_keys)
        return self._pass.finish(begun, answers, now, lambda at: failure or UNSETTLED[at >= doubted])

    async def _turn(self) -> None:
        """Wait until something may be submitted that needs no round: between rounds, to the map that is known."""
        while True:
            # SEC_CM: REDIS.WAIT.KEYLESS -- a plan waits for any round, whatever the keys of both
            while not self._free.is_set():
                await self._free.wait()
            if not self._must_meet():
                return
            await self.meet()

    # -- rounds -------------------------------------------------------------------------------------------------

    async def change(self, plans: Sequence[Plan]) -> list[bytes]:
        """Run plans, in their order, in one of the next rounds."""
        made = await self._enter(plans, None)
        assert made is not None
        return made

    async def transaction(self, plans: Sequence[Plan], guard: Callable[[], bool]) -> list[bytes] | None:
        """Run plans in one round, with no other plan between them.

        Returns
        -------
        replies : list of bytes or None
            None if ``guard()`` was false when the round had read; then nothing was changed.

        Reveals
            The same number of operations in either case.
        """
        return await self._enter(plans, guard)

    def is_unchanged(self, watch: Watch) -> bool:
        """Return whether no watched key was changed, nor has expired since it is watched."""
        now, expiries = self.now(), self.expiries
        return not watch.broken and not any(expiries.has_passed(place, now) for place in watch.places - watch.gone)

    async def _enter(self, plans: Sequence[Plan], guard: Callable[[], bool] | None) -> list[bytes] | None:
        group = Group(plans, guard, asyncio.get_running_loop().create_future())
        self._waiting.append(group)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._rounds())
        return await group.future

    async def _rounds(self) -> None:
        while self._waiting:
            groups = [self._waiting.popleft()]
            count = len(groups[0].plans)
            while self._waiting and count + len(self._waiting[0].plans) <= ROUND_LIMIT:
                groups.append(self._waiting.popleft())
                count += len(groups[-1].plans)
            made: Sequence[list[bytes] | None]
            try:
                made = await self._round(groups)
            except OmapError as problem:
                failure = self._failure(problem)
                made = [[failure] * len(group.plans) for group in groups]
            except BaseException as problem:
                for group in groups:
                    if not group.future.done():
                        group.future.set_exception(problem)
                if not isinstance(problem, Exception):
                    raise
                continue  # a defect reaches those who wait for this round, and no others
            for group, answer in zip(groups, made, strict=True):
                if not group.future.done():  # its connection may be gone
                    group.future.set_result(answer)
            await asyncio.sleep(0)  # plans that waited for this round come before the next

    async def _round(self, groups: list[Group]) -> Sequence[list[bytes] | None]:
        places = [place for group in groups for plan in group.plans for place in plan.places]
        while self._must_meet():
            await self.meet()
        self._free.clear()
        map_id, before = self.store.map_id, None
        writes: list[Operation] = []
        writing: asyncio.Future[list[Response]] | None = None
        try:
            found: Found = {}
            if places:
                reads = [
                    NO_OPERATION if place is NOWHERE else Operation(Kind.GET, self.databases.key(place))
                    for place in places
                ]
                try:
                    answers = await self.store.submit(reads)
                except UnknownFateError as error:  # only reading was in doubt, which changes nothing
                    self._report(error)
                    return [[UNSETTLED[1]] * len(group.plans) for group in groups]
                if any(answer.status is Status.DENIED for answer in answers):
                    return [[refusal(Status.DENIED)] * len(group.plans) for group in groups]
                found = {place: answer.previous for place, answer in zip(places, answers, strict=True)}
                if REGISTER in found:
                    before = self.databases.state()
                    self.databases.learn(found[REGISTER])  # perhaps another proxy emptied a database
            self.databases.told(self.store.live_keys)
            decided = await self._decide(groups, found)
            if self.store.map_id != map_id:  # what was read in one map is not written to another
                return [[UNSETTLED[1]] * len(group.plans) for group in groups]
            # SEC_CM: REDIS.OPS.FIXED -- a NOP in place of every PUT that is not needed
            writes = [operation for group in decided for one in group for operation in one.operations]
            writing = self.store.submit(writes) if writes else None
            if before is not None and writing is not None:
                # nothing is written in a generation that perhaps never begins, so all wait until this is known
                await asyncio.wait({writing})
        finally:
            if before is not None:
                refused = was_refused(self.databases.register_key, writes, writing)
                self._is_unsure = refused is None
                if refused is not False:
                    self.databases.restore(before)
            self._free.set()  # whatever is submitted now runs after the writes
        doubted = len(writes)
        try:
            written = await writing if writing is not None else []
        except UnknownFateError as error:
            self._report(error)
            written, doubted = list(error.responses), error.answered + error.in_doubt
        self.databases.told(self.store.live_keys)
        return list(settled(groups, decided, written, doubted))

    async def _decide(self, groups: list[Group], found: Found) -> list[list[Decided]]:
        """Go through the plans in order. Return what each wants to write, and its reply."""
        now, live = self.now(), self.databases.live
        decided: list[list[Decided]] = []
        for group in groups:
            # a transaction whose connection is gone watches nothing any more, so that nobody knows whether it may run
            group.runs = group.guard is None or (not group.future.done() and group.guard())
            some: list[Decided] = []
            for plan in group.plans:
                idle = Decided(b"", [NO_OPERATION] * len(plan.places))
                some.append(idle)
                if not group.runs:
                    continue
                view = View(self.databases, found, now)
                try:
                    reply = plan.apply(view)
                    idle.reply = reply if isinstance(reply, bytes) else await reply
                    operations = view.operations(plan.places)
                    live, ordered = view.commit(operations, plan.places, live)
                except Refused as refused:
                    idle.reply = replies.error(str(refused))
                    continue
                idle.operations = ordered
                self.databases.live = live
                self._changed(view, plan.places, operations)
            decided.append(some)
        return decided

    def _changed(self, view: View, places: Sequence[Place], operations: Sequence[Operation]) -> None:
        """Take note of what a plan of a round changed."""
        for place, operation in zip(places, operations, strict=True):
            if operation.kind is not Kind.NOP and place in view.changes:  # what was not there was not deleted
                self.watches.touch(place)
                self.expiries.note(place, view.expiries.get(place))
        if view.generations is not None:
            self.watches.touch_databases(view.emptied)
            self.expiries.forget(view.emptied)
