"""``omap backup`` and ``omap restore``: what they replace, what they refuse, and how they end if a disk is full."""

import asyncio
import os
import random
import socket
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from host.data.folder import DataFolder
from host.data.identity import NAME
from host.keyfile import write_root_file
from host.relay.control import Control
from omap.cli import main
from omap.errors import InputError, UnwrittenError
from tests.support.disks import full_disk
from tests.support.host.lives import PARAMS, SEED, Life, a_backup, begun


@pytest.fixture
def data(tmp_path):
    """Return a data folder with a map in it."""
    life = Life(random.Random(SEED))
    folder = begun(tmp_path / "data", life)
    folder.append(life.records(100))
    folder.close()
    return tmp_path / "data"


def run(command, folder, *arguments):
    options = [command, "--preset", "tiny", "--data-dir", str(folder), *map(str, arguments)]
    result = CliRunner().invoke(main, options)
    return result.exit_code, result.stderr.removeprefix("omap: ").strip()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_backup_replaces_a_backup_and_no_other_file(data, tmp_path):
    assert run("backup", data, "--to", tmp_path / "b")[0] == 0
    whole = (tmp_path / "b").read_bytes()
    older = a_backup(tmp_path / "other", tmp_path / "older")
    assert older.read_bytes() != whole
    assert run("backup", data, "--to", older)[0] == 0
    journal = next(data.glob("*.journal")).read_bytes()
    for there in (b"text", b"", b"omapdata", journal):
        path = tmp_path / "file"
        path.write_bytes(there)
        says = f"{path} exists and is no backup: choose another name, or move it away"
        assert run("backup", data, "--to", path) == (2, says)
        assert path.read_bytes() == there
    assert names(tmp_path) == ["b", "data", "file", "older", "other"]


@pytest.mark.parametrize("linked", [False, True])
def test_a_backup_replaces_no_key(data, tmp_path, linked):
    write_root_file(key := tmp_path / "root.key")
    before = key.read_bytes()
    path = tmp_path / "link" if linked else key
    if linked:
        path.symlink_to("root.key")
    assert run("backup", data, "--to", path) == (
        2,
        f"{key} exists and holds a key: choose another name, or move it away",
    )
    assert (key.read_bytes(), path.is_symlink()) == (before, linked)


def test_a_symbolic_link_to_a_backup_stays_one(data, tmp_path):
    (tmp_path / "disk").mkdir()
    link = tmp_path / "link"
    for target in "disk/new", "disk/old":
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        if target == "disk/old":
            a_backup(tmp_path / "other", tmp_path / target)
        assert run("backup", data, "--to", link)[0] == 0
        assert (os.readlink(link), (tmp_path / target).is_symlink()) == (target, False)
        assert run("backup", tmp_path / f"filled from {target[5:]}", "--from", link)[0] == 0
    assert names(tmp_path / "disk") == ["new", "old"]


def test_a_pipe_or_a_socket_is_no_place_for_a_backup(data, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for name in "pipe", "socket":
            code, error = run("backup", data, "--to", tmp_path / name)
            assert code == 2
            assert "a pipe, a device or a folder has this name; nothing was changed; choose another name" in error
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "socket").is_socket()
    code, error = run("backup", tmp_path / "new", "--from", tmp_path / "pipe")
    assert (code, "can't be read: a pipe, a device or a folder has this name" in error) == (2, True)


def test_what_a_backup_grows_in_is_nobody_elses_file(data, tmp_path):
    (part := tmp_path / "b.part").write_text("mine")
    assert run("backup", data, "--to", tmp_path / "b") == (
        2,
        f"{part} exists and is no backup: choose another name, or move it away",
    )
    assert part.read_text() == "mine"
    whole = a_backup(tmp_path / "other", tmp_path / "whole").read_bytes()
    for left in (b"", bytes(600), whole[:500]):  # as a crash leaves it
        part.write_bytes(left)
        assert run("backup", data, "--to", tmp_path / "b")[0] == 0
        assert not part.exists()


