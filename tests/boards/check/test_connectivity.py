"""No path between the register BAR and HBM: the check passes on the direct target, and fails on what is not so."""

import re
from dataclasses import replace

import pytest

from boards.check import connectivity
from boards.targets import TARGETS
from boards.u55c_direct.paths import GIVES, REACHES, SHOWS, TAKES
from boards.u55c_direct.paths import design as rules
from omap.errors import InputError
from tests.support.boards.hollow import hollow_verilog
from tests.support.boards.top_run import top_verilog, whole_verilog
from tests.support.rtl.engines import TIGHT

CHANNELS = sum(TARGETS["u55c_direct"].config(TIGHT.params).channels.values())
"""Of the hollow card, whose interval is its own."""

RULES, WHOLE = rules(CHANNELS), rules(sum(TIGHT.channels.values()))


def check(verilog, design=RULES):
    return connectivity.check(verilog, design)


@pytest.fixture(scope="module")
def design():
    return hollow_verilog("u55c_direct")


@pytest.fixture(scope="module")
def report(design):
    return check(design)


@pytest.mark.sec_cm("BOARD.HBM.UNREACHABLE")
def test_the_direct_target_has_no_path(report):
    assert report.findings == []


@pytest.mark.sec_cm("BUILD.HBM.PROVEN")
def test_nor_has_one_with_a_real_engine():
    """The generator gives other names to the ports of modules with something inside."""
    assert check(whole_verilog("u55c_direct", TIGHT), WHOLE).findings == []


@pytest.mark.long
@pytest.mark.sec_cm("BUILD.HBM.PROVEN")
def test_nor_has_the_one_of_a_build():
    assert check(top_verilog("u55c_direct", TIGHT, built=True), WHOLE).findings == []


@pytest.mark.sec_cm("BOARD.ENTROPY.CHECKED")
def test_broken_noise_reaches_the_faults(report):
    assert "card.core.entropy.failed" in report.ends[SHOWS]


@pytest.mark.parametrize(("lists", "ends"), [(TAKES, REACHES), (GIVES, SHOWS)])
def test_everything_listed_is_there(report, lists, ends):
    """A list with more than there is would let more through some day."""
    patterns = [pattern for patterns in lists.values() for pattern in patterns]
    assert [p for p in patterns if not any(re.fullmatch(p, end) for end in report.ends[ends])] == []


def changed(design, block, old, new):
    """Return the design with one place changed, between ``block`` and the end of that statement or module."""
    start = design.index(block)
    end = min(design.index(ending, start) for ending in ("\n  );\n", "\nendmodule\n"))
    if old == block:
        end = start + len(block)
    assert design.count(old, start, end) == 1, f"{old} is there {design.count(old, start, end)} times"
    return design[:start] + design[start:end].replace(old, new) + design[end:]


