"""A host that alters, cuts, reorders, exchanges or mixes what is on disk, by accident or by intent.

What the files themselves show is refused with its class named, before a device is asked for anything. Where the host
makes all checksums fit, the device refuses it, and keeps nothing of it. Either way the files stay as they are, and open
again once they are what was written.
"""

import random
import shutil

import pytest

from host.data.base import BaseFile
from host.data.damage import Damage
from host.data.files import DISK
from host.data.folder import DataFolder
from host.data.frames import FRAME_BYTES, HEAD_BYTES, FrameReader
from omap.errors import DamagedError
from omap.presets import preset
from omap.regmap import State
from omap.wire import HEADER, LINE_BYTES, RecordType, Refusal, read_header
from tests.support.host.lives import PARAMS, Life, restored, take_snapshot
from tests.support.journal_host import JournalHost

SEED = 18


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def put(folder, files):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)


def grow(path, life, batches=4, each=3):
    """Give a folder with a map some more records, and a segment for each batch."""
    for _ in range(batches):
        path.append(life.records(each, 2))
        path.append(life.records(1))
        path.sync()


def filled(path, seed=SEED, *, snapshots=1, maps=2):
    """Fill a folder: a snapshot, then segments, then those of a map that was restored from it."""
    rng = random.Random(seed)
    life = Life(rng)
    folder = DataFolder.open(path, PARAMS, segment_bytes=300)
    folder.begin_map(life.beginning)
    grow(folder, life)
    for _ in range(snapshots):
        take_snapshot(folder, life)
        grow(folder, life)
    for _ in range(maps - 1):
        folder.close()
        folder = DataFolder.open(path, PARAMS, segment_bytes=1200)
        restore, _ = restored(folder.records())
        life = Life(rng, life.log, restore.lineage)
        folder.begin_map(life.beginning)
        grow(folder, life, batches=5)
    folder.close()
    return contents(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return the files of a folder by their names, and where they are."""
    path = tmp_path_factory.mktemp("data") / "data"
    return filled(path)


def names(files, suffix=".journal"):
    return [name for name in sorted(files) if name.endswith(suffix)]


def of(files, number):
    """Return the names of the segments of the first map, or of the second."""
    found = {}
    for name in names(files):
        found.setdefault(files[name][20:36], []).append(name)
    return list(found.values())[number]


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


def ends(path, data):
    """Return where each frame of a file ends."""
    path.write_bytes(data)
    with open(path, "rb") as file:
        reader, found = FrameReader(file, str(path)), []
        for records in reader.frames():
            found.append(reader.end + FRAME_BYTES + len(records))
    return found


def alter(name_of, at):
    def change(files, scratch):
        name = name_of(files)
        files[name] = flip(files[name], at if at >= 0 else len(files[name]) + at)

    return change


def cut(name_of, whole):
    """Cut a file at the end of a frame, or in the middle of its last one."""

    def change(files, scratch):
        name = name_of(files)
        places = ends(scratch, files[name])
        files[name] = files[name][: places[-2] if whole else places[-1] - 5]

    return change


def remove(name_of):
    def change(files, scratch):
        del files[name_of(files)]

    return change


def exchange(one_of, other_of):
    def change(files, scratch):
        one, other = one_of(files), other_of(files)
        files[one], files[other] = files[other], files[one]

    return change


def again(name_of):
    def change(files, scratch):
        files["00009999.journal"] = files[name_of(files)]

    return change


def earlier(suffix, tmp):
    """Take the files of one kind from the same folder as it was at its next snapshot, or before."""

    def change(files, scratch):
        other = filled(tmp(scratch), snapshots=2, maps=1)
        if suffix == ".snapshot":
            (mine,) = names(files, suffix)
            files[mine] = other[names(other, suffix)[0]]
        else:
            for name in names(files):
                del files[name]
            files |= {name: other[name] for name in names(other)}

    return change


def other_map(name_of, which):
    def change(files, scratch):
        other = filled(scratch.parent / "other map", SEED + 1)
        files[name_of(files)] = other[which(other)]

    return change


def snapshot_file(files):
    return names(files, ".snapshot")[0]


def first(files):
    return of(files, 0)[0]


def middle(files):
    return of(files, 0)[1]


def last_of_parent(files):
    return [name for name in of(files, 0) if len(files[name]) > HEAD_BYTES][-1]


def first_of_child(files):
    return of(files, 1)[0]


def last_of_child(files):
    return of(files, 1)[-1]


def other_folder(scratch):
    return scratch.parent / "other time"


CHANGES = {
    "a bit of the snapshot": (alter(snapshot_file, 700), Damage.ALTERED),
    "a bit of the header of the snapshot": (alter(snapshot_file, 30), Damage.ALTERED),
    "the end of the snapshot": (cut(snapshot_file, False), Damage.ALTERED),
    "the last frame of the snapshot": (cut(snapshot_file, True), Damage.CUT),
    "the snapshot": (remove(snapshot_file), Damage.MISSING),
    "a bit of the header of a segment": (alter(middle, 30), Damage.ALTERED),
    "a bit of the first record of a segment": (alter(middle, HEAD_BYTES + FRAME_BYTES + 3), Damage.ALTERED),
    "a bit of the last record of a segment": (alter(middle, -3), Damage.ALTERED),
    "a bit of what was synced in the last segment": (
        alter(last_of_child, HEAD_BYTES + LINE_BYTES),
        Damage.ALTERED,
    ),
    "the end of a segment": (cut(middle, False), Damage.ALTERED),
    "the last frame of a segment": (cut(middle, True), Damage.MISSING),
    "the last frame of the parent's journal": (cut(last_of_parent, True), Damage.MISSING),
    "the end of the parent's journal": (cut(last_of_parent, False), Damage.ALTERED),
    "a segment": (remove(middle), Damage.MISSING),
    "the first segment of the child": (remove(first_of_child), Damage.FOREIGN),
    "two segments": (exchange(first, middle), Damage.MISSING),
    "segments of parent and child": (exchange(middle, first_of_child), Damage.MISSING),
    "a segment twice": (again(middle), Damage.FOREIGN),
    "the START of the child twice": (again(first_of_child), Damage.REPEATED),
    "the snapshot of a later time": (earlier(".snapshot", other_folder), Damage.REPEATED),
    "the journal of a later time": (earlier(".journal", other_folder), Damage.MISSING),
    "a segment of another map": (other_map(middle, middle), Damage.FOREIGN),
    "the beginning of another map": (other_map(first_of_child, first_of_child), Damage.FOREIGN),
    "the snapshot of another map": (other_map(snapshot_file, snapshot_file), Damage.FOREIGN),
}


@pytest.mark.sec_cm("DATA.DAMAGE.TOLD")
@pytest.mark.parametrize("name", CHANGES)
def test_what_the_files_show_is_refused_with_its_class(name, files, tmp_path):
    change, damage = CHANGES[name]
    changed, folder = dict(files), tmp_path / "data"
    change(changed, tmp_path / "scratch")
    put(folder, changed)
    with pytest.raises(DamagedError) as refused:
        DataFolder.open(folder, PARAMS)
    print(refused.value)
    assert f"is damaged ({damage}):" in str(refused.value)
    assert contents(folder) == changed
    put(folder, files)
    opened = DataFolder.open(folder, PARAMS)
    restored(opened.records())
    opened.close()


# -- what only the device can tell ------------------------------------------------------------------------------


def at(records, type_, number=0):
    """Return the place of a record among all: the one with this number of those of a type."""
    return [place for place, record in enumerate(records) if read_header(record).type == type_][number]


def alter_record(type_, number, byte):
    def change(records, other):
        place = at(records, type_, number)
        records[place] = flip(records[place], byte if byte >= 0 else len(records[place]) + byte)

    return change


def bodies(records, other):
    """Exchange what two records of one size seal."""
    one, two = (at(records, RecordType.JOURNAL, number) for number in (1, 3))
    head, tail = slice(HEADER.size), slice(HEADER.size, None)
    records[one], records[two] = records[one][head] + records[two][tail], records[two][head] + records[one][tail]


def of_another_map(type_, number):
    def change(records, other):
        records[at(records, type_, number)] = other[at(other, type_, number)]

    return change


def shorter_parent(records, other):
    del records[at(records, RecordType.SOURCE, 1) - 1]


def child_of_another(records, other):
    records[at(records, RecordType.SOURCE, 1) :] = other[at(other, RecordType.SOURCE, 1) :]


LIES = {
    "a bit of a slot": (alter_record(RecordType.SNAPSHOT, 0, 90), Refusal.ALTERED),
    "a bit of a tag": (alter_record(RecordType.JOURNAL, 2, -1), Refusal.ALTERED),
    "the number of the next operation": (alter_record(RecordType.SOURCE, 0, HEADER.size + 71), Refusal.ALTERED),
    "the export id": (alter_record(RecordType.SOURCE, 0, HEADER.size + 20), Refusal.ALTERED),
    "what two records seal": (bodies, Refusal.ALTERED),
    "a record of another map": (of_another_map(RecordType.JOURNAL, 1), Refusal.ALTERED),
    "the slots of another map": (of_another_map(RecordType.SNAPSHOT, 0), Refusal.ALTERED),
    "the end of the parent's journal": (shorter_parent, Refusal.RESTORE_FAILED),
    "the child of another map": (child_of_another, Refusal.RESTORE_FAILED),
}


def as_folder(path, records):
    """Make a folder that holds these records, with checksums that fit. Return its files."""
    DataFolder.open(path, PARAMS).close()
    base = BaseFile(DISK, str(path / "00000001.snapshot"), PARAMS)
    for record in records:
        base.add(record)
    base.finish()
    return contents(path)


@pytest.mark.parametrize("name", LIES)
def test_what_the_files_do_not_show_is_refused_by_the_device(name, files, tmp_path):
    change, why = LIES[name]
    put(tmp_path / "data", files)
    put(tmp_path / "other", filled(tmp_path / "other", SEED + 2))
    records, other = (opened_records(tmp_path / folder) for folder in ("data", "other"))
    change(records, other)
    before = as_folder(tmp_path / "lies", records)
    folder = DataFolder.open(tmp_path / "lies", PARAMS)
    host = JournalHost()
    answers = host.give(folder.records())
    folder.close()
    assert read_header(answers[-1])[:4] == (RecordType.REFUSED, 0, 1, why)
    assert host.device.state is State.IDLE
    assert contents(tmp_path / "lies") == before
    host.restore(opened_records(tmp_path / "data"))  # as it was


def opened_records(path):
    folder = DataFolder.open(path, PARAMS)
    try:
        return list(folder.records())[:-1]
    finally:
        folder.close()


def test_the_end_of_the_last_journal_is_missed_by_clients_alone(files, tmp_path):
    changed = dict(files)
    cut(lambda files: [name for name in of(files, 1) if len(files[name]) > HEAD_BYTES][-1], True)(
        changed, tmp_path / "scratch"
    )
    put(tmp_path / "data", changed)
    put(tmp_path / "whole", files)
    counts = []
    for name in ("data", "whole"):
        folder = DataFolder.open(tmp_path / name, PARAMS)
        counts.append(folder.found.operations)
        folder.close()
    assert counts[0] == counts[1] - 1


def test_a_file_that_changes_after_it_was_checked_is_refused(files, tmp_path):
    put(tmp_path / "data", files)
    folder = DataFolder.open(tmp_path / "data", PARAMS)
    name = names(files)[-2]
    (tmp_path / "data" / name).write_bytes(files[name][:HEAD_BYTES])
    with pytest.raises(DamagedError, match="changed since they were checked|damaged"):
        list(folder.records())
    folder.close()


def test_files_of_other_parameters_are_refused(files, tmp_path):
    other = preset("SMALL")
    DataFolder.open(tmp_path / "data", other).close()
    for name in names(files, ".snapshot"):
        (tmp_path / "data" / name).write_bytes(files[name])
    with pytest.raises(DamagedError, match=r"\(foreign\): it is of a map with other parameters"):
        DataFolder.open(tmp_path / "data", other)
