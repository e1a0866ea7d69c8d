"""Journals: one record of effects for each command record, of its size, before its response."""

import random
from functools import partial

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from omap import device_rings
from omap.bodies import command_items, unpack_columns
from omap.columns import Answers, Columns
from omap.credentials import Right
from omap.journal import Journal, JournalKeys, effects, first_operation, journal_nonce
from omap.lineage import NO_ANCESTORS
from omap.operations import Kind, Operation, Status
from omap.presets import preset
from omap.regmap import BY_NAME, Request, State
from omap.session import ClientSession
from omap.wire import (
    CLOSE,
    HEADER,
    LINE_BYTES,
    SOURCE_LINES,
    Counter,
    RecordCodec,
    RecordType,
    read_counter,
    read_header,
    start_lines,
)
from tests.support.drawn import drawn_operations, name
from tests.support.journal_host import JournalHost
from tests.support.oracle import expected
from tests.support.ring_host import RingHost
from tests.support.sessions import ROOT_KEY, holder

PARAMS = preset("TINY")
CODEC = RecordCodec(PARAMS)
MAP_ID = b"a map of 16 byte"


def opened(map_id, record):
    """Return number of the first operation and operations of a journal record."""
    header = read_header(record)
    assert header.type == RecordType.JOURNAL
    cipher = JournalKeys(ROOT_KEY, map_id).cipher(header.sequence)
    nonce = journal_nonce(header.type, header.sequence)
    text = cipher.decrypt(nonce, record[HEADER.size :], record[: HEADER.size])
    columns = unpack_columns(CODEC, command_items(CODEC, text, header.count))
    rows = [Operation(Kind(kind), key.tobytes(), value.tobytes()) for kind, key, value in zip(*columns, strict=True)]
    return first_operation(text), rows


def effect(operation, status):
    """Return what a journal holds of an operation."""
    if status is not Status.OK or operation.kind not in (Kind.PUT, Kind.DELETE):
        return Operation(Kind.NOP, bytes(PARAMS.key_bytes), bytes(PARAMS.value_bytes))
    value = operation.value if operation.kind == Kind.PUT else bytes(PARAMS.value_bytes)
    return Operation(operation.kind, operation.key, value)


@pytest.mark.sec_cm("JOURNAL.EFFECTS.UNIFORM")
@given(seed=st.integers(0, 2**32 - 1), counts=st.lists(st.integers(1, CODEC.most_operations), min_size=1, max_size=4))
def test_a_journal_holds_the_effects_of_each_record_in_its_size(seed, counts):
    host, rng, oracle, first = JournalHost(), random.Random(seed), {}, 0
    client = host.connect()
    for number, count in enumerate(counts, 1):
        batch = drawn_operations(PARAMS, rng, count)
        command = client.seal(batch)
        client.open(host.exchange(command)[0])
        statuses = [expected(oracle, PARAMS.capacity, operation).status for operation in batch]
        record = host.journal[-1]
        lines = len(command) // LINE_BYTES
        assert read_header(record) == (RecordType.JOURNAL, 0, lines, count, 0, number)
        assert len(record) == len(command)
        assert opened(host.map_id, record) == (first, list(map(effect, batch, statuses)))
        first += count
    assert len(host.journal) == 2 + len(counts)


def test_what_is_denied_and_closes_changes_nothing():
    host = JournalHost()
    for client in (holder(b"r", Right.READ), holder(b"p", prefix=b"abc")):
        session = host.connect(client)
        host.run(session, Operation(Kind.PUT, bytes(4), b"evil"), Operation(CLOSE))
        assert opened(host.map_id, host.journal[-1])[1] == [effect(Operation(Kind.NOP), Status.OK)] * 2


def test_a_refused_record_is_not_in_the_journal():
    host = JournalHost()
    client, batch = host.connect(), [Operation(Kind.PUT, bytes(4), bytes(4))]
    before = len(host.journal)
    good, bad = client.seal(batch), bytearray(client.seal(batch * 9))
    bad[30] ^= 1
    host.exchange(good, bytes(bad), client.seal(batch))
    assert len(host.journal) == before + 1


@pytest.mark.sec_cm("JOURNAL.EFFECTS.UNIFORM")
def test_effects_are_one_item_for_each_operation():
    kinds = np.array([kind for kind in Kind for _ in Status], np.uint8)
    statuses = np.array([status for _ in Kind for status in Status], np.uint8)
    ones = np.ones((len(kinds), 4), np.uint8)
    found = effects(Columns(kinds, ones, ones), Answers(statuses, statuses == 0, ones))
    changed = (statuses == Status.OK) & ((kinds == Kind.PUT) | (kinds == Kind.DELETE))
    assert found.kinds.tolist() == np.where(changed, kinds, 0).tolist()
    assert found.keys.any(axis=1).tolist() == changed.tolist()
    assert found.values.any(axis=1).tolist() == (changed & (kinds == Kind.PUT)).tolist()


class Noting:
    """Notes key and nonce of everything that is sealed."""

    def __init__(self, used, key):
        self.used, self.key, self.cipher = used, key, AESGCM(key)

    def encrypt(self, nonce, text, more):
        self.used.append((self.key, nonce))
        return self.cipher.encrypt(nonce, text, more)


