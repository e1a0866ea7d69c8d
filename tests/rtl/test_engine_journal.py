# amaranth: UnusedElaboratable=no
"""The engine with a journal equals the device model with one, in all that a host can look at."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.records import split
from omap.regmap import Request, State
from omap.wire import LINE_BYTES, Counter, RecordType, read_counter, read_header, write_counter
from sim.models.timing import HostTiming
from tests.support.rtl.engine_bench import Twin
from tests.support.rtl.engines import JOURNALLED


class JournalTwin(Twin):
    """A twin whose host takes the journal, too."""

    def __init__(self, seed, **options):
        self.journal = b""
        super().__init__(seed, config=JOURNALLED, **options)

    def take(self):
        super().take()
        layout, taken, written = self.layout, len(self.journal) // LINE_BYTES, self.journalled
        assert written - taken <= layout.ring_lines
        self.journal += layout.read_lines(self.buffer, layout.journal, taken, written - taken)
        assert self.model.journal.startswith(self.journal)
        # what is answered is in the journal
        ran = sum(read_header(answer).type == RecordType.DATA for answer in self.got)
        records = split(self.journal)
        assert sum(read_header(record).type == RecordType.JOURNAL for record in records) >= ran
        write_counter(self.buffer, Counter.JOURNAL_TAKEN, written)

    @property
    def journalled(self):
        """Lines of the journal that the engine has written."""
        return read_counter(self.buffer, Counter.JOURNAL_WRITTEN)


def play(twin, rounds):
    """Send records of some sessions, some that must be refused, and format in between."""
    clients = [twin.opened(), twin.opened()]
    for number in range(rounds):
        twin.send(clients, twin.rng.randint(1, 150), keys=twin.rng.choice([3, 60]))
        twin.stray(twin.rng.choice(["session", "type", "lines", "handshake"]))
        if number % 3 == 2:
            twin.rest()
            twin.request(Request.FORMAT, by_register=twin.rng.random() < 0.5)
            clients = [twin.opened()]
    twin.rest()
    assert twin.journal == twin.model.journal


@pytest.mark.sec_cm("JOURNALS.EFFECTS.UNIFORM")
@pytest.mark.sec_cm("JOURNALS.BEFORE.RESPONSE")
@settings(max_examples=4)
@given(
    seed=st.integers(0, 2**32 - 1),
    ring=st.integers(7, 9),
    withheld=st.sampled_from([0.0, 0.3]),
    rounds=st.integers(1, 4),
)
def test_equals_the_model(seed, ring, withheld, rounds):
    host = HostTiming(ready_withheld=withheld, valid_withheld=withheld)
    play(JournalTwin(seed, ring_lines=1 << ring, host=host), rounds)


@pytest.mark.long
@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), ring=st.integers(7, 10), rounds=st.integers(4, 12))
def test_equals_the_model_for_long(seed, ring, rounds):
    play(JournalTwin(seed, ring_lines=1 << ring), rounds)


@pytest.mark.sec_cm("JOURNALS.ROOM.RESERVED")
def test_a_host_that_takes_no_journal_gets_no_more_answers_and_nothing_is_lost():
    twin = JournalTwin(5)
    twin.take = lambda: Twin.take(twin)  # answers alone
    client = twin.opened()
    twin.rest()
    for _ in range(2):  # a ring holds two of these, but not the beginning of the journal before them
        twin.feed(twin.record(client, twin.codec.most_operations))
    twin.run.step(40_000)
    twin.take()
    assert len(twin.got) == len(twin.model.answers) - 1
    assert twin.journalled <= twin.layout.ring_lines
    assert twin.state is State.READY
    del twin.take
    twin.take()
    twin.rest()
    assert twin.journal == twin.model.journal
