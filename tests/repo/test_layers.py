"""Who may import whom. The one place where the layers are written down."""

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


def imported_roots(source):
    """Yield line and first part of every import, also of those inside functions and of ``import_module("x.y")``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import; write the package's name"
            yield node.lineno, node.module.partition(".")[0]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            for argument in node.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield node.lineno, argument.value.partition(".")[0]


def offences(package, source):
    forbidden = set(MAY_IMPORT) - MAY_IMPORT[package] - {package}
    return [(line, root) for line, root in imported_roots(source) if root in forbidden]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_layers(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    found = {str(path.relative_to(ROOT)): bad for path in files if (bad := offences(package, path.read_text("utf-8")))}
    assert not found, f"{package} may import only {sorted(MAY_IMPORT[package]) or 'itself'}"


def test_the_checker_sees_every_kind_of_import():
    source = "import sim.models.hbm\ndef f():\n    from rtl import aes\n    importlib.import_module('boards.u55c')\n"
    assert offences("omap", source) == [(1, "sim"), (3, "rtl"), (4, "boards")]
    assert offences("sim", source) == [(4, "boards")]


def test_only_the_five_packages_are_there():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == set(MAY_IMPORT)
