"""Restores through a device model: equal to a plain dict, in strict order, and nothing half restored."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap import map as reference
from omap.bodies import responses
from omap.credentials import Right
from omap.lineage import Ancestor
from omap.operations import Kind, Operation, Response, Status
from omap.presets import preset
from omap.regmap import Fault, Request, State
from omap.restore import Restore
from omap.session import ClientSession
from omap.trace import Observer
from omap.wire import (
    HEADER,
    LINE_BYTES,
    MOST_ANCESTORS,
    Counter,
    Header,
    RecordCodec,
    RecordType,
    Refusal,
    read_header,
    write_counter,
)
from tests.support.drawn import drawn_operations, name
from tests.support.journal_host import END, JournalHost
from tests.support.omap_maps import compiled
from tests.support.oracle import expected
from tests.support.sessions import ROOT_KEY, holder

PARAMS = preset("TINY")
CODEC = RecordCodec(PARAMS)
KEYS = 20
LOOK = [Operation(Kind.GET, name(PARAMS, number)) for number in range(KEYS)]


class Kept:
    """A device model, what its host keeps on disk, and a dict that says what the map must hold.

    Attributes
    ----------
    before : list of bytes
        What restores the map as it was when its journal began, or when the last snapshot was made.
    mark : int
        Records of the journal that are in ``before``.
    """

    def __init__(self, seed, **options):
        self.rng, self.options = random.Random(seed), options
        self.host, self.oracle, self.operation = JournalHost(**options), {}, 0
        self.client, self.ancestors = self.host.connect(), []
        self.before, self.mark = [], 0

    def run(self, count):
        batch = drawn_operations(PARAMS, self.rng, count, KEYS)
        reply, answers = self.host.run(self.client, *batch)
        assert reply.sequence == self.operation
        assert answers == [expected(self.oracle, PARAMS.capacity, operation) for operation in batch]
        assert reply.live == len(self.oracle)
        self.operation += count

    def export(self):
        self.before, self.mark = self.host.export(), len(self.host.journal)

    def records(self):
        """Return all that a restore takes."""
        return [*self.before, *self.host.journal[self.mark :]]

    def restore(self, *, anew):
        """Restore in the same device, or in one that was started anew with the same root key."""
        records, known = self.records(), self.host.map_id
        self.ancestors.insert(0, Ancestor(known, self.operation))
        if anew:
            self.host = JournalHost(**self.options)
        self.host.restore(records)
        assert self.host.map_id not in (known, *(one.map_id for one in self.ancestors))
        # a further map of the chain: its parent's records stay, until there is a snapshot
        self.before, self.mark = records, 0
        self.client = ClientSession(PARAMS, holder())
        (answer,) = self.host.exchange(self.client.hello())
        chosen = self.rng.choice(self.ancestors[:MOST_ANCESTORS])
        self.client.opened(self.host.exchange(self.client.confirm(answer, chosen.map_id))[0])
        assert self.client.kept == chosen.kept
        self.look()

    def look(self):
        reply, answers = self.host.run(self.client, *LOOK)
        assert answers == [expected(self.oracle, PARAMS.capacity, operation) for operation in LOOK]
        assert reply.sequence == self.operation
        self.operation += len(LOOK)


steps = st.one_of(
    st.tuples(st.just("run"), st.integers(1, 40)), st.just(("export",)), st.tuples(st.just("restore"), st.booleans())
)


@pytest.mark.sec_cm("JOURNAL.EFFECTS.UNIFORM")
@pytest.mark.parametrize("create", [reference.create, compiled], ids=["reference", "compiled"])
@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), steps=st.lists(steps, max_size=10))
def test_a_restored_map_is_the_same_map(create, seed, steps):
    """Snapshots, journals and chains of them; and the numbers that clients see go on."""
    kept = Kept(seed, create=create)
    for step, *more in (*steps, ("run", 30), ("restore", True)):
        match step:
            case "run":
                kept.run(*more)
            case "export":
                kept.export()
            case "restore":
                kept.restore(anew=more[0])


def test_a_chain_remembers_sixteen_ancestors():
    kept = Kept(1)
    for round_ in range(20):
        kept.run(3)
        if round_ % 3 == 0:
            kept.export()
        kept.restore(anew=round_ % 2 == 0)
    assert list(kept.host.device._journal.lineage.ancestors) == kept.ancestors[:16]


def test_a_full_map_is_restored_and_refuses_what_it_refused():
    host = JournalHost()
    client = host.connect()
    puts = [Operation(Kind.PUT, name(PARAMS, number), bytes(4)) for number in range(PARAMS.capacity + 3)]
    _, told = host.run(client, *puts)
    assert told[-1] == Response(Status.FULL)
    chain = host.journal
    host.restore(chain)
    _, answers = host.run(host.connect(), *puts)
    assert [answer.status for answer in answers] == [answer.status for answer in told]


def test_what_clients_may_not_do_is_not_restored():
    host = JournalHost()
    host.run(host.connect(holder(b"reader", Right.READ)), Operation(Kind.PUT, bytes(4), b"evil"))
    host.restore(host.journal)
    assert host.run(host.connect(), Operation(Kind.GET, bytes(4)))[1] == [Response(Status.NOT_FOUND)]


# -- what a host may do wrong -------------------------------------------------------------------------------------


def materials(seed):
    """Return two maps' records: two snapshots and the journal of each, with all boundaries."""
    rng, found = random.Random(seed), []
    for _ in range(2):
        host = JournalHost()
        client = host.connect()
        snapshots, marks = [], []
        for _ in range(2):
            for _ in range(2):
                host.run(client, *drawn_operations(PARAMS, rng, rng.randint(1, 6), KEYS))
            snapshots.append(host.export())
            marks.append(len(host.journal))
        for _ in range(2):
            host.run(client, *drawn_operations(PARAMS, rng, rng.randint(1, 6), KEYS))
        found.append((host, snapshots, marks))
    return found


