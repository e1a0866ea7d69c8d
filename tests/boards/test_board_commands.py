"""`omap board list` and `build`: what a user sees of targets, build folders and the vendor's tools."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from boards.folder import disk as folder
from boards.folder import manifest, steps
from boards.targets import TARGETS
from boards.u55c_direct.files import KEY_VARIABLE
from boards.u55c_vitis.files import TEMPORARY
from omap.board import BOARDS
from omap.presets import preset
from omap.units import format_bytes
from omap.wire import BufferLayout
from rtl.synth.generate import JOURNAL
from tests.support.boards.commands import run
from tests.support.boards.folders import KEY, key_file, plan

pytestmark = pytest.mark.usefixtures("hollow")


def bitstream_key(folder):
    path = folder / "card.nky"
    path.write_text("Device xcu55c;\n")
    return path


def test_list_says_what_a_target_claims():
    lines, window = run("list").output.splitlines(), format_bytes(BOARDS["u55c"].host_window_bytes)
    assert len(lines) == len(TARGETS)
    for line, target in zip(lines, TARGETS.values(), strict=True):
        assert line.startswith(f"{target.name} ")
        assert ("private" in line) == target.hbm_private
        assert (f"at most {window} of pages" in line) == (not target.hbm_private)


@pytest.mark.parametrize("target", TARGETS)
def test_without_tools_it_says_what_to_run_and_where(tmp_path, params_file, tools, target):
    out = tmp_path / "out"
    result = run("build", target, "--params", params_file, "--out", out)
    assert result.exit_code == 0, result.output
    assert f"{out} is written" in result.output
    assert "not on PATH" in result.output
    assert steps.no_key() in result.output
    assert f"To run in {out}, on a machine with the vendor's tools:" in result.output
    for step in TARGETS[target].build_steps(plan(target)):
        assert f"  {step.shown}\n" in result.output
    assert not (out / folder.OUT).exists()
    insisted = run("build", target, "--params", params_file, "--out", out, "--run")
    assert insisted.exit_code == 2
    assert "not on PATH" in insisted.output


@pytest.mark.parametrize("target", TARGETS)
def test_with_tools_and_a_key_it_runs_them(tmp_path, params_file, tools, target, monkeypatch):
    wanted = TARGETS[target].build_steps(plan(target))
    for variable in TARGETS[target].environment(plan(target)):
        monkeypatch.setenv(variable.name, str(bitstream_key(tmp_path)))
    for step in wanted:
        log = tools(step.command[0], *step.makes)
    out = tmp_path / "out"
    result = run("build", target, "--params", params_file, "--out", out, "--key-file", key_file(tmp_path))
    assert result.exit_code == 0, result.output
    assert log.read_text().splitlines() == [step.shown for step in wanted]
    for number, step in enumerate(wanted, 1):
        assert f"{step.command[0]} says hello" in result.output
        assert (out / folder.OUT / f"{number}-{step.command[0]}.log").read_text() == f"{step.command[0]} says hello\n"
        assert all((out / product).exists() for product in step.makes)
    assert stat.S_IMODE((out / folder.OUT).stat().st_mode) == 0o700  # a plain bitstream holds the root key
    assert all(TEMPORARY in step.command for step in wanted if step.command[0] == "v++")  # so does this
    assert KEY[::-1].hex() not in result.output
    assert run("check", out).exit_code == 0


@pytest.mark.parametrize("target", TARGETS)
def test_a_card_has_a_journal_unless_it_is_told_otherwise(tmp_path, params_file, target):
    for options, journal in (((), JOURNAL), (("--no-journal",), False), (("--journal",), True)):
        out = tmp_path / "".join(("out", *options))
        result = run("build", target, "--params", params_file, "--out", out, "--no-run", *options)
        assert result.exit_code == 0, result.output
        plan = manifest.plan_of(manifest.read(out), TARGETS)
        assert plan.journal is plan.engine.journal is journal
        assert plan.identity["MODE"] >> 4 == journal
        readme = (out / "README.md").read_text()
        assert f"| journal | {'yes' if journal else 'no'}" in readme
        assert ("--no-journal --key-file" in readme) == (JOURNAL and not journal)
        flashed = run("flash", out, "--device", "1", "--no-run").output
        for text in (readme, flashed):
            (serve,) = [line for line in text.splitlines() if "omap serve --backend" in line]
            assert serve.endswith(" --data-dir ../data") == journal


def test_without_a_key_tools_are_not_run(tmp_path, params_file, tools):
    log = tools("vivado")
    result = run("build", "u55c_direct", "--params", params_file, "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert steps.no_key() in result.output
    insisted = run("build", "u55c_direct", "--params", params_file, "--out", tmp_path / "out", "--run")
    assert insisted.exit_code == 2
    assert "--key-file" in insisted.output
    assert not log.exists()


def test_without_the_key_of_the_bitstream_tools_are_not_run(tmp_path, params_file, tools):
    log = tools("vivado", *TARGETS["u55c_direct"].build_steps(plan("u55c_direct"))[0].makes)
    arguments = ("build", "u55c_direct", "--params", params_file, "--key-file", key_file(tmp_path))
    result = run(*arguments, "--out", tmp_path / "sealed")
    assert result.exit_code == 0
    assert f"{KEY_VARIABLE} is not set: it names the .nky file" in result.output
    assert not log.exists()
    assert f"export {KEY_VARIABLE}=" in (tmp_path / "sealed" / "README.md").read_text()
    result = run(*arguments, "--out", tmp_path / "plain", "--plain")
    assert result.exit_code == 0
    assert log.exists()
    assert KEY_VARIABLE not in (tmp_path / "plain" / "README.md").read_text()


def test_the_key_of_the_bitstream_is_named_as_its_user_sees_it(tmp_path, params_file, tools, monkeypatch):
    """The tools run in another folder."""
    log = tools("vivado", *TARGETS["u55c_direct"].build_steps(plan("u55c_direct"))[0].makes, says=f"${KEY_VARIABLE}")
    arguments = ("build", "u55c_direct", "--params", params_file, "--key-file", key_file(tmp_path))
    (tmp_path / "keys").mkdir()
    monkeypatch.chdir(tmp_path / "keys")
    monkeypatch.setenv(KEY_VARIABLE, "card.nky")
    result = run(*arguments, "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert f"there is no file {tmp_path / 'keys' / 'card.nky'}, as {KEY_VARIABLE} has it" in result.output
    assert not log.exists()
    assert run(*arguments, "--out", tmp_path / "out", "--run").exit_code == 2
    key = bitstream_key(tmp_path / "keys")
    result = run(*arguments, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert f"vivado says {key}\n" in result.output


@pytest.mark.parametrize(
    ("code", "said"), [(3, "failed with exit code 3"), (0, "ended without an error, but made no out/omap_kernel.xo")]
)
def test_a_tool_that_fails_is_an_error_that_names_its_log(tmp_path, params_file, tools, code, said):
    tools("vivado", code=code)
    tools("v++")
    out = tmp_path / "out"
    result = run("build", "u55c_vitis", "--params", params_file, "--out", out, "--key-file", key_file(tmp_path))
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert str(out / folder.OUT / "1-vivado.log") in result.output
    assert "v++ says" not in result.output


def test_presets_and_their_refusals(tmp_path, params_file):
    assert "give one of them" in run("build", "u55c_vitis", "--preset", "TINY", "--params", params_file).output
    assert "no preset is called" in run("build", "u55c_vitis", "--preset", "NONE", "--out", tmp_path / "x").output
    assert "its host loads the program" in run("build", "u55c_vitis", "--attested").output
    assert run("build", "u99").exit_code == 2
    needed = format_bytes(BufferLayout.largest(preset("U55C")).size)
    message = f"take up to {needed} of host memory, and u55c_vitis reaches 16.00 GiB of it through HOST[0]"
    refused = run("build", "u55c_vitis", "--preset", "U55C", "--out", tmp_path / "x")
    assert refused.exit_code == 2
    assert message in refused.output
    assert "take a target without a shell (u55c_direct)" in refused.output
    assert not (tmp_path / "x").exists()


def test_without_amaranth_it_says_what_to_install(tmp_path):
    (tmp_path / "amaranth.py").write_text("raise ModuleNotFoundError(name='amaranth')")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    script = "from omap.cli import main; main(['board', 'list'])"
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 2
    assert "needs amaranth" in done.stderr
    assert "rtl" in done.stderr


def test_the_host_s_extras_are_not_needed():
    script = (
        "import sys, boards.commands; print('hiredis' in sys.modules, 'sim' in sys.modules, 'cocotb' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"] * 3


@pytest.mark.long
@pytest.mark.parametrize("target", TARGETS)
def test_a_real_engine_for_paper(tmp_path, target, monkeypatch):
    monkeypatch.undo()
    out = tmp_path / target
    result = run("build", target, "--preset", "PAPER", "--out", out, "--no-run", "--key-file", key_file(tmp_path))
    assert result.exit_code == 0, result.output
    assert run("check", out).exit_code == 0
    assert stat.S_IMODE((out / folder.SECRET).stat().st_mode) == 0o600
    assert Path(out / "README.md").read_text().count("```sh") >= 4
