"""A data folder in use: what it says of what it found, whom and what it refuses, what it keeps and drops."""

import random
import re
import subprocess
import sys

import pytest

from host.data.backup import restore_backup
from host.data.folder import DataFolder
from host.data.identity import known
from omap.errors import DamagedError, DataError, InputError
from omap.presets import preset
from omap.wire import LINE_BYTES
from tests.support.host.crash_disk import CrashDisk
from tests.support.host.lives import PARAMS, Life, a_backup, begun, restored, take_snapshot

SEED = 77


@pytest.fixture
def life():
    return Life(random.Random(SEED))


def names(path):
    return sorted(file.name for file in path.iterdir())


# -- what is found ------------------------------------------------------------------------------------------------


def test_an_empty_folder_asks_for_a_format(tmp_path):
    folder = DataFolder.open(tmp_path / "data", PARAMS)
    assert folder.found.empty
    assert list(folder.records()) == []
    assert folder.found.sentences == ("Nothing is there to restore.",)
    assert folder.found.asked == "The device is asked for a format."
    assert folder.found.next == "The next `omap serve` will ask its device for a format."
    assert (folder.status.appended, folder.status.synced, folder.status.lines) == (0, 0, 0)
    assert folder.sync() == 0
    folder.close()
    folder.close()
    DataFolder.open(tmp_path / "data", PARAMS).close()


def test_status_and_sentences_say_how_far_it_is(tmp_path, life):
    folder = begun(tmp_path / "data", life)
    first = life.records(3, 4)
    folder.append(first)
    assert (folder.status.appended, folder.status.synced, folder.status.operation) == (3, 1, 0)
    assert folder.sync() == 3
    assert (folder.status.map_id, folder.status.synced, folder.status.operation) == (life.map_id, 3, 7)
    assert folder.status.lines == len(life.beginning + first) // LINE_BYTES
    assert folder.status.bytes == sum(file.stat().st_size for file in (tmp_path / "data").glob("*.journal"))
    take_snapshot(folder, life)
    assert (folder.status.lines, folder.status.segments) == (0, 1)
    assert folder.status.snapshot_time > 0
    folder.append(life.records(2))
    folder.sync()
    status = folder.status
    folder.close()
    again = DataFolder.open(tmp_path / "data", PARAMS)
    assert again.found.operations == status.operation == 9
    assert (again.status.lines, again.status.bytes) == (status.lines, status.bytes)
    assert again.found.snapshot_time == pytest.approx(status.snapshot_time, abs=0.001)
    when, journal = again.found.sentences
    assert "is a snapshot of 20" in when
    assert journal == "The journal has 1 segment."
    asked, after = again.found.asked, again.found.next
    assert asked.startswith("The device is asked to restore 9 operations from 5 records. All files stay until")
    assert after.startswith(
        "No damage was found: the next `omap serve` will have its device restore 9 operations from 5"
    )
    again.close()


def test_bytes_that_nobody_was_told_of_are_left_out(tmp_path, life):
    folder = begun(tmp_path / "data", life)
    folder.append(life.records(3))
    folder.sync()
    folder.close()
    (segment,) = (tmp_path / "data").glob("*.journal")
    whole = segment.read_bytes()
    segment.write_bytes(whole + whole[-70:])
    folder = DataFolder.open(tmp_path / "data", PARAMS)
    assert (folder.found.cut_bytes, folder.found.operations) == (70, 3)
    assert any(sentence.startswith("70 bytes at the end") for sentence in folder.found.sentences)
    restored(folder.records())
    folder.close()


# -- whom it refuses ----------------------------------------------------------------------------------------------


@pytest.mark.sec_cm("DATA.FOLDER.HELD")
def test_a_second_user_is_refused_until_the_first_is_gone(tmp_path):
    folder = DataFolder.open(tmp_path / "data", PARAMS)
    with pytest.raises(InputError, match="is in use by another process: end it first, or give another folder"):
        DataFolder.open(tmp_path / "data", PARAMS)
    with pytest.raises(InputError, match="in use by another process"):
        restore_backup(a_backup(tmp_path / "other", tmp_path / "backup"), tmp_path / "data", PARAMS)
    folder.close()
    DataFolder.open(tmp_path / "data", PARAMS).close()
    program = (
        "import sys\nfrom host.data.folder import DataFolder\nfrom omap.presets import preset\n"
        "folder = DataFolder.open(sys.argv[1], preset('TINY'))\nprint('open', flush=True)\nsys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "data")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout.readline() == b"open\n"
    with pytest.raises(InputError, match="in use"):
        DataFolder.open(tmp_path / "data", PARAMS)
    child.kill()
    child.communicate()
    DataFolder.open(tmp_path / "data", PARAMS).close()


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match=r"is no data folder and holds other files, such as letter.txt"):
        DataFolder.open(tmp_path, PARAMS)
    (tmp_path / "letter.txt").unlink()
    DataFolder.open(tmp_path, PARAMS).close()


