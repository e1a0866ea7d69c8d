"""A standard output that can't be written: one line, exit code 74, no traceback, whatever the command."""

import subprocess
import sys

import pytest

from omap.streams import guarded

OMAP = [sys.executable, "-m", "omap.cli"]
QUICK = [
    ("--help",),
    ("plan", "--help"),
    ("board", "--help"),
    ("version",),
    ("version", "--json"),
    ("plan", "--capacity", "1000"),
    ("plan", "--capacity", "1000", "--json"),
    ("board", "list"),
    ("audit", "--preset", "tiny", "--workload", "hammer", "--operations", "200", "-v"),
]


def run(*arguments, stdout, **options):
    return subprocess.run([*OMAP, *arguments], stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=300, **options)


@pytest.mark.parametrize("arguments", QUICK, ids=" ".join)
def test_a_full_standard_output_is_one_line_and_exit_code_74(arguments):
    with open("/dev/full", "w") as full:
        result = run(*arguments, stdout=full)
    assert result.stderr == "omap: standard output can't be written: No space left on device\n"
    assert result.returncode == 74


def test_a_key_that_can_not_be_told_of_is_there(tmp_path):
    with open("/dev/full", "w") as full:
        result = run("provision", str(tmp_path / "root.key"), stdout=full)
    assert (result.returncode, result.stderr.count("\n")) == (74, 1)
    said, key, _ = (tmp_path / "root.key").read_text().split("\n")
    assert said == "omap root key"
    assert len(bytes.fromhex(key.removeprefix("key "))) == 32


def test_a_reader_that_has_gone_is_no_news():
    process = subprocess.Popen(
        [*OMAP, "plan", "--capacity", "1000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(60) == 74


def test_a_closed_standard_output_is_told():
    result = subprocess.run(
        ["sh", "-c", '"$0" -m omap.cli version >&-', sys.executable],
        stderr=subprocess.PIPE, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.stderr == "omap: standard output can't be written: it is closed\n"
    assert result.returncode == 74


BUFFERED = """
import sys
import click
from omap import cli

@cli.main.command()
def quiet():
    sys.stdout.write("waits in a buffer until the end")

@cli.main.command()
def hidden():
    try:
        click.echo("not written")
    except Exception:
        pass

@cli.main.command()
def noted():
    click.echo("a note", err=True)
    print("the work is done")

@cli.main.command()
def absent():
    sys.stdout.write("text")
    sys.exit(1)

cli.main([sys.argv[1]])
"""


@pytest.mark.parametrize("name", ["quiet", "hidden", "absent"])
def test_what_is_written_at_exit_or_hidden_counts_too(name):
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-c", BUFFERED, name], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert result.stderr == "omap: standard output can't be written: No space left on device\n"
    assert result.returncode == 74


def test_a_full_standard_error_stops_no_work():
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-c", BUFFERED, "noted"], stdout=subprocess.PIPE, stderr=full, text=True, timeout=60
        )
    assert (result.returncode, result.stdout) == (0, "the work is done\n")


@pytest.mark.parametrize("name", ["quiet", "hidden", "absent"])
def test_the_same_commands_with_room(name):
    result = subprocess.run([sys.executable, "-c", BUFFERED, name], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (1 if name == "absent" else 0, "")
    assert result.stdout


def test_a_sign_that_the_encoding_lacks_is_no_traceback():
    result = subprocess.run(
        [*OMAP, "plan", "--capacity", "1000"], capture_output=True, env={"PYTHONIOENCODING": "ascii"}, timeout=60
    )
    assert result.returncode == 0, result.stderr


def test_outside_of_the_block_all_is_as_before(capfd):
    before = sys.stdout, sys.stderr
    with guarded():
        print("within")
    assert (sys.stdout, sys.stderr) == before
    print("after")
    sys.stdout.flush()
    assert capfd.readouterr().out.endswith("after\n")
