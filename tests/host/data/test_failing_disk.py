"""A disk that is full or fails, a program that is killed, and two threads: what was acknowledged is there."""

import contextlib
import random
import re
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.data import frames
from host.data.folder import DataFolder
from host.framing import MAX_REFUSAL
from omap.errors import DataError, UnwrittenError
from tests.support.host.crash_disk import CrashDisk
from tests.support.host.lives import PARAMS, Life, begun, restored, take_snapshot

SEED = 77


@pytest.fixture
def life():
    return Life(random.Random(SEED))


@pytest.mark.sec_cm("DATA.FOUND.SYNCED")
def test_what_a_restore_reads_is_on_disk_before(life):
    disk = CrashDisk()
    folder = begun("/data", life, layer=disk)
    folder.append(life.records(5))
    killed = disk.killed()
    folder = DataFolder.open("/data", PARAMS, layer=killed)
    assert folder.found.operations == 5
    after = DataFolder.open("/data", PARAMS, layer=CrashDisk(killed.image(Nothing())))
    assert after.found.operations == 5


class Nothing:
    """Draws that keep nothing of what is pending."""

    def choice(self, choices):
        return 0.0

    def random(self):
        return 1.0


@contextlib.contextmanager
def telling():
    """Let the block fail, if it says then what can't be written and what holds, so short that clients see all."""
    failed = ""
    try:
        yield
    except DataError as error:
        failed = str(error)
    told = r"the server can't write /data/\d{8}.journal \([\w /]+\), and answers nothing until it can; nothing that "
    told += "was answered is lost: make room, then try again"
    assert not failed or (re.fullmatch(told, failed) and len(failed) < MAX_REFUSAL)


@pytest.mark.parametrize("kind", ["full", "write", "sync", "truncate"])
@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_disk_that_fails_loses_nothing_and_can_be_used_again(kind, seed):
    rng = random.Random(seed)
    life, disk = Life(rng), CrashDisk()
    folder = begun("/data", life, layer=disk, segment_bytes=3000)
    for _ in range(6):
        records = life.records(rng.randint(1, 20), rng.randint(1, 20))
        disk.room = rng.randint(0, 500) if kind == "full" else None
        disk.failing = {kind, "write"} if kind == "truncate" else {kind}
        for _ in range(rng.randint(1, 3)):
            with telling():
                folder.append(records)
                records = b""
                folder.sync()
            if rng.random() < 0.3:
                disk.failing, disk.room = set(), rng.randint(0, 700) if kind == "full" else None
        disk.room, disk.failing = None, set()
        folder.append(records)
        folder.sync()
        assert folder.status.operation == len(life.log)
    opened = DataFolder.open("/data", PARAMS, layer=CrashDisk(disk.image(Nothing())))
    assert restored(opened.records())[1].table == life.table


def test_a_snapshot_for_which_there_is_no_room_leaves_all_as_it_was(life):
    disk = CrashDisk()
    folder = begun("/data", life, layer=disk)
    folder.append(life.records(9))
    source, chunk, _ = life.snapshot()
    writer = folder.snapshot_writer(source)
    disk.room = 2000
    with pytest.raises(DataError, match="No space left on device; what was there before stays in force"):
        writer.add(chunk)
    writer.abort()
    disk.room = None
    assert not [path for path in disk.contents() if "snapshot" in path]
    folder.append(life.records(1))
    folder.sync()
    take_snapshot(folder, life)
    folder.close()
    again = DataFolder.open("/data", PARAMS, layer=disk)
    assert restored(again.records())[1].table == life.table


def test_a_journal_that_could_not_begin_can_be_begun_again(life):
    for kind in ("create", "write", "sync"):
        disk = CrashDisk()
        folder = DataFolder.open("/data", PARAMS, layer=disk)
        for room in (0, 30, 100, 200):
            disk.failing, disk.room = {kind}, room
            if kind == "write":
                disk.failing = set()
            with pytest.raises(DataError):
                folder.begin_map(life.beginning)
        disk.failing, disk.room = set(), None
        folder.begin_map(life.beginning)
        folder.close()
        again = DataFolder.open("/data", PARAMS, layer=disk)
        assert restored(again.records())[0].operation == 0


# -- two threads ----------------------------------------------------------------------------------------------------


def test_appends_and_syncs_of_two_threads_lose_nothing(tmp_path, life):
    folder = begun(tmp_path / "data", life, segment_bytes=2000)
    batches, synced = [life.records(1, 2) for _ in range(200)], []
    ended, once = threading.Event(), threading.Event()

    def sync():
        while not ended.is_set():
            synced.append(folder.sync())
            once.set()

    thread = threading.Thread(target=sync)
    thread.start()
    for number, batch in enumerate(batches):
        folder.append(batch)
        if number == 100:
            folder.backup_to(tmp_path / "backup")
        if number % 20 == 0:
            once.clear()
            once.wait()
    ended.set()
    thread.join()
    assert folder.sync() == 401
    assert synced == sorted(synced)
    assert folder.status.segments > 3
    folder.close()
    again = DataFolder.open(tmp_path / "data", PARAMS)
    assert restored(again.records())[1].table == life.table
    again.close()


def test_much_at_once_is_appended_as_a_whole_or_not_at_all(life, monkeypatch):
    monkeypatch.setattr(frames, "MOST_FRAME_BYTES", 300)
    disk = CrashDisk()
    folder = begun("/data", life, layer=disk)
    records = life.records(*[5] * 20)
    disk.room = 1000
    with pytest.raises(UnwrittenError):
        folder.append(records)
    disk.room = None
    assert folder.status.appended == 1
    folder.append(records)
    assert folder.sync() == 21
    folder.close()
    again = DataFolder.open("/data", PARAMS, layer=disk)
    assert restored(again.records())[1].table == life.table
