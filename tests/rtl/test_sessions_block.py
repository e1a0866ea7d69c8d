# amaranth: UnusedElaboratable=no
"""The sessions block: as the reference, bit for bit, in any schedule."""

import random

import pytest

from omap.presets import preset
from rtl.sessions import Sessions
from sim.compiled import Design
from tests.rtl.session_bench import Twin

IN_FLIGHT = 8


@pytest.fixture(scope="module")
def tiny():
    params = preset("TINY")
    return Design(Sessions(params, in_flight=IN_FLIGHT), key=("TINY", IN_FLIGHT)), params


@pytest.fixture(scope="module")
def wide():
    params = preset("WIDE")
    return Design(Sessions(params, in_flight=IN_FLIGHT), key=("WIDE", IN_FLIGHT)), params


@pytest.fixture(params=["tiny", "wide"])
def kind(request):
    return request.getfixturevalue(request.param)


def test_a_session_opens_and_runs_commands(kind):
    twin = Twin(*kind, random.Random(1))
    client = twin.opened()
    twin.settle()
    for _ in range(40):
        twin.feed(client.operation(twin.rng))
    twin.settle()
