"""What ``import omap`` offers, and what it must not load."""

import re
import subprocess
import sys

import omap

NOT_LOADED = ("omap.hazmat", "omap.demo", "numba", "scipy", "matplotlib", "click", "rich", "airportsdata", "amaranth")


def test_import_omap_loads_neither_the_dangerous_part_nor_the_slow_ones():
    script = "import sys, omap; print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "omap.params" in loaded
    assert not set(NOT_LOADED) & set(loaded)


def test_all_is_sorted_complete_and_there():
    assert list(omap.__all__) == sorted(set(omap.__all__))
    assert all(hasattr(omap, name) for name in omap.__all__)
    public = {name for name, value in vars(omap).items() if not name.startswith("_") and not _is_module(value)}
    assert public == set(omap.__all__)


def test_every_public_name_has_a_docstring():
    assert [name for name in omap.__all__ if not (getattr(omap, name).__doc__ or "").strip()] == []


def test_the_errors_that_a_map_raises_are_public():
    from omap.interface import ObliviousMap

    documented = set()
    for method in vars(ObliviousMap).values():
        documented |= set(re.findall(r"^\s*(\w+Error)$", getattr(method, "__doc__", None) or "", re.MULTILINE))
    assert {"InputError", "FullError", "TamperedError", "FaultError"} <= documented
    assert documented <= set(omap.__all__)


def _is_module(value):
    return type(value) is type(sys)
