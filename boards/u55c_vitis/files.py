"""The scripts of a build folder for the Vitis shell: packaging, linking, and linking for emulation."""

from __future__ import annotations

from collections.abc import Iterable

from boards.folder import disk as folders
from boards.folder import steps
from boards.folder.templates import fill
from boards.gateware import entropy
from boards.gateware.clocks import CLOCK_MHZ
from boards.gateware.ports import Ports
from boards.target import Plan
from boards.u55c_vitis import kernel
from boards.u55c_vitis.top import CLOCK, CONTROL, RESET
from omap.board import BOARDS

PACKAGE, LINK, EMULATE = "package.tcl", "link.cfg", "hw_emu.sh"
VENDOR, LIBRARY = "omap", "kernel"
SLR = "SLR0"
"""Where HBM's ports are."""

TEMPORARY = f"{folders.OUT}/_x"
"""Where the linker unpacks the kernel, root key included (AMD UG1393: the working directory, unless told otherwise)."""


def kernel_object(plan: Plan) -> str:
    """Return the name of the packaged kernel."""
    return f"{folders.OUT}/{plan.target.module}.xo"


def program(plan: Plan) -> str:
    """Return the name of what XRT loads into a card."""
    return f"{folders.OUT}/{plan.target.module}.xclbin"


def emulated_program(plan: Plan) -> str:
    """Return the name of what XRT loads into the emulator."""
    return f"{folders.OUT}/{plan.target.module}.hw_emu.xclbin"


def files(plan: Plan) -> dict[str, str]:
    """Return the files by name."""
    ports = plan.target.ports(plan.params)
    return {
        PACKAGE: package(plan, ports),
        LINK: link(plan, ports),
        EMULATE: emulate(plan),
        entropy.CONSTRAINTS: entropy.source_text(entropy.CONSTRAINTS),
    }


def package(plan: Plan, ports: Ports) -> str:
    """Return the script that makes a kernel of the Verilog."""
    masters = [(name, ports[f"{name}_WDATA"][1], kernel.id_values(ports, name)) for name in kernel.masters(ports)]
    registers = [
        (register.name, f"{register.offset:#05x}", register.bits, register.bus or "{}")
        for register in kernel.registers(ports)
    ]
    return fill(
        "boards.u55c_vitis",
        PACKAGE,
        out=folders.OUT,
        secret=folders.SECRET,
        no_key=steps.no_key(),
        part=BOARDS[plan.target.board].part,
        top=plan.target.module,
        noise=entropy.MODULE,
        vendor=VENDOR,
        library=LIBRARY,
        clock=CLOCK,
        reset=RESET,
        control=CONTROL,
        range=kernel.control_bytes(ports),
        masters=_table(masters),
        registers=_table(registers),
    )


def _table(rows: Iterable[tuple[object, ...]]) -> str:
    return "\n".join("    " + " ".join(map(str, row)) for row in rows)


def link(plan: Plan, ports: Ports) -> str:
    """Return the linker's configuration: which memory each port is connected to, and the clock.

    ``sp`` takes the name of an interface or of an argument: AMD UG1393, *Mapping Kernel Ports to Memory*,
    has "kernel argument (or interface)"; XRT's page on host memory has ``sp=krnl_vadd_1.m_axi_gmem:HOST[0]``, and
    public projects for this card name interfaces for HBM. Each interface here has one argument: both say the same.
    """
    top, instance = plan.target.module, kernel.INSTANCE
    return "\n".join(
        [
            "# How v++ connects the kernel. Written by `omap board build`; unverified with the tools.",
            f"platform={BOARDS[plan.target.board].platform}",
            f"kernel_frequency=0:{CLOCK_MHZ}",
            "",
            "[connectivity]",
            f"nk={top}:1:{instance}",
            f"slr={instance}:{SLR}",
            "# by interface, as UG1393 and XRT's page on host memory have it",
            *(f"sp={instance}.{port}:{memory}" for port, memory in kernel.masters(ports).items()),
            "",
        ]
    )


def emulate(plan: Plan) -> str:
    """Return the script that links for emulation in place of a card."""
    out = folders.OUT
    return "\n".join(
        [
            "#!/bin/sh",
            "# Links the packaged kernel for emulation of the hardware: no card needed, thousands of times slower.",
            "# Written by `omap board build`; unverified with the tools. Afterwards, with XCL_EMULATION_MODE=hw_emu in",
            f"# the environment and {out} as working directory, XRT takes the emulator for a card.",
            "# Its noise is a stand-in: every key made there can be known beforehand.",
            "set -e",
            'cd "$(dirname "$0")"',
            f"v++ --link --target hw_emu --config {LINK} --temp_dir {TEMPORARY} \\",
            f"    --output {emulated_program(plan)} {kernel_object(plan)}",
            f"emconfigutil --platform {BOARDS[plan.target.board].platform} --od {out}",
            "",
        ]
    )