def flipped(record, bit):
    changed = bytearray(record)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


MISUSES = ("alter", "leave out", "reorder", "repeat", "another map", "another time", "cut")


def misused(how, data, good, other, later):
    """Return records that a host spoilt, the place of the first that can't be taken, and refusals that it may get."""
    turn = {Refusal.OUT_OF_TURN}
    match how:
        case "alter":
            at = data.draw(st.integers(0, len(good) - 1))
            bits = 8 * (HEADER.size if good[at] == END else len(good[at]))
            bit = data.draw(st.integers(0, bits - 1))
            return [*good[:at], flipped(good[at], bit), *good[at + 1 :]], at, set(Refusal)
        case "leave out":
            at = data.draw(st.integers(0, len(good) - 3))  # without the newest record it is an older state
            return [*good[:at], *good[at + 1 :]], at, turn
        case "reorder":
            at = data.draw(st.integers(0, len(good) - 3))
            return [*good[:at], good[at + 1], good[at], *good[at + 2 :]], at, turn
        case "repeat":
            at = data.draw(st.integers(0, len(good) - 2))  # after the end there is no restore
            return [*good[: at + 1], *good[at:]], at + 1, turn
        case "another map":
            at = data.draw(st.integers(1, len(good) - 2))
            return [*good[:at], other[at], *good[at + 1 :]], at, {Refusal.ALTERED, Refusal.OUT_OF_TURN}
        case "another time":
            at = data.draw(st.integers(1, 2))  # a chunk or the START of a later snapshot
            return [*good[:at], later[at], *good[at + 1 :]], at, {Refusal.ALTERED}
        case "cut":
            at = data.draw(st.integers(0, 2))
            return [*good[:at], END], at, turn
    raise AssertionError(how)


@pytest.mark.sec_cm("RESTORE.ORDER.STRICT")
@pytest.mark.sec_cm("RESTORE.FAIL.ERASE")
@pytest.mark.parametrize("how", MISUSES)
@settings(max_examples=12)
@given(seed=st.integers(0, 999), data=st.data())
def test_what_a_host_spoils_is_refused_and_nothing_stays(how, seed, data):
    (host, snapshots, marks), (other, others, their_marks) = materials(seed)
    good = [*snapshots[0], *host.journal[marks[0] :], END]
    foreign = [*others[0], *other.journal[their_marks[0] :], END]
    records, place, refusals = misused(how, data, good, foreign, snapshots[1])
    target = JournalHost()
    answers = target.give(records)
    assert read_header(answers[-1]).type == RecordType.REFUSED
    assert read_header(answers[-1]).count in refusals - {Refusal.RESTORING}
    assert all(read_header(answer).type != RecordType.REFUSED for answer in answers[:-1])
    # what is not bound to a record before it shows when the next one does not open
    assert place <= len(answers) - 1 <= place + (how == "alter")
    assert target.device.state is State.IDLE
    assert target.device._map is None
    assert target.device._sessions is None
    # all that still comes is refused, and the right records restore the map
    assert {read_header(one).count for one in target.exchange(*good)} == {Refusal.RESTORE_FAILED}
    target.restore(good[:-1])
    target.connect()


