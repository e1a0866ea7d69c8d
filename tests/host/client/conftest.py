"""What the tests of the clients share: a device model behind a small relay."""

import pytest

from host.client.conversation import Conversation
from tests.support.host.clients import at_most
from tests.support.host.rogue import RogueRelay


@pytest.fixture
def relay():
    with RogueRelay() as relay:
        yield relay


@pytest.fixture
def singles(monkeypatch):
    """Let each record have one operation."""
    monkeypatch.setattr(Conversation, "room", at_most(1))


@pytest.fixture(scope="module")
def shared():
    with RogueRelay() as relay:
        yield relay
