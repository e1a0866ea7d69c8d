"""Compiled code is kept, and is compiled anew when anything changes that it comes from."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from omap.fast import kept
from omap.siphash import siphash24

ROOT = Path(__file__).resolve().parents[3]

PROGRAM = """
import numpy as np
from omap.fast.entries import candidates
print(candidates(np.arange(2, dtype=np.uint32), 0, 2, np.arange(2, dtype=np.uint64), 1 << 28)[0])
"""


def copy(folder):
    shutil.copytree(ROOT / "omap", folder / "omap", ignore=shutil.ignore_patterns("__pycache__"))


def ran(folder):
    environment = os.environ | {"PYTHONPATH": str(folder), "OMAP_BUILD": str(folder / "build")}
    run = [sys.executable, "-B", "-c", PROGRAM]
    return int(subprocess.run(run, env=environment, cwd=folder, check=True, capture_output=True, text=True).stdout)


def edit(path, before, after):
    """Change a file so that size and time stay, which is all that numba looks at."""
    assert len(before) == len(after)
    times = os.stat(path)
    text = path.read_text("utf-8")
    assert text.count(before) == 1
    path.write_text(text.replace(before, after), "utf-8")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_a_change_of_an_inner_function_or_of_a_constant_elsewhere_is_noticed(tmp_path):
    copy(tmp_path)
    expected = siphash24(bytes(8) + bytes([1]) + bytes(7), (1 << 32).to_bytes(8, "little")) >> 36
    assert ran(tmp_path) == expected
    edit(tmp_path / "omap" / "fast" / "entries.py", "v0 = _rotated(v0, 32)", "v0 = _rotated(v0, 31)")
    changed = ran(tmp_path)
    assert changed != expected
    edit(tmp_path / "omap" / "siphash.py", "FINAL = 0xFF\n", "FINAL = 0xFE\n")
    assert ran(tmp_path) not in (expected, changed)
    assert len(list((tmp_path / "build" / "fast").iterdir())) == 3


def test_what_is_kept_is_found_again(tmp_path, monkeypatch):
    monkeypatch.setenv("OMAP_BUILD", str(tmp_path))
    assert not kept.compiled_before()
    folder = kept.folder()
    assert folder == tmp_path / "fast" / kept.digest()
    assert folder.stat().st_mode & 0o777 == 0o700  # what lies there is executed
    (folder / "code.nbi").touch()
    assert kept.compiled_before()


def test_without_a_variable_it_lies_with_what_else_the_user_keeps(tmp_path, monkeypatch):
    monkeypatch.delenv("OMAP_BUILD", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kept.folder() == tmp_path / "omap" / "fast" / kept.digest()
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert kept.folder() == tmp_path / "home" / ".cache" / "omap" / "fast" / kept.digest()


@pytest.mark.parametrize("variable", ["OMAP_BUILD", "XDG_CACHE_HOME"])
def test_without_a_folder_nothing_is_kept(variable, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.delenv("OMAP_BUILD", raising=False)
    monkeypatch.setenv(variable, str(tmp_path / "file"))
    assert kept.folder() is None
    assert not kept.compiled_before()
