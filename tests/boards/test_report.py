# amaranth: UnusedElaboratable=no
"""The table of boards/README.md: complete, within the budgets, and true for a small block."""

import math
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from boards import report
from boards.commands import command
from boards.targets import TARGETS
from omap.errors import ParamsError
from omap.presets import preset
from rtl.rings.csr import Csr
from rtl.synth.netlist import U55C, Area
from rtl.synth.report import AROUND_SHARE, LEVEL_BUDGET, choose, read_table
from tests.support.rtl.synthesis import TOLERANCE

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "boards" / "README.md").read_text("utf-8")
TEXT = " ".join(DOCUMENT.split())
AREAS = read_table(DOCUMENT)
ENGINE = (ROOT / "docs" / "hardware" / "synthesis.md").read_text("utf-8")
PAPER = preset("PAPER")


def test_the_table_is_complete_and_within_the_budgets():
    assert list(AREAS) == report.names(PAPER)
    assert max(area.levels for area in AREAS.values()) <= LEVEL_BUDGET
    for target in TARGETS:
        rest = AREAS[report.around(target)]
        assert rest.lut < AROUND_SHARE * U55C.lut
        assert rest.bram < AROUND_SHARE * U55C.bram
        assert report.shares(target, AREAS[target]) in DOCUMENT


def test_tops_are_the_engine_and_what_is_around_it():
    engine = read_table(ENGINE)[report.ENGINE]
    assert AREAS[report.ENGINE] == engine, "out of date: omap board report --update boards/README.md"
    for target in TARGETS:
        rest = AREAS[report.around(target)]
        assert AREAS[target] == engine + rest
        assert (AREAS[target].lut, AREAS[target].ff) == (engine.lut + rest.lut, engine.ff + rest.ff)


def test_nothing_is_lost_where_the_engine_is_left_out():
    """What is around it would vanish if the black box did not use it."""
    parts = {"u55c_vitis": ["entropy"], "u55c_direct": ["link", "gate", "clear", "entropy"]}
    for target, names in parts.items():
        for resource in ("lut", "ff"):
            whole = getattr(AREAS[report.around(target)], resource)
            assert whole >= 0.95 * sum(getattr(AREAS[name], resource) for name in names)


def test_the_text_names_the_longest_paths():
    parts = {name: area for name, area in read_table(ENGINE).items() if name != report.ENGINE}
    longest = sorted(parts, key=lambda name: -parts[name].levels)[:2]
    assert "`{}` ({} levels) and `{}` ({})".format(*(x for n in longest for x in (n, parts[n].levels))) in TEXT
    most = max(area.levels for name, area in AREAS.items() if name not in (report.ENGINE, *TARGETS))
    assert re.search(rf"what the boards add has {most}\b", TEXT)
    assert f"{AREAS[report.ENGINE].levels} of them in the 4 ns of a cycle" in TEXT


def test_the_table_is_true_for_a_small_block():
    found, documented = report.parts(PAPER)["gate"](), AREAS["gate"]
    assert math.isclose(found.lut, documented.lut, rel_tol=TOLERANCE)
    assert math.isclose(found.ff, documented.ff, rel_tol=TOLERANCE)
    assert (found.bram, found.uram, found.dsp) == (documented.bram, documented.uram, documented.dsp)
    assert abs(found.levels - documented.levels) <= 1


def test_a_box_has_the_ports_of_what_it_replaces():
    csr = Csr(PAPER, hbm_private=True, attested=False, hardware=True)
    box = report.Box("box", csr)
    assert box.signature == csr.signature
    names = re.findall(r"(?:input|output) (?:\[\d+:0\] )?\\(\w+) ;", box.stub)
    assert {"clk", "rst", "s_axi_control__araddr", "s_axi_control__rdata"} <= set(names)
    assert re.search(r"output (\[\d+:0\] )?\\s_axi_control__rdata ;", box.stub)
    assert re.search(r"input (\[\d+:0\] )?\\s_axi_control__araddr ;", box.stub)


def test_unknown_names_are_refused():
    with pytest.raises(ParamsError, match=r"no part is called 'cpu'; there are link, .*u55c_direct around the engine"):
        choose(report.parts(PAPER), ["cpu"], "part")


def run(*arguments):
    return CliRunner().invoke(command, ["report", *map(str, arguments)], catch_exceptions=False)


def test_the_command_updates_a_document(tmp_path, monkeypatch):
    rest = Area(10, 20, 0.5, 0, 0, 9)
    monkeypatch.setattr(report, "synthesise", lambda component, boxes=None: rest)
    document, engine = tmp_path / "README.md", tmp_path / "engine.md"
    empty = "<!-- synthesis table -->\n{}<!-- end of synthesis table -->\n"
    head = "| block | LUT | FF | BRAM | URAM | DSP | levels | share of LUTs |\n"
    document.write_text("before\n" + empty.format("") + "after\n")
    engine.write_text(empty.format(head + "| engine | 1,000 | 2,000 | 28 | 7 | 12 | 8 | 0.08 % |\n"))
    arguments = ("--engine", engine, "--update", document)
    assert run("gate", *arguments).exit_code == 0
    assert list(read_table(document.read_text())) == ["gate", "engine"]
    assert run("u55c_direct around the engine", *arguments).exit_code == 0
    found = read_table(document.read_text())
    assert list(found) == ["gate", "u55c_direct around the engine", "engine", "u55c_direct"]
    assert found["u55c_direct"] == Area(1010, 2020, 28.5, 7, 12, 9)
    assert "`u55c_direct` takes 0.08 % LUT, 0.08 % FF, 1.41 % BRAM, 0.73 % URAM, 0.13 % DSP" in document.read_text()
    assert document.read_text().startswith("before\n")
    assert document.read_text().endswith("after\n")


def test_without_the_engines_row_the_command_says_how_to_get_one(tmp_path):
    engine = tmp_path / "engine.md"
    engine.write_text("nothing")
    result = CliRunner().invoke(command, ["report", "gate", "--engine", str(engine)])
    assert result.exit_code != 0
    assert "omap rtl report --update" in str(result.exception)
