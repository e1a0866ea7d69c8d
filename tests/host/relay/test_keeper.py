"""What a relay with a data folder tells its clients, and when: nothing before the journal of it is on disk."""

import asyncio
import threading
import time
from contextlib import ExitStack, contextmanager

import pytest

import omap
from host.data.folder import DataFolder
from host.device.driver import Driver
from host.device.restoring import begin_empty
from host.relay.export import Export, Taken
from host.relay.keeper import Keeper, Keeping
from host.testing import running_relay
from omap.errors import DataError, DeviceError
from omap.regmap import Request
from omap.source import Source
from omap.wire import LINE_BYTES, Header, RecordType
from tests.support.host.clients import RawClient, key, puts


class Disk:
    """Stands between a keeper and its folder: what a test wants goes wrong, or waits."""

    def __init__(self, folder):
        self.folder, self.path = folder, folder.path
        self.may_sync, self.may_append = threading.Event(), True
        self.may_sync.set()
        self.fails, self.synced = False, 0

    def append(self, records):
        if not self.may_append:
            raise DataError("the journal can't be written: no space left on device")
        self.folder.append(records)

    def sync(self):
        assert self.may_sync.wait(60)
        if self.fails:
            raise DataError("the journal can't be synced: input/output error")
        self.synced = self.folder.sync()
        return self.synced

    def __getattr__(self, name):
        return getattr(self.folder, name)


@pytest.fixture
def keep(params, key_file, tmp_path):
    """Return a function that starts a relay with a data folder; yields the relay and the disk under it."""
    with ExitStack() as stack:

        def start(**options):
            return stack.enter_context(kept(params, key_file, tmp_path / "data", **options))

        yield start


@contextmanager
def kept(params, key_file, path, keeping=None, **options):
    folder = DataFolder.open(path, params)
    disk = Disk(folder)

    def begin(driver: Driver) -> Keeper:
        folder.begin_map(begin_empty(driver))
        driver.take_journal()
        return Keeper(driver, disk, keeping)

    try:
        with running_relay(params, key_file, journal=True, begin=begin, **options) as relay:
            try:
                yield relay, disk
            finally:
                disk.may_sync.set()  # or the relay would wait for ever to end
    finally:
        folder.close()


def settled(condition):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise TimeoutError


@pytest.mark.sec_cm("RELAY.ACK.SYNCED")
def test_an_answer_leaves_when_its_journal_record_is_on_disk(keep, key_file):
    relay, disk = keep()
    with RawClient(relay, key_file) as client, RawClient(relay, key_file) as other:
        disk.may_sync.clear()
        client.submit(puts(3))
        settled(lambda: disk.status.appended > 1)
        other.submit(puts(1))  # it would see what the first has written
        client.socket.settimeout(0.2)
        other.socket.settimeout(0.2)
        for waiting in (client, other):
            with pytest.raises(TimeoutError):
                waiting.record()
        disk.may_sync.set()
        for waiting, count in ((client, 3), (other, 1)):
            waiting.socket.settimeout(20)
            assert len(waiting.answers(count)) == count
        assert disk.synced == 1 + 3 + 1  # START, and a record for each command


def test_every_record_that_ran_is_in_the_journal_and_no_other(keep, key_file):
    relay, disk = keep()
    with RawClient(relay, key_file) as client:
        client.run(puts(7), 2)
    settled(lambda: disk.status.synced == 1 + 4)
    assert disk.status.operation == 7


def test_a_disk_that_fails_stops_answers_and_nothing_else(keep, key_file, params):
    relay, disk = keep()
    with RawClient(relay, key_file) as client:
        client.run(puts(2))
        disk.fails = True
        client.submit(puts(1))
        settled(lambda: relay.relay.keeper.trouble)
        client.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.record()
        with pytest.raises(DeviceError, match="refuses: the journal can't be synced"):
            omap.connect(relay.address, client=relay.client, timeout=5)
        disk.fails = False
        client.socket.settimeout(20)
        assert len(client.answers(1)) == 1
        assert relay.relay.keeper.trouble == ""
        client.run(puts(5))
        assert disk.synced == 1 + 8


