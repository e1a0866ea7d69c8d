"""The scripts of both targets pass their checks; no line of them can go, and none of what follows goes unnoticed."""

import functools
import re
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from boards.target import Plan, Target
from boards.targets import TARGETS
from boards.tcl.interpreter import ScriptStoppedError
from boards.u55c_direct import checks, cores
from boards.u55c_direct import files as direct_files
from boards.u55c_vitis import kernel
from omap.board import BOARDS
from omap.regmap import BY_NAME, hbm_pointer
from tests.support.rtl.engines import TIGHT

SLOW = settings(max_examples=15, suppress_health_check=list(HealthCheck))
TOPS = {
    "omap_kernel.v": "module omap_kernel(ap_clk);\nendmodule\n",
    "omap_noise.v": "",
    "omap_u55c_direct.v": (
        "module omap_u55c_direct(a);\n  \\omap_u55c_direct.card  card (\n  );\n"
        "  \\omap_u55c_direct.link  link (\n  );\n  omap_pcie pcie (\n  );\nendmodule\n"
    ),
}
VITIS, DIRECT = "u55c_vitis", "u55c_direct"
CHANNELS = sum(TARGETS[DIRECT].config(TIGHT.params).channels.values())

ports_of = functools.cache(Target.ports)  # to make a top takes time


@pytest.fixture(autouse=True)
def ports_once(monkeypatch):
    monkeypatch.setattr(Target, "ports", ports_of)


@functools.cache
def scripts(plan):
    return plan.target.scripts(plan)


def plan(target, **options):
    return Plan(TARGETS[target], TIGHT.params, **options)


def problems(target, changed=None, **options):
    """Return the problems of a folder in which some files have another text."""
    texts = TOPS | scripts(plan(target, **options)) | (changed or {})
    with tempfile.TemporaryDirectory() as folder:
        for name, text in texts.items():
            (Path(folder) / name).write_text(text)
        return TARGETS[target].script_problems(Path(folder), plan(target, **options))


PLANS = [(VITIS, {}), (DIRECT, {}), (DIRECT, {"plain": True}), (DIRECT, {"attested": True})]


@pytest.mark.parametrize(("target", "options"), PLANS)
def test_the_scripts_pass(target, options):
    assert problems(target, **options) == []


