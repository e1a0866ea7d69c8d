"""What the tests of the relay share: the root key, and a function that starts relays."""

from contextlib import ExitStack

import pytest

from host.keyfile import read_root_file
from host.testing import running_relay


@pytest.fixture
def key(key_file):
    return read_root_file(key_file)


@pytest.fixture
def start(params, key_file):
    """Return a function that starts a relay; all are stopped at the end."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(running_relay(params, key_file, **options))
