"""The work of an asyncio client: what waits, what is in flight, and whose it is. Does no input or output."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from host.client.conversation import Conversation
from host.client.work import Items, Plain, Work
from omap.errors import TamperedError


class Queue:
    """Work in the order of its submission, with a future for each.

    Attributes
    ----------
    waiting : deque of Work
        Work that is not sent, or only in part.
    flying : deque of Work
        Work of which something was sent and is not answered.
    """

    def __init__(self) -> None:
        self.waiting: deque[Work] = deque()
        self.flying: deque[Work] = deque()
        self._futures: dict[Work, asyncio.Future[Any]] = {}

    def add(self, work: Work) -> asyncio.Future[Any]:
        """Append work and return the future of its responses."""
        future = self._futures[work] = asyncio.get_running_loop().create_future()
        self.waiting.append(work)
        return future

    def seal(self, conversation: Conversation) -> bytes:
        """Return the records of what waits, as far as the conversation has room, each with as much as it holds.

        Reveals
            To whoever sees the records: how many operations there are.
        """
        records = []
        while self.waiting and (room := conversation.room()):
            items, count = self._gather(room)
            if count:
                records.append(conversation.seal(items, count))
        return b"".join(records)

    def seal_one(self, conversation: Conversation, count: int) -> bytes:
        """Return one record of exactly ``count`` operations, NOPs at its end; nothing if there is no room for it.

        Reveals
            To whoever sees the record: ``count``, and not how many operations wait.
        """
        if conversation.room() < count:
            return b""
        items, filled = self._gather(count)
        if filled < count:
            self.waiting.append(Plain(conversation.codec, count - filled))
            more, _ = self._gather(count - filled)
            items += more
        return conversation.seal(items, count)

    def _gather(self, most: int) -> tuple[list[Items], int]:
        """Return the items of the next operations that wait, up to so many, and how many there are."""
        items: list[Items] = []
        room = most
        while room and self.waiting:
            work = self.waiting[0]
            future = self._futures.get(work)
            if future is not None and future.cancelled():
                work.stop()
            count = min(room, work.unsent)
            if count:
                if not work.sent:
                    self.flying.append(work)
                items.append(work.next(count))
                room -= count
            if not work.unsent:
                self.waiting.popleft()
                if not work.sent:  # cancelled before anything of it was sent
                    self._futures.pop(work, None)
        return items, most - room

    def deliver(self, answers: Sequence[memoryview]) -> None:
        """Give the items of answers to the work that they belong to, and end the futures of what is done."""
        items: Items = answers[0] if len(answers) == 1 else b"".join(answers)
        at = 0
        while at < len(items):
            work = self.flying[0]
            end = min(len(items), at + (work.sent - work.answered) * work.codec.item_bytes)
            try:
                work.take(items[at:end])
            except Exception as error:  # a caller's progress callback
                work.stop()
                self._end(work, error)
            at = end
            if work.answered == work.sent and not work.unsent:
                self.flying.popleft()
                self._end(work, None)

    def fail_waiting(self, error: Callable[[Work], Exception]) -> None:
        """Fail what waits with the error that ``error`` returns for it."""
        works = list(self.waiting)
        self.waiting.clear()
        self._fail(works, error)

    def fail_flying(self, error: Callable[[Work], Exception]) -> None:
        """Fail what is in flight, also the part of it that waits."""
        works = list(self.flying)
        self.flying.clear()
        if self.waiting and self.waiting[0].sent:
            self.waiting.popleft()
        self._fail(works, error)

    def fail_all(self, error: Callable[[Work], TamperedError]) -> None:
        """Fail everything, in the order of submission. Each error gets to know the fate of its work."""
        works = list(dict.fromkeys([*self.flying, *self.waiting]))
        self.flying.clear()
        self.waiting.clear()

        def fate(work: Work) -> TamperedError:
            told = error(work)
            work.note_fate(told)
            return told

        self._fail(works, fate)

    def _fail(self, works: Sequence[Work], error: Callable[[Work], Exception]) -> None:
        for work in works:
            if work in self._futures:
                self._end(work, error(work))

    def _end(self, work: Work, error: BaseException | None) -> None:
        future = self._futures.pop(work, None)
        if future is None or future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(work.responses())
