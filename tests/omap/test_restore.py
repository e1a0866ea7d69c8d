"""Restores through a device model: equal to a plain dict, in strict order, and nothing half restored."""

import random
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap import map as reference
from omap.bodies import responses
from omap.credentials import Right
from omap.operations import Kind, Operation, Response, Status
from omap.params import Rule
from omap.regmap import Fault, Request, State
from omap.session import ClientSession
from omap.source import END
from omap.trace import Observer
from omap.wire import (
    Counter,
    Header,
    RecordCodec,
    RecordType,
    Refusal,
    read_header,
    write_counter,
)
from tests.support.drawn import drawn_operations, name
from tests.support.journal_host import JournalHost
from tests.support.kept_maps import KEYS, LOOK, PARAMS, Kept, materials
from tests.support.omap_maps import compiled, tight
from tests.support.oracle import expected
from tests.support.sessions import ROOT_KEY, holder

CODEC = RecordCodec(PARAMS)


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


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1))
def test_reference_and_compiled_map_seal_the_same_and_end_with_the_same_pages(seed):
    rng, hosts = random.Random(seed), []
    for create in (reference.create, compiled):
        hosts.append(JournalHost(create=create, noise=partial(random.Random(seed).randbytes, 32)))

    def both(*records):
        answers, others = (host.exchange(*records) for host in hosts)
        assert answers == others
        return answers

    def connect():
        session = ClientSession(PARAMS, holder())
        session.opened(both(session.confirm(both(session.hello())[0]))[0])
        return session

    session = connect()
    for _ in range(3):
        both(session.seal(drawn_operations(PARAMS, rng, 30, KEYS)))
    snapshot, other = (host.export() for host in hosts)
    assert snapshot == other
    mark = len(hosts[0].journal)
    both(*[session.seal(drawn_operations(PARAMS, rng, 20, KEYS)) for _ in range(3)])
    assert hosts[0].journal == hosts[1].journal
    records = [*snapshot, *hosts[0].journal[mark:], END]
    for host in hosts:
        host.request(Request.RESTORE)
    both(*records[:2])
    both(*records[2:])
    session = connect()
    both(session.seal(LOOK))
    assert hosts[0].journal == hosts[1].journal
    assert hosts[0].buffer[hosts[0].layout.pages :] == hosts[1].buffer[hosts[1].layout.pages :]


@pytest.mark.parametrize("name_", ["SMALL", "WIDE"])
@pytest.mark.parametrize("rule", Rule)
def test_maps_of_every_rule_and_size_are_restored(rule, name_):
    shape = tight(name_, rule)
    params = replace(shape, buckets=shape.capacity)  # with few buckets it would follow from the hash what is FULL
    host = JournalHost(params=params, create=compiled)
    rng, oracle, client = random.Random(1), {}, host.connect()
    most = host.device.codec.most_operations
    for count in (most, 3, most, 5):
        batch = drawn_operations(params, rng, count, keys=30)
        _, answers = host.run(client, *batch)
        assert answers == [expected(oracle, params.capacity, operation) for operation in batch]
        if count == 3:
            snapshot, mark = host.export(), len(host.journal)
    host.restore([*snapshot, *host.journal[mark:]])
    client = host.connect()
    for number in range(30):
        look = Operation(Kind.GET, name(params, number))
        assert host.run(client, look)[1] == [expected(oracle, params.capacity, look)]
