"""A driver has a device write a journal and snapshots, and restore maps from them."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from host.device.driver import Driver
from host.device.restoring import begin_empty, map_id, restore, settle, unused
from host.model.model import ModelTransport
from host.model.shared import DEVICE_SLEEPS
from host.records import split
from omap.errors import DamagedError, DeviceError
from omap.operations import Kind, Operation
from omap.presets import preset
from omap.regmap import State
from omap.source import END, Source, read_source
from omap.wire import LEAST_RING_LINES, LINE_BYTES, Counter, RecordCodec, RecordType, read_header, write_counter
from tests.support.host.clients import DriverClient, mixed

PARAMS = preset("TINY")
KEY = bytes(range(32))
NOP = Operation(Kind.NOP)
FULL = RecordCodec(PARAMS).most_operations


class Rig:
    """A device in this thread, and a driver that keeps what it journals."""

    def __init__(self):
        self.transport = ModelTransport(PARAMS, KEY, ring_lines=LEAST_RING_LINES, stepped=True, journal=True)
        self.driver = Driver(self.transport, PARAMS)
        self.journal = begin_empty(self.driver)
        assert unused(self.driver)
        assert self.driver.take_journal() == self.journal
        assert not unused(self.driver)

    def work(self, seed, count=20, each=3):
        client = DriverClient(self.driver, KEY)
        for operation in range(0, count, each):
            client.run(mixed(PARAMS, seed + operation, each), each)
            self.journal += self.driver.take_journal()

    def export(self):
        self.driver.ask_export()
        records = b""
        while not records or self.driver.state is State.EXPORTING or self.driver.journalled:
            self.transport.step()
            records += self.driver.take_journal()
        return split(records)

    def contents(self):
        """Return what the map holds, by a look into the device."""
        return {
            key.tobytes(): value.tobytes()
            for columns in self.transport.device._map.export()
            for kind, key, value in zip(*columns, strict=True)
            if kind == Kind.PUT
        }

    def restore(self, records):
        self.journal = restore(self.driver, [*records, END])
        assert self.driver.take_journal() == self.journal


@pytest.fixture
def rig():
    return Rig()


@settings(max_examples=20)
@given(st.integers(0, 1 << 30), st.booleans(), st.integers(0, 40))
def test_a_map_is_restored_from_its_journal_or_a_snapshot(seed, exported, after):
    rig = Rig()
    rig.work(seed)
    records = split(rig.journal)
    if exported:
        records = rig.export()
        rig.journal = b""
        rig.work(seed + 99, after)
        records += split(rig.journal)
    before, old = rig.contents(), map_id(rig.driver)
    rig.restore(records)
    assert rig.contents() == before
    assert map_id(rig.driver) == read_source(rig.journal).map_id != old
    rig.work(seed)  # it works


def test_a_device_that_has_much_to_restore_gets_more_time(rig, monkeypatch):
    """The reference takes seconds for a ring of records, and answers none of them before it has run all."""
    rig.work(1, 90)
    given, wait = [], rig.driver.wait
    monkeypatch.setattr(rig.driver, "wait", lambda most: (given.append((most, rig.driver.in_flight)), wait(most))[1])
    rig.restore(split(rig.journal))
    assert max(lines for _, lines in given) > 10
    assert all(most >= rig.driver.timeout * (1 + lines / 500) for most, lines in given)
    monkeypatch.setattr(rig.driver, "wait", lambda most: False)
    with pytest.raises(DeviceError, match=r"has not answered for 1\d s while it restored a map"):
        rig.restore(split(rig.journal))


def test_progress_is_told_in_lines(rig):
    rig.work(1, 90)
    told, records = [], [*split(rig.journal), END]
    restore(rig.driver, records, told.append)
    assert told == sorted(told)
    assert told[-1] == sum(len(record) for record in records) // LINE_BYTES


@pytest.mark.parametrize("where", range(3))
def test_a_refused_record_leaves_the_device_empty_and_ready_for_the_next_try(rig, where):
    rig.work(1, 60)
    good = split(rig.journal)
    place = [1, len(good) // 2, len(good) - 1][where]
    bad = bytearray(good[place])
    bad[20] ^= 1
    with pytest.raises(DamagedError, match=r"refuses to restore the map \(ALTERED, at record"):
        rig.restore([*good[:place], bytes(bad), *good[place + 1 :]])
    assert rig.driver.state is State.IDLE
    assert rig.driver.in_flight == 0
    rig.restore(good)
    assert rig.driver.state is State.READY


def test_the_first_record_that_was_refused_is_named_however_slowly_the_device_answers(rig, monkeypatch):
    rig.work(1, 60)
    good, answers = split(rig.journal), bytearray()
    bad = good[:4] + good[5:]
    waits, takes, in_flight = rig.driver.wait, rig.driver.take, Driver.in_flight

    def slow(most):
        if not answers:
            waits()
            answers.extend(takes())
        return True

    def one():
        answer = bytes(answers[:LINE_BYTES])
        del answers[:LINE_BYTES]
        return answer

    monkeypatch.setattr(rig.driver, "wait", slow)
    monkeypatch.setattr(rig.driver, "take", one)
    monkeypatch.setattr(Driver, "in_flight", property(lambda self: in_flight.fget(self) + len(answers)))
    number = read_header(bad[4]).sequence
    with pytest.raises(DamagedError, match=rf"\(OUT_OF_TURN, at record {number} of its kind\)"):
        rig.restore(bad)


@pytest.mark.parametrize("steps", [0, 1])
def test_another_driver_takes_over_in_the_middle_of_a_restore(rig, steps):
    rig.work(1, 60)
    good, before = split(rig.journal), rig.contents()
    rig.driver.begin_restore()
    rig.driver.put(b"".join(good[:10]))
    for _ in range(steps):
        rig.transport.step()
    rig.driver._rings.close()  # it ends without a word
    rig.driver = Driver(rig.transport, PARAMS)
    assert rig.driver.in_flight
    rig.restore(good)
    assert rig.contents() == before


def test_what_was_journalled_before_a_restore_is_not_taken_for_the_new_journal(rig):
    rig.work(1)
    good = split(rig.journal)
    DriverClient(rig.driver, KEY).run(mixed(PARAMS, 2, 9))  # its journal stays in the ring
    rig.restore(good)
    assert [read_header(record).type for record in split(rig.journal)] == [RecordType.SOURCE, RecordType.START]
    assert read_source(rig.journal) == Source(map_id(rig.driver))


def test_a_device_ends_what_a_driver_has_begun_that_is_gone(rig):
    rig.work(1, 90)
    good, before = split(rig.journal), rig.contents()
    rig.driver.ask_export()
    rig.transport.step()
    rig.driver._rings.close()
    rig.driver = Driver(rig.transport, PARAMS)
    assert not unused(rig.driver)  # there is a SOURCE at the front of the ring, but it is of a snapshot
    settle(rig.driver)
    rig.restore(good)
    assert rig.contents() == before


def woken(rig):
    """Take the journal, and return whether that rings a device that sleeps."""
    rig.transport._memory[DEVICE_SLEEPS] = 1
    assert rig.driver.take_journal()
    return not rig.transport._memory[DEVICE_SLEEPS]


@settings(max_examples=20)
@given(st.lists(st.one_of(st.integers(1, FULL), st.just(FULL)), min_size=1, max_size=12))
@example([FULL, FULL])  # the snapshot finds the ring full
def test_a_device_that_waits_for_room_for_its_journal_is_woken(lengths):
    """Whatever has found no room there: commands, and the records of a snapshot."""
    rig = Rig()
    client = DriverClient(rig.driver, KEY)
    records = [client.seal([NOP] * length, length) for length in lengths]
    lines, waits = sum(map(len, records)) // LINE_BYTES, 0
    while records or rig.driver.in_flight:
        if records and rig.driver.put(records[0]):
            records.pop(0)
        elif not rig.transport.step() and not rig.driver.take():
            waits += 1
            assert woken(rig)
            assert rig.transport.step()
    assert bool(waits) == (lines > LEAST_RING_LINES)
    rig.driver.ask_export()
    while rig.driver.state is not State.READY:
        if not rig.transport.step():
            assert woken(rig)
            assert rig.transport.step()


def test_a_device_that_has_room_for_its_journal_is_not_woken(rig):
    """To wake it would take longer than some operations."""
    client = DriverClient(rig.driver, KEY)
    client.run([NOP])
    assert not woken(rig)
    client.run([NOP] * FULL, FULL)
    client.run([NOP])
    assert woken(rig)


def test_a_journal_counter_without_sense_is_refused(rig):
    write_counter(rig.transport.buffer, Counter.JOURNAL_WRITTEN, 1 << 40)
    with pytest.raises(DeviceError, match="lines of the journal were written and not taken"):
        rig.driver.take_journal()


def test_a_device_without_a_journal_does_not_restore():
    with ModelTransport(PARAMS, KEY, ring_lines=LEAST_RING_LINES, stepped=True) as transport:
        driver = Driver(transport, PARAMS)
        driver.start()
        with pytest.raises(DeviceError, match="is ready and does not restore a map"):
            driver.begin_restore()
