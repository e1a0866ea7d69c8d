"""Files that commands write are whole, or are not there; and it is found out early that they can't be."""

import os
import stat
import subprocess
import sys

import pytest
from click.testing import CliRunner

from host.keyfile import write_root_file
from omap.cli import main
from omap.errors import InputError, OutputError
from omap.outfiles import try_file, write_text, writing
from tests.support.disks import full_disk

TABLE = "id,name\n" + "".join(f"{row},name {row}\n" for row in range(40))


@pytest.fixture
def demo(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text(TABLE)

    def run(*arguments):
        options = ["--keys-csv", str(table), "--key", "id", "--operations", "100"]
        return CliRunner().invoke(main, ["demo", *options, *map(str, arguments)])

    return run


def test_a_full_disk_costs_no_report(demo, tmp_path):
    report = tmp_path / "report.html"
    report.write_text("the report of yesterday")
    with full_disk(4096):
        result = demo("--out", report)
    assert result.exit_code == 74
    assert result.stderr.splitlines()[-1] == (
        f"omap: {report} can't be written: File too large; the file that was there is unchanged"
    )
    assert report.read_text() == "the report of yesterday"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "table.csv"]


@pytest.mark.parametrize("option", ["--out", "--picture"])
@pytest.mark.parametrize("place", ["/proc/x.html", "/no/such/folder/x.html", "."])
def test_a_place_that_takes_no_file_is_refused_before_the_work(demo, monkeypatch, option, place):
    monkeypatch.setattr("omap.demo.run.run", lambda *_, **__: pytest.fail("the work has begun"))
    result = demo(option, place)
    assert result.exit_code == 2
    assert result.stderr.startswith(("omap: ", "Usage: "))
    assert "can't be written" in result.stderr or "is a directory" in result.stderr


def test_a_trace_that_can_not_be_saved_leaves_the_old_one(tmp_path):
    saved = tmp_path / "trace"
    options = ["audit", "--preset", "tiny", "--workload", "hammer", "--operations", "500", "--save", str(saved)]
    saved.write_text("a trace")
    with full_disk(100):
        result = CliRunner().invoke(main, options)
    assert result.exit_code == 74
    assert saved.read_text() == "a trace"
    assert list(tmp_path.iterdir()) == [saved]


def test_trying_leaves_nothing_and_changes_nothing(tmp_path):
    path = tmp_path / "file"
    try_file(path)
    assert list(tmp_path.iterdir()) == []
    path.write_text("old")
    try_file(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_replaced_keeps_mode_and_name(tmp_path):
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    write_text(link, "néw")
    assert link.is_symlink()
    assert path.read_text("utf-8") == "néw"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_new_file_has_the_mode_that_the_user_wants(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "file", "new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_devices_are_written_and_not_replaced():
    before = os.stat("/dev/null")
    try_file("/dev/null")
    write_text("/dev/null", "nothing")
    assert os.path.samestat(os.stat("/dev/null"), before)
    with pytest.raises(OutputError, match="/dev/full can't be written: No space left on device"):
        write_text("/dev/full", "nothing")


def test_standard_output_may_be_the_file(tmp_path):
    script = "from omap.outfiles import *; try_file('/dev/stdout'); write_text('/dev/stdout', 'text')"
    path = tmp_path / "file"
    with path.open("wb") as file:
        subprocess.run([sys.executable, "-c", script], stdout=file, check=True)
    assert path.read_text() == "text"
    piped = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert piped.stdout == "text"


@pytest.mark.parametrize("first", ["omap root key", "omap client key", "\n omap root key"])
@pytest.mark.parametrize("linked", [False, True])
def test_a_file_that_holds_a_key_is_never_replaced(tmp_path, first, linked):
    key = tmp_path / "key"
    key.write_text(f"{first}\nkey {'00' * 32}\n")
    before = key.read_bytes()
    path = tmp_path / "link" if linked else key
    if linked:
        path.symlink_to(key)
    for write in (try_file, lambda path: write_text(path, "new")):
        with pytest.raises(InputError, match=f"{path} exists and holds a key: choose another name, or move it away"):
            write(path)
    assert key.read_bytes() == before
    script = "from omap.outfiles import *; write_text('/dev/stdout', 'text')"
    with key.open("ab") as file:
        done = subprocess.run([sys.executable, "-c", script], stdout=file, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert key.read_bytes() == before


def test_no_command_replaces_a_key(demo, tmp_path, monkeypatch):
    monkeypatch.setattr("omap.demo.run.run", lambda *_, **__: pytest.fail("the work has begun"))
    monkeypatch.setattr("omap.commands.audit.observe", lambda *_, **__: pytest.fail("the work has begun"))
    key = tmp_path / "root.key"
    write_root_file(key)
    before = key.read_bytes()
    for result in (
        demo("--out", key),
        demo("--picture", key),
        CliRunner().invoke(main, ["audit", "--preset", "tiny", "--workload", "hammer", "--save", str(key)]),
        CliRunner().invoke(main, ["rtl", "report", "--update", str(key)]),
        CliRunner().invoke(main, ["rtl", "timing", "--update", str(key)]),
        CliRunner().invoke(main, ["board", "report", "--update", str(key)]),
    ):
        assert (result.exit_code, "exists and holds a key" in result.stderr) == (2, True), result.output
    assert key.read_bytes() == before


def test_what_is_interrupted_changes_nothing(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def interrupted():
        with writing(path) as file:
            file.write(b"ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_what_may_not_be_written_is_refused(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o400)
    with pytest.raises(InputError, match="Permission denied"):
        try_file(path)
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="Permission denied"):
        try_file(tmp_path / "new")
    tmp_path.chmod(0o700)
