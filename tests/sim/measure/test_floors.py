# amaranth: UnusedElaboratable=no
"""The page about busy blocks: its numbers are those that were counted, and its probes are there in an engine."""

from fractions import Fraction
from pathlib import Path

import pytest

from omap.presets import preset
from rtl.config import EngineConfig
from rtl.engine import Engine
from sim.bench.verilog import simulation_verilog
from sim.cache import kept_text
from sim.measure import floors
from sim.measure.floors import BEGIN, FLOWS, LEVELS, PROBES, Busy, main, rooms, section
from sim.measure.probes import Count, Flow, Machine, Modules
from sim.measure.timeline import END, with_section
from tests.support.rtl.engines import TIGHT

CONFIG = EngineConfig(params=preset("PAPER"), lanes=2, interval=Fraction(37, 4))
PAGE = Path(__file__).resolve().parents[3] / "docs" / "performance.md"


def test_a_page_has_the_shares_and_what_an_operation_takes():
    counts = dict.fromkeys(PROBES, Count(0, 0)) | {
        FLOWS[0]: Count(500, 200),
        LEVELS[0]: Count(50_000, 81),
        Machine("core.a: fsm_state", "core.a", "fsm_state", "1'h0"): Count(400),
        Machine("core.b: fsm_state", "core.b", "fsm_state", "1'h0"): Count(900),
        Machine("core.rests: fsm_state", "core.rests", "fsm_state", "1'h0"): Count(10),
    }
    text = section("PAPER", "A host", Busy(CONFIG, 100, 1000, 9.876, 3, counts))
    assert "one every 9.88 cycles, 3 of their events late" in text
    assert "lanes 2" in text
    assert "interval 37/4" in text
    assert f"| {FLOWS[0].name} | 50 | 2.00 | 5.00 | 3.00 |" in text
    assert f"| {LEVELS[0].name} | 50.0 | 81 | {CONFIG.in_flight} |" in text
    assert text.index("| `core.b: fsm_state` | 90 | 9.00 |") < text.index("| `core.a: fsm_state` | 40 | 4.00 |")
    assert "core.rests" not in text


def test_everything_that_holds_things_has_room():
    assert list(rooms(CONFIG)) == [level.name for level in LEVELS]
    assert min(rooms(CONFIG).values()) > 0


def test_the_page_has_a_place_for_what_is_found():
    page = PAGE.read_text("utf-8")
    assert with_section(page, "found\n", BEGIN).endswith(f"{BEGIN}\nfound\n{END}\n")
    with pytest.raises(SystemExit, match="the document has no part that begins with <!-- busy"):
        with_section("nothing", "found", BEGIN)


def test_a_document_without_a_place_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(floors, "measure", lambda *its: pytest.fail("something was measured"))
    document = tmp_path / "other.md"
    document.write_text("something else\n")
    with pytest.raises(SystemExit, match="the document has no part"):
        main(["--shape", "PAPER", "--update", str(document)])
    assert document.read_text() == "something else\n"


def test_an_engine_has_all_that_is_counted():
    modules = Modules(kept_text(Engine(TIGHT), simulation_verilog))
    for probe in PROBES:
        for signal in (probe.valid, probe.ready) if isinstance(probe, Flow) else (probe.signal,):
            modules.find(probe.block, signal)
    assert len(modules.machines()) > 20
