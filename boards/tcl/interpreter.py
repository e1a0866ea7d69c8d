"""Runs Tcl scripts for the vendor's tools without the tools: their commands are known by signature, and recorded.

A :class:`Tool` models as much of a tool as our scripts use, and no more: a command, an option or a property that it
does not know is an error, and so is an object that was never made. Scripts run in a safe interpreter of Tcl itself,
with its plainest commands alone: no files, no processes, nothing that could hide an error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from boards.tcl.signatures import Answer, Body, Call, RefusedError, Signature, command
from omap.errors import InputError, OmapError

PLAIN = ("list", "set", "expr")
"""Tcl's own commands in constraints, where the tools take no others."""

CONTROL = (
    *PLAIN, "append", "dict", "foreach", "format", "if", "incr", "info", "join", "lappend", "lindex", "llength",
    "lsearch", "lsort", "proc", "return", "string",
)  # fmt: skip
"""Tcl's own commands in scripts."""

LONGEST_SECONDS = 60
"""Time for a script; they take milliseconds, unless they never end."""

_LINE = re.compile(r'\(file ".*" line (\d+)\)')


class ScriptError(OmapError):
    """A script does what the tool, or the design, does not allow; says where."""


class ScriptStoppedError(ScriptError):
    """A script ended itself with an error of its own."""


@dataclass
class Thing:
    """An object of a tool, made at ``place``."""

    kind: str
    name: str
    place: str
    of: Thing | None = None
    properties: dict[str, str] = field(default_factory=dict)

    @property
    def handle(self) -> str:
        """What scripts pass around."""
        own = f"{self.kind.replace(' ', '_')}:{self.name}"
        return f"{self.of.handle}/{own}" if self.of else own


