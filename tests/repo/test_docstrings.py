"""*Parameters* sections name what the signature names, in its order, but for what the text above explains."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SECTION = re.compile(r"\n\s*Parameters\n\s*-{10}\n(.*?)(?:\n\s*\n\s*[A-Z][A-Za-z ]+\n\s*(?:-{4,}|\S)|\Z)", re.DOTALL)


def documented(docstring):
    """Return the names in the Parameters section, or None if there is none."""
    section = SECTION.search("\n" + docstring)
    if section is None:
        return None
    lines = section[1].splitlines()
    indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    heads = [line.strip() for line in lines if line.strip() and len(line) - len(line.lstrip()) == indent]
    return [name.strip().lstrip("*") for head in heads for name in head.partition(" : ")[0].split(",")]


def signature(node):
    """Return the parameter names of a function, a dataclass, or a class with ``__init__``; None if unknown."""
    if isinstance(node, ast.ClassDef):
        if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
            return [item.target.id for item in node.body if isinstance(item, ast.AnnAssign)]
        inits = [item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"]
        return signature(inits[0]) if inits else None
    args = node.args
    names = [arg.arg for arg in (*args.posonlyargs, *args.args, args.vararg, *args.kwonlyargs, args.kwarg) if arg]
    return [name for name in names if name not in ("self", "cls")]


def mismatches(source):
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        docstring = ast.get_docstring(node) or ""
        names, takes = documented(docstring), signature(node)
        if names is None or takes is None:
            continue
        wanted = [name for name in takes if name in names or f"``{name}``" not in docstring]
        if names != wanted:
            yield f"line {node.lineno}, {node.name}: documented {names}, but takes {takes}"


def test_parameters_sections_match_the_signatures():
    files = [
        path for package in ("omap", "rtl", "host", "boards", "sim") for path in sorted((ROOT / package).rglob("*.py"))
    ]
    found = {str(path.relative_to(ROOT)): bad for path in files if (bad := list(mismatches(path.read_text("utf-8"))))}
    assert not found


def test_the_checker_notices():
    head = 'def f(a, b):\n    """Do.\n\n    Parameters\n    ----------\n'
    text = head + '    {} : int\n        What.\n\n    Reveals\n        All.\n    """'
    assert list(mismatches(text.format("a, b"))) == []
    assert len(list(mismatches(text.format("a")))) == 1
    assert len(list(mismatches(text.format("b, a")))) == 1
    assert len(list(mismatches(text.format("a, c")))) == 1
    assert list(mismatches(text.replace("Do.", "Do ``b``.").format("a"))) == []
