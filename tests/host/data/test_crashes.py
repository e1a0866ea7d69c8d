"""A crash at any instant: what it may leave opens, and restores every acknowledged write, none twice, none invented.

Every image that is counted is opened and restored: its records are opened with their keys and in their order by
:class:`omap.restore.Restore`, as in a device, and the operations run on a dict. So one image takes about a
millisecond. For a sample, a whole :class:`omap.device.DeviceModel` restores, and a client reads all keys.
"""

import os
import random
from collections import Counter, defaultdict

import pytest

from host.data.backup import restore_backup
from host.data.folder import DataFolder
from omap.errors import DataError
from omap.operations import Kind, Operation, Status
from tests.support.host.crash_disk import CrashDisk, digest
from tests.support.host.lives import PARAMS, Life, restored, table_of
from tests.support.journal_host import JournalHost

FOLDER, ELSEWHERE, BACKUP = "/data", "/elsewhere", "/other/backup"
KINDS = ("append", "segment", "rename", "drop", "backup")
UNUSED = "/unused"
SEED = 20261129

DEVICES = 0.01
"""Share of the images that a whole device model restores."""

AGAIN = 0.03
"""Share of the images after which the power fails again."""


class Crashes:
    """Draws images of a disk while something goes on, and checks each that is new.

    Attributes
    ----------
    seen : dict of str to set
        Digests of images, by what was going on.
    acknowledged : int
        Operations that somebody was told are kept.
    backup, backups : int or None, list of int
        Operations that the backup holds which somebody was told of, and that each one ever made holds.
    """

    def __init__(self, seed, each, deeper=2):
        self.rng, self.each, self.deeper = random.Random(seed), each, deeper
        self.seen, self.checked = defaultdict(set), Counter()
        self.doing, self.acknowledged, self.life, self.disk = "append", 0, None, None
        self.backup, self.backups = None, []

    def begin(self, disk, life, acknowledged=0):
        self.disk, self.life, self.acknowledged, self.doing = disk, life, acknowledged, "append"
        self.backup = None
        disk.watch = self.changed

    def changed(self, kind, path):
        name, other = os.path.basename(path), not path.startswith(FOLDER)
        if kind == "create" and path.endswith(".journal"):
            self.doing = "segment"
        elif kind in ("create", "write", "sync") and ".snapshot.part" in name and not other:
            self.doing = "rename"
        elif kind == "unlink" and not path.endswith(".part"):
            self.doing = "drop"
        elif other and kind != "sync":
            self.doing = "backup"
        for _ in range(self.each):
            image = self.disk.image(self.rng)
            self.check(image, CrashDisk(image))
        killed = self.disk.killed()
        self.check(killed.contents(), killed)
        if kind == "sync" and path in (FOLDER, ELSEWHERE, os.path.dirname(BACKUP)):
            self.doing = "append"

    def check(self, image, disk):
        """Demand of a disk, whose files are these, that it restores, unless the same files were there before."""
        key = digest(image)
        if key in self.seen[self.doing]:
            return
        self.seen[self.doing].add(key)
        if BACKUP in image:
            filled, wanted = CrashDisk(image), self.backup or 0
            assert restore_backup(BACKUP, UNUSED, PARAMS, layer=filled) >= wanted
            self.restores(DataFolder.open(UNUSED, PARAMS, layer=filled), wanted)
        else:
            assert self.backup is None
        if any(path.startswith(ELSEWHERE + "/") for path in image):  # all of the backup, or nothing
            elsewhere = DataFolder.open(ELSEWHERE, PARAMS, layer=CrashDisk(image))
            assert elsewhere.found.empty or self.restores(elsewhere, 0)[1] in self.backups
        folder = DataFolder.open(FOLDER, PARAMS, layer=disk)
        restore, count = self.restores(folder, self.acknowledged)
        if self.deeper and count is not None and self.rng.random() < AGAIN:
            self.again(disk, folder, restore, count)

    def restores(self, folder, least):
        """Demand that a folder restores at least so many operations."""
        found = folder.found
        records = list(folder.records())
        if found.empty:
            assert not records
            assert not least
            return None, None
        restore, map_ = restored(records)
        assert least <= restore.operation <= len(self.life.log)
        assert restore.operation == found.operations
        assert (len(records), sum(map(len, records)) // 64) == (found.records, found.lines)
        assert map_.table == table_of(self.life.log[: restore.operation])
        if self.rng.random() < DEVICES:
            in_a_device(records[:-1], restore.operation, map_.table)
            self.checked["devices"] += 1
        return restore, restore.operation

    def again(self, disk, folder, restore, count):
        """Let the power fail again: while the restored map begins its journal, and before its first snapshot."""
        inner = Crashes(self.rng.random(), 1, self.deeper - 1)
        life = Life(self.rng, self.life.log[:count], restore.lineage)
        inner.begin(disk, life, count)
        inner.backups = self.backups
        folder.begin_map(life.beginning)
        for _ in range(2):
            folder.append(life.records(self.rng.randint(1, 4)))
            folder.sync()
            inner.acknowledged = len(life.log)
        assert folder.status.operation == len(life.log)
        if self.rng.random() < 0.3:
            snapshot(inner, folder, life)
        folder.close()
        self.checked["again"] += sum(map(len, inner.seen.values()))
        for kind, digests in inner.seen.items():
            self.seen[kind] |= digests


def in_a_device(records, operation, table):
    """Have a device restore, and a client read all keys."""
    host = JournalHost()
    host.restore(records)
    keys = [bytes([0, 0, 0, number]) for number in range(PARAMS.capacity)]
    reply, answers = host.run(host.connect(), *[Operation(Kind.GET, key) for key in keys])
    assert reply.sequence == operation
    found = zip(keys, answers, strict=True)
    assert {key: answer.previous for key, answer in found if answer.status is Status.OK} == table


def writes(crashes, folder, life, *, most=3):
    """Append some records and sync, perhaps only later."""
    rng = crashes.rng
    for _ in range(rng.randint(1, most)):
        folder.append(life.records(*(rng.randint(1, 40) for _ in range(rng.randint(1, 3)))))
        if rng.random() < 0.7:
            folder.sync()
            crashes.acknowledged = folder.status.operation


def snapshot(crashes, folder, life):
    """Take a snapshot, and append while it is written."""
    writer = folder.snapshot_writer(life.snapshot()[0])
    writer.abort()  # one that did not come to its end
    source, *chunks = life.snapshot()
    writer = folder.snapshot_writer(source)
    crashes.acknowledged = folder.status.operation
    for chunk in chunks:
        writer.add(chunk)
        folder.append(life.records(crashes.rng.randint(1, 60)))
    writer.finish()


def a_full_disk(crashes, folder, life):
    """Let an append fail half way, perhaps twice, and perhaps a sync; then there is room again."""
    disk, records = crashes.disk, life.records(30)
    for _ in range(crashes.rng.randint(1, 2)):
        disk.room = crashes.rng.randint(0, 400)
        with pytest.raises(DataError):
            folder.append(records)
        disk.room = None
    folder.append(records)
    if crashes.rng.random() < 0.5:
        disk.failing = {"sync"}
        with pytest.raises(DataError):
            folder.sync()
        disk.failing = set()
        folder.append(life.records(1))
    folder.sync()
    crashes.acknowledged = folder.status.operation


def a_backup(crashes, folder, life):
    operations = folder.backup_to(BACKUP)
    assert operations == folder.status.operation
    crashes.backup = operations
    crashes.backups.append(operations)
    crashes.disk.names_now = {
        path: inode for path, inode in crashes.disk.names_now.items() if not path.startswith(ELSEWHERE)
    }
    crashes.disk.names_durable = dict(crashes.disk.names_now)
    assert restore_backup(BACKUP, ELSEWHERE, PARAMS, layer=crashes.disk) == operations


def history(crashes, rounds):
    """Let a map live for some rounds: written to, segments, a snapshot, a full disk, a backup, a restore."""
    disk, rng = CrashDisk(), crashes.rng
    life = Life(rng)
    crashes.begin(disk, life)
    folder = DataFolder.open(FOLDER, PARAMS, layer=disk, segment_bytes=4000)
    folder.begin_map(life.beginning)
    for number in range(rounds):
        writes(crashes, folder, life)
        if number % 2:
            a_full_disk(crashes, folder, life)
        snapshot(crashes, folder, life)
        writes(crashes, folder, life)
        a_backup(crashes, folder, life)
        if number % 2:
            folder.close()
            folder = DataFolder.open(FOLDER, PARAMS, layer=disk, segment_bytes=4000)
            restore, _ = restored(folder.records())
            life = Life(rng, life.log[: restore.operation], restore.lineage)
            crashes.life = life
            folder.begin_map(life.beginning)
    folder.close()


def wanted(each, total):
    crashes, seed = None, SEED
    seen = defaultdict(set)
    again = devices = 0
    while sum(map(len, seen.values())) < total or min(len(seen[kind]) for kind in KINDS) < each:
        print("seed", seed)
        crashes = Crashes(seed, 3)
        history(crashes, 3)
        for kind, digests in crashes.seen.items():
            seen[kind] |= digests
        again += crashes.checked["again"]
        devices += crashes.checked["devices"]
        seed += 1
    counts = {kind: len(seen[kind]) for kind in KINDS}
    print(counts, "of which after a second crash:", again, "and restored by a device:", devices)
    assert again > total // 50
    assert devices > total // 200
    return counts


def test_every_crash_leaves_what_was_acknowledged():
    wanted(200, 2000)


@pytest.mark.long
def test_every_crash_leaves_what_was_acknowledged_many_more():
    wanted(5000, 50000)
