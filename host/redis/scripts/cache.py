"""Scripts by their SHA1, so that clients need not send them again."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

from host.redis.places import Refused

COUNT_LIMIT, BYTES_LIMIT = 500, 1 << 23
"""Most scripts that the proxy remembers, and most bytes of them together. It forgets those that nobody used longest."""


_FLAGS = ("no-writes", "allow-oom", "allow-stale", "no-cluster", "allow-cross-slot-keys")


@dataclass(frozen=True)
class Script:
    """A script as a client gave it.

    Parameters
    ----------
    text : bytes
        All of it.
    name : bytes
        Its SHA1 in hexadecimal digits.
    """

    text: bytes
    name: bytes

    def opened(self) -> tuple[bytes, bool]:
        """Return what Lua gets of it, and whether its first line says that it writes nothing.

        Raises
        ------
        Refused
            If the first line begins with ``#!`` and says what is not known.
        """
        if not self.text.startswith(b"#!"):
            return self.text, False
        line, end, rest = self.text.partition(b"\n")
        engine, *options = line.decode("utf-8", "surrogateescape").split()
        if engine != "#!lua":
            raise Refused(f"ERR Unexpected engine in script shebang: {engine}")
        flags: set[str] = set()
        for option in options:
            name, _, value = option.partition("=")
            if name != "flags":
                raise Refused(f"ERR Unknown lua shebang option: {option}")
            flags.update(filter(None, value.split(",")))
        for flag in flags - set(_FLAGS):
            raise Refused(f"ERR Unexpected flag in script shebang: {flag}")
        return end + rest, "no-writes" in flags


class Cache:
    """The scripts that the proxy remembers. A client whose script was forgotten gets NOSCRIPT and sends it again."""

    def __init__(self) -> None:
        self._scripts: OrderedDict[bytes, Script] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._scripts)

    def add(self, text: bytes) -> Script:
        """Remember a script."""
        script = Script(text, hashlib.sha1(text).hexdigest().encode())
        if script.name not in self._scripts:
            self._scripts[script.name] = script
            self._bytes += len(text)
        self._scripts.move_to_end(script.name)
        # SEC_CM: REDIS.SCRIPT.BOUNDED -- clients that send ever new scripts do not fill the memory
        while len(self._scripts) > COUNT_LIMIT or self._bytes > BYTES_LIMIT:
            self._bytes -= len(self._scripts.popitem(last=False)[1].text)
        return script

    def get(self, name: bytes) -> Script | None:
        """Return a script by its SHA1, in small or capital letters."""
        script = self._scripts.get(name.lower())
        if script is not None:
            self._scripts.move_to_end(script.name)
        return script

    def discard(self, script: Script) -> None:
        """Forget a script."""
        if self._scripts.pop(script.name, None) is not None:
            self._bytes -= len(script.text)

    def clear(self) -> None:
        """Forget all scripts."""
        self._scripts.clear()
        self._bytes = 0