@pytest.mark.sec_cm("JOURNAL.NONCE.UNIQUE")
@given(first=st.sampled_from([0, (1 << 32) - 3, (1 << 33) - 1]), counts=st.lists(st.integers(1, 3), max_size=6))
def test_no_nonce_comes_twice_under_a_key(first, counts):
    with pytest.MonkeyPatch.context() as patch:
        used = []
        patch.setattr("omap.journal.AESGCM", partial(Noting, used))
        journal = Journal(CODEC, ROOT_KEY, MAP_ID, NO_ANCESTORS)
        if first:
            journal.next = first
        else:
            journal.begin()
        total = sum(counts)
        nops = Columns(*(np.zeros(shape, np.uint8) for shape in (total, (total, 4), (total, 4))))
        answers = Answers(nops.kinds, nops.kinds > 0, nops.values)
        journal.records(counts, nops, answers, 0)
    assert len(set(used)) == len(used) == len(counts) + (not first)
    assert len({key for key, _ in used}) <= 2


def test_type_and_number_are_in_every_nonce():
    nonces = {journal_nonce(type_, number) for type_ in (5, 6, 7) for number in (0, 1, 1 << 32, (1 << 64) - 1)}
    assert len(nonces) == 12


@pytest.mark.sec_cm("JOURNAL.BEFORE.RESPONSE")
def test_a_response_is_told_after_its_journal_record(monkeypatch):
    host, order = JournalHost(), []
    client = host.connect()

    def noting(buffer, counter, value):
        order.append((counter, value - read_counter(buffer, counter)))
        write(buffer, counter, value)

    write = device_rings.write_counter
    monkeypatch.setattr(device_rings, "write_counter", noting)
    for count in (1, 9):
        host.run(client, *[Operation(Kind.PUT, name(PARAMS, 1), bytes(4))] * count)
    told = [counter for counter, lines in order if lines and counter != Counter.COMMANDS_FETCHED]
    assert told == [Counter.JOURNAL_WRITTEN, Counter.RESPONSES_WRITTEN] * 2


@given(seed=st.integers(0, 2**32 - 1), counts=st.integers(20, 40))
def test_a_command_waits_until_the_journal_has_room(seed, counts):
    """Whatever the host takes when, nothing is written over that it has not taken, and all comes in order."""
    host, rng = JournalHost(), random.Random(seed)
    client, ring, kept = host.connect(), host.layout.ring_lines, []
    due = [client.seal([Operation(Kind.NOP)] * rng.randint(1, CODEC.most_operations)) for _ in range(counts)]
    waiting, answered = list(due), 0
    while answered < len(due):
        room = ring - host.counter(Counter.COMMANDS_WRITTEN) + host.counter(Counter.COMMANDS_FETCHED)
        if waiting and len(waiting[0]) // LINE_BYTES <= room and rng.random() < 0.7:
            host.put(waiting.pop(0))
        host.device.step()
        untaken = host.counter(Counter.JOURNAL_WRITTEN) - host.counter(Counter.JOURNAL_TAKEN)
        assert 0 <= untaken <= ring
        if rng.random() < 0.2:
            kept += host.taken()
        while host.counter(Counter.RESPONSES_TAKEN) < host.counter(Counter.RESPONSES_WRITTEN):
            client.open(host.take())
            answered += 1
    kept += host.taken()
    assert [read_header(record)[2:] for record in kept] == [
        (len(record) // LINE_BYTES, read_header(record).count, 0, number) for number, record in enumerate(due, 1)
    ]


def test_without_a_journal_nothing_is_written_and_no_map_leaves():
    host = RingHost()
    client = host.connect()
    host.run(client, Operation(Kind.PUT, bytes(4), bytes(4)))
    for request in (Request.EXPORT, Request.RESTORE):
        host.request(request)
        assert host.device.state is State.READY
    host.run(client, Operation(Kind.GET, bytes(4)))
    assert host.counter(Counter.JOURNAL_WRITTEN) == 0
    ring = host.buffer[host.layout.journal : host.layout.pages]
    assert not any(ring)


def test_mode_says_whether_there_is_a_journal():
    register = BY_NAME["MODE"]
    for host, there in ((RingHost(), 0), (JournalHost(), 1)):
        assert register.field("journal", host.device.registers.read("MODE")) == there


def test_a_format_waits_for_room_for_its_start():
    host = JournalHost()
    client = host.connect()
    while host.device.rings.journal_room() >= SOURCE_LINES + start_lines(0):
        host.put(client.seal([Operation(Kind.NOP)]))
        host.device.step()
        client.open(host.take())
    host.device.registers.write("REQUEST", Request.FORMAT)
    while host.device.step():
        pass
    assert (host.device.state, host.device.registers.read("REQUEST")) == (State.FORMATTING, Request.FORMAT)
    host.take_journal()
    host.device.step()
    assert (host.device.state, host.device.registers.read("REQUEST")) == (State.READY, Request.NONE)
    host.take_journal()
    assert [read_header(record).type for record in host.journal] == [RecordType.SOURCE, RecordType.START]
    session = ClientSession(PARAMS, holder())
    session.confirm(host.exchange(session.hello())[0])
    assert session.map_id == host.map_id


def test_a_stop_ends_what_waits_for_room():
    host = JournalHost()
    host.device.registers.write("REQUEST", Request.FORMAT)
    for _ in range(200):
        host.device.step()
        host.device.registers.write("REQUEST", Request.FORMAT)
    assert host.device.state is State.FORMATTING
    host.device.registers.write("REQUEST", Request.STOP)
    host.device.step()
    assert (host.device.state, host.device.registers.read("REQUEST")) == (State.STOPPED, Request.NONE)
    assert not host.device.step()