def test_other_parameters_and_other_versions_are_refused(tmp_path):
    DataFolder.open(tmp_path / "data", PARAMS).close()
    with pytest.raises(InputError) as refused:
        DataFolder.open(tmp_path / "data", preset("SMALL"))
    there, asked = (each.digest.hex()[:16] for each in (PARAMS, preset("SMALL")))
    assert re.fullmatch(
        r"the data folder .* holds a map of \d+ keys of 4 bytes, values of 4 bytes, pages of 64 bytes, descriptor "
        rf"lines of \d+ bytes \(digest {there}\), and one of .* keys of 8 bytes, .*\(digest {asked}\) was asked for: "
        "leave --preset, --params and sizes out .*",
        str(refused.value),
    )
    file = tmp_path / "data" / "omap-data"
    file.write_text(file.read_text().replace("version 1", "version 2"))
    with pytest.raises(InputError, match="has another version than 1: use the omap that wrote it"):
        DataFolder.open(tmp_path / "data", PARAMS)
    file.write_text("dear")
    with pytest.raises(InputError, match="is not what a data folder is known by"):
        DataFolder.open(tmp_path / "data", PARAMS)


def test_a_folder_says_which_map_it_holds(tmp_path):
    assert known(tmp_path / "none") is None
    assert known(tmp_path) is None
    assert not (tmp_path / "none").exists()
    for each in (PARAMS, preset("SMALL")):
        path = tmp_path / f"{each.capacity} keys"
        DataFolder.open(path, each).close()
        assert known(path) == (each.digest, each)


def test_a_folder_of_the_first_form_gets_its_parameters_when_they_are_given(tmp_path):
    DataFolder.open(tmp_path / "data", PARAMS).close()
    file = tmp_path / "data" / "omap-data"
    whole = file.read_text()
    first_form = f"omap data folder\nversion 1\nparameters {PARAMS.digest.hex()}\n"
    file.write_text(first_form)
    assert known(tmp_path / "data") == (PARAMS.digest, None)
    with pytest.raises(
        InputError, match=r"names its map by a digest alone \(\w{16}\), .*: give --params FILE with what"
    ):
        DataFolder.open(tmp_path / "data", preset("SMALL"))
    assert file.read_text() == first_form
    DataFolder.open(tmp_path / "data", PARAMS).close()
    assert file.read_text() == whole


def test_a_disk_that_is_full_does_not_keep_a_folder_of_the_first_form_closed(tmp_path):
    disk = CrashDisk({"/data/omap-data": f"omap data folder\nversion 1\nparameters {PARAMS.digest.hex()}\n".encode()})
    for room in (0, 20):
        disk.room = room
        DataFolder.open("/data", PARAMS, layer=disk).close()
        assert known("/data", disk) == (PARAMS.digest, None)
    disk.room = None
    DataFolder.open("/data", PARAMS, layer=disk).close()
    assert known("/data", disk) == (PARAMS.digest, PARAMS)


@pytest.mark.parametrize(
    ("there", "instead"),
    [
        ('"capacity": ', '"capacity": 1'),
        ('"capacity": ', '"capacity": -'),
        ('"capacity"', '"colour"'),
        ("values {", "values [{"),
        ("values {", "values "),
        ("values", "prices"),
        (PARAMS.digest.hex(), preset("SMALL").digest.hex()),
        (PARAMS.digest.hex(), "dear"),
        ("}", ""),
        ("}\n", "}\n{}\n"),
    ],
)
def test_parameters_that_are_not_those_of_the_digest_are_damage(tmp_path, there, instead):
    DataFolder.open(tmp_path / "data", PARAMS).close()
    file = tmp_path / "data" / "omap-data"
    assert there in file.read_text()
    file.write_text(file.read_text().replace(there, instead))
    before = file.read_bytes()
    for use in (lambda: known(tmp_path / "data"), lambda: DataFolder.open(tmp_path / "data", PARAMS)):
        with pytest.raises(
            DamagedError, match=r"omap-data is damaged \(altered\): its .*; give back the file as it was"
        ):
            use()
    assert file.read_bytes() == before


def test_a_path_that_is_no_folder_or_can_not_be_made_gets_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "no" / "such", tmp_path / "file" / "below"):
        with pytest.raises(DataError, match="can't be used as a data folder: .*; give one that can be written"):
            DataFolder.open(path, PARAMS)


