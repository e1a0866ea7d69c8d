"""Plans that need one pass: from plans to their operations, and from the answers to the replies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from host.redis import replies
from host.redis.databases import Databases
from host.redis.direct import Direct
from host.redis.expiries import Expiries
from host.redis.places import NOWHERE, REGISTER, Place, Refused
from host.redis.plans import Plan
from host.redis.rounds import refusal
from host.redis.view import NO_OPERATION, Found, View
from host.redis.watches import Watches
from omap.operations import Kind, Operation, Response, Status

_NOP, _GET, _PUT, _DELETE = Kind.NOP, Kind.GET, Kind.PUT, Kind.DELETE  # an enum is slow to look into
_FULL, _DENIED = Status.FULL, Status.DENIED


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


Started = bytes | Direct | Begun
"""A plan that was begun: its reply, if it was refused; itself, if it is direct; or what it began."""


@dataclass(frozen=True, slots=True)
class OnePass:
    """Makes operations from plans and replies from answers, and notes what was changed.

    Parameters
    ----------
    databases : Databases
        Reads and makes cells, and counts keys.
    expiries : Expiries
        What expires.
    watches : Watches
        Who wants to know of changes.
    """

    databases: Databases
    expiries: Expiries
    watches: Watches

    def begin(self, plans: Sequence[Plan | Direct], now: int) -> tuple[list[Started], list[Operation]]:
        """Return plans as they were begun, and the operations of all of them."""
        begun: list[Started] = []
        operations: list[Operation] = []
        cell, make, is_watched = self.databases.cell, tuple.__new__, len(self.watches) > 0
        for plan in plans:
            try:
                if isinstance(plan, Direct):
                    kind, place, key, value, _ = plan
                    if kind is _PUT:
                        value = cell(place, value, None)
                        if is_watched:
                            self.watches.touch(place)
                    else:
                        value = b""
                    operations.append(make(Operation, (kind, key, value)))
                    begun.append(plan)
                else:
                    one = self._begin(plan, now)
                    operations += one.operations
                    begun.append(one)
            except Refused as refused:
                begun.append(replies.error(str(refused)))
        return begun, operations

    def _begin(self, plan: Plan, now: int) -> Begun:
        if plan.once is _PUT:
            view = View(self.databases, {}, now)
            reply = plan.apply(view)
            assert isinstance(reply, bytes)
            for place in view.changes:
                self.watches.touch(place)
            return Begun(plan, view.operations(plan.places), reply, view)
        kind, key = plan.once or _NOP, self.databases.key
        return Begun(plan, [Operation(kind, key(p)) if p is not NOWHERE else NO_OPERATION for p in plan.places])

    def finish(
        self, begun: Sequence[Started], answers: Sequence[Response], now: int, missing: Callable[[int], bytes]
    ) -> list[bytes]:
        """Return the replies of plans, after as many answers as came.

        ``missing`` returns the reply of a plan that has not all its answers, from the place of its first operation.
        """
        direct = [one for one in begun if isinstance(one, Direct)]
        if len(direct) == len(begun) == len(answers):  # nearly always
            return self._reply_direct(direct, answers, now)
        made: list[bytes] = []
        at, have = 0, len(answers)
        for one in begun:
            if isinstance(one, Direct):
                end = at + 1
                if end <= have:
                    made += self._reply_direct([one], answers[at:end], now)
                else:
                    made.append(self._doubt(one, missing(at)))
                at = end
            elif isinstance(one, Begun):
                end = at + len(one.operations)
                if end <= have:
                    made.append(self._reply_begun(one, answers[at:end], now))
                else:
                    made.append(self._doubt(one.plan, missing(at)))
                at = end
            else:
                made.append(one)
        return made

    def _doubt(self, plan: Plan | Direct, reply: bytes) -> bytes:
        if plan.once is _DELETE:  # perhaps it is deleted
            for place in plan.places:
                self.watches.touch(place)
        return reply

    def _reply_direct(self, plans: Sequence[Direct], answers: Sequence[Response], now: int) -> list[bytes]:
        made: list[bytes] = []
        read, account, note = self.databases.read, self.databases.account, self.expiries.note
        for (kind, place, _, value, form), (status, previous) in zip(plans, answers, strict=True):
            if status is _FULL or status is _DENIED:
                made.append(refusal(status))
            elif kind is _PUT:
                account(place, previous, value)
                note(place, None)
                made.append(replies.OK)
            elif previous is None:
                made.append(form.null if kind is _GET else replies.integer(0))
            else:
                if kind is _DELETE:
                    self._note_deleted(place, previous)
                try:
                    found = read(place, previous, now)
                except Refused as refused:  # what can't be read is there, and can be deleted
                    made.append(replies.error(str(refused)) if kind is _GET else replies.integer(1))
                    continue
                if kind is _GET:
                    made.append(form.null if found is None else form.bulk(found[0]))
                else:
                    made.append(replies.integer(found is not None))
        return made

    def _reply_begun(self, begun: Begun, answers: Sequence[Response], now: int) -> bytes:
        plan, refused = begun.plan, None
        for place, operation, answer in zip(plan.places, begun.operations, answers, strict=True):
            if answer.status is _FULL or answer.status is _DENIED:
                refused = answer.status
            elif operation.kind is _PUT:
                self._note_put(begun, place, operation, answer)
            elif operation.kind is _DELETE and answer.previous is not None:
                self._note_deleted(place, answer.previous)
        if refused is not None:
            return refusal(refused)
        if plan.once is _PUT and (begun.view is None or not begun.view.has_read):
            return begun.reply
        if len(answers) == 1:
            found: Found = {plan.places[0]: answers[0].previous}
        else:
            found = {}
            for place, answer in zip(plan.places, answers, strict=True):
                found.setdefault(place, answer.previous)
        try:
            made = plan.apply(View(self.databases, found, now))
            assert isinstance(made, bytes)
        except Refused as problem:
            return replies.error(str(problem))
        return made

    def _note_put(self, begun: Begun, place: Place, operation: Operation, answer: Response) -> None:
        if place is REGISTER:
            self.databases.registered = True
        else:
            assert begun.view is not None
            self.databases.account(place, answer.previous, operation.value)
            self.expiries.note(place, begun.view.expiries.get(place))

    def _note_deleted(self, place: Place, previous: bytes) -> None:
        self.databases.account(place, previous, None)
        self.expiries.note(place, None)
        self.watches.touch(place)
