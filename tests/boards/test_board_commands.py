"""`omap board`: what a user sees of build folders, their checks and the vendor's tools."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from boards.check import checks
from boards.check.noise import SIMULATOR
from boards.folder import disk as folder
from boards.folder import manifest, steps
from boards.targets import TARGETS
from boards.u55c_direct.files import KEY_VARIABLE
from boards.u55c_vitis.files import TEMPORARY
from omap.board import BOARDS
from omap.cli import main
from omap.presets import preset
from omap.units import format_bytes
from omap.wire import BufferLayout
from tests.support.boards.folders import KEY, change, key_file, plan, use_hollow
from tests.support.rtl.engines import TIGHT

BDF = "0000:3b:00.1"


@pytest.fixture(autouse=True)
def hollow(monkeypatch):
    use_hollow(monkeypatch)


@pytest.fixture
def params_file(tmp_path):
    path = tmp_path / "params.json"
    path.write_text(json.dumps(TIGHT.params.to_dict()))
    return path


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Stand-ins for the vendor's tools, which write down what they are called with; none is on PATH until added."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for variable in TARGETS["u55c_direct"].environment(plan("u55c_direct")):
        monkeypatch.delenv(variable.name, raising=False)
    monkeypatch.setenv("PATH", f"{bin_folder}{os.pathsep}/usr/bin{os.pathsep}/bin")

    def add(name, *makes, code=0, says="hello"):
        made = "".join(f"mkdir -p $(dirname {file}); echo made > {file}\n" for file in makes)
        path = bin_folder / name
        log = tmp_path / "calls.txt"
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {log}\necho "{name} says {says}"\n{made}exit {code}\n')
        path.chmod(0o755)
        return log

    return add


def bitstream_key(folder):
    path = folder / "card.nky"
    path.write_text("Device xcu55c;\n")
    return path


def run(*arguments):
    return CliRunner().invoke(main, ["board", *map(str, arguments)])


def built(tmp_path, target, *options):
    """Build a folder without running anything and return it."""
    out = tmp_path / target
    params = tmp_path / "params.json"
    params.write_text(json.dumps(TIGHT.params.to_dict()))
    result = run("build", target, "--params", params, "--out", out, "--no-run", *options)
    assert result.exit_code == 0, result.output
    return out


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


@pytest.mark.parametrize("target", TARGETS)
def test_a_folder_as_built_passes_and_every_check_has_its_line(tmp_path, target):
    out = built(tmp_path, target, "--key-file", key_file(tmp_path))
    result = run("check", out)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert len(lines) == len(checks.CHECKS)
    assert all(line.startswith("ok ") for line in lines)


def failed(out):
    """Return the failing checks of a folder and their problems."""
    result = run("check", out)
    assert result.exit_code == 2
    assert "checks of" in result.output
    lines = result.output.splitlines()
    names = [line.split()[1].rstrip(":") for line in lines if line.startswith("FAIL")]
    return names, [line.strip() for line in lines if line.startswith("        ")]


def test_a_file_that_changed_is_noticed_and_so_is_one_that_came_or_went(tmp_path):
    out = built(tmp_path, "u55c_vitis")
    (out / "omap_noise.v").write_text((out / "omap_noise.v").read_text() + "// mine\n")
    (out / "Makefile").unlink()
    (out / "extra.v").touch()
    names, problems = failed(out)
    assert names == ["files"]
    assert problems[0].startswith("Makefile can't be read")
    assert problems[1].startswith("omap_noise.v is not the file that was built")
    assert problems[2].startswith("extra.v is not in the manifest")


@pytest.mark.sec_cm("BUILD.NOISE.RINGS")
@pytest.mark.parametrize("target", TARGETS)
def test_noise_that_is_none_is_noticed(tmp_path, target):
    out = built(tmp_path, target)
    change(out, "omap_noise.v", "`ifndef SYNTHESIS", "`ifndef OTHER")
    assert failed(out) == (
        ["noise"],
        ["omap_noise.v is something else than ring oscillators if XILINX_SIMULATOR is set, for synthesis too"],
    )


@pytest.mark.sec_cm("BUILD.NOISE.RINGS")
def test_nothing_in_a_folder_sets_the_macro_of_the_simulator(tmp_path):
    out = built(tmp_path, "u55c_vitis", "--key-file", key_file(tmp_path))
    top, define = out / "omap_kernel.v", f"`define {SIMULATOR}\n"
    change(out, top.name, top.read_text(), define + top.read_text())
    secret = out / folder.SECRET
    secret.write_text(define + secret.read_text())
    setting = f"set_property verilog_define {SIMULATOR} [current_fileset]\n"
    change(out, "package.tcl", "set_property top ", f"{setting}set_property top ")
    names, problems = failed(out)
    assert names == ["scripts", "noise"]
    named = [problem.partition(" names ")[0] for problem in problems if f" names {SIMULATOR}" in problem]
    assert named == [top.name, "package.tcl", folder.SECRET]
    assert any("no property verilog_define" in problem for problem in problems)


def test_a_port_that_is_gone_is_noticed(tmp_path):
    out = built(tmp_path, "u55c_vitis")
    top = out / "omap_kernel.v"
    text = top.read_text()
    head = text.index("module omap_kernel(")
    body = text[head:].replace("m_axi_host_AWLEN, ", "", 1).replace("  output [7:0] m_axi_host_AWLEN;\n", "", 1)
    change(out, "omap_kernel.v", text[head:], body)
    names, problems = failed(out)
    assert "ports" in names
    assert "files" not in names
    assert "port m_axi_host_AWLEN is missing" in problems


def test_a_register_that_was_renamed_in_the_script_is_noticed(tmp_path):
    out = built(tmp_path, "u55c_vitis")
    change(out, "package.tcl", "    ring_entries 0x01c", "    ring_records 0x01c")
    names, problems = failed(out)
    assert names == ["scripts"]
    assert any("ring_records" in problem for problem in problems)


def test_an_offset_that_moved_in_the_script_is_noticed(tmp_path):
    out = built(tmp_path, "u55c_vitis")
    change(out, "package.tcl", "    request 0x024", "    request 0x028")
    names, problems = failed(out)
    assert names == ["scripts"]
    assert any("0x28" in problem or "0x028" in problem for problem in problems), problems


def test_an_offset_that_moved_in_the_verilog_is_noticed(tmp_path):
    out = built(tmp_path, "u55c_direct")
    text = (out / "omap_u55c_direct.v").read_text()
    change(out, "omap_u55c_direct.v", text, text.replace(" == 10'h007", " == 10'h00c"))
    names, problems = failed(out)
    assert names == ["answers"]
    assert any("the word at 0x1c, RING_ENTRIES" in problem for problem in problems)


def test_registers_that_moved_in_manifest_or_readme_are_noticed(tmp_path):
    out = built(tmp_path, "u55c_direct")
    change(out, "README.md", "| `0x48` | `MODE` |", "| `0x54` | `MODE` |")
    described = json.loads((out / manifest.NAME).read_text())
    described["registers"][0]["name"] = "CONTROL"
    (out / manifest.NAME).write_text(json.dumps(described))
    names, problems = failed(out)
    assert names == ["registers"]
    assert "README.md has MODE at 0x54, it is at 0x48" in problems
    assert "the manifest has a register CONTROL, which is none" in problems


@pytest.mark.sec_cm("BUILD.HBM.PROVEN")
def test_a_path_from_the_bar_to_hbm_is_noticed(tmp_path):
    out = built(tmp_path, "u55c_direct")
    text = (out / "omap_u55c_direct.v").read_text()
    hbm = text[text.index("\n  omap_hbm hbm (") :]
    tapped = hbm.replace(".AXI_03_ARADDR(AXI_03_ARADDR)", ".AXI_03_ARADDR(AXI_03_ARADDR | s_axi_bar_ARADDR[33:0])", 1)
    change(out, "omap_u55c_direct.v", hbm, tapped)
    names, problems = failed(out)
    assert names == ["paths"]
    assert "the register BAR reaches hbm.AXI_03_ARADDR" in problems


def test_claims_that_are_not_those_of_the_target_are_noticed(tmp_path):
    out = built(tmp_path, "u55c_vitis")
    described = json.loads((out / manifest.NAME).read_text())
    described["claims"]["hbm_private"] = True
    (out / manifest.NAME).write_text(json.dumps(described))
    names, problems = failed(out)
    assert names == ["claims"]
    assert any("hbm_private" in problem for problem in problems)


def test_claims_that_are_not_those_of_the_verilog_are_noticed(tmp_path):
    out = built(tmp_path, "u55c_direct")
    described = json.loads((out / manifest.NAME).read_text())
    described["claims"]["attested"] = True
    described["identity"]["MODE"] |= 2
    (out / manifest.NAME).write_text(json.dumps(described))
    names, problems = failed(out)
    assert "answers" in names
    assert any("MODE" in problem for problem in problems)


@pytest.mark.sec_cm("BUILD.KEY.OWNER")
def test_a_key_that_others_can_read_or_that_lies_about_is_noticed(tmp_path):
    out = built(tmp_path, "u55c_vitis", "--key-file", key_file(tmp_path))
    secret = out / folder.SECRET
    secret.chmod(0o644)
    names, problems = failed(out)
    assert names == ["secret"]
    assert "has mode 0644" in problems[0]
    secret.chmod(0o600)
    text = (out / "omap_noise.v").read_text()
    change(out, "omap_noise.v", text, text + secret.read_text())
    names, problems = failed(out)
    assert names == ["secret"]
    assert problems == [f"omap_noise.v holds a module omap_root_key: the root key belongs into {folder.SECRET} alone"]


def test_what_is_no_build_folder_is_refused(tmp_path):
    result = run("check", tmp_path)
    assert result.exit_code == 2
    assert "is no build folder" in result.output


WAYS = pytest.mark.parametrize(
    ("target", "options"), [("u55c_vitis", ()), ("u55c_direct", ()), ("u55c_direct", ("--volatile",))]
)


def with_products(tmp_path, target, *options):
    """Build a folder in which everything is that the vendor's tools make."""
    out = built(tmp_path, target, *options)
    (out / folder.OUT).mkdir()
    for name in TARGETS[target].build_steps(plan(target))[-1].makes:
        (out / name).touch()
    return out


