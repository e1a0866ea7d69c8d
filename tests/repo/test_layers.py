"""Who may import whom: packages, the rooms within them, and trust. The one place where the layers are written down."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

MAY_IMPORT = {
    "omap": set(),
    "rtl": {"omap"},
    "sim": {"omap", "rtl", "host"},
    "host": {"omap"},
    "boards": {"omap", "rtl", "host"},
}

ROOMS = {
    "rtl": [
        {"constants", "countermeasures"},
        {"stream"},
        {"crypto", "memory"},
        {"work"},
        {"offsets"},
        {"config"},
        {"rings"},
        {"map", "pcie"},
        {"engine"},
        {"synth"},
        {"timing"},
        {"commands"},
    ],
    "host": [
        {"countermeasures", "framing", "keyfile", "listening", "logs", "paramsfile", "peers", "records"},
        {"socketfile"},
        {"client", "device", "data"},
        {"redis", "relay", "model"},
        {"commands", "measuring"},
        {"benchmark", "testing"},
    ],
    "sim": [{"design_key", "errors"}, {"cache"}, {"models"}, {"bench"}, {"device"}, {"measure"}],
    "boards": [
        {"countermeasures"},
        {"gateware", "tcl"},
        {"target"},
        {"folder"},
        {"check"},
        {path.parent.name for path in (ROOT / "boards").glob("*/top.py")},  # a folder for each target
        {"targets"},
        {"report"},
        {"commands"},
    ],
}
"""Rooms of a package, a module or a folder each, bottom up. A room imports itself and lower ones alone."""

ACROSS = {"host": {"faults"}}
"""Folders of tests about several rooms at once."""

TRUSTED, UNTRUSTED = {"client", "redis"}, {"relay", "device", "data"}
"""Rooms of ``host`` on either side of the wire. What passes between them is sealed."""


def imports(path):
    """Yield line and full name of all that a file imports, inside functions too, and by ``import_module("x.y")``."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}, line {node.lineno}: relative import; write the package's name"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            for argument in node.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield node.lineno, argument.value


def files(package):
    found = sorted((ROOT / package).rglob("*.py"))
    assert found
    return found


def room(name):
    """Return the second part of a dotted name, or of a path in a package; "" for the package itself."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


def offences(package, path):
    forbidden = set(MAY_IMPORT) - MAY_IMPORT[package] - {package}
    return [(line, name) for line, name in imports(path) if name.partition(".")[0] in forbidden]


def room_offences(package, path, rooms):
    """Return imports of ``path`` that lead to a higher room, or to another one of the same layer."""
    mine = path.relative_to(ROOT / package).parts[0].removesuffix(".py")
    if mine == "__init__":
        return [(line, name) for line, name in imports(path) if name.partition(".")[0] == package]
    (level,) = (number for number, layer in enumerate(rooms) if mine in layer)
    allowed = {mine}.union(*rooms[:level])
    known = set().union(*rooms)
    return [
        (line, name)
        for line, name in imports(path)
        if name.partition(".")[0] == package and room(name) in known and room(name) not in allowed
    ]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_layers_of_packages(package):
    found = {str(path.relative_to(ROOT)): bad for path in files(package) if (bad := offences(package, path))}
    assert not found, f"{package} may import only {sorted(MAY_IMPORT[package]) or 'itself'}"


@pytest.mark.parametrize("package", ROOMS)
def test_layers_of_rooms(package):
    there = {path.relative_to(ROOT / package).parts[0].removesuffix(".py") for path in files(package)} - {"__init__"}
    assert set().union(*ROOMS[package]) == there, f"the rooms of {package} are not those of the list"
    found = {
        str(path.relative_to(ROOT)): bad
        for path in files(package)
        if (bad := room_offences(package, path, ROOMS[package]))
    }
    assert not found


def test_neither_side_of_the_wire_imports_the_other():
    for mine, others in ((TRUSTED, UNTRUSTED), (UNTRUSTED, TRUSTED | {"model", "keyfile"})):
        for path in (path for name in mine for path in sorted((ROOT / "host" / name).rglob("*.py"))):
            bad = [(line, name) for line, name in imports(path) if name.startswith("host.") and room(name) in others]
            assert not bad, path


@pytest.mark.parametrize("package", ["omap", *ROOMS])
def test_tests_mirror_the_rooms(package):
    folders = {path.name for path in (ROOT / "tests" / package).iterdir() if path.is_dir()}
    folders -= {"__pycache__"} | ACROSS.get(package, set())
    assert folders <= {path.name for path in (ROOT / package).iterdir() if path.is_dir()}


def test_the_checker_sees_every_kind_of_import(tmp_path):
    path = tmp_path / "planted.py"
    path.write_text("import sim.hbm\ndef f():\n    from rtl import aes\n    importlib.import_module('boards.u55c')\n")
    assert offences("omap", path) == [(1, "sim.hbm"), (3, "rtl.aes"), (4, "boards.u55c")]
    assert offences("sim", path) == [(4, "boards.u55c")]


def test_the_checker_sees_a_room_that_reaches_up(monkeypatch, tmp_path):
    (tmp_path / "rtl" / "crypto").mkdir(parents=True)
    path = tmp_path / "rtl" / "crypto" / "planted.py"
    path.write_text("from rtl.map import core\nfrom rtl.stream.fifo import Fifo\nimport rtl.memory.hbm\n")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert room_offences("rtl", path, ROOMS["rtl"]) == [(1, "rtl.map.core"), (3, "rtl.memory.hbm")]


def test_only_the_five_packages_are_there():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == set(MAY_IMPORT)
