# amaranth: UnusedElaboratable=no
"""The engine with a journal equals the device model with one, in all that a host can look at."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.regmap import Request, State
from omap.source import END, Source
from omap.wire import HEADER, RecordType, Refusal, read_header
from sim.models.timing import HostTiming
from tests.support.rtl.engine_bench import Twin
from tests.support.rtl.engines import JOURNALLED, KEPT
from tests.support.rtl.kept_twin import KeptTwin


def twin_of(seed, *, config=JOURNALLED, **options):
    return KeptTwin(seed, config=config, **options)


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
    play(twin_of(seed, ring_lines=1 << ring, host=host), rounds)


@pytest.mark.long
@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), ring=st.integers(7, 10), rounds=st.integers(4, 12))
def test_equals_the_model_for_long(seed, ring, rounds):
    play(twin_of(seed, ring_lines=1 << ring), rounds)


@pytest.mark.sec_cm("JOURNALS.ROOM.RESERVED")
def test_a_host_that_takes_no_journal_gets_no_more_answers_and_nothing_is_lost():
    twin = twin_of(5)
    client = twin.opened()
    twin.rest()
    twin.keep, twin.take = (lambda: None), (lambda: Twin.take(twin))  # answers alone
    for _ in range(3):  # the journal's ring holds two of these
        twin.feed(twin.record(client, twin.codec.most_operations))
    twin.run.step(40_000)
    twin.take()
    assert len(twin.got) == len(twin.model.answers) - 1
    assert twin.state is State.READY
    del twin.keep, twin.take
    twin.take()
    twin.rest()


# -- snapshots and restores -------------------------------------------------------------------------------------


class Kept:
    """What a host has on its disk of one map: a snapshot, if there is one, and the journal."""

    def __init__(self, twin):
        self.twin, self.records = twin, []
        self.journal_again()

    def journal_again(self):
        """Begin with the journal of the present map."""
        self.twin.keep()
        self.begins = max(n for n, one in enumerate(self.twin.journal) if one == Source(self.map_id).record())
        self.records = []

    @property
    def map_id(self):
        return self.twin.model.device._map.map_id

    def export(self, **options):
        """Have a snapshot, and need nothing of the journal before it."""
        self.records = self.twin.export(**options)
        self.begins = len(self.twin.journal)

    @property
    def all(self):
        return [*self.records, *self.twin.journal[self.begins :]]


def round_trip(twin, operations, *, exports):
    """Run operations, write snapshots among them, restore, and return the client's numbers before and after."""
    rng = twin.rng
    kept, chain = Kept(twin), []
    for _ in range(2):
        clients = [twin.opened(), twin.opened()]
        for _ in range(exports + 1):
            twin.send(clients, rng.randint(1, operations), keys=rng.choice([3, 60]))
            twin.rest()
            if exports:
                kept.export(by_register=rng.random() < 0.5)
                chain = []
        twin.send(clients, rng.randint(1, operations))
        twin.rest()
        chain += kept.all
        answers = twin.restore(chain, by_register=rng.random() < 0.5)
        assert RecordType.REFUSED not in {read_header(answer).type for answer in answers}
        assert twin.state is State.READY
        kept.journal_again()
        if exports:
            chain = []  # a snapshot of the restored map comes next
    play_on = [twin.opened()]
    twin.send(play_on, operations)
    twin.rest()


@settings(max_examples=3)
@given(
    seed=st.integers(0, 2**32 - 1),
    ring=st.sampled_from([7, 9]),
    withheld=st.sampled_from([0.0, 0.3]),
    exports=st.integers(0, 1),
)
def test_exports_and_restores_as_the_model_does(seed, ring, withheld, exports):
    host = HostTiming(ready_withheld=withheld, valid_withheld=withheld)
    round_trip(twin_of(seed, ring_lines=1 << ring, host=host), 120, exports=exports)


@pytest.mark.long
@pytest.mark.parametrize(("config", "operations"), [(JOURNALLED, 400), (KEPT, 4000)], ids=["TIGHT", "PAPER"])
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), ring=st.integers(7, 10), exports=st.integers(0, 3))
def test_exports_and_restores_as_the_model_does_for_long(config, operations, seed, ring, exports):
    round_trip(twin_of(seed, config=config, ring_lines=1 << ring), operations, exports=exports)


@pytest.mark.sec_cm("RESTORES.FAIL.ERASE")
@settings(max_examples=4)
@given(seed=st.integers(0, 2**32 - 1), exports=st.booleans(), data=st.data())
def test_what_the_host_alters_leaves_no_map(seed, exports, data):
    twin = twin_of(seed, ring_lines=512)
    kept, client = Kept(twin), twin.opened()
    twin.send([client], 150)
    twin.rest()
    if exports:
        kept.export()
        twin.send([client], 80)
        twin.rest()
    records = kept.all
    at = data.draw(st.integers(0, len(records) - 1), "record")
    match data.draw(st.sampled_from(["bit", "cut", "again", "swap"]), "how"):
        case "bit":
            byte = data.draw(st.integers(HEADER.size, len(records[at]) - 1), "byte")
            records[at] = records[at][:byte] + bytes([records[at][byte] ^ 1]) + records[at][byte + 1 :]
        case "cut":
            del records[at]
        case "again":
            records.insert(at, records[at])
        case "swap":
            other = data.draw(st.integers(0, len(records) - 1), "other")
            records[at], records[other] = records[other], records[at]
    answers = twin.restore(records)
    failed = any(read_header(answer).type == RecordType.REFUSED for answer in answers)
    assert twin.state is (State.IDLE if failed else State.READY)
    if failed:
        (again,) = twin.feed_all([END])
        assert read_header(again).count == Refusal.RESTORE_FAILED
    twin.request(Request.FORMAT)
    twin.send([twin.opened()], 30)
    twin.rest()


def test_clients_wait_for_the_end_of_a_restore_and_are_told_what_is_kept():
    twin = twin_of(8)
    kept, client = Kept(twin), twin.opened()
    twin.send([client], 40)
    twin.rest()
    known, records = kept.map_id, kept.all
    twin.request(Request.RESTORE)
    (answer,) = twin.feed_all([client.hello()])
    assert (read_header(answer).type, read_header(answer).count) == (RecordType.REFUSED, Refusal.RESTORING)
    twin.feed_all([*records, END])
    for map_id, there in ((known, 40), (bytes(16), None), (kept.map_id, None)):
        client = twin.client()
        client.opened(twin.feed(client.confirm(twin.feed(client.hello()), map_id)))
        assert client.kept == there
        twin.rest()
