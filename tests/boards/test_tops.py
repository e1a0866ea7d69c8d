# amaranth: UnusedElaboratable=no
"""The tops as Verilog: ports, ties, lint; and what no board is built with."""

import re
from dataclasses import replace

import pytest

from boards.gateware import root_key
from boards.gateware.core import check_config
from boards.gateware.ports import stub
from boards.targets import TARGETS
from boards.u55c_direct import vendor
from boards.u55c_direct.top import DirectCard
from boards.u55c_vitis.top import VitisKernel
from omap.errors import InputError, ParamsError
from omap.regmap import BY_NAME, HBM_POINTERS, REGISTER_BYTES, hbm_pointer
from rtl.constants import PSEUDO_CHANNELS
from tests.support.boards.hollow import box_stubs, hollow_verilog
from tests.support.boards.top_run import KEY, models, top_verilog, whole_verilog
from tests.support.rtl.engines import TIGHT
from tests.support.rtl.synthesis import lint

CHANNELS = sum(TARGETS["u55c_direct"].config(TIGHT.params).channels.values())
"""Of the hollow tops, whose interval is their own."""


@pytest.fixture(scope="module", params=TARGETS)
def target(request):
    return TARGETS[request.param]


@pytest.fixture(scope="module")
def verilog(target):
    return hollow_verilog(target.name)


def vendor_stubs(channels=CHANNELS):
    return "\n".join(stub(name, ports) for name, ports in vendor.blocks(channels).items())


def ports_in(verilog, module):
    """Return the ports of a module as its Verilog declares them."""
    start = verilog.index(f"module {module}(")
    body = verilog[start : verilog.index("endmodule", start)]
    found = re.findall(r"^  (input|output) (?:\[(\d+):0\] )?(\w+);$", body, re.MULTILINE)
    return {name: (way, int(high or 0) + 1) for way, high, name in found}


def test_the_ports_are_those_of_the_table(target, verilog):
    assert ports_in(verilog, target.module) == target.ports(TIGHT.params)


def test_the_small_parts_pass_lint(target, verilog, tmp_path):
    (tmp_path / "top.v").write_text("\n".join([verilog, models(), box_stubs(), vendor_stubs()]))
    assert lint(tmp_path / "top.v", target.module) == []


@pytest.mark.parametrize("built", [False, pytest.param(True, marks=pytest.mark.long)])
def test_the_whole_passes_lint(target, built, tmp_path):
    """Engine and all: the Verilog that other tests run, so that whoever comes first makes it, or that of a build."""
    text = top_verilog(target.name, TIGHT, built=True) if built else whole_verilog(target.name, TIGHT)
    (tmp_path / "top.v").write_text(
        text + models() + (vendor_stubs(sum(TIGHT.channels.values())) if target.hbm_private else "")
    )
    assert lint(tmp_path / "top.v", target.module) == []


def test_the_kernel_has_the_ports_that_the_linker_wants():
    ports = TARGETS["u55c_vitis"].ports(TIGHT.params)
    masters = ["m_axi_host", *(f"m_axi_hbm{channel:02d}" for channel in range(CHANNELS))]
    assert {name.rpartition("_")[0] for name in ports} - {"ap", "ap_rst"} == {"s_axi_control", *masters}
    assert ports["ap_clk"] == ports["ap_rst_n"] == ("input", 1)
    for master in masters:
        for way in "WR":
            assert ports[f"{master}_A{way}ADDR"] == ("output", 64)
            assert ports[f"{master}_A{way}LEN"] == ("output", 8)
            assert ports[f"{master}_A{way}CACHE"] == ("output", 4)
        assert ports[f"{master}_WDATA"] == ("output", 512 if master == "m_axi_host" else 256)
        assert ports[f"{master}_RVALID"] == ("input", 1)
    assert ports["s_axi_control_AWADDR"] == ("input", 12)
    assert ports["s_axi_control_RDATA"] == ("output", 32)


def test_the_ties_of_the_kernel():
    verilog = hollow_verilog("u55c_vitis")
    for way in "WR":
        for name, value in {"LOCK": "1'h0", "CACHE": "4'h3", "PROT": "3'h0", "QOS": "4'h0"}.items():
            assert f"  assign m_axi_hbm06_A{way}{name} = {value};" in verilog
    # AXI3 lengths have 4 bits, HBM's addresses 34: above them are zeros
    assert re.search(r"^  assign m_axi_hbm06_AWADDR = \{ 30'h00000000, \w+ \};$", verilog, re.MULTILINE)
    assert re.search(r"^  assign m_axi_hbm06_AWLEN = \{ 4'h0, \w+ \};$", verilog, re.MULTILINE)


def test_every_input_of_the_vendors_blocks_is_driven():
    """An open input takes what the tools make of it."""
    verilog = hollow_verilog("u55c_direct")
    for name, ports in vendor.blocks(CHANNELS).items():
        start = verilog.index(f"  {name} ")
        wired = dict(
            re.findall(r"^    \.(\w+)\((.*?) ?\),?$", verilog[start : verilog.index(");\n", start)], re.MULTILINE)
        )
        for port, (way, _) in ports.items():
            if way == "input":
                assert wired.get(port), f"{name}.{port}"


def test_unused_axi_ports_of_hbm_are_not_there():
    few = vendor.hbm_ports(5)
    assert {name[:6] for name in few if name.startswith("AXI_")} == {f"AXI_{channel:02d}" for channel in range(5)}
    assert "HBM_REF_CLK_1" not in few
    assert "HBM_REF_CLK_1" in vendor.hbm_ports(17)


@pytest.mark.parametrize("make", [VitisKernel, DirectCard, check_config])
def test_an_engine_whose_times_tell_is_refused(make):
    with pytest.raises(ParamsError, match="insecure_unpaced is set"):
        make(replace(TIGHT, insecure_unpaced=True))


def test_a_shell_is_not_attested():
    with pytest.raises(ParamsError, match="u55c_vitis can't be attested"):
        TARGETS["u55c_vitis"].top(TIGHT.params, attested=True)


def test_the_root_key_is_a_constant():
    text = root_key.verilog(KEY)
    assert int(re.search(r"256'h([0-9a-f]{64});", text)[1], 16).to_bytes(32, "little") == KEY
    with pytest.raises(InputError, match="a root key has 32 bytes; 31 came"):
        root_key.verilog(KEY[1:])


def test_pointers_of_ports_are_no_registers():
    offsets = [hbm_pointer(port) for port in range(PSEUDO_CHANNELS)]
    assert offsets[0] == HBM_POINTERS >= REGISTER_BYTES
    assert not {at + half for at in offsets for half in (0, 4)} & {register.offset for register in BY_NAME.values()}
    assert offsets == sorted(set(offsets))
    assert offsets[-1] + 8 <= 1 << 12
