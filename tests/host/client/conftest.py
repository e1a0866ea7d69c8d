"""What the tests of the clients share: a device model behind a small relay."""

import pytest

from tests.support.host.rogue import RogueRelay


@pytest.fixture
def relay():
    with RogueRelay() as relay:
        yield relay


@pytest.fixture(scope="module")
def shared():
    with RogueRelay() as relay:
        yield relay
