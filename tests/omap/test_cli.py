"""The command `omap` itself: subcommands that load late, errors of one line, exit codes."""

import json
import subprocess
import sys
from importlib import metadata

import click
import pytest
from click.testing import CliRunner

from omap import cli
from omap.errors import InputError


@pytest.fixture
def run():
    return lambda *arguments: CliRunner().invoke(cli.main, arguments)


@pytest.fixture
def plug_in(monkeypatch):
    """Register one more subcommand."""

    def register(name, value):
        entry_points = metadata.entry_points
        extra = metadata.EntryPoint(name, value, cli.COMMANDS)

        def with_extra(**selection):
            found = entry_points(**selection)
            wanted = extra.matches(**selection)
            return metadata.EntryPoints([*found, extra]) if wanted else found

        monkeypatch.setattr(cli.metadata, "entry_points", with_extra)

    return register


def test_every_registered_command_is_listed_and_has_help(run):
    listed = run("--help").output
    for entry_point in metadata.entry_points(group=cli.COMMANDS):
        assert f"\n  {entry_point.name} " in listed
        assert run(entry_point.name, "--help").exit_code == 0


def test_a_command_is_not_loaded_before_it_is_wanted():
    script = (
        "import sys; from omap.cli import main; main(['version'], standalone_mode=False); "
        "print(sorted({'numba', 'omap.audit', 'omap.demo', 'rich', 'matplotlib'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"


def test_version(run):
    versions = json.loads(run("version", "--json").output)
    assert versions["omap-fpga"] == metadata.version("omap-fpga")
    assert versions["numpy"] == metadata.version("numpy")
    text = run("version").output
    assert all(name in text for name in versions)


def test_an_absent_dependency_is_shown_as_such(run, monkeypatch):
    monkeypatch.setattr("omap.commands.version.DEPENDENCIES", ("no-such-distribution",))
    assert "no-such-distribution  not installed" in run("version").output


def test_an_error_made_on_purpose_is_one_line_and_exit_code_2(run, plug_in, monkeypatch):
    @click.command()
    def broken():
        raise InputError("the table is upside down: turn it round")

    monkeypatch.setattr("omap.commands.version.broken", broken, raising=False)
    plug_in("broken", "omap.commands.version:broken")
    result = run("broken")
    assert result.exit_code == 2
    assert result.stderr == "omap: the table is upside down: turn it round\n"
    assert result.stdout == ""


def test_too_little_memory_is_one_line(run, plug_in, monkeypatch):
    @click.command()
    def greedy():
        raise MemoryError("Unable to allocate 4.00 TiB")

    monkeypatch.setattr("omap.commands.version.greedy", greedy, raising=False)
    plug_in("greedy", "omap.commands.version:greedy")
    result = run("greedy")
    assert result.exit_code == 2
    assert result.stderr == "omap: this machine has too little memory: Unable to allocate 4.00 TiB; ask for less\n"


def test_ctrl_c_has_an_exit_code_of_its_own(run, plug_in, monkeypatch):
    @click.command()
    def endless():
        raise KeyboardInterrupt

    monkeypatch.setattr("omap.commands.version.endless", endless, raising=False)
    plug_in("endless", "omap.commands.version:endless")
    result = run("endless")
    assert (result.exit_code, result.stderr) == (130, "\nomap: interrupted\n")


def test_other_errors_keep_their_traceback(run, plug_in, monkeypatch):
    @click.command()
    def broken():
        raise ZeroDivisionError

    monkeypatch.setattr("omap.commands.version.broken", broken, raising=False)
    plug_in("broken", "omap.commands.version:broken")
    assert isinstance(run("broken").exception, ZeroDivisionError)


@pytest.mark.parametrize("arguments", [(), ("--rows", "3"), ("--help",)])
def test_a_command_without_its_extra_is_listed_and_says_what_to_install(run, plug_in, monkeypatch, arguments):
    monkeypatch.setitem(sys.modules, "numba", None)  # as if it were not installed
    plug_in("fast", "numba:jit")
    assert "fast" in run("--help").output
    result = run("fast", *arguments)
    assert result.exit_code == 2
    how = "run `pip install -e '.[bounds]'` in the project's folder"
    assert result.stderr == f"omap: this needs numba, which is not installed: {how}\n"


def test_an_extra_that_is_missed_only_when_the_command_runs_is_named_too(run, plug_in, monkeypatch):
    @click.command()
    def late():
        import airportsdata  # noqa: F401

    monkeypatch.setitem(sys.modules, "airportsdata", None)
    monkeypatch.setattr("omap.commands.version.late", late, raising=False)
    plug_in("late", "omap.commands.version:late")
    result = run("late")
    assert result.exit_code == 2
    assert "pip install -e '.[demo]'" in result.stderr


def test_a_broken_plug_in_does_not_take_the_others_down(run, plug_in):
    plug_in("alien", "no_such_module_anywhere:command")
    listed = run("--help")
    assert listed.exit_code == 0
    assert "alien" in listed.output
    result = run("alien")
    assert result.exit_code == 2
    assert "no_such_module_anywhere can't be loaded" in result.stderr


def test_an_entry_point_that_is_no_command_is_refused(run, plug_in):
    plug_in("alien", "json:dumps")
    assert "json:dumps is not a click command" in run("alien").stderr


def test_an_unknown_command_is_refused(run):
    result = run("no-such-command")
    assert result.exit_code == 2
    assert "No such command" in result.stderr


def test_extras_are_found_by_import_name():
    assert cli.extra_of("numba.core") == "bounds"
    assert cli.extra_of("airportsdata") == "demo"
    assert cli.extra_of("json") is None
    assert cli.extra_of("numpy") is None, "not an extra: always installed"
