"""Files, functions and signatures that are long say why.

A file of more than 400 lines has a line ``# Long: ...`` on its first lines. In the packages and in the examples a
function of more than 120 lines has one in it or right above it, and a signature of more than six parameters a line
``# Many: ...``. A command of click needs none, because click gives a function a parameter for each option.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("omap", "rtl", "sim", "host", "boards", "examples", "tests")
CHECKED = {"omap", "rtl", "sim", "host", "boards", "examples"}
"""Folders whose functions are looked at. Tests take what Hypothesis draws, a parameter each."""
FILE_LINES, FILE_HEAD = 400, 20
FUNCTION_LINES, PARAMETERS = 120, 6


def says(lines, word):
    """Return whether some line is a comment that gives a reason."""
    return any(re.match(rf"\s*# {word}: \w.{{9,}}", line) for line in lines)


def parameters(node):
    """Return how many parameters a function takes, ``self`` and ``cls`` aside."""
    names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def offences(source, *, functions=True):
    """Yield what is long in a file without a reason."""
    lines = source.splitlines()
    if len(lines) > FILE_LINES and not says(lines[:FILE_HEAD], "Long"):
        yield f"{len(lines)} lines, and no '# Long: why' on the first {FILE_HEAD}"
    for node in ast.walk(ast.parse(source)) if functions else ():
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        text = lines[max(0, first - 4) : node.end_lineno]
        length, count = node.end_lineno - node.lineno + 1, parameters(node)
        if length > FUNCTION_LINES and not says(text, "Long"):
            yield f"line {node.lineno}, {node.name}: {length} lines, and no '# Long: why'"
        command = any(".command" in ast.unparse(decorator) for decorator in node.decorator_list)
        if count > PARAMETERS and not command and not says(text, "Many"):
            yield f"line {node.lineno}, {node.name}: {count} parameters, and no '# Many: why'"


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_is_long_says_why(folder):
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    functions = folder in CHECKED
    found = {
        str(path.relative_to(ROOT)): bad
        for path in files
        if (bad := list(offences(path.read_text("utf-8"), functions=functions)))
    }
    assert not found


def test_the_checker_notices():
    assert len(list(offences("x = 1\n" * 401))) == 1
    assert not list(offences("# Long: one table, which reads best in one piece\n" + "x = 1\n" * 401))
    body = "def f():\n" + "    x = 1\n" * 120
    assert len(list(offences(body))) == 1
    assert not list(offences(body.replace("f():\n", "f():\n    # Long: one state machine\n")))
    wide = "def f(self, a, b, c, *, d, e, g{}):\n    pass\n"
    assert not list(offences(wide.format("")))
    assert len(list(offences(wide.format(", h")))) == 1
    assert not list(offences("# Many: each is one size\n" + wide.format(", h")))
    assert not list(offences("@group.command()\n" + wide.format(", h")))
