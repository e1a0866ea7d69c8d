"""No module needs itself, over however many others: every import counts, also those in functions and for types."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("omap", "rtl", "sim", "host", "boards")


def modules(root):
    """Return the source of every module under ``root`` by its dotted name; a package stands for its ``__init__``."""
    found = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text("utf-8")
    return found


def imports(source, known):
    """Yield the modules of ``known`` that a source names in an import or in ``import_module("x.y")``.

    ``from package import name`` means the submodule if there is one, else what the package's ``__init__`` offers.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import; write the package's name"
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                if submodule in known:
                    yield submodule
                elif node.module in known:
                    yield node.module
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            for argument in node.args:
                if isinstance(argument, ast.Constant) and argument.value in known:
                    yield argument.value


def circles(sources):
    """Return every circle that a search over the imports meets, each as the list of its modules."""
    needs = {name: sorted(set(imports(source, sources))) for name, source in sources.items()}
    done, path, found = set(), [], []

    def visit(name):
        if name in path:
            found.append(path[path.index(name) :])
        elif name not in done:
            path.append(name)
            for needed in needs[name]:
                visit(needed)
            done.add(path.pop())

    for name in needs:
        visit(name)
    return found


def test_the_tree_has_no_import_circle():
    sources = modules(ROOT)
    assert all(package in sources for package in PACKAGES)
    assert circles(sources) == []


def test_the_checker_notices():
    def planted(last):
        return circles({"p": "", "p.a": "import p.b\n", "p.b": "from p import c\n", "p.c": last, "q": "import p.c\n"})

    assert planted("import json\nfrom p import name\n") == []
    assert planted("from p import a\n") == [["p.a", "p.b", "p.c"]]
    assert planted("from p.a import name\n") == [["p.a", "p.b", "p.c"]]
    assert planted("def f():\n    import p.a\n") == [["p.a", "p.b", "p.c"]]
    assert planted("if TYPE_CHECKING:\n    from p.a import Name\n") == [["p.a", "p.b", "p.c"]]
    assert planted("importlib.import_module('p.a')\n") == [["p.a", "p.b", "p.c"]]
    assert planted("import p.c\n") == [["p.c"]]


def test_a_package_counts_for_what_its_init_offers():
    sources = {"p": "from p.a import offered\n", "p.a": "", "q": "from p import a, offered\n"}
    assert list(imports(sources["q"], sources)) == ["p.a", "p"]
    assert circles(sources) == []
    assert circles({**sources, "p.a": "from p import offered\n"}) == [["p", "p.a"]]
