"""What an installation is made of: lock files with hashes, and a path that no folder of the same name hides."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
LOCKS = {path.stem: path.read_text("utf-8") for path in sorted((ROOT / "requirements").glob("*.txt"))}
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")


def pinned(text):
    """Return the requirements of a lock file and how many hashes each has."""
    entries = text.replace("\\\n", " ").splitlines()
    rows = [entry for entry in entries if entry.strip() and not entry.lstrip().startswith("#")]
    return [(Requirement(row.partition("--hash")[0].strip()), row.count("--hash=sha256:")) for row in rows]


def extras(name):
    """Return what the Makefile puts into a lock file beside the dependencies of every installation."""
    found = dict(re.findall(r"^(DEMO|FULL)_EXTRAS := (.*)$", MAKEFILE, re.MULTILINE))
    return found[name.upper()].replace("$(DEMO_EXTRAS)", found["DEMO"]).split()


def test_there_is_a_lock_for_the_demo_and_one_for_everything():
    assert set(LOCKS) == {"demo", "full"}
    assert set(extras("demo")) < set(extras("full"))
    assert set(extras("full")) == set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("name", LOCKS)
def test_every_line_is_one_version_with_hashes_and_no_address(name):
    rows = pinned(LOCKS[name])
    assert rows
    for requirement, hashes in rows:
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", requirement
        assert requirement.url is None
        assert hashes, requirement
    assert not re.search(r"https?:|file:|--(extra-)?index-url|--find-links", LOCKS[name])


@pytest.mark.parametrize("name", LOCKS)
def test_the_lock_gives_what_the_project_asks_for(name):
    wanted = [*PROJECT["dependencies"]]
    for extra in extras(name):
        wanted += PROJECT["optional-dependencies"][extra]
    found = {}
    for requirement, _ in pinned(LOCKS[name]):
        found.setdefault(requirement.name, []).append(next(iter(requirement.specifier)).version)
    for requirement in map(Requirement, wanted):
        versions = found.get(requirement.name)
        assert versions, f"{requirement.name} is in no line of requirements/{name}.txt: run make lock"
        for version in versions:
            assert requirement.specifier.contains(version), f"{requirement}: {version} is locked; run make lock"


def test_a_script_beside_a_clone_called_omap_imports_the_package(tmp_path):
    """Python takes a folder without ``__init__.py`` for a package only if no path on ``sys.path`` has a real one."""
    (tmp_path / "omap" / "omap").mkdir(parents=True)
    (tmp_path / "omap" / "README.md").write_text("a clone")
    script = tmp_path / "script.py"
    script.write_text("import omap; print(omap.__file__); omap.preset('TINY')")
    run = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert Path(run.stdout.strip()) == ROOT / "omap" / "__init__.py"


@pytest.mark.parametrize(
    "name", ["README.md", "SECURITY.md", "CONTRIBUTING.md", "docs", "examples", "omap", "rtl", "sim", "host", "boards"]
)
def test_nobody_is_told_to_install_the_distribution_from_an_index(name):
    """No index has it, so whoever uploaded that name would be installed."""
    paths = [ROOT / name] if name.endswith(".md") else sorted((ROOT / name).rglob("*"))
    for path in paths:
        if path.suffix in (".py", ".md", ".ipynb", ".toml"):
            assert not re.search(rf"pip install[^\n]*{PROJECT['name']}", path.read_text("utf-8")), path
