# amaranth: UnusedElaboratable=no
"""The blocks of the boards as Verilog without a warning, and within the budget of the timing."""

import pytest

from boards.gateware.clear import Clear
from boards.gateware.entropy import Conditioner
from boards.targets import TARGETS
from omap.presets import preset
from rtl.synth.netlist import synthesise
from rtl.synth.report import LEVEL_BUDGET
from rtl.synth.verilog import to_verilog
from tests.support.rtl.synthesis import lint

BLOCKS = {
    "clear": lambda: Clear(2, 1 << 29, first=3),
    "conditioner": Conditioner,
    "link": TARGETS["u55c_direct"].blocks(preset("PAPER"))["link"],
}


@pytest.mark.parametrize("name", BLOCKS)
def test_the_verilog_has_no_warning(tmp_path, name):
    (tmp_path / "block.v").write_text(to_verilog(BLOCKS[name](), "block"))
    assert lint(tmp_path / "block.v", "block") == []


@pytest.mark.parametrize("name", BLOCKS)
def test_paths_are_short(name):
    assert synthesise(BLOCKS[name]()).levels <= LEVEL_BUDGET