def test_a_file_that_comes_while_a_backup_is_written_stays(tmp_path, monkeypatch):
    life = Life(random.Random(SEED))
    folder = begun(tmp_path / "data", life)
    sync = folder._journal.sync

    def another():
        (tmp_path / "b").write_text("mine")
        return sync()

    monkeypatch.setattr(folder._journal, "sync", another)
    with pytest.raises(InputError, match="exists and is no backup"):
        folder.backup_to(tmp_path / "b")
    folder.close()
    assert (tmp_path / "b").read_text() == "mine"
    assert names(tmp_path) == ["b", "data"]


def test_no_data_folder_takes_a_backup_of_another(data, tmp_path):
    a_backup(tmp_path / "other", tmp_path / "b")
    assert NAME in names(tmp_path / "other")
    (tmp_path / "link").symlink_to("other")
    for folder in "other", "link":
        code, error = run("backup", data, "--to", tmp_path / folder / "00000001.snapshot")
        assert (code, f"is in the data folder {tmp_path / 'other'}" in error) == (2, True)


@pytest.mark.parametrize("command", [["backup", "--to", "b"], ["restore"]])
def test_what_is_asked_of_an_empty_folder_does_not_bind_it_to_a_map(tmp_path, command):
    (tmp_path / "data").mkdir()
    says = f"{tmp_path / 'data'} is no data folder, because it has no file omap-data: check its name, or put that back"
    assert run(command[0], tmp_path / "data", *command[1:]) == (2, says)
    assert names(tmp_path / "data") == []


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_what_is_no_backup_fills_no_folder(data, tmp_path, command):
    write_root_file(tmp_path / "client.key")
    journal = next(data.glob("*.journal"))
    for path in (tmp_path / "client.key", journal):
        says = f"{path} is no backup: give a file that `omap backup --to` wrote"
        assert run(command, tmp_path / "new", "--from", path) == (2, says)
        assert not (tmp_path / "new").exists()


def test_a_disk_that_is_full_ends_with_74(data, tmp_path):
    older = a_backup(tmp_path / "other", tmp_path / "older")
    before = older.read_bytes()
    backup = tmp_path / "backup"
    assert run("backup", data, "--to", backup)[0] == 0
    known = (data / "omap-data").stat().st_size  # which fits, and comes before what does not
    assert len(backup.read_bytes()) > max(known, len(before))
    with full_disk(known):
        for path in tmp_path / "new", older:
            code, error = run("backup", data, "--to", path)
            assert (code, "can't be written: File too large; what was there" in error) == (74, True)
        for command in "backup", "restore":
            code, error = run(command, tmp_path / "filled", "--from", backup)
            assert (code, "can't be written: File too large" in error) == (74, True)
    assert older.read_bytes() == before
    assert not (tmp_path / "new").exists()
    assert run("backup", tmp_path / "filled", "--from", backup)[0] == 0


@pytest.mark.parametrize("command", [["backup", "--preset", "tiny", "--to", "b"], ["snapshot"]])
def test_a_server_whose_disk_is_full_makes_a_command_end_with_74(data, tmp_path, command):
    async def backup(path):
        raise UnwrittenError(f"{path} can't be written: No space left on device")

    keeper = SimpleNamespace(trouble="the journal can't be written: No space left on device", backup=backup)

    async def served():
        control = Control(keeper, data)
        await control.start()
        arguments = [*command, "--data-dir", str(data)]
        result = await asyncio.to_thread(CliRunner().invoke, main, arguments)
        await control.stop()
        return result

    result = asyncio.run(served())
    assert (result.exit_code, "can't be written: No space left on device" in result.stderr) == (74, True)


def test_a_folder_that_is_no_place_for_files_is_no_full_disk(tmp_path):
    (tmp_path / "file").touch()
    code, error = run("backup", tmp_path / "file" / "x", "--from", a_backup(tmp_path / "other", tmp_path / "b"))
    assert (code, "can't be used as a data folder: Not a directory" in error) == (2, True)
    with pytest.raises(InputError):
        DataFolder.open(tmp_path / "other", PARAMS).backup_to(tmp_path / "file" / "b")
