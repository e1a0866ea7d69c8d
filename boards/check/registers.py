"""Whether documents, manifests and the driver have the registers where they are; the driver names what it uses."""

from __future__ import annotations

import ast
import re
from importlib.util import find_spec
from pathlib import Path

from omap.regmap import BY_NAME, REGISTERS, Access

ROW = re.compile(r"^\| `(0x[0-9a-f]+)` \| `(\w+)` \| ([a-z, ]+) \|", re.MULTILINE)
"""A line of :func:`boards.folder.registers.table` that names a register."""


def read_table(document: str) -> dict[str, tuple[int, str]]:
    """Return offset and access by name, as a document that holds :func:`boards.folder.registers.table` says them."""
    return {name: (int(offset, 16), access) for offset, name, access in ROW.findall(document)}


def wanted() -> dict[str, tuple[int, str]]:
    """Return offset and access by name, in the shape of :func:`read_table`."""
    return {register.name: (register.offset, str(register.access)) for register in REGISTERS}


def differences(place: str, found: dict[str, tuple[int, str]]) -> list[str]:
    """Return in what the registers of some place differ from :mod:`omap.regmap`."""
    right = wanted()
    problems = [f"{place} lacks the register {name}" for name in right if name not in found]
    problems += [f"{place} has a register {name}, which is none" for name in found if name not in right]
    for name in right.keys() & found.keys():
        if found[name][0] != right[name][0]:
            problems.append(f"{place} has {name} at {found[name][0]:#x}, it is at {right[name][0]:#x}")
        if found[name][1] != right[name][1]:
            problems.append(f"{place} says of {name} {found[name][1]!r}, it is {right[name][1]!r}")
    return sorted(problems)


def uses(source: str) -> list[tuple[str, str]]:
    """Return which registers a source reads and writes: (``read`` or ``write``, name)."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name, way = node.args[0], ast.unparse(node.func).rpartition(".")[2]
        if (
            way in ("read", "write")
            and isinstance(name, ast.Constant)
            and isinstance(name.value, str)
            and re.fullmatch(r"[A-Z][A-Z0-9_]+", name.value)
        ):
            found.append((way, name.value))
    return found


def driver_problems() -> list[str]:
    """Return what the driver does to registers that they do not allow, or that are none."""
    spec = find_spec("host")
    assert spec is not None
    assert spec.submodule_search_locations
    problems = []
    root = Path(spec.submodule_search_locations[0])
    for path in sorted(root.rglob("*.py")):
        place = f"host/{path.relative_to(root).as_posix()}"
        for way, name in uses(path.read_text("utf-8")):
            if name not in BY_NAME:
                problems.append(f"{place} {way}s a register {name}, which is none")
            elif BY_NAME[name].access not in (Access(way), Access.READ_WRITE):
                problems.append(f"{place} {way}s {name}, which allows {BY_NAME[name].access} alone")
    return problems
