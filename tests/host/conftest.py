"""What all tests of the host side share: a root key, and a relay in front of a model on a loopback port."""

import pytest

from host.keyfile import write_key_file
from host.testing import running_relay
from omap.presets import preset

PARAMS = preset("TINY")


@pytest.fixture
def params():
    return PARAMS


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "root.key"
    write_key_file(path)
    return path


@pytest.fixture
def relay(params, key_file):
    """A relay over an in-process model, preset TINY: address, host, port, key_file, relay, transport, run(), stop()."""
    with running_relay(params, key_file) as running:
        yield running
