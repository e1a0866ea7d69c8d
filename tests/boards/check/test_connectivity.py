"""No path between the register BAR and HBM: the check passes on the direct target, and fails on what is not so."""

import re
from dataclasses import replace

import pytest

from boards.check import connectivity
from boards.u55c_direct.paths import GIVES, REACHES, SHOWS, TAKES
from boards.u55c_direct.paths import design as rules
from omap.errors import InputError
from tests.support.boards.hollow import hollow_verilog
from tests.support.boards.top_run import top_verilog
from tests.support.rtl.engines import TIGHT

CHANNELS = sum(TIGHT.channels.values())
RULES = rules(CHANNELS)


def check(verilog):
    return connectivity.check(verilog, RULES)


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
    assert check(top_verilog("u55c_direct", TIGHT, built=True)).findings == []


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
        ".AXI_03_ARADDR(s_axi_bar_ARADDR[33:0])",
        "the register BAR reaches hbm.AXI_03_ARADDR",
    ),
    "the BAR writes to HBM beside the engine": (
        ".AXI_00_WDATA(AXI_00_WDATA)",
        ".AXI_00_WDATA(s_axi_bar_WVALID ? s_axi_bar_WDATA[255:0] : AXI_00_WDATA)",
        "the register BAR reaches hbm.AXI_00_WDATA",
    ),
    "one bit of a handshake, through a register": (
        ".AXI_01_AWVALID(AXI_01_AWVALID)",
        ".AXI_01_AWVALID(AXI_01_AWVALID | late)",
        "the register BAR reaches hbm.AXI_01_AWVALID",
    ),
    "HBM answers the BAR": (
        ".m_axib_rid(s_axi_bar_RID)",
        ".m_axib_rid(s_axi_bar_RID | AXI_02_RDATA[3:0])",
        "the register BAR shows hbm.AXI_02_RDATA",
    ),
    "the BAR is a way to host memory": (
        ".s_axib_araddr(m_axi_host_ARADDR)",
        ".s_axib_araddr(m_axi_host_ARADDR | s_axi_bar_ARADDR)",
        "the register BAR reaches pcie.s_axib_araddr",
    ),
    "a block that nobody knows listens": (
        HBM,
        "  spy spy_i (.heard(s_axi_bar_WDATA));\n" + HBM,
        "the register BAR reaches spy_i.heard",
    ),
    "HBM is written to host memory": (
        ".s_axib_wdata(m_axi_host_WDATA)",
        ".s_axib_wdata(m_axi_host_WDATA | {AXI_00_RDATA, AXI_00_RDATA})",
        "host memory is told hbm.AXI_00_RDATA",
    ),
    "HBM shows in the addresses in host memory": (
        ".s_axib_awaddr(m_axi_host_AWADDR)",
        ".s_axib_awaddr(m_axi_host_AWADDR ^ AXI_02_RDATA[63:0])",
        "what HBM port 2 has read reaches pcie.s_axib_awaddr",
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
    mutant = changed(design, PCIE if "axib" in old else HBM, old, new)
    if "late" in new:
        register = "  reg late;\n  always @(posedge axi_aclk) late <= s_axi_bar_AWVALID;\n"
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


def test_a_module_in_a_place_that_is_not_followed_is_no_way_around(design):
    fewer = replace(RULES, followed=tuple(place for place in RULES.followed if place != "card.bar"))
    assert any("card.bar" in finding for finding in connectivity.check(design, fewer).findings)


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
