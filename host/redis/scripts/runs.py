"""One run of a script: redis.call on the keys that its command named. What it writes counts only if it ends well."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace

from host.redis import replies
from host.redis.calls import Call
from host.redis.commands import COMMANDS, check
from host.redis.places import Place, Refused
from host.redis.replies import RESP2
from host.redis.scripts.cache import Cache, Script
from host.redis.scripts.process import Ended, Process
from host.redis.view import View

KEYS, SECONDS = 16, 5.0
"""Unless told otherwise: most keys of one script, and how long it may run."""

CALL_LIMIT = 10_000
"""Most commands of one run."""

_NOTHING = ", so it was ended and nothing was changed"
NOT_ITS_KEY = "ERR the script named a key that is not in KEYS" + _NOTHING + "; docs/use/redis.md says why"
OVER = "ERR the script took too many steps" + _NOTHING
_WHICH = "docs/use/redis.md says what does"
MISSING = "ERR scripts need the package lupa on the proxy's machine: pip install lupa"


class Fatal(Exception):  # noqa: N818 -- an answer, not a failure
    """Ends a script, whatever it catches. The text is the reply."""


class Scripts:
    """What the proxy knows of scripts, and the process that runs them.

    Parameters
    ----------
    keys : int
        Most keys that one script may name.
    seconds : float
        How long one may run.

    Attributes
    ----------
    cache : Cache
        Scripts by their SHA1.
    process : Process
        The process that runs them.

    Reveals
        Of a script: how many keys its command names, twice as many operations. Nothing about what it does.
    """

    def __init__(self, keys: int = KEYS, seconds: float = SECONDS) -> None:
        self.keys, self.cache = keys, Cache()
        self.process = Process(seconds)

    def check_installed(self) -> None:
        """Refuse scripts where lupa is not installed."""
        if importlib.util.find_spec("lupa") is None:
            raise Refused(MISSING)

    async def run(self, call: Call, script: Script, view: View, places: list[Place]) -> bytes:
        """Run a script on a view, and return its reply.

        Raises
        ------
        Refused
            If the script fails in any way. What it did to the view must not be written then.
        """
        source, read_only = script.opened()
        run = Run(call, view, frozenset(places), read_only=read_only or call.name.endswith("_ro"))
        form, count = call.form, b"%d" % len(places)
        about = [script.name, form.null, b"%d" % form.version, count]
        return await self._request([b"run", source, *about, *call.words[3:]], script, run)

    async def check(self, script: Script) -> None:
        """Compile a script.

        Raises
        ------
        Refused
            If it is not Lua.
        """
        await self._request([b"check", script.opened()[0]], script)

    async def _request(self, parts: list[bytes], script: Script, run: Run | None = None) -> bytes:
        try:
            kind, *rest = await self.process.request(parts, run.answer if run else lambda _: [])
        except Ended as ended:
            raise Refused(f"ERR the script did not end, because {ended}, so nothing was changed") from None
        if run and run.fatal:
            raise Refused(run.fatal)
        if kind == b"done" and len(rest) == 1:
            return rest[0]
        text = rest[0].decode("utf-8", "surrogateescape") if kind == b"failed" and rest else OVER
        if text.startswith("ERR Error compiling"):
            self.cache.discard(script)
        raise Refused(text)

    async def close(self) -> None:
        """End the process."""
        await self.process.close()


class Run:
    """What a running script may do.

    Parameters
    ----------
    call : Call
        The command that runs it.
    view : View
        What was found, and what the script changes.
    places : frozenset of Place
        Its keys.
    read_only : bool
        Whether it may write.

    Attributes
    ----------
    fatal : str
        Why the script must end, if it must.
    """

    def __init__(self, call: Call, view: View, places: frozenset[Place], *, read_only: bool) -> None:
        self._call, self._view, self._places, self._read_only = call, view, places, read_only
        self._calls = 0
        self.fatal = ""

    def answer(self, words: list[bytes]) -> list[bytes]:
        """Return the reply to a command of the script; nothing if the script must end."""
        if self.fatal:
            return []
        self._calls += 1
        if self._calls > CALL_LIMIT:
            self.fatal = OVER
            return []
        before = dict(self._view.changes), dict(self._view.expiries)
        try:
            return [self._do(words)]
        except Fatal as fatal:
            self.fatal = str(fatal)
            return []
        except Refused as refused:
            self._view.changes, self._view.expiries = before
            return [replies.error(str(refused))]

    def _do(self, words: list[bytes]) -> bytes:
        name = words[0].lower().decode("latin-1") if words else ""
        entry = COMMANDS.get(name)
        if entry is None or not (name in _OWN or (entry.plan and "noscript" not in entry.flags)):
            told = name if name.isascii() and name.isprintable() else "?"
            raise Fatal(f"ERR the script called '{told[:32]}', which does not work in a script{_NOTHING}; {_WHICH}")
        try:
            check(name, words)
        except Refused:
            raise Refused("ERR Wrong number of args calling Redis command from script") from None
        if self._read_only and "write" in entry.flags:
            raise Refused("ERR Write commands are not allowed from read-only scripts.")
        if name in _OWN:
            return _OWN[name](self._view, words)
        assert entry.plan is not None
        call = self._call
        plan = entry.plan(replace(call, words=words, form=RESP2, now=self._view.now))
        # SEC_CM: REDIS.SCRIPT.SANDBOXED -- a script reaches the keys that its command named, and no other
        if not self._places.issuperset(plan.places):
            raise Fatal(NOT_ITS_KEY)
        reply = plan.apply(self._view)
        assert isinstance(reply, bytes)
        return reply


def _echo(view: View, words: list[bytes]) -> bytes:
    return RESP2.bulk(words[1])


def _ping(view: View, words: list[bytes]) -> bytes:
    return RESP2.bulk(words[1]) if len(words) > 1 else b"+PONG\r\n"


def _time(view: View, words: list[bytes]) -> bytes:
    """Return the time of the command: it stands still while a script runs."""
    return RESP2.bulks([b"%d" % (view.now // 1000), b"%d" % (view.now % 1000 * 1000)])


_OWN: dict[str, Callable[[View, list[bytes]], bytes]] = {"echo": _echo, "ping": _ping, "time": _time}
"""Commands without keys that work in a script."""
