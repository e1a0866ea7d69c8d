"""Every countermeasure is declared, marked at its spot in the code, and tested: compared in both directions."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("omap", "rtl", "sim", "host", "boards")
DECLARING = [package for package in PACKAGES if (ROOT / package / "countermeasures.py").exists()]
MARK = r"# SEC_CM: ((?:[A-Z0-9_]+\.)+[A-Z0-9_]+)"
TEST = r"mark\.sec_cm\(\s*[\"']([A-Z0-9_.]+)[\"']\s*\)"
LABEL = r"[A-Z0-9_]+(\.[A-Z0-9_]+){2}"


def labels(folder, pattern):
    return {name for path in (ROOT / folder).rglob("*.py") for name in re.findall(pattern, path.read_text("utf-8"))}


def declared(package):
    return importlib.import_module(f"{package}.countermeasures").COUNTERMEASURES


def test_the_reference_declares_some():
    assert "omap" in DECLARING


@pytest.mark.parametrize("package", DECLARING)
def test_labels_are_well_formed_and_say_what_they_promise(package):
    for label, promise in declared(package).items():
        assert re.fullmatch(LABEL, label), label
        assert promise.endswith("."), label


@pytest.mark.parametrize("package", PACKAGES)
def test_every_declared_countermeasure_is_in_the_code_and_back(package):
    assert set(declared(package) if package in DECLARING else ()) == labels(package, MARK)


def test_every_declared_countermeasure_has_a_test_and_back():
    assert set().union(*map(declared, DECLARING)) == labels("tests", TEST)
