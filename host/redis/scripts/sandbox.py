"""The process that runs Lua. It holds no key and no file; it can ask the proxy for redis.call, and for nothing else.

A script runs in a Lua runtime of its own. What leads from Lua to Python is a handful of functions in closures of
``prelude.lua``, which a script can't reach. Should a script break out of Lua all the same, it is in a process that has
nothing: the proxy does what a script asks for, on the keys that its command named.
"""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import sys
from pathlib import Path
from typing import BinaryIO, NoReturn

import hiredis
import lupa.lua51

from host.redis.scripts.libraries import BITS, bits, decode_json
from host.redis.scripts.messages import LENGTH, body_length, pack, unpack

INSTRUCTION_LIMIT = 10_000_000
"""Steps of Lua that a script may take. An empty loop takes so many in some 0.03 seconds."""

MEMORY_LIMIT = 1 << 26
"""Bytes that a script's runtime may hold."""

REPLY_LIMIT = 1 << 24
"""Most bytes of a script's reply."""

PROCESS_LIMIT = 1 << 30
"""Bytes of address space of this process."""

_COMPILED = b"ERR Error compiling script (new function): user_script:1: unexpected symbol near 'char(27)'"
_PRELUDE = Path(__file__).with_name("prelude.lua").read_bytes()
_LIBRARIES = Path(__file__).with_name("libraries.lua").read_bytes()


class Closed(Exception):  # noqa: N818 -- the orderly end
    """The proxy is gone."""


class Channel:
    """The way to the proxy."""

    def __init__(self, source: BinaryIO, target: BinaryIO) -> None:
        self._source, self._target = source, target

    def receive(self) -> list[bytes]:
        """Return the next message."""
        head = self._source.read(LENGTH.size)
        if len(head) < LENGTH.size:
            raise Closed
        return unpack(self._source.read(body_length(head)))

    def send(self, *parts: bytes) -> None:
        """Send a message."""
        self._target.write(pack(parts))
        self._target.flush()


class Random:
    """Numbers of ``math.random``: the same ones in every run, and the same ones as in Redis."""

    def __init__(self) -> None:
        self.seed(0)

    def seed(self, number: float) -> None:
        """Begin anew."""
        try:
            self._state = (int(number) & 0xFFFFFFFF) << 16 | 0x330E
        except (OverflowError, ValueError):
            self._state = 0x330E

    def draw(self) -> float:
        """Return a number from 0 to 1."""
        self._state = (self._state * 0x5DEECE66D + 0xB) % (1 << 48)
        return (self._state >> 17) % 0x7FFFFFFF / 0x7FFFFFFF


def _deny(thing: object, name: object, setting: bool) -> NoReturn:
    raise AttributeError("a script has no way to Python")


class Sandbox:
    """One Lua runtime, for one script.

    Parameters
    ----------
    channel : Channel
        The way to the proxy.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._exhausted = False
        # SEC_CM: REDIS.SCRIPT.SANDBOXED -- no builtins, no eval, no attributes of a Python object
        self._lua = lupa.lua51.LuaRuntime(
            encoding=None,
            register_eval=False,
            register_builtins=False,
            unpack_returned_tuples=True,
            attribute_filter=_deny,
            max_memory=MEMORY_LIMIT,  # SEC_CM: REDIS.SCRIPT.BOUNDED -- more is an error in the script
        )
        random = Random()
        python = self._lua.table_from(
            {
                b"ask": self._ask,
                b"over": self._over,
                b"draw": random.draw,
                b"seed": random.seed,
                b"sha1hex": lambda text: hashlib.sha1(text).hexdigest().encode(),
                b"bits": bits,
                b"bits_take": self._lua.table_from({name.encode(): least for name, (least, _) in BITS.items()}),
                b"decode_json": self._decode,
            }
        )
        cjson, bit = self._lua.execute(_LIBRARIES, python)
        self._null = cjson[b"null"]
        # SEC_CM: REDIS.SCRIPT.BOUNDED -- a hook counts steps and ends a script that takes too many
        self._check, self._run = self._lua.execute(_PRELUDE, python, INSTRUCTION_LIMIT, cjson, bit)

    def answer(self, request: list[bytes]) -> list[bytes]:
        """Compile or run a script, and return what the proxy is told of it.

        Parameters
        ----------
        request : list of bytes
            ``check`` and a script; or ``run``, a script, its SHA1, the reply for nil, version of the protocol, number
            of keys, keys, arguments.

        Returns
        -------
        answer : list of bytes
            ``done`` and the reply; ``failed`` and the text of an error; or ``over``, after too many steps.
        """
        # SEC_CM: REDIS.SCRIPT.SANDBOXED -- only text: Lua 5.1 runs compiled code unchecked, and that can do anything
        if request[1].startswith(b"\x1b"):
            return [b"failed", _COMPILED]
        try:
            if request[0] == b"check":
                kind, text = self._check(request[1])
            else:
                source, name, null, version, count, *words = request[1:]
                keys, arguments = words[: int(count)], words[int(count) :]
                tables = self._lua.table_from(keys), self._lua.table_from(arguments)
                kind, text = self._run(source, name, *tables, null, version == b"3")
        except Exception:  # of Lua, or of Python called by Lua; none says anything that the proxy may trust
            return [b"over"] if self._exhausted else [b"failed", b"ERR the script ran out of memory"]
        if len(text) > REPLY_LIMIT:
            return [b"failed", b"ERR the script's reply is too long: at most %d bytes" % REPLY_LIMIT]
        return [kind, text]

    def _ask(self, *words: bytes | float) -> tuple[bytes, object]:
        """Have the proxy do a command. Return what became of it, and the reply as a value of Lua."""
        try:
            self._channel.send(b"call", *(word if isinstance(word, bytes) else b"%.17g" % word for word in words))
            answer = self._channel.receive()
        except (Closed, OSError):
            os._exit(0)
        if not answer:
            return b"ended", None
        reply = answer[0]
        if reply[:1] in b"+-":
            return b"status" if reply[:1] == b"+" else b"error", reply[1:-2]
        reader = hiredis.Reader()
        reader.feed(reply)
        value = reader.gets()
        if isinstance(value, list):
            return b"value", self._lua.table_from([False if item is None else item for item in value])
        return b"value", False if value is None else value

    def _decode(self, text: bytes) -> tuple[bool, object]:
        return decode_json(text, table=self._lua.table_from, null=self._null)

    def _over(self) -> None:
        self._exhausted = True


def _bound_process() -> None:
    """Give up what a script does not need, so that one that breaks out of Lua has little."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for what, most in (
        (resource.RLIMIT_AS, PROCESS_LIMIT),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(what, (most, most))


def main() -> None:
    """Answer one request after the other, until the proxy is gone."""
    seconds = float(sys.argv[1])
    channel = Channel(sys.stdin.buffer, sys.stdout.buffer)
    _bound_process()
    while True:
        sandbox = Sandbox(channel)
        channel.send(b"ready")
        try:
            request = channel.receive()
        except Closed:
            return
        signal.setitimer(signal.ITIMER_REAL, seconds)  # also if the proxy that would end the script is gone
        channel.send(*sandbox.answer(request))
        signal.setitimer(signal.ITIMER_REAL, 0)


if __name__ == "__main__":
    main()
