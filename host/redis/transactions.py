"""MULTI, EXEC, DISCARD, WATCH and UNWATCH."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from host.redis.places import Refused
from host.redis.plans import Plan
from host.redis.replies import OK, error
from host.redis.requests import REQUEST_LIMIT
from host.redis.rounds import UNSETTLED
from host.redis.session import Session

WATCH_LIMIT = 1 << 14
"""Most keys that one connection watches."""

UNQUEUED = ("exec", "discard", "multi", "watch", "reset", "quit")
"""Commands that are not queued in a transaction."""

_TOO_LONG = f"ERR the replies to the transaction have more than {REQUEST_LIMIT >> 20} MiB, so nothing of it runs"
_TOO_LARGE = f"ERR the transaction has more than {REQUEST_LIMIT >> 20} MiB: send several smaller ones"


class Exec:
    """A transaction whose time has come.

    Parameters
    ----------
    queue : list of list of bytes
        Words of its commands.
    """

    def __init__(self, queue: list[list[bytes]]) -> None:
        self.queue = queue

    async def run(self, session: Session, plan: Callable[[list[bytes]], bytes | Plan]) -> bytes:
        """Run the commands, none of another connection between them, and return the reply to EXEC.

        If a watched key was changed, the same number of operations runs, and they change nothing.

        Reveals
            How many operations the commands have; they run in two passes, whatever they would be alone.
        """
        before, watch, scheduler = session.choices, session.watch, session.shared.scheduler
        plan = _bounded(plan)
        try:
            planned = [plan(words) for words in self.queue]
        except Refused as refused:
            session.choices = before
            scheduler.watches.remove(watch)
            return error(str(refused))
        session.skip = min(session.skip, 1)  # a CLIENT REPLY SKIP among them is about the command after EXEC
        plans = [one for one in planned if isinstance(one, Plan)]
        try:
            # SEC_CM: REDIS.OPS.FIXED -- a transaction that is given up runs as many operations
            made = await scheduler.transaction(plans, lambda: scheduler.is_unchanged(watch))
        finally:
            scheduler.watches.remove(watch)
        if made is None:
            session.choices = before
            return session.form.null_array
        if (failed := _failure(made)) is not None:
            session.choices = before
            return failed
        return _array(planned, made)


def _bounded(plan: Callable[[list[bytes]], bytes | Plan]) -> Callable[[list[bytes]], bytes | Plan]:
    """Return a function that plans, but refuses when the replies that are known by then are too long together."""
    told = 0

    def planned(words: list[bytes]) -> bytes | Plan:
        nonlocal told
        made = plan(words)
        told += len(made) if isinstance(made, bytes) else 0
        if told > REQUEST_LIMIT:
            raise Refused(_TOO_LONG)
        return made

    return planned


def _failure(made: list[bytes]) -> bytes | None:
    """Return the reply to a transaction that did not run to its end; None for one that did."""
    if any(reply in UNSETTLED for reply in made):
        in_doubt, not_run = UNSETTLED
        return not_run if all(reply == not_run for reply in made) else in_doubt
    if made and made[0].startswith(b"-ERR omap: ") and made.count(made[0]) == len(made):
        return made[0]
    return None


def _array(planned: Sequence[bytes | Plan], made: list[bytes]) -> bytes:
    rest = iter(made)
    parts = [next(rest) if isinstance(one, Plan) else one for one in planned]
    return b"*%d\r\n" % len(parts) + b"".join(parts)


def queue(session: Session, words: list[bytes]) -> bytes:
    """Queue a command of a transaction."""
    assert session.queue is not None
    session.queue_bytes += sum(map(len, words)) + 64 * len(words)
    if session.queue_bytes > REQUEST_LIMIT:
        session.queue.clear()
        raise Refused(_TOO_LARGE)
    session.queue.append(words)
    return b"+QUEUED\r\n"


def multi(session: Session, words: list[bytes]) -> bytes:
    """``MULTI``."""
    if session.queue is not None:
        raise Refused("ERR MULTI calls can not be nested")
    session.queue, session.queue_bytes, session.spoilt = [], 0, False
    return OK


def execute(session: Session, words: list[bytes]) -> bytes | Exec:
    """``EXEC``. Nothing of a transaction runs if one of its commands was refused."""
    if session.queue is None:
        raise Refused("ERR EXEC without MULTI")
    commands, spoilt = session.queue, session.spoilt
    session.queue, session.spoilt = None, False
    if spoilt:
        session.leave_transaction()
        raise Refused("EXECABORT Transaction discarded because of previous errors.")
    return Exec(commands)


def discard(session: Session, words: list[bytes]) -> bytes:
    """``DISCARD``."""
    if session.queue is None:
        raise Refused("ERR DISCARD without MULTI")
    session.leave_transaction()
    return OK


def watch(session: Session, words: list[bytes]) -> bytes:
    """``WATCH key ...``. It takes no operation, because all changes by the proxy's clients pass the scheduler."""
    if session.queue is not None:
        raise Refused("ERR WATCH inside MULTI is not allowed")
    if len(session.watch.places) + len(words) - 1 > WATCH_LIMIT:
        raise Refused(f"ERR one connection watches at most {WATCH_LIMIT} keys: send EXEC, DISCARD or UNWATCH")
    assert session.database is not None
    scheduler = session.shared.scheduler
    for name in words[1:]:
        if scheduler.databases.can_hold(place := (session.database, name)):  # what can't be there does not change
            scheduler.watches.add(session.watch, place, is_gone=scheduler.expiries.has_passed(place, scheduler.now()))
    return OK


def unwatch(session: Session, words: list[bytes]) -> bytes:
    """``UNWATCH``."""
    session.shared.scheduler.watches.remove(session.watch)
    return OK


TRANSACTIONS: dict[str, Callable[[Session, list[bytes]], bytes | Exec]] = {
    "discard": discard,
    "exec": execute,
    "multi": multi,
    "unwatch": unwatch,
    "watch": watch,
}
