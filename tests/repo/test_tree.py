"""The tree speaks of the project alone, and its versions agree."""

import os
import re
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = {".git", ".venv", "build", "sim_build", "__pycache__"}


def tree():
    """Yield every file of the project: what git tracks, or in an unpacked archive what is there."""
    if (ROOT / ".git").exists():
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
        yield from (ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file())
        return
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in SKIPPED and not name.endswith((".egg-info", "_cache"))]
        yield from (Path(folder) / name for name in files)


def test_no_path_of_a_machine_stands_in_the_tree():
    folders = (b"ro" + b"ot", b"ho" + b"me", b"wo" + b"rk", b"Us" + b"ers")  # apart, or this line would be found
    machine = re.compile(rb"(?<![\w.])/(?:" + b"|".join(folders) + rb")/")
    found = {
        f"{path.relative_to(ROOT)}:{number}"
        for path in tree()
        for number, line in enumerate(path.read_bytes().splitlines(), 1)
        if machine.search(line)
    }
    assert not found


def test_no_file_is_large():
    """Anything over a megabyte is a build product or a data set, and belongs elsewhere."""
    assert [str(path.relative_to(ROOT)) for path in tree() if path.stat().st_size > 1 << 20] == []


def test_the_changelog_knows_the_version_and_the_installation_is_current():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert re.search(rf"^## {re.escape(project['version'])}\b", changes, re.MULTILINE)
    assert metadata.version(project["name"]) == project["version"]


def test_decisions_are_numbered_without_gaps_and_follow_one_shape():
    files = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [path.name[:5] for path in files] == [f"{number:04}-" for number in range(1, len(files) + 1)]
    for path in files:
        text = path.read_text("utf-8")
        assert text.startswith(f"# {int(path.name[:4])}. "), path.name
        assert "\n## Decision\n" in text, path.name
        assert "\n## Why\n" in text, path.name
