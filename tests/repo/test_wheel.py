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
BUILT = {"__pycache__", "sim_build", "build"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build a wheel from a copy, so that the tree stays as it is."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    ignore = shutil.ignore_patterns(*BUILT, "*.egg-info")
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


def test_the_wheel_holds_every_file_of_the_packages(wheel):
    """Also those that are no Python: without a line under package-data they are missing after installation."""
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()]
    wanted = {str(path.relative_to(ROOT)) for path in files if not BUILT & set(path.parts)}
    assert wanted <= set(wheel.namelist())


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
