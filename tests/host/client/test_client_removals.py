"""Every countermeasure of the client is tested: it is removed once, and its tests must fail then."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from host.countermeasures import COUNTERMEASURES

ROOT = Path(__file__).parents[3]

# label, file, what stands there, what stands there without the countermeasure
REMOVALS = [
    ("CLIENT.MAP.REMEMBERED", "host/client/witness.py", "if self.map_id and map_id != self.map_id:", "if False:"),
    ("CLIENT.OPERATION.RISES", "host/client/witness.py", "if operation <= self.operation:", "if False:"),
    ("CLIENT.REFUSAL.DOUBTED", "host/client/conversation.py", "if record[0] == RecordType.REFUSED:", "if False:"),
    ("CLIENT.FAULT.LATCH", "host/client/sync.py", "any more\n                self._dead = error\n", "\n"),
    ("CLIENT.FAULT.LATCH", "host/client/aio.py", "any more\n        self._dead = error\n", "\n"),
    ("CLIENT.RATE.CONSTANT", "host/client/aio.py", "pad=True)", "pad=False)"),
]


def test_every_countermeasure_of_the_client_is_removed_once():
    assert {label for label, *_ in REMOVALS} == {label for label in COUNTERMEASURES if label.startswith("CLIENT.")}
    for label, file, old, _ in REMOVALS:
        assert (ROOT / file).read_text("utf-8").count(old) == 1, f"{label}: {old!r} in {file}"


@pytest.mark.long
@pytest.mark.parametrize(("label", "file", "old", "new"), [(None, "host/client/aio.py", "", ""), *REMOVALS])
def test_the_tests_fail_without_it_and_pass_with_it(label, file, old, new, tmp_path):
    for folder in ("omap", "host", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    source = tmp_path / file
    source.write_text(source.read_text("utf-8").replace(old, new), "utf-8")
    mark = rf'sec_cm\("{re.escape(label or "CLIENT.MAP.REMEMBERED")}"\)'
    tests = {
        path.name: re.findall(rf"{mark}(?:\n@.*)*\ndef (test_\w+)", path.read_text("utf-8"))
        for path in sorted((tmp_path / "tests" / "host" / "client").glob("test_*.py"))
    }
    names = [f"tests/host/client/{file}::{name}" for file, found in tests.items() for name in found]
    assert names, f"no test is marked {label}"
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *names]
    result = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert result.returncode == (0 if label is None else 1), f"{label}: {names}\n{result.stdout[-2000:]}"