@WAYS
def test_flash_without_tools_says_what_to_run(tmp_path, tools, target, options):
    out = built(tmp_path, target)
    (out / folder.OUT).mkdir()
    for name in TARGETS[target].build_steps(plan(target))[-1].makes:
        early = run("flash", out, *options)
        assert early.exit_code == 2
        assert f"{out / name} is not there" in early.output
        (out / name).touch()
    result = run("flash", out, "--device", BDF, *options)
    assert result.exit_code == 0, result.output
    wanted = TARGETS[target].flash_steps(plan(target), BDF, volatile=bool(options))
    for step in (*wanted, TARGETS[target].serve_step(plan(target), BDF)):
        assert f"  {step.shown}\n" in result.output
    assert f"To run in {out}" in result.output


@WAYS
def test_flash_with_tools_runs_them_but_for_what_root_must_do(tmp_path, tools, target, options):
    out = with_products(tmp_path, target)
    wanted = TARGETS[target].flash_steps(plan(target), BDF, volatile=bool(options))
    for step in wanted:
        if not step.root:
            log = tools(step.command[0])
    result = run("flash", out, "--device", BDF, "--yes", *options)
    assert result.exit_code == 0, result.output
    assert log.read_text().splitlines() == [step.shown for step in wanted if not step.root]
    for step in wanted:
        if step.root:
            assert f"as root:\n  {step.shown}" in result.output


