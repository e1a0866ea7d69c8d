"""The source of noise is ring oscillators for whoever synthesises it, and what is none is noticed."""

import os
import re
import subprocess

import pytest

from boards.check.noise import SIMULATOR, problems, rings
from boards.gateware.entropy import MODULE, SOURCES, Entropy
from omap.errors import InputError
from rtl.synth.verilog import to_verilog
from sim.bench import toolchain
from tests.support.boards.noise import SOURCE, known_noise

RINGS = SOURCE.read_text()
LUTS = """
module LUT1 #(parameter [1:0] INIT = 0) (input I0, output O); assign O = INIT[I0]; endmodule
module LUT2 #(parameter [3:0] INIT = 0) (input I0, input I1, output O);
wire [1:0] at = {I1, I0};
assign O = INIT[at];
endmodule
"""


def lint(folder, top, *files, allow=()):
    root = toolchain.verilator_root()
    for file in files:
        (folder / file[0]).write_text(file[1])
    command = [root / "bin" / "verilator_bin", "--lint-only", "-Wall", "-Wno-DECLFILENAME", "-Wno-PROCASSINIT", *allow]
    done = subprocess.run(
        [*command, "--language", "1364-2005", "--top-module", top, *(name for name, _ in files)],
        cwd=folder,
        env=os.environ | {"VERILATOR_ROOT": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("%")]


def test_the_verilog_is_clean(tmp_path):
    design_text = to_verilog(Entropy(), "omap_entropy")
    assert re.findall(r"INDEX\(32'd(\d+)\)", design_text) == ["0", "1", "2", "3"]
    found = lint(tmp_path, MODULE, (f"{MODULE}.v", known_noise()))
    assert found == []
    files = (f"{MODULE}.v", RINGS), ("luts.v", LUTS)
    assert lint(tmp_path, MODULE, *files, allow=["-Wno-UNOPTFLAT"]) == []
    assert any("UNOPTFLAT" in line for line in lint(tmp_path, MODULE, *files))  # there are loops


def test_the_rings_are_rings():
    """Each is a loop with an odd number of inversions, one of which the first clock releases."""
    lengths = []
    for index in range(SOURCES):
        found = rings(RINGS, index)
        for ring in found:
            assert sorted(ring) == [("LUT1", 0b01)] * (len(ring) - 1) + [("LUT2", 0b0111)]
            assert len(ring) % 2
        lengths += map(len, found)
    assert len(lengths) == 4 * SOURCES
    assert len(set(lengths)) == len(lengths)  # no ring has the length of another, in its source or beside it


def test_what_synthesis_reads_is_the_rings_and_nothing_else():
    """The file without the stand-in and its conditions."""
    alone, count = re.subn(r"(?s)^`ifndef XILINX_SIMULATOR\n(.*?)^`else$.*", r"\1", RINGS, flags=re.MULTILINE)
    assert count == 1
    assert "`" not in alone
    assert alone.count(f"module {MODULE} ") == 1
    assert [rings(alone, index) for index in range(4)] == [rings(RINGS, index) for index in range(4)]


def test_the_stand_in_is_no_ring_oscillator():
    alone = RINGS[RINGS.rindex(f"module {MODULE} ") : RINGS.rindex("endmodule")] + "endmodule\n"
    assert "state[63]" in alone
    for text in (alone, f"module {MODULE}(i_clk, o_bit); input i_clk; output o_bit; endmodule\n"):
        assert any("can be known beforehand" in problem for problem in problems(text))


NO_RINGS = {
    "the stand-in is what is synthesised": (
        "`ifndef XILINX_SIMULATOR",
        "`ifdef XILINX_SIMULATOR",
        "no source of noise",
    ),
    "and so it is without its guard": (
        "`ifndef SYNTHESIS",
        "`ifndef NEVER",
        f"if {SIMULATOR} is set, for synthesis too",
    ),
    "a ring is cut": (".I0(ring[STAGES-1])", ".I0(i_clk)", "samples a LUT that is in no ring"),
    "a ring stands still": ("STAGES = 5 +", "STAGES = 6 +", "an even number of inversions"),
    "neighbours share three of four lengths": ("2 * RINGS * number", "2 * number", "rings of the same length"),
    "two rings of a source are alike": ("2 * RINGS * number", "2 * RINGS * (number / 2)", "rings of the same length"),
    "no ring is sampled": ("first <= ring[STAGES-1]", "first <= run", "rings that nothing samples"),
    "a LUT is left over": ("first <= ring[STAGES-1]", "first <= number == 2 ? run : ring[STAGES-1]", "LUTs in no ring"),
    "a sample that may be neither 0 nor 1": ("second <= first;", "second <= run;", "no second register behind it"),
}


@pytest.mark.parametrize("name", NO_RINGS)
def test_what_is_no_ring_oscillator_is_noticed(name):
    old, new, said = NO_RINGS[name]
    assert RINGS.count(old) == 1
    text = RINGS.replace(old, new)
    try:
        found = problems(text)
    except InputError as error:
        found = (str(error),)
    assert any(said in problem for problem in found), found
