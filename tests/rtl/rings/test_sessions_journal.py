# amaranth: UnusedElaboratable=no
"""The sessions block with a journal: what it seals, and that no response is faster."""

import random
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.credentials import ALL_RIGHTS, Credential, Right
from omap.wire import CLOSE
from rtl.rings.sessions import Sessions
from sim.bench.compiled import Design
from tests.support.rtl import session_bench
from tests.support.rtl.journal_twin import JournalTwin
from tests.support.rtl.session_bench import IN_FLIGHT, OWNER, Twin, flipped
from tests.support.rtl.snapshots import MAPS

CREDENTIALS = [OWNER, Credential(Right.READ, name=b"reader"), Credential(ALL_RIGHTS, b"\x05")]


@cache
def design(name):
    return Design(Sessions(MAPS[name], in_flight=IN_FLIGHT, journal=True)), MAPS[name]


@settings(max_examples=20)
@given(
    seed=st.integers(0, 1 << 32),
    actions=st.lists(
        st.sampled_from(["operate", "operate", "open", "attack", "close", "format", "export"]), max_size=12
    ),
    stall=st.fixed_dictionaries(
        dict.fromkeys(["o_command", "o_record", "o_journal"], st.sampled_from([0.0, 0.1, 0.8]))
    ),
    chunk=st.sampled_from([1, 7, 40]),
)
@pytest.mark.sec_cm("JOURNALS.BEFORE.RESPONSE")
@pytest.mark.sec_cm("SNAPSHOTS.KEY.OWN")
def test_journals_equal_the_reference_in_any_schedule(seed, actions, stall, chunk):
    for kind in (design("TINY"), design("CHUNKED")):
        twin = JournalTwin(*kind, random.Random(seed), chunk=chunk)
        for name, share in stall.items():
            twin.bench.sink(name, idle=share)
        rng, clients = twin.rng, [twin.opened()]
        for action in actions:
            client = rng.choice(clients)
            match action:
                case "operate":
                    for _ in range(rng.randint(1, 6)):
                        twin.feed(rng.choice(clients).operations(rng))
                case "open":
                    clients.append(twin.opened(credential=rng.choice(CREDENTIALS)))
                case "attack":
                    twin.feed(flipped(client.operations(rng), 128 + rng.randrange(300)))
                    twin.feed(client.operations(rng))
                case "close":
                    twin.feed(client.seal([client.draw(rng, CLOSE), client.draw(rng)]))
                case "export":
                    twin.export()
                case "format":
                    twin.settle()
                    twin.format()
                    clients = [twin.opened()]
        twin.settle()


@pytest.mark.parametrize("count", [1, 5])
def test_a_response_leaves_as_soon_as_its_record_of_the_journal(count):
    """The journal costs a response no more than the cycle in which its record's last beat leaves."""
    took = []
    for make in (session_bench.design, design):
        twin = (JournalTwin if make is design else Twin)(*make("TINY"), random.Random(5))
        client = twin.opened()
        twin.settle()
        twin.feed(client.operations(twin.rng, count))
        twin.settle()
        last = int(twin.bench.source("i_reply").cycles[-1])
        took.append(int(twin.bench.sink("o_record").cycles[-1]) - last)
    assert took[1] <= took[0] + 1


@settings(max_examples=10)
@given(seed=st.integers(0, 1 << 32), cycles=st.integers(0, 1200))
@pytest.mark.sec_cm("SESSIONS.KEY.ERASE")
def test_no_journal_comes_after_an_erasure(seed, cycles):
    """Neither what was under way, nor the beginning of another one under the root key that is no more."""
    twin = JournalTwin(*design("TINY"), random.Random(seed))
    client = twin.opened()
    for _ in range(20):
        twin.feed(client.operations(twin.rng))
    for _ in range(cycles // 10):
        twin.step(10)
    twin.bench.set("erase", 1)
    twin.bench.run(1)
    twin.bench.set("erase", 0)
    sink = twin.bench.sink("o_journal")
    before = sink.transfers
    for begin in (1, 0, 1):
        twin.bench.set("begin", begin)
        twin.bench.set("export", begin)
        twin.bench.run(1500)
    assert sink.transfers == before
    assert not twin.bench.get("begun")
