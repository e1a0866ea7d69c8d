"""A countermeasure is tested when its test fails without it: here each one is removed, and its tests are run."""

import importlib

import pytest

from tests.support.mutations import boards, host, omap, rtl_crypto, rtl_map, rtl_rings, rtl_times
from tests.support.mutations.running import run

REMOVALS = {
    "omap": omap.REMOVALS,
    "host": host.REMOVALS,
    "boards": boards.REMOVALS,
    "rtl": [*rtl_crypto.REMOVALS, *rtl_rings.REMOVALS, *rtl_map.REMOVALS, *rtl_times.REMOVALS],
}
"""By package."""

TESTS = {package: [f"tests/{package}"] for package in REMOVALS}
TESTS["rtl"] = [
    *(f"tests/rtl/{wing}" for wing in ("crypto", "map", "memory", "rings")),
    "tests/rtl/test_engine_erase.py",
]
"""Where the tests of a package are; of the accelerator those of blocks, because an engine takes minutes to compile."""

EACH = [
    pytest.param(package, removal, id=f"{removal.label}-{removal.file}-{number}")
    for package, removals in REMOVALS.items()
    for number, removal in enumerate(removals)
]


@pytest.mark.parametrize("package", REMOVALS)
def test_every_countermeasure_is_removed(package):
    declared = importlib.import_module(f"{package}.countermeasures").COUNTERMEASURES
    assert {removal.label for removal in REMOVALS[package]} == set(declared)


@pytest.mark.parametrize(("package", "removal"), EACH)
def test_every_removal_still_applies(package, removal):
    assert removal.file.startswith(f"{package}/")
    assert removal.applies() == 1, f"{removal}: say how it is removed now"
    assert removal.removed() != removal.text()
    if removal.file.endswith(".py"):
        compile(removal.removed(), removal.file, "exec")


@pytest.mark.long
@pytest.mark.parametrize("package", REMOVALS)
def test_with_every_countermeasure_the_tests_pass_in_a_copy(package, tmp_path):
    made = run(tmp_path, TESTS[package], sorted({removal.label for removal in REMOVALS[package]}))
    assert made.status == 0, made.output


@pytest.mark.long
@pytest.mark.parametrize(("package", "removal"), EACH)
def test_without_a_countermeasure_its_tests_fail(package, removal, tmp_path):
    made = run(tmp_path, TESTS[package], [removal.label], removal)
    assert made.status == 1, f"{removal}: no test failed, or none ran\n{made.output}"
    assert made.caught_by(removal), f"{removal}: nothing failed as it must: {made.failures}\n{made.output}"