def test_the_flash_is_what_is_written_unless_it_is_not_wanted():
    lasting, volatile = (
        " ".join(step.shown for step in TARGETS["u55c_direct"].flash_steps(plan("u55c_direct"), BDF, volatile=way))
        for way in (False, True)
    )
    assert "-source flash.tcl" in lasting
    assert "-source load.tcl" in volatile
    assert "poweroff" in lasting  # a restart alone would not have the card boot
    assert "poweroff" not in volatile


@pytest.mark.parametrize(("answer", "written"), [("y\n", True), ("n\n", False), ("", False)])
def test_before_the_flash_is_written_it_asks(tmp_path, tools, answer, written):
    out = with_products(tmp_path, "u55c_direct", "--plain")
    log = tools("vivado")
    result = CliRunner().invoke(main, ["board", "flash", str(out)], input=answer)
    assert "Write the flash? [y/N]" in result.output
    assert "stays: the card boots it from then on" in result.output
    assert "whoever reads the flash has the root key" in result.output  # it is plain
    assert log.exists() == written
    assert (result.exit_code == 0) == written


def test_only_what_lasts_is_asked_for_and_warned_of(tmp_path, tools):
    out = with_products(tmp_path, "u55c_direct")
    assert "root key" not in run("flash", out, "--no-run").output
    log = tools("vivado")
    result = run("flash", out, "--volatile")
    assert result.exit_code == 0
    assert "?" not in result.output
    assert "stays" not in result.output
    assert log.exists()


