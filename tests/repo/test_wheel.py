"""The distribution holds the five packages, whole, and nothing else."""

import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"omap", "rtl", "sim", "host", "boards"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build a wheel from a copy, so that the tree stays as it is."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", "sim_build")
    for name in (*PACKAGES, "tests", "docs"):
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", out, source]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    return zipfile.ZipFile(built)


def test_the_wheel_holds_just_the_five_packages(wheel):
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES


def test_the_wheel_holds_every_module(wheel):
    modules = {str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert modules == {name for name in wheel.namelist() if name.endswith(".py")}


def test_it_can_never_be_uploaded_by_accident():
    assert "Private :: Do Not Upload" in (metadata.metadata("omap-fpga").get_all("Classifier") or [])


def test_no_other_distribution_provides_the_five_names():
    providers = metadata.packages_distributions()
    for package in PACKAGES:
        others = set(providers.get(package, [])) - {"omap-fpga"}
        assert not others, f"{package} is also installed by {others}: use a fresh virtual environment"


def test_every_entry_point_of_the_distribution_loads():
    for entry_point in metadata.distribution("omap-fpga").entry_points:
        entry_point.load()