HBM, PCIE = "CONFIG.USER_", "CONFIG."
WIDTHS = f"set_msg_config -id {{{checks.WIDTHS_DIFFER}}} -new_severity ERROR\n"
MUTATIONS = [
    # target, file, what stands there, what stands there instead, what is said
    (VITIS, "package.tcl", "hbm_00 0x400 64", "hbm_00 0x404 64", "address_offset of hbm_00 is 0x400, not 0x404"),
    (VITIS, "package.tcl", "ring_lines 0x01c 32", "ring_lines 0x01c 64", "size of ring_lines"),
    (VITIS, "package.tcl", "CTRL 0x000 32", "CTRL 0x000 02", "size of CTRL is 0x20, not 02"),
    (VITIS, "package.tcl", "request 0x024", "request 0x028", "address_offset of request"),
    (VITIS, "package.tcl", "ring_lines 0x01c", "ring_count 0x01c", "no register ring_count"),
    (VITIS, "package.tcl", "    request 0x024 32 {}\n", "", "register request is missing"),
    (VITIS, "package.tcl", "buffer 0x010 64 m_axi_host", "buffer 0x010 64 {}", "buffer has no ASSOCIATED_BUSIF"),
    (VITIS, "package.tcl", "hbm_01 0x40c 64 m_axi_hbm01", "hbm_01 0x40c 64 m_axi_hbm00", "hbm_01 belongs to"),
    (VITIS, "package.tcl", "-busif $name -clock ap_clk", "-busif $name -clock ap_rst_n", "ap_rst_n is no clock"),
    (VITIS, "package.tcl", "-clock ap_clk -reset ap_rst_n", "-clock ap_clk -reset ap_clk", "ap_clk is no reset"),
    (VITIS, "package.tcl", "    m_axi_hbm01 256 64\n", "", "m_axi_hbm01 is associated with no clock"),
    (VITIS, "package.tcl", "m_axi_hbm01 256", "m_axi_hbm77 256", "no bus interface m_axi_hbm77"),
    (VITIS, "package.tcl", "m_axi_hbm01 256", "m_axi_hbm01 512", "DATA_WIDTH of m_axi_hbm01 is 256"),
    (VITIS, "package.tcl", "-ctrl_protocol ap_ctrl_hs", "-ctrl_protocol ap_ctrl_none", "protocol is ap_ctrl_hs"),
    (VITIS, "package.tcl", "-kernel_name omap_kernel", "-kernel_name other", "the kernel is omap_kernel"),
    (VITIS, "package.tcl", "check_integrity -kernel", "check_integrity -xrt", "no option -xrt"),
    (VITIS, "package.tcl", "-taxonomy", "-taxonmy", "no option -taxonmy"),
    (VITIS, "package.tcl", "omap_noise.v]", "noise.v]", "the folder has no file noise.v"),
    (VITIS, "package.tcl", "-part xcu55c-fsvh2892-2L-e", "-part xcu50-fsvh2104-2-e", "is for ['xcu50"),
    (VITIS, "package.tcl", "if {![file exists $key]}", "if {0}", "no file secret/"),
    (VITIS, "link.cfg", "sp=omap_1.m_axi_hbm01:HBM[1]\n", "", "sp=omap_1.m_axi_hbm01:HBM[1] is missing"),
    (VITIS, "link.cfg", "sp=omap_1.m_axi_host:HOST[0]\n", "", "m_axi_host:HOST[0] is missing"),
    (VITIS, "link.cfg", "m_axi_hbm01:HBM[1]", "m_axi_hbm01:HBM[2]", "m_axi_hbm01:HBM[2] is wrong"),
    (VITIS, "link.cfg", "sp=omap_1.m_axi_hbm01:HBM[1]\n", "sp=omap_1.m_axi_hbm01:HBM[1]\n" * 2, "once too often"),
    (VITIS, "link.cfg", "kernel_frequency=0:250\n\n[connectivity]\n", "\n[connectivity]\nkernel_frequency=0:250\n",
     "kernel_frequency=0:250 is missing before the first section"),
    (VITIS, "link.cfg", "nk=omap_kernel", "# nk=omap_kernel", "nk=omap_kernel:1:omap_1 is missing"),
    (VITIS, "hw_emu.sh", "--target hw_emu", "--target hw", "does not link this kernel for emulation"),
    (VITIS, "omap_noise.xdc", "*rings*.ring*", "*ring*", "must not be a loop"),
    (DIRECT, "build.tcl", f"{HBM}XSDB_INTF_EN FALSE", f"{HBM}XSDB_INTF_EN TRUE", "USER_XSDB_INTF_EN of core omap_hbm"),
    (DIRECT, "build.tcl", f"{HBM}APB_EN false", f"{HBM}APB_EN true", "a way in is open"),
    (DIRECT, "build.tcl", f"{HBM}SWITCH_ENABLE_00 FALSE", f"{HBM}SWITCH_ENABLE_00 TRUE", "a way in is open"),
    (DIRECT, "build.tcl", f"{HBM}SAXI_{CHANNELS:02d} false", f"{HBM}SAXI_{CHANNELS:02d} true", "USER_SAXI_"),
    (DIRECT, "build.tcl", f"{HBM}SAXI_00 true", f"{HBM}SAXI_00 false", "USER_SAXI_00"),
    (DIRECT, "build.tcl", f"{HBM}SAXI_00", f"{HBM}SAXI_99", "no property CONFIG.USER_SAXI_99"),
    (DIRECT, "build.tcl", "pcie pcie4c_uscale_plus 1.0", "pcie xdma 4.1", "xdma 4.1 is no core"),
    (DIRECT, "build.tcl", f"{PCIE}cfg_mgmt_if true", f"{PCIE}cfg_mgmt_if false", "cfg_mgmt_if of core omap_pcie"),
    (DIRECT, "build.tcl", "RC_4TLP_STRADDLE false", "RC_4TLP_STRADDLE true", "AXISTEN_IF_EXT_512_RC_4TLP_STRADDLE"),
    (DIRECT, "build.tcl", "LEVEL_RESET_CAPABLE true", "LEVEL_RESET_CAPABLE false", "FUNCTION_LEVEL_RESET_CAPABLE"),
    (DIRECT, "build.tcl", f"{PCIE}mcap_enablement None", f"{PCIE}mcap_enablement Tandem_PCIe", "a way in is open"),
    (DIRECT, "build.tcl", f"{PCIE}enable_jtag_dbg false", f"{PCIE}enable_jtag_dbg true", "a way in is open"),
    (DIRECT, "build.tcl", f"{PCIE}pf0_bar2_enabled false", f"{PCIE}pf0_bar2_enabled true", "pf0_bar2_enabled"),
    (DIRECT, "build.tcl", "\nopt_design", "\ncreate_debug_core hub ila\nopt_design", "create_debug_core"),
    (DIRECT, "build.tcl", "    omap_hbm hbm 1.0", "    omap_ila ila 6.2 {}\n    omap_hbm hbm 1.0", "6.2 is no core"),
    (DIRECT, "build.tcl", "opt_design\nplace_design", "place_design\nopt_design", "opt_design must come before"),
    (DIRECT, "build.tcl", "create_project -in_memory", f"{WIDTHS}create_project -in_memory", "an error inside"),
    (DIRECT, "build.tcl", "opt_design\nplace_design", f"{WIDTHS}opt_design\nplace_design", "synth_design has been"),
    (DIRECT, "build.tcl", "read_xdc [file join $here omap_noise.xdc]\n", "", "reads the constraints"),
    (DIRECT, "build.tcl", "synth_design -top omap_u55c_direct", "synth_design -top top", "the top is omap_u55c_direct"),
    (DIRECT, "build.tcl", "-flatten_hierarchy", "-flatten", "no option -flatten"),
    (DIRECT, "build.tcl", "if {$slack < 0}", "if {$slack < -1}", "in spite of set-up fails"),
    (DIRECT, "build.tcl", "{set-up max hold min}", "{set-up max hold max}", "in spite of hold fails"),
    (DIRECT, "build.tcl", "[get_debug_cores -quiet]", "{}", "in spite of a debug core"),
    (DIRECT, "build.tcl", "BSCANE2 ", "", "in spite of a BSCANE2"),
    (DIRECT, "build.tcl", 'if {$mcap ne "FALSE"}', 'if {$mcap eq "TRUE"}', "in spite of no word of configuration"),
    (DIRECT, "build.tcl", "[string first $here/ $bitstream_key] == 0", "0", "in spite of a key inside the folder"),
    (DIRECT, "build.tcl", "ENCRYPTION.ENCRYPT YES", "ENCRYPTION.ENCRYPT NO", "BITSTREAM.ENCRYPTION.ENCRYPT is NO"),
    (DIRECT, "build.tcl", "ENCRYPTKEYSELECT eFUSE", "ENCRYPTKEYSELECT BBRAM", "ENCRYPTKEYSELECT is BBRAM"),
    (DIRECT, "build.tcl", "set plain 0", "set plain 1", "BITSTREAM.ENCRYPTION.ENCRYPT is None, not YES"),
    (DIRECT, "build.tcl", "set attested 0", "set attested 1", "does not set attested to 0"),
    (DIRECT, "build.tcl", "-in_memory ", "", "root key in files of its own"),
    (DIRECT, "build.tcl", "write_bitstream -force", "write_checkpoint x\nwrite_bitstream -force", "write_checkpoint"),
    (DIRECT, "pins.xdc", "PACKAGE_PIN BE45 ", "", "port hbm_cattrip has no pin"),
    (DIRECT, "pins.xdc", "PACKAGE_PIN BF41", "PACKAGE_PIN BF42", "port pcie_rst_n is on pin BF42"),
    (DIRECT, "pins.xdc", "PACKAGE_PIN BF41", "PACKAGE_PIN BE45", "pin BE45 is"),
    (DIRECT, "pins.xdc", "[get_ports hbm_refclk_n]", "[get_ports hbm_refclk_x]", "no port hbm_refclk_x"),
    (DIRECT, "pins.xdc", "-period 10.000 -name hbm", "-period 5.000 -name hbm", "the clock of hbm_refclk_p"),
    (DIRECT, "config.xdc", "SECURITY LEVEL2", "SECURITY NONE", "BITSTREAM.READBACK.SECURITY is NONE"),
    (DIRECT, "config.xdc", "CONFIGFALLBACK DISABLE", "CONFIGFALLBACK ENABLE", "CONFIGFALLBACK is ENABLE"),
    (DIRECT, "implementation.xdc", "-add SLR0", "-add SLR1", "does not put link and card into SLR0"),
    (DIRECT, "implementation.xdc", "[get_cells {link card}]", "[get_cells cart]", "no cell cart"),
    (DIRECT, "implementation.xdc", "pcie/user_clk", "pcie/usr_clk", "no pin pcie/usr_clk"),
    (DIRECT, "implementation.xdc", "create_pblock card", "if 1 {create_pblock card}", 'invalid command name "if"'),
    (DIRECT, "omap_noise.xdc", "*rings*.first_reg", "*rings*_reg", "wrong about noise/rings[3].second_reg"),
    (DIRECT, "omap_u55c_direct.v", "  card (", "  cart (", "no instance card"),
    (DIRECT, "omap_u55c_direct.v", "  link (", "  lynx (", "no instance link"),
    (DIRECT, "implementation.xdc", "{link card}", "card", "does not put link and card into SLR0"),
    (DIRECT, "build.tcl", "up 0x01002000", "up 0x00000000", "not out/omap_u55c_direct.mcs of"),
    (DIRECT, "build.tcl", "-size 128", "-size 64", "for the flash, not"),
    (DIRECT, "build.tcl", "-interface SPIx4", "-interface SPIx8", "for the flash, not"),
    (DIRECT, "build.tcl", "omap_u55c_direct.bit]]", "other.bit]]", "an address and a bitstream were expected"),
    (DIRECT, "build.tcl", "-format mcs", "-format bin", "the format mcs was expected"),
    (DIRECT, "build.tcl", "omap_u55c_direct.mcs]", "omap.mcs]", "for the flash, not out/omap_u55c_direct.mcs"),
    (DIRECT, "config.xdc", "CONFIG_MODE SPIx4", "CONFIG_MODE SPIx8", "CONFIG_MODE"),
    (DIRECT, "config.xdc", "SPI_BUSWIDTH 4", "SPI_BUSWIDTH 1", "SPI_BUSWIDTH is 1, not 4"),
    (DIRECT, "load.tcl", "[llength $devices] != 1", "0", "goes on with two cards"),
    (DIRECT, "load.tcl", "![file exists $bitstream]", "0", "without a bitstream"),
    (DIRECT, "load.tcl", "omap_u55c_direct.bit]", "omap.bit]", "there is no bitstream"),
    (DIRECT, "load.tcl", "PROGRAM.FILE ", "PROGRAM.FILES ", "a card has no property PROGRAM.FILES"),
    (DIRECT, "flash.tcl", "[llength $devices] != 1", "0", "goes on with two cards"),
    (DIRECT, "flash.tcl", "[llength $parts] == 0", "0", "with tools that do not know the flash"),
    (DIRECT, "flash.tcl", "![file exists $image]", "0", "without an image"),
    (DIRECT, "build.tcl", "file mkdir [file join $out ip]\n", "", "-dir is out/ip; there is no such folder yet"),
    (DIRECT, "flash.tcl", "get_cfgmem_parts mt25qu01g", "get_cfgmem_parts mt25qu02g", "do not know the flash"),
    (DIRECT, "flash.tcl", "omap_u55c_direct.mcs]", "omap_u55c_direct.bit]", "there is no image"),
    (DIRECT, "flash.tcl", "ADDRESS_RANGE use_file", "ADDRESS_RANGE entire_device", "can't be 'entire_device'"),
    (DIRECT, "flash.tcl", "PROGRAM.VERIFY 1", "PROGRAM.VERIFY 0", "PROGRAM.VERIFY of flash"),
    (DIRECT, "flash.tcl", "PROGRAM.ERASE 1", "PROGRAM.ERASE 0", "PROGRAM.ERASE of flash"),
    (DIRECT, "flash.tcl", "CFGMEM_BITFILE", "CFGMEM_FILE", "the card has no property PROGRAM.HW_CFGMEM_FILE"),
    (DIRECT, "flash.tcl", "program_hw_devices $card\nrefresh_hw_device $card\n",
     "refresh_hw_device $card\nprogram_hw_devices $card\n", "through which its flash is reached"),
    (DIRECT, "flash.tcl", "-disable_done_check ", "", "can't say that it has booted"),
    (DIRECT, "flash.tcl", "boot_hw_device -disable_done_check $card\n", "", "does not have the card boot"),
]  # fmt: skip


