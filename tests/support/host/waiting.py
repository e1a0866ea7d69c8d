"""Waiting for what another thread does."""

import time

import pytest


def until(condition, what="it"):
    """Return when a condition holds; fail if that takes 10 s."""
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.005)
    pytest.fail(f"{what} did not come")
