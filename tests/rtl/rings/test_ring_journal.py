# amaranth: UnusedElaboratable=no
"""The ring port with a journal: it is written before the responses, and nothing is fetched that has no room in it."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.wire import Counter, write_counter
from rtl.rings.record import BEGIN_LINES
from sim.models.observer import EventKind
from tests.support.rtl.ring_bench import LEAST, ROUNDS, Host, JournalHost, design


@pytest.mark.sec_cm("JOURNALS.BEFORE.RESPONSE")
@pytest.mark.sec_cm("JOURNALS.ROOM.RESERVED")
@pytest.mark.parametrize("name", ["TINY", "WIDE"])
def test_journals_and_responses_go_round_the_rings_in_order(name):
    assert design(name, True)

    @settings(max_examples=15)
    @given(
        **ROUNDS,
        shorter=st.sampled_from([0.0, 0.3]),
        eager=st.sampled_from([7, 100, 1 << 16]),
    )
    def check(ring, timing, seed, idle, chunk, shorter, eager):
        host, rng = JournalHost(name, ring, timing=timing, seed=seed, eager=eager), random.Random(seed)
        host.bench.source("i_journal", idle=idle[0])
        host.bench.source("i_record", idle=idle[1])
        host.shorter = lambda record: rng.random() < shorter
        records = host.records_of(rng.randrange(1, 3 * ring))
        host.begin(rng.randbytes(64 * BEGIN_LINES))
        host.exchange(records, limit=200_000, chunk=lambda: rng.randint(1, chunk))
        host.bench.run_until(limit=9000, values={"idle": 1})
        while len(host.got_journal) < len(host.begun + b"".join(host.given)):
            before = host.journal_taken
            host.take_journal()
            assert host.journal_taken > before
        assert not host.bench.get("error")

    check()


@pytest.mark.sec_cm("JOURNALS.ROOM.RESERVED")
@pytest.mark.parametrize("count", [1, None])
def test_nothing_is_fetched_while_the_journal_has_no_room(count):
    host = JournalHost("TINY", LEAST, eager=0)
    records = [host.record(count) for _ in range(2 * LEAST)]
    for _ in range(400):
        host.submit(records)
        host.bench.run(50)
        host.answer(host.records())
        host.collect()
    fetched = host.counter(Counter.COMMANDS_FETCHED)
    assert LEAST - 64 < fetched <= LEAST
    assert len(host.responses) == len(host.seen)
    assert host.counter(Counter.JOURNAL_WRITTEN) <= LEAST - BEGIN_LINES
    host.eager = 20
    host.exchange(records[: len(host.seen) + 3 if host.sent < len(host.seen) + 3 else host.sent], limit=200_000)


@pytest.mark.sec_cm("JOURNALS.ROOM.RESERVED")
@pytest.mark.parametrize("count", [1, None])
def test_another_journal_can_begin_while_as_many_commands_wait_as_may(count):
    """A format that overtakes commands ends before they run: what begins its journal must not wait for them."""
    host = JournalHost("TINY", LEAST)
    host.begin(bytes(64 * BEGIN_LINES))
    host.bench.run(1000)
    host.take_journal()
    host.bench.sink("o_record", waits=[1 << 20])  # an engine that is about to be formatted takes none
    host.submit([host.record(count) for _ in range(LEAST)])
    host.bench.run(3000)
    host.bench.set("serve", 0)
    host.bench.run(1000)
    assert host.counter(Counter.COMMANDS_FETCHED) > LEAST - 64
    assert host.bench.get("journal_room")
    host.begin(bytes(64 * BEGIN_LINES))
    host.bench.run(3000)
    assert host.counter(Counter.JOURNAL_WRITTEN) == 2 * BEGIN_LINES


@pytest.mark.sec_cm("RING.COUNTERS.BOUND")
@pytest.mark.parametrize("lie", [16 * LEAST, 1 << 40, 1 << 63])
def test_a_journal_that_was_not_taken_is_not_believed_to_be(lie):
    host = JournalHost("TINY", LEAST, eager=0)
    records = [host.record(1) for _ in range(2 * LEAST)]
    for _ in range(400):
        host.submit(records)
        host.bench.run(50)
        host.answer(host.records())
        host.collect()
        write_counter(host.buffer, Counter.JOURNAL_TAKEN, host.counter(Counter.JOURNAL_WRITTEN) + lie)
    assert host.counter(Counter.JOURNAL_WRITTEN) <= LEAST


def test_the_beginning_of_a_journal_is_told_without_a_response():
    host = JournalHost("TINY", LEAST, serve=0)
    host.bench.run(50)
    assert host.bench.get("journal_room")
    host.begin(bytes(range(64)) * BEGIN_LINES)
    host.bench.run(1000)
    assert host.counter(Counter.JOURNAL_WRITTEN) == BEGIN_LINES
    host.take_journal()
    assert host.got_journal == host.begun
    assert host.bench.get("idle")


def test_one_write_tells_a_record_of_the_journal_and_its_response():
    told = {}
    for make in (Host, JournalHost):
        host = make("TINY", LEAST)
        host.bench.run(500)
        for _ in range(3):
            host.exchange([*host.seen, host.record(1)], limit=20_000)
            host.bench.run(600)
        told[make] = host.events(EventKind.WRITE, 0x40, 0x80)
    assert len(told[JournalHost]) == len(told[Host])