@pytest.mark.parametrize(("target", "name", "old", "new", "said"), MUTATIONS)
def test_what_is_wrong_is_told(target, name, old, new, said):
    text = (TOPS | scripts(plan(target)))[name]
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
    found = problems(target, {name: text.replace(old, new)})
    assert any(said in problem for problem in found), found


NEEDLESS = {
    'set bitstream_key ""',  # set again before it is used
    "close_hw_manager",
}


def lines(target):
    """Return file and number of every line that does something."""
    for name, text in scripts(plan(target)).items():
        for number, line in enumerate(text.splitlines()):
            text_of = line.strip()
            if text_of and text_of not in NEEDLESS and not text_of.startswith(("#", "error {the card would claim")):
                yield name, number


@pytest.mark.parametrize("target", [VITIS, DIRECT])
@SLOW
@given(data=st.data())
def test_no_line_can_go(target, data):
    name, number = data.draw(st.sampled_from(list(lines(target))))
    text = scripts(plan(target))[name].splitlines(keepends=True)
    assert problems(target, {name: "".join(text[:number] + text[number + 1 :])}), text[number]


@pytest.mark.parametrize("target", [VITIS, DIRECT])
@SLOW
@given(data=st.data())
def test_no_option_is_taken_that_there_is_not(target, data):
    scripts_of = {name: text for name, text in scripts(plan(target)).items() if name.endswith((".tcl", ".xdc"))}
    name = data.draw(st.sampled_from(sorted(scripts_of)))
    places = [match.end() for match in re.finditer(r"^[^#\n]*? -[a-z_]+(?= )", scripts_of[name], re.MULTILINE)]
    if places:
        at = data.draw(st.sampled_from(places))
        text = scripts_of[name][:at] + "x" + scripts_of[name][at:]
        assert problems(target, {name: text}), text[at - 60 : at + 20]


