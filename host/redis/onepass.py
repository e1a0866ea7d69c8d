"""Plans that need one pass: from a plan to its operations, and from their answers to its reply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from host.redis import replies
from host.redis.databases import Databases
from host.redis.expiries import Expiries
from host.redis.places import NOWHERE, OUT_OF_ROOM, REGISTER, Refused
from host.redis.plans import Plan
from host.redis.view import NO_OPERATION, Found, View
from host.redis.watches import Watches
from omap.operations import Kind, Operation, Response, Status

_NOP, _PUT, _DELETE, _FULL = Kind.NOP, Kind.PUT, Kind.DELETE, Status.FULL  # an enum is slow to look into


@dataclass(slots=True)
class Begun:
    """A plan whose operations are known.

    Parameters
    ----------
    plan : Plan
        The plan.
    operations : sequence of Operation
        What to run.
    reply : bytes
        The reply, if it does not depend on the answers.
    view : View or None
        What a plan of PUTs wants to write.
    """

    plan: Plan
    operations: Sequence[Operation]
    reply: bytes = b""
    view: View | None = None


def begin(plan: Plan, databases: Databases, watches: Watches, now: int) -> Begun:
    """Return the operations of a plan, and what is known before they run. A refused plan has none."""
    try:
        if plan.once is _PUT:
            view = View(databases, {}, now)
            reply = plan.apply(view)
            assert isinstance(reply, bytes)
            for place in view.changes:
                watches.touch(place)
            return Begun(plan, view.operations(plan.places), reply, view)
        kind, key = plan.once or _NOP, databases.key
        return Begun(plan, [Operation(kind, key(p)) if p is not NOWHERE else NO_OPERATION for p in plan.places])
    except Refused as refused:
        return Begun(plan, (), replies.error(str(refused)))


@dataclass(frozen=True, slots=True)
class Finish:
    """Makes replies from answers, and notes what was changed.

    Parameters
    ----------
    databases : Databases
        Reads cells, and counts keys.
    expiries : Expiries
        What expires.
    watches : Watches
        Who wants to know of changes.
    """

    databases: Databases
    expiries: Expiries
    watches: Watches

    def __call__(self, begun: Begun, answers: Sequence[Response], now: int) -> bytes:
        """Return the reply of a plan whose operations were answered."""
        plan = begun.plan
        if plan.once is _PUT:
            full = False
            for place, operation, answer in zip(plan.places, begun.operations, answers, strict=True):
                if answer.status is _FULL:
                    full = True
                else:
                    self._note_put(begun, place, operation, answer)
            if full:
                return replies.error(OUT_OF_ROOM)
            if begun.view is None or not begun.view.has_read:
                return begun.reply
        elif plan.once is _DELETE:
            for place, answer in zip(plan.places, answers, strict=True):
                if answer.previous is not None:
                    self.databases.account(place, answer.previous, None)
                    self.expiries.note(place, None)
                    self.watches.touch(place)
        if len(answers) == 1:
            found: Found = {plan.places[0]: answers[0].previous}
        else:
            found = {}
            for place, answer in zip(plan.places, answers, strict=True):
                found.setdefault(place, answer.previous)
        try:
            made = plan.apply(View(self.databases, found, now))
            assert isinstance(made, bytes)
        except Refused as refused:
            return replies.error(str(refused))
        return made

    def _note_put(self, begun: Begun, place: tuple[int, bytes], operation: Operation, answer: Response) -> None:
        if place is REGISTER:
            self.databases.registered = True
        elif operation.kind is _PUT:
            assert begun.view is not None
            self.databases.account(place, answer.previous, operation.value)
            self.expiries.note(place, begun.view.expiries.get(place))
