"""What turns a build folder into a running card: the commands, as data.

README, Makefile and ``omap board`` are made from these, so that they say and do the same. Commands are run in the build
folder. Nothing here was tried with the vendor's tools: unverified on a card.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from importlib import import_module

from boards import folder as folders
from boards.manifest import Plan
from omap.wire import BufferLayout

RING_ENTRIES = 1024
"""What ``omap serve`` takes unless told otherwise."""

PREPARE = f"mkdir -p {folders.OUT}"
"""Comes before the first step; the tools write there."""

DEVICE = "BDF"
"""Stands for the card's PCIe address where none is given."""


@dataclass(frozen=True)
class Step:
    """One command.

    Parameters
    ----------
    title : str
        What it does.
    command : tuple of str
        Program and arguments.
    makes : tuple of str
        Files that are there afterwards, the first of which stands for the step in the Makefile.
    root : bool
        Whether it needs the rights of root. Such a step is told, never run.
    key : bool
        Whether it needs the root key in the folder.
    """

    title: str
    command: tuple[str, ...]
    makes: tuple[str, ...] = ()
    root: bool = False
    key: bool = False

    @property
    def shown(self) -> str:
        """The command as it is typed."""
        return shlex.join(("sudo", *self.command) if self.root else self.command)


def scripts(plan: Plan) -> dict[str, str]:
    """Return the scripts and constraints of a folder by name."""
    made: dict[str, str] = import_module(f"boards.{plan.target.name}").scripts(plan)
    return made


def host_memory(plan: Plan) -> str:
    """Return how much host memory the shell must give to the card: rings and pages, in a power of two of GiB."""
    size = BufferLayout(plan.params, RING_ENTRIES).size
    return f"{1 << max(0, (size - 1 >> 30).bit_length())}G"


def build_steps(plan: Plan) -> tuple[Step, ...]:
    """Return what makes the card's program."""
    top = plan.target.module
    if plan.target.name == "u55c_vitis":
        kernel, program = f"{folders.OUT}/{top}.xo", f"{folders.OUT}/{top}.xclbin"
        return (
            Step("Package the kernel (minutes)", vivado("package.tcl", "package"), (kernel,), key=True),
            Step(
                "Link it with the shell (hours)",
                ("v++", "--link", "--config", "link.cfg", "--output", program, kernel),
                (program,),
            ),
        )
    return (Step("Make the bitstream (hours)", vivado("build.tcl", "build"), (f"{folders.OUT}/{top}.bit",), key=True),)


def environment(plan: Plan) -> dict[str, str]:
    """Return what variables the steps need, and what each names."""
    if not plan.encrypted:
        return {}
    from boards.u55c_direct.files import KEY_VARIABLE  # which imports this module

    return {KEY_VARIABLE: "the .nky file, outside this folder, with the key that is in the fuses of the card"}


def vivado(script: str, name: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs a Tcl script."""
    logs = ("-nojournal", "-log", f"{folders.OUT}/{name}.vivado.log")
    return ("vivado", "-mode", "batch", *logs, "-source", script, *(("-tclargs", *arguments) if arguments else ()))


def flash_steps(plan: Plan, device: str | None) -> tuple[Step, ...]:
    """Return what brings the program into a card.

    Parameters
    ----------
    plan : Plan
        Of the folder.
    device : str or None
        The card's PCIe address.
    """
    card = ("--device", device or DEVICE)
    if plan.target.name == "u55c_vitis":
        program = build_steps(plan)[-1].makes[0]
        return (
            Step(
                "Give the card host memory, once after each start of the machine",
                ("xrt-smi", "configure", "--host-mem", *card, "--size", host_memory(plan), "enable"),
                root=True,
            ),
            Step("See that the card is there", ("xrt-smi", "examine", *card)),
            Step("Load the program", ("xrt-smi", "program", *card, "--user", program)),
        )
    return (
        Step("Load the bitstream through JTAG, until the card loses its power", vivado("flash.tcl", "flash")),
        Step(
            "Restart the machine without switching its power off: it finds the card", ("systemctl", "reboot"), root=True
        ),
        Step("Let programs have the card; `omap serve` says how it is bound", ("modprobe", "vfio-pci"), root=True),
    )


def serve_step(plan: Plan, device: str | None) -> Step:
    """Return what serves the map that the card runs."""
    card = ("--params", "manifest.json", "--device", device or DEVICE)
    if plan.target.name == "u55c_vitis":
        program = build_steps(plan)[-1].makes[0]
        return Step("Serve the map", ("omap", "serve", "--backend", "xrt", "--xclbin", program, *card))
    return Step("Serve the map", ("omap", "serve", "--backend", "vfio", *card))


def makefile(plan: Plan) -> str:
    """Return the Makefile of a folder."""
    steps = build_steps(plan)
    sources = " ".join(("$(wildcard *.v)", "$(wildcard secret/*.v)", *sorted(scripts(plan))))
    lines = [
        "# The steps of README.md. Each needs the vendor's tools on PATH.",
        "",
        f"{DEVICE} ?= ",
        "",
        ".PHONY: all flash",
        f"all: {' '.join(steps[-1].makes)}",
    ]
    before = sources
    for step in steps:
        lines += ["", f"{step.makes[0]}: {before}", f"\t{PREPARE}"]
        if step.key:
            lines.append(f"\t@test -f {folders.SECRET} || {{ echo '{no_key()}' >&2; exit 1; }}")
        lines.append(f"\t{step.shown}")
        before = step.makes[0]
    lines += ["", f"flash: {before}"]
    if any(DEVICE in step.command for step in flash_steps(plan, None)):
        lines.append(
            f"\t@test -n '$({DEVICE})' || {{ echo 'give {DEVICE}=, the PCIe address of the card' >&2; exit 1; }}"
        )
    for step in flash_steps(plan, None):
        shown = step.shown.replace(f" {DEVICE}", f" $({DEVICE})")
        told = f"{step.title}, as root: {shown}"
        lines.append(f"\t@echo {shlex.quote(told)}" if step.root else f"\t{shown}")
    return "\n".join(lines) + "\n"


def no_key() -> str:
    """Return what to say where the root key is missing."""
    return (
        f"{folders.SECRET} is missing, the root key as a constant: "
        "run `omap board build` again with --key-file, into the same folder"
    )