def test_records_that_another_root_key_sealed_are_refused():
    (host, snapshots, _), _ = materials(1)
    restore = Restore(CODEC, bytes(32))
    for record in snapshots[0][:2]:
        found = restore.take(read_header(record), record)
    assert found is Refusal.ALTERED
    restore = Restore(CODEC, bytes(32))
    for record in host.journal[:2]:
        found = restore.take(read_header(record), record)
    assert found is Refusal.ALTERED


@pytest.mark.sec_cm("RESTORE.CHAIN.MATCHED")
def test_a_chain_goes_on_exactly_where_the_parent_was_restored_up_to():
    """Not with fewer operations of the parent, nor with more, nor after another map, nor without it."""
    kept = Kept(2)
    kept.run(5)
    kept.run(6)
    parent = kept.records()
    kept.restore(anew=False)
    child = kept.records()[len(parent) :]
    kept.host = host = JournalHost()
    stranger = JournalHost()
    for records in (
        [*parent[:-1], *child],
        child,
        [*stranger.journal, *child],
        [*parent, *stranger.journal],
        [*parent, *child, *child],
    ):
        answers = host.give([*records, END])
        assert read_header(answers[-1])[:4] == (RecordType.REFUSED, 0, 1, Refusal.RESTORE_FAILED)
        assert read_header(records[len(answers) - 1]).type == RecordType.START
    host.restore([*parent, *child])


def test_a_journal_does_not_go_on_before_or_after_its_snapshot():
    (host, snapshots, marks), _ = materials(3)
    for first in (marks[1] - 1, marks[1] + 1):
        answers = JournalHost().give([*snapshots[1], *host.journal[first:], END])
        assert read_header(answers[-1]).count == Refusal.OUT_OF_TURN


def test_malformed_records_fail_a_restore():
    (_, snapshots, _), _ = materials(4)
    for header in (
        Header(RecordType.SNAPSHOT, 0, 2, 1, 0, 0),
        Header(RecordType.START, 0, 2, 17, 0, 0),
        Header(RecordType.END, 0, 1, 1, 0, 0),
        Header(0, 0, 1, 0, 0, 0),
    ):
        target = JournalHost()
        answers = target.give([snapshots[0][0], header.pack().ljust(LINE_BYTES, b"\0")])
        assert read_header(answers[-1]).count == Refusal.MALFORMED
        assert target.device.state is State.IDLE


def test_an_operation_that_does_not_do_what_it_did_fails_the_restore(monkeypatch):
    """A sound device never gets there. So a smaller map stands for the new one."""
    host = JournalHost()
    host.run(host.connect(), *[Operation(Kind.PUT, name(PARAMS, number), bytes(4)) for number in range(5)])
    chain = [*host.journal, END]
    target = JournalHost()
    target.request(Request.RESTORE)
    fullest = target.device._map.params.capacity
    target.device._map._live = fullest - 3  # as if so many were there
    answers = target.exchange(*chain)
    assert [read_header(one).type for one in answers] == [8, 7, 4, 4]
    assert {read_header(one).count for one in answers[2:]} == {Refusal.RESTORE_FAILED}
    assert (target.device.state, target.device._map) == (State.IDLE, None)


def test_a_page_that_is_altered_amid_a_restore_is_a_fault():
    (_, snapshots, _), _ = materials(5)
    target = JournalHost()
    target.request(Request.RESTORE)
    first = target.layout.pages
    for page in range(PARAMS.pages):
        target.buffer[first + page * PARAMS.page_bytes] ^= 1
    target.put(snapshots[0][0])
    target.put(snapshots[0][1])
    target.device.step()
    assert target.fault is Fault.PAGE_TAG


@pytest.mark.sec_cm("RESTORE.CLIENT.WAITS")
def test_clients_wait_until_a_restore_has_ended():
    (host, snapshots, marks), _ = materials(6)
    target = JournalHost()
    client = target.connect()
    target.request(Request.RESTORE)
    hello = ClientSession(PARAMS, holder()).hello()
    commands = [hello, Header(RecordType.CONFIRM, 0, 1, 0, 1, 0).pack().ljust(64, b"\0"), client.seal(LOOK)]
    for record in (*snapshots[0], *host.journal[marks[0] :]):
        for answer in target.exchange(*commands):
            assert read_header(answer)[:4] == (RecordType.REFUSED, 0, 1, Refusal.RESTORING)
        (answer,) = target.exchange(record)
        assert read_header(answer).type == read_header(record).type
    assert target.device.state is State.RESTORING
    target.exchange(END)
    assert read_header(target.exchange(client.seal(LOOK))[0]).count == Refusal.UNKNOWN_SESSION
    target.connect()