def test_under_the_shell_nothing_is_written_into_a_flash(tmp_path):
    result = run("flash", with_products(tmp_path, "u55c_vitis"), "--volatile")
    assert result.exit_code == 2
    assert "XRT loads the program, until power goes" in result.output


def test_what_comes_after_a_step_of_root_s_waits_for_it(tmp_path, tools):
    out, log = with_products(tmp_path, "u55c_vitis"), tools("xrt-smi")
    asked = ["board", "flash", str(out), "--device", BDF]
    for answer in ("n\n", ""):
        result = CliRunner().invoke(main, asked, input=answer)
        assert "Is that done? [y/N]" in result.output
        assert result.exit_code
        assert not log.exists()
    assert CliRunner().invoke(main, asked, input="y\n").exit_code == 0
    assert "xrt-smi program" in log.read_text()


def test_no_card_is_no_place_to_load_into(tmp_path, tools):
    out, log = with_products(tmp_path, "u55c_vitis"), tools("xrt-smi")
    told = run("flash", out, "--yes")
    assert told.exit_code == 0
    assert "--device is not given" in told.output
    refused = run("flash", out, "--yes", "--run")
    assert refused.exit_code == 2
    assert "--device is not given" in refused.output
    assert not log.exists()


def test_logs_of_the_build_are_kept(tmp_path, tools):
    out = with_products(tmp_path, "u55c_direct")
    built_log = out / folder.OUT / "1-vivado.log"
    built_log.write_text("of the build")
    tools("vivado")
    assert run("flash", out, "--yes").exit_code == 0
    assert built_log.read_text() == "of the build"


@pytest.mark.sec_cm("BUILD.OUT.OWNER")
def test_a_folder_that_was_open_is_closed_before_a_tool_runs(tmp_path, tools):
    out = with_products(tmp_path, "u55c_direct")
    (out / folder.OUT).chmod(0o755)
    tools("vivado")
    assert run("flash", out, "--yes").exit_code == 0
    assert stat.S_IMODE((out / folder.OUT).stat().st_mode) == 0o700


def test_the_older_name_of_a_tool_will_do(tmp_path, tools):
    out = built(tmp_path, "u55c_vitis")
    (out / folder.OUT).mkdir()
    (out / folder.OUT / "omap_kernel.xclbin").touch()
    log = tools("xbutil")
    assert run("flash", out, "--device", BDF, "--yes").exit_code == 0
    assert f"xbutil program --device {BDF} --user out/omap_kernel.xclbin" in log.read_text()


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