class Tool:
    """A tool's commands, and what scripts did with them.

    Parameters
    ----------
    folder : Path
        Where the scripts and their files are.
    present : iterable of str
        Files that are taken to be in the folder besides.
    absent : iterable of str
        Files that are taken not to be there.

    Attributes
    ----------
    things : dict
        Every object by handle, in the order in which they were made.
    calls : list
        Command, place and call, in order.
    """

    PROPERTIES: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    """Kind of object to its properties: name, in lower case, to a pattern of values."""

    def __init__(self, folder: Path, *, present: Iterable[str] = (), absent: Iterable[str] = ()) -> None:
        self.folder = folder.absolute()
        self.present, self.absent = set(present), frozenset(absent)
        self.things: dict[str, Thing] = {}
        self.calls: list[tuple[str, str, Call]] = []
        self.place = ""
        self._running: _Interpreter | None = None

    def run(self, script: str, *, environment: Mapping[str, str] | None = None) -> None:
        """Run a script of the folder.

        Parameters
        ----------
        script : str
            Its name.
        environment : mapping, optional
            What it finds in ``env``.

        Raises
        ------
        ScriptError
            With its name, the line and what is wrong.
        ScriptStoppedError
            If it ended itself.
        """
        self._source(script, self.commands(), CONTROL, environment or {})

    def commands(self) -> dict[str, tuple[Signature, Body]]:
        """Return name, signature and body of each command."""
        found: dict[str, tuple[Signature, Body]] = {}
        for kind in type(self).__mro__:
            for body in vars(kind).values():
                if hasattr(body, "tcl_command"):
                    name, signature = body.tcl_command
                    found.setdefault(name, (signature, body))
        return found

    def _source(
        self,
        script: str,
        commands: Mapping[str, tuple[Signature, Body]],
        own: Sequence[str],
        environment: Mapping[str, str],
    ) -> None:
        outer, place = self._running, self.place
        self._running = _Interpreter(self, script, commands, own)
        try:
            self._running.run(environment)
        finally:
            self._running.close()
            self._running, self.place = outer, place

    def split(self, text: str) -> tuple[str, ...]:
        """Return the elements of a Tcl list."""
        assert self._running is not None
        return self._running.split(text)

    # Objects

    def add(self, kind: str, name: str, of: Thing | None = None) -> Thing:
        """Make an object; refuse one that is there."""
        thing = Thing(kind, name, self.place, of)
        if thing.handle in self.things:
            raise RefusedError(f"there is a {kind} {name} already, from {self.things[thing.handle].place}")
        self.things[thing.handle] = thing
        return thing

    def find(self, handle: str, *kinds: str) -> Thing:
        """Return the object behind a handle, of one of some kinds."""
        thing = self.things.get(handle)
        if thing is None or (kinds and thing.kind not in kinds):
            raise RefusedError(f"{handle!r} is no {' or '.join(kinds) or 'object'}")
        return thing

    def named(self, kind: str, name: str, of: Thing | None = None) -> Thing:
        """Return an object by its name; refuse a name that is not there."""
        thing = self.things.get(Thing(kind, name, "", of).handle)
        if thing is None:
            raise RefusedError(f"there is no {kind} {name}")
        return thing

    def all(self, kind: str) -> list[Thing]:
        """Return the objects of a kind."""
        return [thing for thing in self.things.values() if thing.kind == kind]

    def called(self, name: str) -> bool:
        """Return whether a command was called before."""
        return any(earlier == name for earlier, _, _ in self.calls[:-1])

    def after(self, *names: str) -> None:
        """Refuse the present command unless others were called before."""
        for name in names:
            if not self.called(name):
                raise RefusedError(f"{name} must come before")

    def path(self, text: str) -> str:
        """Return a path as scripts give it: relative to the folder if it is in there."""
        path = Path(os.path.normpath(self.folder / text))
        return path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else str(path)

    def exists(self, text: str) -> bool:
        """Return whether a file is there, or taken to be."""
        name = self.path(text)
        return name in self.present or (name not in self.absent and (self.folder / name).exists())

    def need_file(self, text: str) -> str:
        """Return the name of a file in the folder; refuse one that is not there."""
        if not self.exists(text):
            raise RefusedError(f"the folder has no file {self.path(text)}")
        return self.path(text)

    def assigned(self, thing: Thing, name: str, value: str) -> None:
        """Look at a property that was set; tools refuse here what does not fit the design."""

    # Commands that every script has

    @command("set_property", "-dict= words*")
    def set_property(self, call: Call) -> None:
        """Set one property, or those of a dictionary, of some objects."""
        if "-dict" in call.options:
            if len(call.words) != 1:
                raise RefusedError("-dict wants a list of names and values, and then objects")
            pairs = self.split(call.options["-dict"])
            if len(pairs) % 2:
                raise RefusedError("the list of names and values has a name without a value")
            settings = list(zip(pairs[::2], pairs[1::2], strict=True))
        elif len(call.words) == 3:
            settings = [(call.words[0], call.words[1])]
        else:
            raise RefusedError("a name, a value and objects were expected")
        objects = self.split(call.words[-1])
        if not objects:
            raise RefusedError("there is no object to set a property of")
        for handle in objects:
            thing = self.find(handle)
            for name, value in settings:
                self._assign(thing, name, value)

    def _assign(self, thing: Thing, name: str, value: str) -> None:
        known = self.PROPERTIES.get(thing.kind, {})
        pattern = known.get(name.lower())
        if pattern is None:
            raise RefusedError(f"a {thing.kind} has no property {name}")
        if not re.fullmatch(pattern, value):
            raise RefusedError(f"property {name} of {thing.kind} {thing.name} can't be {value!r}")
        thing.properties[name.lower()] = value
        self.assigned(thing, name.lower(), value)

    @command("error", "message")
    def error(self, call: Call) -> None:
        """End the script."""
        assert self._running is not None
        self._running.stopped = call.words[0]
        raise RefusedError(call.words[0])

    @command("puts", "text")
    def puts(self, call: Call) -> None:
        """Print."""

    @command("file", "what names*")
    def file(self, call: Call) -> Answer:
        """Work with names of files; those that change any are not there, but for making folders."""
        what, *names = call.words
        if not names:
            raise RefusedError(f"file {what} wants a name")
        if what == "join":
            return str(Path(*names))
        if len(names) > 1:
            raise RefusedError(f"file {what} wants one name")
        if what == "dirname":
            return str(Path(names[0]).parent)
        if what == "tail":
            return Path(names[0]).name
        if what == "normalize":
            return str(self.folder / self.path(names[0]))
        if what == "exists":
            return "1" if self.exists(names[0]) else "0"
        if what == "mkdir":
            self.present.add(self.path(names[0]))
            return None
        raise RefusedError(f"file {what} is not allowed here")