HBM, PCIE = "  omap_hbm hbm (", "  omap_pcie pcie ("
MUTANTS = {
    "the BAR's address is that of an HBM port": (
        ".AXI_03_ARADDR(AXI_03_ARADDR)",
        ".AXI_03_ARADDR({ 22'h0, s_axi_bar_AWADDR })",
        "the register BAR reaches hbm.AXI_03_ARADDR",
    ),
    "what the BAR is asked goes to HBM beside the engine": (
        ".AXI_00_WDATA(AXI_00_WDATA)",
        ".AXI_00_WDATA(m_axis_cq_tvalid ? m_axis_cq_tdata[255:0] : AXI_00_WDATA)",
        "the register BAR reaches hbm.AXI_00_WDATA",
    ),
    "one bit of a handshake, through a register": (
        ".AXI_01_AWVALID(AXI_01_AWVALID)",
        ".AXI_01_AWVALID(AXI_01_AWVALID | late)",
        "the register BAR reaches hbm.AXI_01_AWVALID",
    ),
    "HBM answers the BAR": (
        ".s_axis_cc_tuser(s_axis_cc_tuser)",
        ".s_axis_cc_tuser(s_axis_cc_tuser | AXI_02_RDATA[80:0])",
        "the register BAR shows hbm.AXI_02_RDATA",
    ),
    "the BAR is a way to host memory": (
        ".s_axis_rq_tdata(s_axis_rq_tdata)",
        ".s_axis_rq_tdata(s_axis_rq_tdata | m_axis_cq_tdata)",
        "the register BAR reaches pcie.s_axis_rq_tdata",
    ),
    "the BAR shows host memory": (
        ".s_axis_cc_tdata(s_axis_cc_tdata)",
        ".s_axis_cc_tdata(s_axis_cc_tdata | m_axis_rc_tdata)",
        "what host memory has answered reaches pcie.s_axis_cc_tdata",
    ),
    "a block that nobody knows listens": (
        HBM,
        "  spy spy_i (.heard(m_axis_cq_tdata));\n" + HBM,
        "the register BAR reaches spy_i.heard",
    ),
    "a block that nobody knows listens to host memory": (
        HBM,
        "  spy spy_i (.heard(m_axis_rc_tdata));\n" + HBM,
        "what host memory has answered reaches spy_i.heard",
    ),
    "HBM is written to host memory": (
        ".s_axis_rq_tdata(s_axis_rq_tdata)",
        ".s_axis_rq_tdata(s_axis_rq_tdata | {AXI_00_RDATA, AXI_00_RDATA})",
        "host memory is asked hbm.AXI_00_RDATA",
    ),
    "HBM shows in the sequence of requests": (
        ".s_axis_rq_tvalid(s_axis_rq_tvalid)",
        ".s_axis_rq_tvalid(s_axis_rq_tvalid ^ AXI_02_RDATA[63])",
        "what HBM port 2 has read reaches pcie.s_axis_rq_tvalid",
    ),
    "HBM shows in the card's serial number": (
        ".cfg_dsn(64'h0000000000000000)",
        ".cfg_dsn(AXI_02_RDATA[63:0])",
        "the PCIe core is told hbm.AXI_02_RDATA",
    ),
    "the host writes into the configuration through the BAR": (
        ".cfg_mgmt_write(1'h0)",
        ".cfg_mgmt_write(m_axis_cq_tvalid)",
        "the PCIe core is told pcie.m_axis_cq_tvalid",
    ),
    "a block that nobody knows listens to HBM": (
        HBM,
        "  spy spy_i (.heard({AXI_01_RDATA, AXI_01_RDATA}));\n" + HBM,
        "what HBM port 1 has read reaches spy_i.heard",
    ),
    "two channels are exchanged": (
        ".AXI_04_WDATA(AXI_04_WDATA)",
        ".AXI_04_WDATA(AXI_05_WDATA)",
        "HBM port 4 depends on card.core.engine.core.m_axi_hbm__5__wdata",
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_path_is_found(design, name):
    old, new, finding = MUTANTS[name]
    mutant = changed(design, PCIE if re.match(r"\.(s_axis|cfg)_", old) else HBM, old, new)
    if "late" in new:
        register = "  reg late;\n  always @(posedge card_sync_clk) late <= s_axi_bar_AWVALID;\n"
        mutant = changed(mutant, HBM, HBM, register + HBM)
    if "spy" in new:
        mutant += "module spy(heard);\n  input [511:0] heard;\nendmodule\n"
    assert finding in check(mutant).findings


def test_hbm_data_in_a_register_are_found(design):
    """Read data ORed into what FAULT shows: deep inside, behind the gate and the registers."""
    start = design.index("module \\omap_u55c_direct.card.core.engine (")
    end = design.index("endmodule", start)
    engine, count = re.subn(r"= page_fault \?", "= (page_fault | m_axi_hbm__0__rdata[7]) ?", design[start:end])
    assert count == 1
    findings = check(design[:start] + engine + design[end:]).findings
    assert "the register BAR shows hbm.AXI_00_RDATA" in findings


MEMORY = """module top();
  wire clk;
  wire [1:0] wrote, read;
  wire [3:0] at;
  blk blk_i (.clk(clk), .wrote_0(wrote[0]), .wrote_1(wrote[1]), .at(at), .read_0(read[0]), .read_1(read[1]));
  reg [1:0] words [15:0];
  reg [1:0] shown;
  assign read = shown;
  always @(posedge clk) begin
    words[at] <= wrote;
    shown <= words[at];
  end
endmodule
"""


@pytest.mark.parametrize(
    ("start", "ends"), [("wrote_1", ["blk_i.read_1"]), ("at", ["blk_i.read_0", "blk_i.read_1"]), ("clk", [])]
)
def test_paths_lead_through_memories(start, ends):
    """Bit by bit for what is written, from an address to every bit, and from no clock."""
    ways = {"clk": "output", "wrote_0": "output", "wrote_1": "output", "at": "output"}
    ports = {name: (way, 4 if name == "at" else 1) for name, way in ways.items()}
    ports |= {"read_0": ("input", 1), "read_1": ("input", 1)}
    rule = connectivity.Rule("reaches {}", rf"blk_i\.{start}", ("output",), False, {})
    found = connectivity.check(MEMORY, connectivity.Design("top", ("",), {"blk": ports}, (rule,)))
    assert found.ends["reaches {}"] == ends


def test_a_module_in_a_place_that_is_not_followed_is_no_way_around(design):
    fewer = replace(RULES, followed=tuple(place for place in RULES.followed if place != "card.gate"))
    assert any("card.gate" in finding for finding in connectivity.check(design, fewer).findings)


@pytest.mark.sec_cm("BUILD.HBM.PROVEN")
def test_no_channel_goes_unwatched(design):
    """A top with a channel that its map does not have is no top of this map, and one without a channel lacks it."""
    with pytest.raises(InputError, match="omap_hbm has no port"):
        connectivity.check(design, rules(CHANNELS - 1))
    with pytest.raises(InputError, match=rf"omap_u55c_direct has no hbm.*AXI_{CHANNELS:02d}"):
        connectivity.check(design, rules(CHANNELS + 1))


def test_another_design_is_refused(design):
    with pytest.raises(InputError, match="has no module omap_u55c_direct"):
        check("module other(a);\n  input a;\nendmodule\n")
    bare = design.replace("omap_pcie pcie (", "omap_pcie other (")
    with pytest.raises(InputError, match=r"has no pcie.*this is no top of this target"):
        check(bare)
