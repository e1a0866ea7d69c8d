"""The scripts and constraints of a build folder for a card without a shell."""

from __future__ import annotations

from boards.folder import disk as folders
from boards.folder import steps
from boards.folder.templates import fill
from boards.gateware import entropy
from boards.target import Plan
from boards.u55c_direct import cores
from omap.board import BOARDS, Board

PACKAGE = "boards.u55c_direct"
BUILD, FLASH, LOAD = "build.tcl", "flash.tcl", "load.tcl"
OPEN_CARD = "open_card.tcl"  # what the latter two begin with
PINS, CONFIG, IMPLEMENTATION = "pins.xdc", "config.xdc", "implementation.xdc"

KEY_VARIABLE = "OMAP_BITSTREAM_KEY"
"""Environment variable that names the file with the bitstream's key."""

POWER_WATTS = 150
"""What the slot and the card's connector give, 75 W each; the tools warn beyond it. Unverified."""

CELLS, CLOCK_PIN = ("link", "card"), "pcie/user_clk"
"""Instances with all our logic, and the pin that drives its clock; see :class:`boards.u55c_direct.top.DirectTop`."""

PCIE_PRIMITIVE = "PCIE4CE4"
FORBIDDEN = (
    "BSCANE2", "ICAPE3", "MASTER_JTAG", "DNA_PORTE2", "EFUSE_USR", "FRAME_ECCE4", "STARTUPE3", "USR_ACCESSE2",
)  # fmt: skip
"""Primitives that lead to configuration, JTAG, fuses or flash (AMD UG974)."""

PORTS = {"pcie_refclk": "pcie_refclk", "hbm_refclk": "hbm_refclk", "perst": "pcie_rst_n", "cattrip": "hbm_cattrip"}
"""Pins of :class:`omap.board.Pins` to ports of the top; pairs end in ``_p`` and ``_n``."""

STANDARDS = {
    "hbm_refclk": "IOSTANDARD LVDS",
    "perst": "IOSTANDARD LVCMOS18 PULLUP TRUE",
    "cattrip": "IOSTANDARD LVCMOS18",
}
"""Properties beside the pin; those of transceivers have none."""


def files(plan: Plan) -> dict[str, str]:
    """Return the files by name."""
    board, top = BOARDS[plan.target.board], plan.target.module
    card = fill(PACKAGE, OPEN_CARD).rstrip("\n")
    return {
        BUILD: build(plan),
        FLASH: fill(PACKAGE, FLASH, open_card=card, out=folders.OUT, top=top, part=board.flash.part),
        LOAD: fill(PACKAGE, LOAD, open_card=card, out=folders.OUT, top=top),
        PINS: pins(board),
        CONFIG: fill(PACKAGE, CONFIG, interface=board.flash.interface, lanes=board.flash.lanes),
        IMPLEMENTATION: fill(PACKAGE, IMPLEMENTATION, cells=" ".join(CELLS), clock_pin=CLOCK_PIN, watts=POWER_WATTS),
        entropy.CONSTRAINTS: entropy.source_text(entropy.CONSTRAINTS),
    }


def build(plan: Plan) -> str:
    """Return the script that makes the bitstream."""
    board, lines = BOARDS[plan.target.board], []
    for name, ((core, version), settings) in cores.cores(board, plan.target.channels(plan.params)).items():
        lines.append(f"    {name} {core} {version} {{")
        lines += [f"        CONFIG.{setting} {value}" for setting, value in settings.items()]
        lines.append("    }")
    return fill(
        PACKAGE,
        BUILD,
        out=folders.OUT,
        part=board.part,
        # SEC_CM: BUILD.BITSTREAM.SEALED -- it holds the root key
        plain=int(not plan.encrypted),
        attested=int(plan.attested),
        secret=folders.SECRET,
        no_key=steps.no_key(),
        environment=KEY_VARIABLE,
        cores="\n".join(lines),
        top=plan.target.module,
        noise=entropy.MODULE,
        # SEC_CM: BUILD.DESIGN.CLOSED -- whatever a core or a tool has added
        forbidden=" ".join(FORBIDDEN),
        pcie_primitive=PCIE_PRIMITIVE,
        mebibytes=board.flash.mebibytes,
        interface=board.flash.interface,
        start=f"{board.flash.start:#010x}",
    )


def pins(board: Board) -> str:
    """Return where the ports of the top are on the package, and what comes in through them."""
    lines = [
        "# Pins of the card, from public constraints; unverified on a card.",
        "# The lanes are where the PCIe core puts its transceivers.",
    ]
    for name, port in PORTS.items():
        where, more = getattr(board.pins, name), STANDARDS.get(name, "")
        pair = zip((f"{port}_p", f"{port}_n"), where, strict=True) if isinstance(where, tuple) else [(port, where)]
        for one, pin in pair:
            lines.append(f"set_property -dict {{{f'PACKAGE_PIN {pin} {more}'.strip()}}} [get_ports {one}]")
    for port, hertz in (("pcie_refclk", board.pcie_refclk_hz), ("hbm_refclk", board.hbm_refclk_hz)):
        lines.append(f"create_clock -period {1e9 / hertz:.3f} -name {port} [get_ports {port}_p]")
    lines += [
        "set_false_path -from [get_ports pcie_rst_n]",
        "set_false_path -to [get_ports hbm_cattrip]",
        "",
    ]
    return "\n".join(lines)
