"""A countermeasure is tested when its test fails without it: here each one is removed, and its tests are run."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from omap.countermeasures import COUNTERMEASURES

ROOT = Path(__file__).parents[2]

# label, file, what stands there, what stands there without the countermeasure
REMOVALS = [
    ("PAGE.ADDR.FRESH", "omap/reference.py", "return draw[1]", "return found or draw[1]"),
    (
        "PAGE.MISS.DUMMY",
        "omap/map.py",
        "return draw[0] if found is None else found",
        "return (sum(key) % self.params.bins,) * len(draw[0]) if found is None else found",
    ),
    ("PAGE.TOUCH.ALWAYS", "omap/map.py", "if page_number >= 0:", "if page_number >= 0 and value is None:"),
    ("BINS.BOTH.TOUCHED", "omap/map.py", "for number in bins:", "for number in sorted(bins):"),
    (
        "BINS.BOTH.TOUCHED",
        "omap/map.py",
        "previous = value if previous is None else previous\n",
        "previous = value\n            if value is not None:\n                break\n",
    ),
    (
        "PAGE.MEM.ENCRYPT",
        "omap/crypto.py",
        "return self._cipher.encrypt(self._nonce(page, version), plaintext, self._map_id)",
        "return bytes(plaintext) + bytes(16)",
    ),
    ("PAGE.NONCE.UNIQUE", "omap/crypto.py", "self._boot | version)", "self._boot)"),
    ("PAGE.NONCE.UNIQUE", "omap/crypto.py", "(page << 64 | self._boot", "(self._boot"),
    ("PAGE.VERSION.FRESH", "omap/map.py", "descriptor.version += 1", "pass"),
    ("POSMAP.WORK.FIXED", "omap/position_map.py", "self._write(0, self._read(0))", "pass"),
    ("FAULT.KEY.ERASE", "omap/reference.py", "del self._codec, self._drbg, self.position_map, self.waiting", "pass"),
    ("ERROR.TEXT.CLEAN", "omap/crypto.py", "page_key: bytes = field(repr=False)", "page_key: bytes"),
    ("ERROR.TEXT.CLEAN", "omap/session.py", "command: bytes = field(repr=False)", "command: bytes"),
    (
        "COMMAND.OP.UNIFORM",
        "omap/wire.py",
        'return (COMMAND_FIELDS.pack(kind) + key + value).ljust(self.plaintext_bytes, b"\\0")',
        "return COMMAND_FIELDS.pack(kind) + key + value",
    ),
    ("RECORD.NONCE.UNIQUE", "omap/session.py", "(direction << 64 | sequence)", "(direction << 64)"),
    ("RECORD.SEQ.STRICT", "omap/session.py", "if came < expected:", "if False:"),
    ("RECORD.SEQ.STRICT", "omap/session.py", "if came > expected:", "if False:"),
    (
        "SESSION.KEY.CONFIRM",
        "omap/session.py",
        "if not constant_time.bytes_eq(keys.confirm(_DEVICE_ROLE), confirmation):",
        "if False:",
    ),
    (
        "SESSION.KEY.CONFIRM",
        "omap/session.py",
        "if not constant_time.bytes_eq(keys.confirm(_CLIENT_ROLE, replaced), body[:16]):",
        "if False:",
    ),
    ("SESSION.OLD.FENCED", "omap/session.py", "self._table[index] = None", "pass"),
    (
        "SESSION.FORMAT.ENDS",
        "omap/device.py",
        "self._sessions = DeviceSessions(self.params, self._root_key)",
        "pass",
    ),
    ("DEVICE.FAULT.LATCH", "omap/device.py", "self._erase()\n        if isinstance", "if isinstance"),
]


def test_every_countermeasure_is_removed_once_and_every_removal_still_applies():
    assert {label for label, *_ in REMOVALS} == set(COUNTERMEASURES)
    for label, file, old, _ in REMOVALS:
        assert (ROOT / file).read_text("utf-8").count(old) == 1, f"{label}: {old!r} in {file}"


@pytest.mark.long
@pytest.mark.parametrize(("label", "file", "old", "new"), [(None, "omap/map.py", "", ""), *REMOVALS])
def test_the_tests_of_a_countermeasure_fail_without_it_and_pass_with_it(label, file, old, new, tmp_path):
    for folder in ("omap", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    source = tmp_path / file
    source.write_text(source.read_text("utf-8").replace(old, new), "utf-8")
    mark = r"sec_cm\(" if label is None else rf'sec_cm\("{re.escape(label)}"\)'
    names = [
        name
        for path in sorted((tmp_path / "tests" / "omap").glob("test_*.py"))
        for name in re.findall(rf"{mark}(?:.*\n@.*|\n@.*|\n    .*|\n\))*\ndef (test_\w+)", path.read_text("utf-8"))
    ]
    assert names, f"no test is marked {label}"
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/omap", "-k", " or ".join(names)]
    result = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    wanted = 0 if label is None else 1
    assert result.returncode == wanted, f"{label}: {', '.join(names)}\n{result.stdout[-2000:]}"
