"""What a round of plans keeps for each of them, and the replies once the map has answered, or has not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from host.redis import replies
from host.redis.places import DENIED, OUT_OF_ROOM
from host.redis.plans import Plan
from omap.operations import Operation, Response, Status

IN_DOUBT = (
    "ERR omap: unknown fate: the connection to the map broke while this command was under way; it ran once or not at "
    "all (of several keys or commands, perhaps the first) and is not repeated: read before you send it again"
)
NOT_RUN = "ERR omap: the connection to the map broke before this command was sent: nothing was changed, send it again"
UNSETTLED = (replies.error(IN_DOUBT), replies.error(NOT_RUN))
"""Replies to commands that the connection to the map cut short."""

_FULL, _DENIED = Status.FULL, Status.DENIED


def refusal(status: Status) -> bytes:
    """Return the reply to a command of which an operation was answered ``FULL`` or ``DENIED``."""
    return replies.error(OUT_OF_ROOM if status is _FULL else DENIED)


@dataclass(slots=True)
class Group:
    """Plans of one connection that run one after the other in one round."""

    plans: Sequence[Plan]
    guard: Callable[[], bool] | None
    future: asyncio.Future[list[bytes] | None]
    runs: bool = True


@dataclass(slots=True)
class Decided:
    """What a plan of a round wants to write, and its reply."""

    reply: bytes
    operations: list[Operation] = field(default_factory=list)


def was_refused(key: bytes, writes: Sequence[Operation], writing: asyncio.Future[list[Response]] | None) -> bool | None:
    """Return whether the map did not take a key that a round wrote; None if it is not known what ran."""
    if writing is None or not writing.done() or writing.cancelled() or writing.exception() is not None:
        return None
    answers = zip(writes, writing.result(), strict=True)
    return any(operation.key == key and answer.status in (_FULL, _DENIED) for operation, answer in answers)


def settled(
    groups: list[Group], decided: list[list[Decided]], written: list[Response], doubted: int
) -> Iterator[list[bytes] | None]:
    """Give the replies of each group of a round, after as many responses as came."""
    at = 0
    for group, some in zip(groups, decided, strict=True):
        made = []
        for one in some:
            end = at + len(one.operations)
            if end > len(written):
                made.append(UNSETTLED[0] if at < doubted else UNSETTLED[1])
            else:  # FULL if another client was faster than the round
                refused = [each.status for each in written[at:end] if each.status in (_FULL, _DENIED)]
                made.append(refusal(refused[0]) if refused else one.reply)
            at = end
        given_up = not group.runs and not any(reply in UNSETTLED for reply in made)
        yield None if given_up else made
