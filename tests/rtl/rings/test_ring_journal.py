# amaranth: UnusedElaboratable=no
"""The ring port with a journal: it is written before the responses, and nothing is fetched that has no room in it."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.wire import SOURCE_LINES, Counter, start_lines, write_counter
from rtl.rings.journal_back import ROOM_CYCLES
from rtl.rings.record import LINE_BEATS
from sim.models.observer import EventKind
from tests.support.rtl.ring_bench import LEAST, ROUNDS, Host, JournalHost, design

BEGIN_LINES = SOURCE_LINES + start_lines(3)
"""Lines with which a journal begins in these tests."""


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
    assert host.counter(Counter.JOURNAL_WRITTEN) <= LEAST
    host.eager = 20
    host.exchange(records[: len(host.seen) + 3 if host.sent < len(host.seen) + 3 else host.sent], limit=200_000)


@pytest.mark.sec_cm("JOURNALS.ROOM.RESERVED")
@pytest.mark.parametrize("count", [1, None])
@pytest.mark.parametrize("name", ["TINY", "WIDE"])
def test_a_snapshot_goes_through_a_ring_whose_room_is_promised_to_commands(name, count):
    """Commands that are here run after it: it must not wait for them, and they must find their room again."""
    host = JournalHost(name, LEAST)
    most = host.codec.most_lines
    host.begin(bytes(64 * BEGIN_LINES))
    host.bench.run(1000)
    host.take_journal()
    commands = [host.record(count) for _ in range(LEAST)]
    host.bench.sink("o_record", waits=[40_000])  # an engine that is about to be exported takes none
    host.submit(commands)
    host.bench.run(3000)
    host.bench.set("serve", 0)
    host.bench.run(1000)
    assert host.counter(Counter.COMMANDS_FETCHED) > LEAST - 64
    assert host.bench.get("journal_fits")
    for chunk in range(4):
        host.bench.run_until(limit=3000, values={"journal_room": 1})
        host.begin(bytes([chunk]) * (64 * most))
        host.bench.run(ROOM_CYCLES + LINE_BEATS * most)
        host.bench.run(3000)
        if chunk % 2:
            assert not host.bench.get("journal_room")
            assert not host.bench.get("journal_fits")
            host.take_journal()
    assert host.counter(Counter.JOURNAL_WRITTEN) == BEGIN_LINES + 4 * most
    host.bench.run_until(limit=3000, values={"journal_fits": 1})
    assert host.bench.sink("o_record").transfers <= 1  # the sink was ready for a beat
    host.bench.set("serve", 1)
    host.exchange(commands[: host.sent], limit=200_000)


@pytest.mark.sec_cm("JOURNALS.ROOM.RESERVED")
def test_the_port_knows_soon_of_a_record_how_much_room_it_leaves():
    host = JournalHost("TINY", LEAST, eager=0, serve=0)
    host.bench.run(50)
    for _ in range(2):
        assert host.bench.get("journal_room")
        host.begin(bytes(64 * 64))
        host.bench.run_until(limit=2000, transfers={"i_journal": 64 * LINE_BEATS})
        host.bench.run(ROOM_CYCLES)
    assert not host.bench.get("journal_room")
    assert host.bench.get("journal_fits")


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


@settings(max_examples=10)
@given(
    seed=st.integers(0, 2**32 - 1),
    timing=ROUNDS["timing"],
    serve=st.booleans(),
    records=st.lists(st.integers(1, 16), min_size=1, max_size=4),
)
def test_the_port_says_when_the_host_has_all_of_a_journal(seed, timing, serve, records):
    """A format ends after that, so that the host finds the whole beginning in the ring."""
    host, given = JournalHost("TINY", LEAST, timing=timing, seed=seed, serve=serve), 0
    host.bench.run(50)
    for lines in records:
        host.begin(bytes(64 * lines))
        given += lines
        host.bench.run(2)  # a beat is here
        assert not host.bench.get("journal_told")
        end = host.bench.cycle + 20_000
        while not host.bench.get("journal_told"):
            assert not host.bench.get("idle")
            assert host.bench.cycle < end
            host.bench.run(1)
        assert host.counter(Counter.JOURNAL_WRITTEN) == given
        host.bench.run(host.rng.randrange(400))
        assert host.bench.get("journal_told")


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
