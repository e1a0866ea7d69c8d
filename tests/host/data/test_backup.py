"""Backups, and whole trips of a device model through data folders."""

import random

import pytest

from host.data.backup import restore_backup
from host.data.folder import DataFolder
from omap.errors import DamagedError, DataError, InputError
from omap.operations import Kind, Operation, Status
from omap.presets import preset
from omap.wire import RecordType, read_header
from tests.support.host.lives import PARAMS, Life, a_backup, restored, table_of, take_snapshot
from tests.support.journal_host import JournalHost

SEED = 77


@pytest.fixture
def life():
    return Life(random.Random(SEED))


def test_a_backup_fills_an_empty_folder_and_no_other(tmp_path, life):
    folder = DataFolder.open(tmp_path / "data", PARAMS)
    with pytest.raises(InputError, match="holds nothing yet"):
        folder.backup_to(tmp_path / "backup")
    folder.begin_map(life.beginning)
    folder.append(life.records(5))
    take_snapshot(folder, life)
    folder.append(life.records(5))
    with pytest.raises(InputError, match="is in the data folder"):
        folder.backup_to(tmp_path / "data" / "backup")
    with pytest.raises(InputError, match="can't be written: the folder .*/no does not exist"):
        folder.backup_to(tmp_path / "no" / "backup")
    assert folder.backup_to(tmp_path / "backup") == 10
    kept = table_of(life.log)
    folder.append(life.records(5))
    folder.close()
    with pytest.raises(InputError, match="holds a map: give an empty folder"):
        restore_backup(tmp_path / "backup", tmp_path / "data", PARAMS)
    assert restore_backup(tmp_path / "backup", tmp_path / "filled", PARAMS) == 10
    filled = DataFolder.open(tmp_path / "filled", PARAMS)
    restore, map_ = restored(filled.records())
    assert (restore.operation, map_.table) == (10, kept)
    child = Life(random.Random(6), life.log[:10], restore.lineage)
    filled.begin_map(child.beginning)
    filled.append(child.records(7))
    filled.sync()
    filled.close()
    again = DataFolder.open(tmp_path / "filled", PARAMS)
    assert restored(again.records())[1].table == child.table
    again.close()


def test_a_backup_that_is_not_whole_fills_nothing(tmp_path):
    whole = a_backup(tmp_path / "other", tmp_path / "backup").read_bytes()
    for broken in (whole[:-1], whole[: len(whole) // 2], whole[:20], b"", whole[:100] + b"!" + whole[101:]):
        (tmp_path / "backup").write_bytes(broken)
        with pytest.raises(DamagedError, match="is damaged"):
            restore_backup(tmp_path / "backup", tmp_path / "filled", PARAMS)
        assert not (tmp_path / "filled").exists()
    (tmp_path / "backup").write_bytes(whole)
    with pytest.raises(InputError, match=r"is a backup of another map, of digest .* say with --preset, --params, or"):
        restore_backup(tmp_path / "backup", tmp_path / "filled", preset("SMALL"))
    with pytest.raises(DataError, match="can't be read: No such file or directory"):
        restore_backup(tmp_path / "none", tmp_path / "filled", PARAMS)
    assert restore_backup(tmp_path / "backup", tmp_path / "filled", PARAMS) == 1


# -- whole trips with a device ------------------------------------------------------------------------------------


class Served:
    """A device model whose host keeps everything in a data folder."""

    def __init__(self, path):
        self.folder, self.host = DataFolder.open(path, PARAMS), JournalHost()
        if not self.folder.found.empty:
            self.host.restore(list(self.folder.records())[:-1])
            self.host.take_journal()
        assert read_header(self.host.journal[1]).type == RecordType.START
        self.folder.begin_map(b"".join(self.host.journal[:2]))
        self.taken, self.client = len(self.host.journal), self.host.connect()

    def run(self, *operations):
        reply, answers = self.host.run(self.client, *operations)
        self.folder.append(b"".join(self.host.journal[self.taken :]))
        self.taken = len(self.host.journal)
        self.folder.sync()
        return reply, answers

    def snapshot(self):
        source, *rest = self.host.export()
        writer = self.folder.snapshot_writer(source)
        for record in rest:
            writer.add(record)
        writer.finish()


def key(number):
    return bytes([0, 0, 0, number])


def test_a_map_lives_on_through_restarts_with_and_without_snapshots(tmp_path):
    rng, table, operations = random.Random(SEED), {}, 0
    print("seed", SEED)
    for life in range(6):
        served = Served(tmp_path / "data")
        for batch in range(4):
            wanted = [Operation(Kind.GET, key(number)) for number in range(12)]
            reply, answers = served.run(*wanted)
            assert reply.sequence == operations
            found = {key(number): one.previous for number, one in enumerate(answers) if one.status is Status.OK}
            assert found == table
            puts = [Operation(Kind.PUT, key(rng.randrange(12)), rng.randbytes(4)) for _ in range(rng.randint(1, 5))]
            served.run(*puts)
            table.update((put.key, put.value) for put in puts)
            operations += len(wanted) + len(puts)
            if life % 3 and batch == 2:
                served.snapshot()
        assert served.folder.status.operation == operations
        served.folder.close()
