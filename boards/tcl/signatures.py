"""What a command of a tool takes: options with a value, options without one, and words."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


class RefusedError(Exception):
    """A command of a tool refuses a call. It becomes a ``ScriptError``, which says where the call stands."""


@dataclass(frozen=True)
class Signature:
    """What a command takes, from a line such as ``-force -part=! name directory?``.

    ``-force`` takes no value, ``-part=`` one, ``!`` says that it must be there, ``+`` that it may be there more than
    once. ``name`` is a word that must be there, ``directory?`` one that may, ``files*`` any number of them.
    """

    flags: frozenset[str]
    valued: frozenset[str]
    repeated: frozenset[str]
    needed: frozenset[str]
    least: int
    most: int | None

    @classmethod
    def of(cls, line: str) -> Signature:
        """Return the signature that a line describes."""
        flags: set[str] = set()
        valued: set[str] = set()
        repeated: set[str] = set()
        needed: set[str] = set()
        least = most = 0
        many = False
        for word in line.split():
            name = word.rstrip("=!+")
            if word.startswith("-"):
                (valued if "=" in word else flags).add(name)
                if word.endswith("!"):
                    needed.add(name)
                if word.endswith("+"):
                    repeated.add(name)
            else:
                least += word[-1] not in "?*"
                most += 1
                many = many or word.endswith("*")
        return cls(
            frozenset(flags), frozenset(valued), frozenset(repeated), frozenset(needed), least, None if many else most
        )

    def parse(self, words: Sequence[str]) -> Call:
        """Return the options and words of a call; refuse one that does not fit."""
        call, rest = Call({}, []), list(words)
        while rest:
            word = rest.pop(0)
            if word in self.flags:
                call.options[word] = ""
            elif word in self.valued:
                if not rest:
                    raise RefusedError(f"option {word} has no value")
                if word in call.options and word not in self.repeated:
                    raise RefusedError(f"option {word} is given twice")
                call.options[word] = rest.pop(0)
                call.many.setdefault(word, []).append(call.options[word])
            elif re.match(r"-[a-zA-Z]", word):
                known = ", ".join(sorted(self.flags | self.valued)) or "none"
                raise RefusedError(f"there is no option {word}; options are {known}")
            else:
                call.words.append(word)
        for name in sorted(self.needed - call.options.keys()):
            raise RefusedError(f"option {name} is missing")
        if len(call.words) < self.least or (self.most is not None and len(call.words) > self.most):
            most = "more" if self.most is None else self.most
            raise RefusedError(f"{len(call.words)} arguments came, {self.least} to {most} were expected")
        return call


@dataclass
class Call:
    """One call of a command: options by name, the other words in their order, and every value of each option."""

    options: dict[str, str]
    words: list[str]
    many: dict[str, list[str]] = field(default_factory=dict)

    def get(self, name: str) -> str | None:
        """Return the value of an option, None if it is not there."""
        return self.options.get(name)


Answer = str | tuple[str, ...] | None
Body = Callable[[Any, Call], Answer]


def command(name: str, signature: str = "") -> Callable[[Body], Body]:
    """Mark a method of a :class:`Tool` as the body of a command."""

    def mark(body: Body) -> Body:
        body.tcl_command = (name, Signature.of(signature))  # type: ignore[attr-defined]
        return body

    return mark