def test_a_full_disk_heals(keep, key_file):
    relay, disk = keep()
    with RawClient(relay, key_file) as client:
        disk.may_append = False
        client.submit(puts(300))  # more than the rings hold
        settled(lambda: relay.relay.keeper.trouble)
        disk.may_append = True
        assert len(client.answers(300)) == 300
        assert disk.synced == 1 + 300


def test_with_an_interval_answers_leave_at_once(keep, key_file):
    relay, disk = keep(keeping=Keeping(interval=0.3))
    with RawClient(relay, key_file) as client:
        disk.may_sync.clear()
        client.run(puts(20))
        assert disk.status.synced == 1
        disk.may_sync.set()
        settled(lambda: disk.status.synced == 21)


def test_snapshots_are_taken_under_load(keep, key_file, params):
    relay, disk = keep()
    with RawClient(relay, key_file) as client:
        taken = []
        for _ in range(3):
            client.submit(puts(100), 3)
            taken.append(relay.run(relay.relay.keeper.snapshot()))
            client.answers(100)
        assert all(isinstance(one, Taken) and one.bytes for one in taken)
        assert disk.status.snapshot_time > 0
        with omap.connect(relay.address, client=relay.client) as reader:
            assert reader.get(key(3)) == key(99)


def test_a_snapshot_has_ended_only_when_its_last_record_waits_to_be_written(monkeypatch):
    source = Source(bytes(range(16))).record()
    start = Header(RecordType.START, 0, 2, 0, 0, 1).pack().ljust(2 * LINE_BYTES, b"\0")
    journal = Header(RecordType.JOURNAL, 0, 1, 1, 0, 5).pack().ljust(LINE_BYTES, b"\0")
    seen = []

    async def sort():
        export = Export(asyncio.get_running_loop().create_future())
        add = export._add
        monkeypatch.setattr(export, "_add", lambda records: (seen.append((export.ended, records)), add(records)))
        parts = list(export.sort(journal + source + start + journal))
        assert parts == [("journal", journal), ("source", b""), ("journal", journal)]
        return export

    assert asyncio.run(sort()).ended
    assert seen == [(False, start)]


def test_a_snapshot_that_can_not_be_written_leaves_the_older_files(keep, key_file, monkeypatch):
    relay, disk = keep()
    with RawClient(relay, key_file) as client:
        client.run(puts(10))

        def full(source):
            raise DataError("the snapshot can't be written: no space left on device")

        disk.snapshot_writer = full
        with pytest.raises(DataError, match="no space left"):
            relay.run(relay.relay.keeper.snapshot())
        del disk.snapshot_writer
        client.run(puts(10))
        assert relay.run(relay.relay.keeper.snapshot()).bytes
        client.run(puts(10))


def test_a_long_journal_makes_a_snapshot_by_itself(keep, key_file):
    relay, disk = keep(keeping=Keeping(snapshot_bytes=1000, snapshot_seconds=0.1))
    with RawClient(relay, key_file) as client:
        client.run(puts(50))
        settled(lambda: disk.status.snapshot_time > 0)


def test_the_next_snapshot_is_asked_for_when_the_device_is_done_with_the_last(keep, key_file, monkeypatch):
    relay, _ = keep()
    driver, asked = relay.relay.driver, []
    write, read, busy = driver.transport.write, driver.transport.read, iter([Request.EXPORT] * 3)

    def writes(name, value):
        asked.append((name, value, next(busy, None)))
        write(name, value)

    monkeypatch.setattr(driver.transport, "write", writes)
    monkeypatch.setattr(
        driver.transport, "read", lambda name: next(busy, Request.NONE) if name == "REQUEST" else read(name)
    )
    assert relay.run(relay.relay.keeper.snapshot()).bytes
    assert asked == [("REQUEST", Request.EXPORT, None)]


def test_a_device_that_can_not_be_asked_for_a_snapshot_can_be_asked_again(keep, key_file, monkeypatch):
    relay, _ = keep()
    keeper = relay.relay.keeper

    def refuses():
        raise DeviceError("the device is still serving an earlier request")

    monkeypatch.setattr(keeper.driver, "ask_export", refuses)
    with pytest.raises(DeviceError, match="still serving"):
        relay.run(keeper.snapshot())
    assert not keeper.exporting
    monkeypatch.undo()
    assert relay.run(keeper.snapshot()).bytes