class _Interpreter:
    """One interpreter with a tool's commands, for one script."""

    def __init__(
        self, tool: Tool, script: str, commands: Mapping[str, tuple[Signature, Body]], own: Sequence[str]
    ) -> None:
        self.tool, self.script, self.commands, self.own = tool, script, commands, own
        self.stopped: str | None = None
        self.refused: Exception | None = None
        self.tk = _tkinter()
        self.tcl = self.tk.Tcl()
        self.tcl.eval("interp create -safe tool")
        for name in self.split(self.tcl.eval("interp eval tool {info commands}")):
            if name not in own:
                self.tcl.eval(f"interp hide tool {name}")
        self.tcl.createcommand("answer", self._answer)
        # errors of a body as errors of Tcl: exceptions would get lost on the way
        self.tcl.eval(
            "proc handle args { lassign [answer {*}$args] good text; if {!$good} {error $text}; return $text }"
        )
        for name in commands:
            self.tcl.eval(f"interp alias tool {name} {{}} handle {name}")

    def split(self, text: str) -> tuple[str, ...]:
        try:
            return tuple(map(str, self.tcl.splitlist(text)))
        except self.tk.TclError as error:
            raise RefusedError(f"{text!r} is no list: {error}") from None

    def run(self, environment: Mapping[str, str]) -> None:
        path = str(self.tool.folder / self.script)
        tcl = self.tcl
        tcl.eval(f"interp limit tool time -seconds [expr {{[clock seconds] + {LONGEST_SECONDS}}}]")
        for name, value in environment.items():
            tcl.call("interp", "eval", "tool", ("set", f"::env({name})", value))
        try:
            # `source` is hidden from the script
            tcl.call("interp", "invokehidden", "tool", "source", path)
        except self.tk.TclError as error:
            if self.stopped is not None:
                raise ScriptStoppedError(f"{self._place(self._line())}: {self.stopped}") from None
            if self.refused is None:
                raise ScriptError(f"{self._place(self._line())}: {error}") from None
        if self.refused is not None:
            raise self.refused

    def close(self) -> None:
        """Give the memory back: the collector does not see that Tcl's command and this object hold each other."""
        self.tcl.eval("interp delete tool")
        self.tcl.tk.deletecommand("answer")

    def _place(self, line: str) -> str:
        return f"{self.script}, line {line}"

    def _line(self) -> str:
        """Return where an error came from, as Tcl tells it."""
        found = _LINE.findall(self.tcl.eval("interp eval tool {set ::errorInfo}"))
        return found[-1] if found else "?"

    def _here(self) -> str:
        """Return the line that is being run."""
        line, info = "?", "interp eval tool" if "info" in self.own else "interp invokehidden tool"
        for number in range(1, int(self.tcl.eval(f"{info} info frame")) + 1):
            parts = self.split(self.tcl.eval(f"{info} info frame {number}"))
            known = dict(zip(parts[::2], parts[1::2], strict=False))
            if known.get("type") == "source":
                line = known["line"]
        return line

    def _answer(self, name: str, *words: Any) -> tuple[int, Any]:
        tool = self.tool
        tool.place = self._place(self._here())
        signature, body = self.commands[name]
        try:
            call = signature.parse([word if isinstance(word, str) else self._text(word) for word in words])
            tool.calls.append((name, tool.place, call))
            result = body(tool, call)
        except RefusedError as error:
            if self.stopped is None and self.refused is None:
                self.refused = ScriptError(f"{tool.place}: {name}: {error}")
            return 0, str(error)
        except Exception as error:  # of a script that this one reads, or our own mistake: Tcl would lose it
            self.refused = error
            return 0, str(error)
        return 1, "" if result is None else result

    def _text(self, word: Any) -> str:
        """Return a word as text; the binding hands some over as lists or numbers."""
        return str(self.tcl.call("format", "%s", word))


def _tkinter() -> ModuleType:
    try:
        import tkinter
    except ImportError:
        raise InputError(
            "this Python has no tkinter, whose Tcl interpreter runs the scripts: install python3-tk (Debian, Ubuntu) "
            "or python3-tkinter (Fedora); no display is needed"
        ) from None
    return tkinter