@pytest.mark.sec_cm("DATA.MAP.CONTINUED")
def test_a_format_by_mistake_does_not_take_the_place_of_a_map(tmp_path, life):
    folder = begun(tmp_path / "data", life)
    folder.append(life.records(3))
    folder.sync()
    folder.close()
    before = {name: (tmp_path / "data" / name).read_bytes() for name in names(tmp_path / "data")}
    folder = DataFolder.open(tmp_path / "data", PARAMS)
    with pytest.raises(InputError, match="the map has 0 ancestors, and one that continues .* has 1: restore the map"):
        folder.begin_map(Life(random.Random(1)).beginning)
    assert {name: (tmp_path / "data" / name).read_bytes() for name in names(tmp_path / "data")} == before
    restore, _ = restored(folder.records())
    child = Life(random.Random(2), life.log, restore.lineage)
    folder.begin_map(child.beginning)
    with pytest.raises(InputError, match="another map has begun in this folder"):
        folder.begin_map(Life(random.Random(3), life.log, restore.lineage).beginning)
    folder.close()
    empty = DataFolder.open(tmp_path / "empty", PARAMS)
    with pytest.raises(InputError, match="the map has 1 ancestors, .* has 0: ask for a format"):
        empty.begin_map(child.beginning)
    empty.close()


def test_what_does_not_belong_into_a_journal_is_refused_and_changes_nothing(tmp_path, life):
    folder = DataFolder.open(tmp_path / "data", PARAMS)
    one, two, three = (life.records(2) for _ in range(3))
    with pytest.raises(InputError, match="no map has begun"):
        folder.append(one)
    for wrong in (b"", one, life.beginning[:-1], life.beginning[:128], life.beginning + one, life.beginning[128:]):
        with pytest.raises(InputError, match="a journal begins with its SOURCE and START"):
            folder.begin_map(wrong)
    folder.begin_map(life.beginning)
    folder.append(b"")
    folder.append(one)
    for wrong, why in ((three, "missing"), (one, "repeated"), (two[:-1], "altered"), (life.beginning, "altered")):
        with pytest.raises(DamagedError, match=rf"the journal ring is damaged \({why}\)"):
            folder.append(wrong)
    folder.append(two + three)
    assert folder.sync() == 4
    folder.close()
    again = DataFolder.open(tmp_path / "data", PARAMS)
    assert b"".join(list(again.records())[:-1]) == life.beginning + one + two + three
    again.close()


def test_a_snapshot_that_does_not_fit_is_refused(tmp_path, life):
    folder = begun(tmp_path / "data", life)
    early = life.snapshot()
    folder.append(life.records(2))
    late = life.snapshot()
    for source in (early[0], Life(random.Random(1)).snapshot()[0]):
        with pytest.raises(DamagedError, match="a snapshot is not of the end of the present journal"):
            folder.snapshot_writer(source)
    writer = folder.snapshot_writer(late[0])
    with pytest.raises(DamagedError, match="START"):
        writer.add(late[-1])
    with pytest.raises(InputError, match="the snapshot is not whole"):
        writer.finish()
    writer.abort()
    writer.abort()
    assert not list((tmp_path / "data").glob("*.snapshot*"))
    take_snapshot(folder, life)
    writer.abort()
    assert len(list((tmp_path / "data").glob("*.snapshot"))) == 1
    folder.close()


# -- what is kept and dropped -------------------------------------------------------------------------------------


@pytest.mark.sec_cm("DATA.OLD.KEPT")
def test_old_files_stay_until_the_first_snapshot_of_the_restored_map_is_on_disk(tmp_path, life):
    path = tmp_path / "data"
    folder = begun(path, life, segment_bytes=300)
    folder.append(life.records(9))
    folder.sync()
    take_snapshot(folder, life)
    folder.append(life.records(9))
    folder.close()
    old = set(names(path))
    folder = DataFolder.open(path, PARAMS)
    restore, _ = restored(folder.records())
    child = Life(random.Random(5), life.log, restore.lineage)
    folder.begin_map(child.beginning)
    folder.append(child.records(4))
    folder.sync()
    source, *rest = child.snapshot()
    writer = folder.snapshot_writer(source)
    for record in rest:
        writer.add(record)
        assert old <= set(names(path))
    (path / "00000001.snapshot.part").write_bytes(b"left over")
    writer.finish()
    assert [name.split(".")[1] for name in names(path) if "." in name] == ["snapshot", "journal"]
    assert not (old - {"lock", "omap-data"}) & set(names(path))
    folder.close()
    again = DataFolder.open(path, PARAMS)
    assert again.found.maps == (child.map_id,)
    assert restored(again.records())[1].table == child.table
    again.close()
