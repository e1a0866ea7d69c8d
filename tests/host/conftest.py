"""What all tests of the host side share: a root key, and a relay in front of a model on a loopback port."""

import pytest

from host.testing import running_relay
from omap.presets import preset
from tests.support.host.keys import client_file as write_client
from tests.support.host.keys import root_file

PARAMS = preset("TINY")


@pytest.fixture
def params():
    return PARAMS


@pytest.fixture
def key_file(tmp_path):
    """The root file of the device."""
    return root_file(tmp_path / "root.key")


@pytest.fixture
def client_file(tmp_path, key_file):
    """The file of a client that may do everything."""
    return write_client(tmp_path / "client.key", key_file)


@pytest.fixture
def relay(params, key_file):
    """A relay over an in-process model, preset TINY: address, host, port, key_file, relay, transport, run(), stop()."""
    with running_relay(params, key_file) as running:
        yield running