def test_what_comes_with_the_end_runs_after_it():
    (host, snapshots, marks), _ = materials(7)
    target = JournalHost()
    target.request(Request.RESTORE)
    session = ClientSession(PARAMS, holder())
    answers = target.exchange(*snapshots[0], *host.journal[marks[0] :], END, session.hello())
    session.confirm(answers[-1])
    assert session.map_id == target.map_id


def test_the_end_is_answered_when_the_new_journal_has_begun():
    (host, *_), _ = materials(8)
    target = JournalHost()
    for _ in range(70):  # fill the journal ring but for one line
        target.device.registers.write("REQUEST", Request.FORMAT)
        target.device.step()
    target.device.registers.write("REQUEST", Request.NONE)
    assert target.device.state is State.FORMATTING
    target.taken()
    target.device.step()
    target.request(Request.RESTORE)
    ring = target.layout.ring_lines
    write_counter(target.buffer, Counter.JOURNAL_TAKEN, target.counter(Counter.JOURNAL_WRITTEN) - ring + 5)
    for record in host.journal:
        target.put(record)
    while target.device.step():
        pass
    write_counter(target.buffer, Counter.JOURNAL_TAKEN, target.counter(Counter.JOURNAL_WRITTEN) - ring + 1)
    target.put(END)
    while target.device.step():
        pass
    before = target.counter(Counter.RESPONSES_WRITTEN)
    assert before == len(host.journal)
    assert target.device.state is State.RESTORING
    write_counter(target.buffer, Counter.JOURNAL_TAKEN, target.counter(Counter.JOURNAL_WRITTEN))
    target.device.step()
    assert target.device.state is State.READY
    assert target.counter(Counter.RESPONSES_WRITTEN) == before + 1


@pytest.mark.parametrize("request_", [Request.FORMAT, Request.RESTORE])
@pytest.mark.parametrize("failed", [False, True])
def test_a_restore_may_be_given_up_and_begun_anew(request_, failed):
    (_, snapshots, _), _ = materials(9)
    target = JournalHost()
    target.give(snapshots[0][:1] + ([END] if failed else []))
    assert target.device.state is (State.IDLE if failed else State.RESTORING)
    target.request(request_)
    target.take_journal()
    if request_ is Request.RESTORE:
        target.exchange(*snapshots[0], END)
    target.connect()


# -- what a restore shows -----------------------------------------------------------------------------------------


@pytest.mark.sec_cm("RESTORE.ITEMS.ALL")
@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1), counts=st.lists(st.integers(1, 30), max_size=3))
def test_a_restore_runs_one_operation_for_each_item(seed, counts):
    observer = Observer()
    kept = Kept(seed, observer=observer)
    kept.export()
    for count in counts:
        kept.run(count)
    observer.clear()
    kept.host.restore(kept.records())
    trace = observer.trace()
    assert trace.operations == CODEC.chunks * CODEC.most_operations + sum(counts)
    assert (trace.operation >= 0).sum() == 2 * trace.operations


@pytest.mark.sec_cm("RESTORE.DRAWS.FRESH")
def test_two_restores_of_one_map_touch_pages_that_have_nothing_in_common():
    (host, snapshots, marks), _ = materials(10)
    records, observer, seen, ids = [*snapshots[0], *host.journal[marks[0] :]], Observer(), [], set()
    target = JournalHost(observer=observer)
    for _ in range(2):
        observer.clear()
        target.restore(records)
        seen.append(observer.trace().address.tolist())
        ids.add(target.map_id)
    assert len(seen[0]) == len(seen[1])
    assert seen[0] != seen[1]
    assert len(ids | {host.map_id}) == 3
    assert host.device._root_key == ROOT_KEY


def test_restore_operations_are_not_journalled():
    (host, snapshots, marks), _ = materials(11)
    target = JournalHost()
    target.restore([*snapshots[0], *host.journal[marks[0] :]])
    assert [read_header(record)[:4] for record in target.journal] == [
        (RecordType.SOURCE, 0, 2, 0),
        (RecordType.START, 0, 3, 1),
    ]
    reply, _ = target.run(target.connect(), *LOOK)
    assert responses(CODEC, reply)
    assert read_header(target.journal[-1]) == (RecordType.JOURNAL, 0, CODEC.lines(len(LOOK)), len(LOOK), 0, 1)
