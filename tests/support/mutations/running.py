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
CAUGHT = {"AssertionError", "Failed"}
"""Types of exceptions by which a test says that something is not as it must be. An import that fails has another."""


@dataclass(frozen=True)
class Run:
    """What came of a run: pytest's exit status and output, and a note of each failure."""

    status: int
    output: str
    failures: list[dict]

    def caught_by(self, removal: Removal) -> list[str]:
        """Return the tests that failed as they ran, and for the right reason."""
        right = CAUGHT | {removal.error}
        return [note["test"] for note in self.failures if note["when"] == "call" and right.issuperset(note["errors"])]


def run(folder: Path, tests: Iterable[str], labels: Iterable[str], removal: Removal | None = None) -> Run:
    """Run the tests with one of the labels in a copy of the tree in ``folder``.

    Long tests run only if a removal names its tests. Compiled simulations are kept with all others.
    """
    tree = folder / "tree"
    shutil.copytree(ROOT, tree, ignore=LEFT_OUT)
    if removal:
        (tree / removal.file).write_text(removal.removed(), "utf-8")
        tests = removal.tests or tests
    note = folder / "failures"
    note.touch()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.support.mutations.plugin"]
    command += ["-n", "0", "--failures", str(note), *(f"--countermeasure={label}" for label in labels)]
    command += [] if removal and removal.tests else ["-m", "not long"]
    environment = os.environ | {"PYTHONPATH": str(tree), "OMAP_BUILD": str(cache.root().parent)}
    result = subprocess.run(
        [*command, *tests], cwd=tree, env=environment, capture_output=True, text=True, timeout=LONGEST_SECONDS
    )
    failures = [json.loads(line) for line in note.read_text().splitlines()]
    return Run(result.returncode, result.stdout[-4000:] + result.stderr[-1000:], failures)
