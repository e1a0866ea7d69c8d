"""What holds for all tests: options, a profile for Hypothesis, a folder for state, and when a test counts as stuck."""

import os
import tempfile

import pytest
from hypothesis import settings

LONGEST_SECONDS = {"short": 1200, "long": 3 * 3600}  # an engine may have to be compiled first
"""A test that takes longer is stuck: the stacks of all threads are printed, and the process ends."""

settings.register_profile("omap", deadline=None, print_blob=True)  # times are no verdict; a failure can be repeated
settings.load_profile("omap")


def pytest_addoption(parser):
    parser.addoption(
        "--regenerate", action="store_true", help="rewrite the generated parts of documents instead of comparing them"
    )


def pytest_configure(config):
    """Let no command under test remember anything where the user of this machine keeps state."""
    folder = tempfile.TemporaryDirectory(prefix="omap-state-")
    config.add_cleanup(folder.cleanup)
    os.environ["XDG_STATE_HOME"] = folder.name
    os.environ.setdefault("OMAP_MODEL", "reference")  # numba takes a process half a second: tests/omap/fast/ has it


def pytest_collection_modifyitems(items):
    for item in items:
        kind = "long" if item.get_closest_marker("long") else "short"
        item.add_marker(pytest.mark.timeout(LONGEST_SECONDS[kind], method="thread"))
