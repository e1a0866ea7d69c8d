"""The fault matrix: all that a man in the middle and a malicious host can do to records and rings, a row each.

The client or the device detects every case, returns no wrong answer, and names in the error what it noticed.
"""

import pytest

from host.client.conversation import Conversation
from host.keyfile import read_root_file
from host.testing import running_relay
from omap.wire import LEAST_RING_LINES
from tests.support.host.faults import PARAMS, Place
from tests.support.host.middle import Middle
from tests.support.host.rogue import KEY, RogueRelay


@pytest.fixture
def each():
    """Operations of a record, which the tests of records choose."""
    return 1


@pytest.fixture(autouse=True)
def short_records(each, monkeypatch):
    """Let clients send records of so few operations, so that many are under way at once."""
    room = Conversation.room
    monkeypatch.setattr(Conversation, "room", lambda talk: min(each, room(talk)))


@pytest.fixture(params=["on the wire", "on the rings"])
def place(request, key_file):
    if request.param == "on the rings":
        with RogueRelay(PARAMS, ring_lines=LEAST_RING_LINES) as relay:
            yield Place(relay, relay.device, KEY)
    else:
        with running_relay(PARAMS, key_file) as relay, Middle(relay.port) as middle:
            yield Place(middle, relay.transport.device, read_root_file(key_file))