@SLOW
@given(data=st.data())
def test_no_number_in_the_tables_can_change(data):
    text = scripts(plan(VITIS))["package.tcl"]
    rows = list(re.finditer(r"^    \w+ (?:0x)?([0-9a-f]+) (\d+)", text, re.MULTILINE))
    match, group = data.draw(st.sampled_from(rows)), data.draw(st.sampled_from([1, 2]))
    digit = data.draw(st.integers(match.start(group), match.end(group) - 1))
    other = data.draw(st.sampled_from([d for d in "0123456789" if d != text[digit]]))
    assert problems(VITIS, {"package.tcl": text[:digit] + other + text[digit + 1 :]})


@SLOW
@given(data=st.data())
def test_no_port_of_a_bus_can_be_missing(data):
    ports = dict(ports_of(TARGETS[VITIS], TIGHT.params))
    tied = ("LOCK", "CACHE", "PROT", "QOS")
    name = data.draw(st.sampled_from([name for name in ports if not name.endswith(tied)]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Target, "ports", lambda self, params: {n: p for n, p in ports.items() if n != name})
        try:
            found = problems(VITIS)
        except KeyError as missing:  # the description of the kernel wants it
            found = [str(missing)]
    assert found, name


def test_the_kernel_has_the_registers_of_the_register_map():
    ports = ports_of(TARGETS[VITIS], TIGHT.params)
    found = {register.name: register for register in kernel.registers(ports)}
    assert found["CTRL"].offset == BY_NAME["CTRL"].offset == 0
    assert [(found[name].offset, found[name].bits) for name in ("buffer", "ring_lines", "request")] == [
        (0x10, 64), (0x1C, 32), (0x24, 32),
    ]  # fmt: skip
    pointers = [register for register in kernel.registers(ports) if register.name.startswith("hbm_")]
    assert [register.offset for register in pointers] == [hbm_pointer(channel) for channel in range(CHANNELS)]
    assert list(kernel.masters(ports).values()) == ["HOST[0]", *(f"HBM[{channel}]" for channel in range(CHANNELS))]


def stopped(made, environment):
    """Return whether the build script of a direct target ends without a bitstream."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (TOPS | scripts(plan(DIRECT))).items():
            (Path(folder) / name).write_text(text)
        run = checks.tool(Path(folder), plan(DIRECT), made=made)
        try:
            run.run("build.tcl", environment=environment)
        except ScriptStoppedError:
            return not run.bitstreams
        assert run.things["design:design"].properties.get("bitstream.encryption.encrypt") == "YES"
        return False


@pytest.mark.sec_cm("BUILD.BITSTREAM.SEALED")
def test_without_a_key_there_is_no_bitstream_and_with_one_it_is_encrypted():
    assert stopped(checks.GOOD, {})
    assert not stopped(checks.GOOD, {direct_files.KEY_VARIABLE: checks.KEY})


@pytest.mark.sec_cm("BUILD.DESIGN.CLOSED")
@pytest.mark.parametrize("primitive", ["BSCANE2", "ICAPE3", "DNA_PORTE2", "MASTER_JTAG", "EFUSE_USR", None])
def test_a_way_to_configuration_or_jtag_makes_no_bitstream(primitive):
    found = {"debug_cores": 1} if primitive is None else {"primitives": {**checks.GOOD.primitives, primitive: 1}}
    assert stopped(replace(checks.GOOD, **found), {direct_files.KEY_VARIABLE: checks.KEY})


@pytest.mark.sec_cm("BUILD.CORES.CLOSED")
@pytest.mark.parametrize("channels", [11, 32])
def test_the_cores_have_no_other_ways_in(channels):
    hbm, pcie = cores.hbm(BOARDS["u55c"], channels), cores.pcie(BOARDS["u55c"])
    assert {hbm[name].lower() for name in ("USER_XSDB_INTF_EN", "USER_APB_EN", "USER_DEBUG_EN")} == {"false"}
    assert {hbm[name] for name in hbm if name.startswith("USER_SWITCH_ENABLE")} == {"FALSE"}
    assert pcie["mcap_enablement"] == "None"
    shut = ("enable_jtag_dbg", "enable_ltssm_dbg", "enable_ibert", "ext_startup_primitive", "en_ext_ch_gt_drp",
            "en_pcie_drp", "en_transceiver_status_ports", "ext_pcie_cfg_space_enabled",
            "legacy_ext_pcie_cfg_space_enabled", "pf0_expansion_rom_enabled")  # fmt: skip
    assert {pcie[name].lower() for name in shut} == {"false"}


@pytest.mark.parametrize("channels", range(1, 33))
def test_hbm_has_the_ports_that_are_used_and_no_others(channels):
    found = cores.hbm(BOARDS["u55c"], channels)
    on = [name for name, value in found.items() if name.startswith("USER_SAXI_") and value == "true"]
    assert on == [f"USER_SAXI_{channel:02d}" for channel in range(channels)]
    pairs = [name for name, value in found.items() if name.startswith("USER_MC_ENABLE_") and value == "TRUE"]
    assert len(pairs) == -(-channels // 2)
    assert found["USER_HBM_STACK"] == ("1" if channels <= 16 else "2")
    assert found["USER_HBM_DENSITY"] == ("8GB" if channels <= 16 else "16GB")
    assert found["USER_XSDB_INTF_EN"] == "FALSE"
    assert found["USER_APB_EN"] == "false"


def test_the_pcie_core_has_one_function_with_one_bar():
    found = cores.pcie(BOARDS["u55c"])
    assert [found[f"pf0_bar{bar}_enabled"] for bar in range(6)] == ["true", *["false"] * 5]
    assert (found["TL_PF_ENABLE_REG"], found["SRIOV_CAP_ENABLE"]) == ("1", "false")
    assert (found["PL_LINK_CAP_MAX_LINK_WIDTH"], found["PL_LINK_CAP_MAX_LINK_SPEED"]) == ("X16", "8.0_GT/s")
    assert (found["mcap_enablement"], found["PF0_DEVICE_ID"], found["vendor_id"]) == ("None", "903F", "10EE")


def test_the_pcie_core_is_as_our_end_needs_it():
    """What rtl.pcie takes for granted: no TLP begins in the middle of a beat, and tags are its own."""
    found = cores.pcie(BOARDS["u55c"])
    assert {value for name, value in found.items() if "STRADDLE" in name} == {"false"}
    assert {value for name, value in found.items() if "ALIGNMENT" in name} == {"DWORD_Aligned"}
    for name in ("axisten_if_enable_client_tag", "extended_tag_field", "cfg_mgmt_if", "cfg_ctl_if"):
        assert found[name] == "true"
    assert found["PF0_DEV_CAP_FUNCTION_LEVEL_RESET_CAPABLE"] == "true"
    assert found["pf0_dev_cap_max_payload"] == "1024_bytes"
    assert found["axisten_if_width"] == "512_bit"


@pytest.mark.parametrize("target", [VITIS, DIRECT])
def test_the_scripts_stop_without_a_root_key_and_say_how_it_is_made(target):
    name = "package.tcl" if target == VITIS else "build.tcl"
    text = scripts(plan(target))[name]
    found = problems(target, {name: re.sub(r"\{secret/omap_root_key.v is missing[^}]*\}", "{no}", text)})
    assert any("how a root key is made" in problem for problem in found)


def test_everything_that_must_not_end_in_a_bitstream_is_tried():
    tried = checks.must_stop(plan(DIRECT))
    for primitive in ("BSCANE2", "ICAPE3", "DNA_PORTE2"):
        assert f"a {primitive}" in tried
        assert primitive in direct_files.FORBIDDEN
    assert {"no key for the bitstream", "a key inside the folder", "no root key"} < set(tried)
