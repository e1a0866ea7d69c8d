"""Every use of the KDF is in the table of omap.kdf: nobody else has a label, or derives past the table."""

import ast
from pathlib import Path

import pytest

from omap.kdf import DERIVATIONS

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("omap", "rtl", "host", "boards", "sim")
TABLE = ROOT / "omap" / "kdf.py"
LABELS = [use.label for use in DERIVATIONS]

NO_LABELS = {b"omap entropy 128"}
"""Bytes that look like a label and are none: the public key of the conditioning of noise."""


def labels(tree):
    """Return what looks like a label in a module, as bytes or as text."""
    words = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    words = {word.encode() if isinstance(word, str) else word for word in words}
    return {
        word
        for word in words
        if isinstance(word, bytes) and (word in LABELS or (word.startswith(b"omap ") and word[-1:].isdigit()))
    }


def imported(tree):
    """Return what a module imports from omap.kdf."""
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "omap.kdf"]
    return {alias.name for node in froms for alias in node.names}


@pytest.mark.parametrize("package", PACKAGES)
def test_labels_stand_in_the_table_alone(package):
    for path in sorted((ROOT / package).rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        if path != TABLE:
            assert labels(tree) <= NO_LABELS, path
            assert "derive" not in imported(tree), f"{path}: take a Derivation of omap.kdf"
            assert "KBKDF" not in path.read_text("utf-8"), path


def test_the_table_uses_each_label_once():
    tree = ast.parse(TABLE.read_text("utf-8"))
    assert labels(tree) == set(LABELS)
    assert len(set(LABELS)) == len(LABELS)
    assert all(b"\0" not in label for label in LABELS)  # a zero ends the label in the input of a derivation


def test_every_derivation_of_the_table_is_used():
    names = {
        name
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for name in imported(ast.parse(path.read_text("utf-8")))
    }
    tables = {node.targets[0].id for node in ast.parse(TABLE.read_text("utf-8")).body if isinstance(node, ast.Assign)}
    uses = {name for name in tables if name.isupper() and not name.startswith("_")} - {"LENGTH_BYTES", "DERIVATIONS"}
    assert len(uses) == len(DERIVATIONS)
    assert uses <= names


@pytest.mark.parametrize(
    "text",
    ['LABEL = b"omap session 1"', 'LABEL = "omap session 1"', 'f(b"omap other 7")', 'x("omap names 1".encode())'],
)
def test_the_check_notices_a_label_elsewhere(text):
    assert labels(ast.parse(text))
    assert not labels(ast.parse('"""omap is a map"""; x = "omap plan"'))
