# amaranth: UnusedElaboratable=no
"""Records that were read before it was certain that they are there: one that is not right leaves no trace."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.wire import Refusal
from sim.errors import CycleLimitError
from tests.support.rtl.session_bench import Twin, code, data, design, flipped, is_open


@pytest.fixture(params=["TINY", "WIDE"])
def kind(request):
    return design(request.param)


def early(twin, verdict, record=None):
    """Have the block take what was pushed, or this record, as one that was read early; want this verdict."""
    twin.bench.set("early", 1)
    if record:
        twin.push(record)
    try:
        twin.bench.run_until(limit=400, values={verdict: 1})
    except CycleLimitError as error:
        raise AssertionError(f"the block does not say {verdict}") from error
    twin.bench.set("early", 0)


def test_an_early_record_that_is_right_is_as_any_other(kind):
    twin = Twin(*kind, random.Random(1))
    client, other = twin.opened(), twin.opened()
    twin.settle()
    for _ in range(5):
        twin.feed(client.operation(twin.rng))
        early(twin, "sure")
        twin.feed(client.operation(twin.rng))  # right behind it
        twin.feed(other.operation(twin.rng))
        twin.settle()
    assert len(twin.got_commands) == 15


@pytest.mark.sec_cm("SESSIONS.EARLY.FORGOTTEN")
def test_an_early_record_that_is_not_right_leaves_no_trace(kind):
    @settings(max_examples=10)
    @given(st.data())
    def check(drawn):
        seed = drawn.draw(st.integers(0, 2**32 - 1))
        twin = Twin(*kind, random.Random(seed))
        client, other = twin.opened(), twin.opened()
        twin.settle()
        old = [twin.client().hello(), client.operation(twin.rng)]
        twin.feed(old[1])
        twin.settle()
        for _ in range(drawn.draw(st.integers(1, 5))):
            record = client.operation(twin.rng)
            wrong = drawn.draw(st.sampled_from(["body", "header", "old", "torn"]))
            if wrong == "body":
                bytes_ = flipped(record, 128 + drawn.draw(st.integers(0, 8 * len(record) - 129)))
            elif wrong == "header":
                bytes_ = flipped(record, drawn.draw(st.sampled_from([8, *range(32, 128)])))
            elif wrong == "old":
                bytes_ = drawn.draw(st.sampled_from(old[1:]))
            else:
                at = drawn.draw(st.integers(1, len(record) - 1))
                bytes_ = record[:at] + old[-1][at:] if record[at:] != old[-1][at:] else flipped(record, 300)
            early(twin, "again", bytes_)
            twin.feed(record)  # the same, read again
            if drawn.draw(st.booleans()):
                twin.feed(other.operation(twin.rng))
            twin.settle()
            old.append(record)
        assert is_open(twin, client)

    check()


@pytest.mark.sec_cm("SESSIONS.EARLY.DOUBTED")
def test_a_session_bears_one_wrong_tag_whatever_the_host_puts_into_the_place_of_the_record(kind):
    """A host could else try tags for ever: each early, and a record of another session when the place is read again."""
    twin = Twin(*kind, random.Random(4))
    client, other = twin.opened(), twin.opened()
    twin.settle()
    for _ in range(2):
        record = client.operation(twin.rng)
        early(twin, "again", flipped(record, 200))
        for _ in range(3):
            twin.feed(other.operation(twin.rng))
            twin.settle()
            early(twin, "again", record)  # it is right, but nobody looks at its tag
        twin.feed(record)
        twin.settle()
        for each in (client, other):
            twin.feed(each.operation(twin.rng))
            early(twin, "sure")
            twin.settle()
    wrong = flipped(client.operation(twin.rng), 200)
    early(twin, "again", wrong)
    assert code(twin.feed(wrong)) == Refusal.ALTERED
    heir = twin.opened()
    twin.settle()
    assert heir.session_index == client.session_index
    twin.feed(heir.operation(twin.rng))
    early(twin, "sure")  # no other session inherits the doubt
    twin.settle()


@pytest.mark.sec_cm("SESSIONS.TAMPER.ENDS")
def test_a_record_that_is_wrong_both_times_ends_its_session(kind):
    twin = Twin(*kind, random.Random(3))
    client, other = twin.opened(), twin.opened()
    twin.settle()
    wrong = flipped(client.operation(twin.rng), 200)
    early(twin, "again", wrong)
    assert code(twin.feed(wrong)) == Refusal.ALTERED
    twin.feed(other.operation(twin.rng))
    twin.settle()
    assert not is_open(twin, client)
    early(twin, "again", wrong)  # of a session that there is no longer
    assert code(twin.feed(wrong)) == Refusal.UNKNOWN_SESSION
    twin.settle()
    stranger = data(twin, other.session_index, other.session, other.sent + 7)
    early(twin, "again", stranger)
    assert code(twin.feed(stranger)) == Refusal.OUT_OF_TURN
    twin.settle()
