"""The work of an asyncio client: what waits, what is in flight, and whose it is. Does no input or output."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from host.client.conversation import Conversation
from host.client.work import Single, Work
from omap.errors import TamperedError
from omap.operations import Response


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

    def seal(self, conversation: Conversation, room: int, *, pad: bool) -> bytes:
        """Return the records of the next operations: up to ``room``, or with ``pad`` exactly so many, NOPs at the end.

        Reveals
            To whoever sees the records: how many there are.
        """
        records = []
        while room > 0:
            if not self.waiting:
                if not pad:
                    break
                self.waiting.append(Single())
            work = self.waiting[0]
            future = self._futures.get(work)
            if future is not None and future.cancelled():
                work.stop()
            count = min(room, work.unsent)
            if count:
                if not work.sent:
                    self.flying.append(work)
                records.append(conversation.seal(work.next(count)))
                room -= count
            if not work.unsent:
                self.waiting.popleft()
                if not work.sent:  # cancelled before anything of it was sent
                    self._futures.pop(work, None)
        return b"".join(records)

    def deliver(self, responses: list[Response]) -> None:
        """Give responses to the work that they belong to, and end the futures of what is done."""
        at = 0
        while at < len(responses):
            work = self.flying[0]
            end = min(len(responses), at + work.sent - work.answered)
            try:
                work.take(responses[at:end] if (at, end) != (0, len(responses)) else responses)
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
