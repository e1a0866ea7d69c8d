"""Runs tests of countermeasures in a copy of the tree, with one of them removed or none."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sim import cache
from tests.support.mutations.removal import ROOT, Removal

LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "build", "sim_build", "*.egg-info")
LONGEST_SECONDS = 2 * 3600  # an engine without the countermeasure may have to be compiled first
CAUGHT = ("AssertionError", "Failed")
"""Types of exceptions by which a test says that something is not as it must be. An import that fails has another."""


@dataclass(frozen=True)
class Run:
    """What came of a run: pytest's exit status and output, and a note of each failure."""

    status: int
    output: str
    failures: list[dict]

    def caught_by(self, removal: Removal) -> list[str]:
        """Return the tests that failed as they ran, and for the right reason."""
        right = {*CAUGHT, removal.error}
        return [note["test"] for note in self.failures if note["when"] == "call" and right.issuperset(note["errors"])]


def run(folder: Path, tests: list[str], labels: Iterable[str], removal: Removal | None = None) -> Run:
    """Run the tests with one of the labels in a copy of the tree in ``folder``, with a removal until one fails.

    Parameters
    ----------
    folder : Path
        An empty folder.
    tests : list of str
        Folders and files of tests, from the root of the repository. Of these the files that name a label are run, and
        of these the short tests that are marked with it. Tests that a removal names run instead of them, long or not.
    labels : iterable of str
        Countermeasures.
    removal : Removal, optional
        What is taken out.
    """
    labels = tuple(labels)
    tree = folder / "tree"
    shutil.copytree(ROOT, tree, ignore=LEFT_OUT)
    if removal:
        assert removal.applies() == 1, f"{removal}: say how it is removed now"
        (tree / removal.file).write_text(removal.removed(), "utf-8")
    named = removal.tests if removal else ()
    note = folder / "failures"
    note.touch()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.support.mutations.plugin"]
    command += ["-n", "0", "--failures", str(note), *(f"--countermeasure={label}" for label in labels)]
    command += [f"--enough={error}" for error in (*CAUGHT, removal.error) if error] if removal else []
    command += named or ["-m", "not long", *_naming(tree, tests, labels)]
    # code of the copy in every process, and compiled simulations where all others are kept
    environment = os.environ | {"PYTHONPATH": str(tree), "OMAP_BUILD": str(cache.root().parent)}
    result = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=LONGEST_SECONDS)
    failures = [json.loads(line) for line in note.read_text().splitlines()]
    return Run(result.returncode, result.stdout[-4000:] + result.stderr[-1000:], failures)


def _naming(tree: Path, tests: list[str], labels: tuple[str, ...]) -> list[str]:
    """Return the files of tests that name one of the labels."""
    files = {file for name in tests for file in [tree / name, *(tree / name).rglob("test_*.py")] if file.is_file()}
    texts = {file: file.read_text("utf-8") for file in sorted(files)}
    found = [str(file) for file, text in texts.items() if any(f'"{label}"' in text for label in labels)]
    assert found, f"no test in {', '.join(tests)} names {', '.join(labels)}"
    return found
