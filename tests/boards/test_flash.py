"""`omap board flash`: what is run, what is told, and what is asked before."""

import stat

import pytest

from boards.folder import disk as folder
from boards.targets import TARGETS
from tests.support.boards.commands import built, run
from tests.support.boards.folders import plan

pytestmark = pytest.mark.usefixtures("hollow")

BDF = "0000:3b:00.1"

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
    result = run("flash", out, answers=answer)
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
    asked = ("flash", out, "--device", BDF)
    for answer in ("n\n", ""):
        result = run(*asked, answers=answer)
        assert "Is that done? [y/N]" in result.output
        assert result.exit_code
        assert not log.exists()
    assert run(*asked, answers="y\n").exit_code == 0
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
