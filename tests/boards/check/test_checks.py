"""`omap board check`: a folder as built passes, and what is wrong with a folder is told."""

import json

import pytest

from boards.check import checks
from boards.check.noise import SIMULATOR
from boards.folder import disk as folder
from boards.folder import manifest
from boards.targets import TARGETS
from tests.support.boards.commands import built, run
from tests.support.boards.folders import change, key_file

pytestmark = pytest.mark.usefixtures("hollow")


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
    change(out, "package.tcl", "    ring_lines 0x01c", "    ring_records 0x01c")
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
    assert any("the word at 0x1c, RING_LINES" in problem for problem in problems)


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
