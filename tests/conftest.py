"""What holds for all tests: options, one profile for Hypothesis, and a time after which a test counts as stuck."""

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


def pytest_collection_modifyitems(items):
    for item in items:
        kind = "long" if item.get_closest_marker("long") else "short"
        item.add_marker(pytest.mark.timeout(LONGEST_SECONDS[kind], method="thread"))
