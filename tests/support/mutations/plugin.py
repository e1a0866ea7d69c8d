"""A plugin of pytest for a run in a copy of the tree: it selects tests by countermeasure and writes down why they fail.

It is loaded by name (``-p``), in the copy alone. Code that comes from elsewhere than the copy ends the run, because a
removal would then go unnoticed, or not have been tried.
"""

import json
import sys
from pathlib import Path

import pytest
from hypothesis import Phase, settings

PACKAGES = ("omap", "rtl", "host", "boards", "sim", __name__)


def pytest_addoption(parser):
    parser.addoption("--countermeasure", action="append", default=[], help="run the tests marked with this label")
    parser.addoption("--enough", action="append", default=[], help="a failure by this exception ends the run")
    parser.addoption("--failures", type=Path, help="file for a line of JSON for each failure")


def pytest_configure():
    """A failure is looked for, and not the smallest one."""
    settings.register_profile("removal", settings.default, phases=(Phase.explicit, Phase.generate))
    settings.load_profile("removal")


def pytest_collection_modifyitems(config, items):
    wanted = set(config.getoption("--countermeasure"))
    chosen = [item for item in items if wanted & {mark.args[0] for mark in item.iter_markers("sec_cm")}]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        line = {"test": item.nodeid, "when": report.when, "errors": sorted(_names(call.excinfo.value))}
        with item.config.getoption("--failures").open("a") as file:
            file.write(json.dumps(line) + "\n")
        if report.when == "call" and set(item.config.getoption("--enough")).issuperset(line["errors"]):
            item.session.shouldfail = "a test fails as it must"


def _names(error):
    """Return the type of an exception, or the types of all in a group, such as Hypothesis raises."""
    if isinstance(error, BaseExceptionGroup):
        return set().union(*map(_names, error.exceptions))
    return {type(error).__name__}


def pytest_sessionfinish(session):
    for name in PACKAGES:
        place = getattr(sys.modules.get(name), "__file__", None)
        if place and not Path(place).resolve().is_relative_to(session.config.rootpath.resolve()):
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
            print(f"{name} was not imported from the copy of the tree, but from {place}")
